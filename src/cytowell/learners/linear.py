"""The regularised linear head: what every bundle ends in, and the probe that starts a fine-tuning.

Multinomial logistic regression on standardised features; the standardisation is folded into the
weights, so that the head is affine on the features as they come.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import SMOTE
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from threadpoolctl import ThreadpoolController

from cytowell.evaluation.calibration import fit_temperature
from cytowell.runtime.head import Head
from cytowell.types import FloatArray, IntArray

SMALL = 4_000_000
"""Values below which threads of BLAS spend more on each other than on the work."""

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse regularisation strengths (scikit-learn's C) on standardised features."""

NEVER = -30.0
"""Logit of a class that was not among the samples."""

FEW_GROUPS = 10
"""Groups below which each is left out in turn: one of so few would judge for all the others."""


def fit_head(
    features: npt.NDArray[np.floating],
    labels: IntArray,
    classes: int,
    strength: float = 0.03,
    balance: str = "none",
    seed: int = 0,
) -> Head:
    """Fit the head.

    Parameters
    ----------
    features
        (N, D), or (N, V, D) of V variations of each sample; only of those that may be learnt from.
    labels
        Class indices 0..C-1; a class without samples gets a logit that never wins.
    balance
        `none`, `balanced` (weights inverse to class frequency) or `smote` (synthetic minority
        samples, Chawla et al. 2002, doi 10.1613/jair.953).
    """
    if len(np.unique(labels)) == 1:
        bias = np.where(np.arange(classes) == labels[0], 0.0, NEVER)
        return Head(np.zeros((classes, features.shape[-1])), bias)
    X = np.asarray(features, dtype=np.float32)
    if X.ndim == 3:
        labels = np.repeat(labels, X.shape[1])
        X = X.reshape(len(labels), -1)
    mean, spread = X.mean(axis=0), X.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0).astype(np.float32)
    X = (X - mean) / spread
    y = labels
    if balance == "smote":
        X, y = smote(X, y, seed)
    model = LogisticRegression(
        C=strength,
        max_iter=400,
        tol=1e-3,
        class_weight="balanced" if balance == "balanced" else None,
    )
    few = 1 if X.size < SMALL else None
    with warnings.catch_warnings(), _pools().limit(limits=few, user_api="blas"):
        # Stopped a little early is a little more regularised: no reason to alarm anyone.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    weight = np.zeros((classes, X.shape[1]))
    bias = np.full(classes, NEVER)
    if len(model.classes_) == 2:
        weight[model.classes_[1]], bias[model.classes_[1]] = model.coef_[0], model.intercept_[0]
        bias[model.classes_[0]] = 0.0
    else:
        weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    folded = weight / spread
    return Head(folded, bias - folded @ mean.astype(np.float64))


@functools.cache
def _pools() -> ThreadpoolController:
    """Find the thread pools once: looking for them takes longer than a small fit."""
    return ThreadpoolController()


def smote(
    X: npt.NDArray[np.floating], y: IntArray, seed: int
) -> tuple[npt.NDArray[np.floating], IntArray]:
    """Add synthetic samples between neighbours of the rarer classes; never outside what is given.

    A class of fewer than two samples has no neighbours to lie between and stays as it is.
    """
    counts = np.bincount(y)
    present = np.flatnonzero(counts)
    rarest = int(counts[present].min())
    wanted = {int(c): int(counts.max()) for c in present if counts[c] >= 2}
    if not wanted or rarest == counts.max():
        return X, y
    neighbours = max(1, min(5, min(int(counts[c]) for c in wanted) - 1))
    grown: tuple[npt.NDArray[np.floating], IntArray] = SMOTE(
        sampling_strategy=wanted, k_neighbors=neighbours, random_state=seed
    ).fit_resample(X, y)
    return grown


def folds(
    labels: IntArray, groups: npt.NDArray[np.str_], count: int, seed: int
) -> list[tuple[IntArray, IntArray]]:
    """Cut into grouped, stratified folds, as many as the rarest class has groups, `count` at most.

    A single group is taken for none, and so are groups of which each holds classes of its own:
    within them, images are all that can be held apart. Where each class has one image, nothing is
    left to stratify.

    Returns
    -------
    list
        Pairs of positions (learn, judge).
    """
    if not len(spanning(labels, groups)):
        groups = np.arange(len(labels)).astype(np.str_)
    per_class = [len(np.unique(groups[labels == c])) for c in np.unique(labels)]
    k = max(2, min([count, *per_class]))
    cutter: Any = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    if np.bincount(labels).max() < k:
        cutter = GroupKFold(n_splits=k)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return [
            (a.astype(np.int64), b.astype(np.int64))
            for a, b in cutter.split(labels, labels, groups)
        ]


def spanning(labels: IntArray, groups: npt.NDArray[np.str_]) -> IntArray:
    """Give the classes that come from two groups at least: of others nothing can be judged."""
    known = [c for c in np.unique(labels) if len(np.unique(groups[labels == c])) > 1]
    return np.array(known, dtype=np.int64)


def judging_folds(
    labels: IntArray, groups: npt.NDArray[np.str_], count: int, seed: int
) -> list[tuple[IntArray, IntArray]]:
    """Leave out each group in turn where images share fewer than `FEW_GROUPS`, else give `folds`.

    Returns
    -------
    list
        Pairs of positions (learn, judge). Images whose class is not among those to learn from are
        left out of `judge`: a head that was never shown the class cannot call it.
    """
    names = np.unique(groups)
    if len(names) < min(FEW_GROUPS, len(labels)) and len(spanning(labels, groups)):
        cuts = [(np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in names]
    else:
        cuts = folds(labels, groups, count, seed)
    kept = [(a.astype(np.int64), b[np.isin(labels[b], labels[a])].astype(np.int64))
            for a, b in cuts]  # fmt: skip
    return [(a, b) for a, b in kept if len(b)]


def out_of_fold(
    features: npt.NDArray[np.floating],
    labels: IntArray,
    cuts: Sequence[tuple[IntArray, IntArray]],
    classes: int,
    strength: float,
    balance: str,
    seed: int,
) -> FloatArray:
    """Give logits (N, C) of each sample by a head that was not fitted on its fold.

    Parameters
    ----------
    features
        (N, D), or (N, V, D) of V variations of each sample: all of them teach, the first is judged.
    cuts
        Pairs of positions (learn, judge).

    Returns
    -------
    numpy.ndarray
        NaN for a sample that no fold judges, or whose class its fold did not learn.
    """
    logits = np.full((len(labels), classes), np.nan)
    for learn, judge in cuts:
        known = judge[np.isin(labels[judge], labels[learn])]
        head = fit_head(features[learn], labels[learn], classes, strength, balance, seed)
        logits[known] = head.logits(features[known] if features.ndim == 2 else features[known, 0])
    return logits


def losses_of(logits: FloatArray, labels: IntArray) -> FloatArray:
    """Give the log-losses of out-of-fold logits once a temperature is fitted, as it will be.

    Without one, heads are ranked by how sure they are more than by what they know: of few images
    the surest won, and macro-F1 on another laboratory's cells was .83 instead of .95. Samples
    without logits are left out; infinite where all are.
    """
    known = np.isfinite(logits).all(axis=1)
    if not known.any():
        return np.full(1, np.inf)
    temperature = fit_temperature(logits[known], labels[known])
    chosen = log_softmax(logits[known] / temperature, axis=1)
    losses: FloatArray = -chosen[np.arange(len(chosen)), labels[known]]
    return losses


def choose_strength(
    features: npt.NDArray[np.floating],
    labels: IntArray,
    groups: npt.NDArray[np.str_],
    classes: int,
    balance: str,
    seed: int,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[float, FloatArray]:
    """Choose C by grouped inner validation; give it and the log-losses of the samples."""
    cuts = folds(labels, groups, 3, seed)
    found = []
    for strength in strengths:
        logits = out_of_fold(features, labels, cuts, classes, strength, balance, seed)
        found.append(losses_of(logits, labels))
    best = int(np.argmin([losses.mean() for losses in found]))
    return strengths[best], found[best]
