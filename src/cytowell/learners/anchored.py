"""A head refitted on few images of another laboratory, held to what the old head knew."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from cytowell.learners.linear import folds
from cytowell.runtime.head import Head, Statistics
from cytowell.types import FloatArray, IntArray

STRENGTHS = (0.003, 0.03)
TRUSTS = (0.0, 0.5, 1.0)
"""How much of the old head's logits stays: nothing, half or all of them."""

DEVIATION = 3.0
"""Standard deviation of the prior on a class's bias, in nats."""


@dataclass(frozen=True)
class Setting:
    """One way to refit: which network's features, how much of the old head, how strong."""

    network: int
    trust: float
    strength: float


@dataclass(frozen=True)
class Rows:
    """Labelled images: features (N, D) by each network, class indices (N,), groups (N,)."""

    features: tuple[npt.NDArray[np.float32], ...]
    labels: IntArray
    groups: npt.NDArray[np.str_]

    def take(self, rows: IntArray) -> Rows:
        """Give these rows."""
        return Rows(tuple(f[rows] for f in self.features), self.labels[rows], self.groups[rows])


@dataclass(frozen=True)
class Known:
    """What is known before: the old head, calibrated, and remembered images of other classes.

    `features` (M, D) and `labels` (M,) stand for classes that nobody has labelled anew.
    """

    head: Head
    features: npt.NDArray[np.float32]
    labels: IntArray


def known_of(head: Head, temperature: float, classes: int) -> Head:
    """Give the head with calibrated logits, centred over its classes, and a row for each new class.

    A class that is new starts at the mean logit of the others.
    """
    weight, bias = head.weight / temperature, head.bias / temperature
    weight, bias = weight - weight.mean(axis=0), bias - bias.mean()
    new = classes - len(bias)
    return Head(np.pad(weight, ((0, new), (0, 0))), np.pad(bias, (0, new)))


def remembered(
    statistics: Statistics | None, labelled: IntArray, width: int, most: int, seed: int
) -> tuple[npt.NDArray[np.float32], IntArray]:
    """Give images that the statistics store, of classes that nobody has labelled anew.

    They are stored in principal components: what lies beyond those is not given back.
    """
    none = np.zeros((0, width), dtype=np.float32), np.zeros(0, dtype=np.int64)
    if statistics is None or not most:
        return none
    order = np.random.default_rng(seed).permutation(len(statistics.stored_labels))
    labels = statistics.stored_labels[order].astype(np.int64)
    classes = [c for c in np.unique(labels) if c not in labelled]
    rows = np.array([i for c in classes for i in np.flatnonzero(labels == c)[:most]], dtype=int)
    if not len(rows):
        return none
    back = np.linalg.pinv(statistics.axes.astype(np.float64)).T
    points = statistics.stored[order[rows]].astype(np.float64)
    return (points @ back + statistics.centre).astype(np.float32), labels[rows]


@dataclass(frozen=True)
class _Space:
    """Where the difference of the heads lies: N images, R axes of their standardised features."""

    features: FloatArray
    labels: IntArray
    mean: FloatArray
    spread: FloatArray
    points: FloatArray
    axes: FloatArray
    old: FloatArray


def _space(rows: Rows, known: Known, network: int) -> _Space:
    X = np.concatenate([rows.features[network], known.features]).astype(np.float64)
    mean, spread = X.mean(axis=0), X.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    left, values, axes = np.linalg.svd((X - mean) / spread, full_matrices=False)
    labels = np.concatenate([rows.labels, known.labels])
    return _Space(X, labels, mean, spread, left * values, axes, known.head.logits(X))


def fit_anchored(rows: Rows, known: Known, setting: Setting) -> Head:
    """Fit a head whose difference to the old one is regularised.

    Logistic regression on standardised features with a normal prior about the old weights, classes
    weighted alike. The difference lies in the span of the images: it is fitted there.
    """
    return _fit(_space(rows, known, setting.network), known.head, setting)


def _fit(space: _Space, old: Head, setting: Setting) -> Head:
    Z, y, classes = space.points, space.labels, len(old.bias)
    base = setting.trust * space.old
    counts = np.bincount(y, minlength=classes)
    weight = (len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[y][:, None]
    hot = np.eye(classes)[y]
    stiff = np.full((classes, Z.shape[1] + 1), 1 / setting.strength)
    stiff[:, -1] = 1 / DEVIATION**2

    def loss(point: FloatArray) -> tuple[float, FloatArray]:
        change = point.reshape(classes, -1)
        log = log_softmax(base + Z @ change[:, :-1].T + change[:, -1], axis=1)
        gaps = weight * (np.exp(log) - hot)
        slope = np.column_stack([gaps.T @ Z, gaps.sum(axis=0)]) + stiff * change
        value = -(weight * hot * log).sum() + 0.5 * (stiff * change**2).sum()
        return float(value), slope.ravel()

    start = np.zeros(stiff.size)
    options = {"maxiter": 100, "ftol": 1e-6, "gtol": 1e-4}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    change = found.reshape(classes, -1)
    moved = (change[:, :-1] @ space.axes) / space.spread
    bias = setting.trust * old.bias + change[:, -1] - moved @ space.mean
    return Head(setting.trust * old.weight + moved, bias)


def out_of_fold(
    rows: Rows, known: Known, settings: Sequence[Setting], count: int, seed: int
) -> list[FloatArray]:
    """Give logits (N, C) of each image, for each setting, by heads fitted without its group."""
    found = [np.zeros((len(rows.labels), len(known.head.bias))) for _ in settings]
    for train, test in folds(rows.labels, rows.groups, count, seed):
        part = rows.take(train)
        spaces = {n: _space(part, known, n) for n in {s.network for s in settings}}
        for logits, setting in zip(found, settings, strict=True):
            head = _fit(spaces[setting.network], known.head, setting)
            logits[test] = head.logits(rows.features[setting.network][test])
    return found


def log_loss(logits: FloatArray, labels: IntArray) -> float:
    """Give the mean log-loss, each class counted alike."""
    own = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return float(np.mean([own[labels == c].mean() for c in np.unique(labels)]))


def choose(rows: Rows, known: Known, networks: Sequence[int], seed: int) -> Setting:
    """Choose network, trust and strength by grouped cross-validation on these images alone."""
    settings = [Setting(*s) for s in itertools.product(networks, TRUSTS, STRENGTHS)]
    found = out_of_fold(rows, known, settings, 3, seed)
    losses = [log_loss(logits, rows.labels) for logits in found]
    return settings[int(np.argmin(losses))]


def nested(
    rows: Rows, known: Known, networks: Sequence[int], count: int, seed: int
) -> tuple[FloatArray, IntArray]:
    """Give logits (N, C) of each image, chosen and fitted without its group, and its network (N,).

    What helped to choose cannot tell how good the choice is (Varma & Simon 2006, doi
    10.1186/1471-2105-7-91).
    """
    logits = np.zeros((len(rows.labels), len(known.head.bias)))
    network = np.zeros(len(rows.labels), dtype=np.int64)
    for train, test in folds(rows.labels, rows.groups, count, seed):
        part = rows.take(train)
        setting = choose(part, known, networks, seed)
        head = fit_anchored(part, known, setting)
        logits[test] = head.logits(rows.features[setting.network][test])
        network[test] = setting.network
    return logits, network
