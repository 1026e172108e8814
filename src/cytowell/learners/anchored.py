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

STRENGTHS = (0.001, 0.003, 0.01, 0.03)
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


def fit_anchored(rows: Rows, known: Known, setting: Setting) -> Head:
    """Fit a head whose difference to the old one is regularised.

    Logistic regression on standardised features with a normal prior about the old weights
    (biased regularisation; Kienzle & Chellapilla 2006, doi 10.1145/1143844.1143902), classes
    weighted alike. The difference lies in the span of the images: it is fitted there.
    """
    X = np.concatenate([rows.features[setting.network], known.features]).astype(np.float64)
    y = np.concatenate([rows.labels, known.labels])
    classes = len(known.head.bias)
    mean, spread = X.mean(axis=0), X.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    left, values, axes = np.linalg.svd((X - mean) / spread, full_matrices=False)
    Z = left * values
    base = setting.trust * known.head.logits(X)
    counts = np.bincount(y, minlength=classes)
    weight = (len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[y]
    hot = np.eye(classes)[y]

    def loss(point: FloatArray) -> tuple[float, FloatArray]:
        change = point.reshape(classes, -1)
        log = log_softmax(base + Z @ change[:, :-1].T + change[:, -1], axis=1)
        gaps = weight[:, None] * (np.exp(log) - hot)
        stiff = np.full(change.shape, 1 / setting.strength)
        stiff[:, -1] = 1 / DEVIATION**2
        slope = np.column_stack([gaps.T @ Z, gaps.sum(axis=0)]) + stiff * change
        value = -(weight[:, None] * hot * log).sum() + 0.5 * (stiff * change**2).sum()
        return float(value), slope.ravel()

    start = np.zeros(classes * (Z.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    change = found.reshape(classes, -1)
    moved = (change[:, :-1] @ axes) / spread
    bias = setting.trust * known.head.bias + change[:, -1] - moved @ mean
    return Head(setting.trust * known.head.weight + moved, bias)


def out_of_fold(rows: Rows, known: Known, setting: Setting, count: int, seed: int) -> FloatArray:
    """Give logits (N, C) of each image by a head fitted without its group."""
    logits = np.zeros((len(rows.labels), len(known.head.bias)))
    for train, test in folds(rows.labels, rows.groups, count, seed):
        head = fit_anchored(rows.take(train), known, setting)
        logits[test] = head.logits(rows.features[setting.network][test])
    return logits


def log_loss(logits: FloatArray, labels: IntArray) -> float:
    """Give the mean log-loss, each class counted alike."""
    own = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return float(np.mean([own[labels == c].mean() for c in np.unique(labels)]))


def choose(rows: Rows, known: Known, networks: Sequence[int], seed: int) -> Setting:
    """Choose network, trust and strength by grouped cross-validation on these images alone."""
    settings = [Setting(*s) for s in itertools.product(networks, TRUSTS, STRENGTHS)]
    losses = [log_loss(out_of_fold(rows, known, s, 3, seed), rows.labels) for s in settings]
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
