"""Which photographs to label: those that together show best what there is.

With few labels typical photographs of every kind teach most, and doubt misleads (Hacohen et al.
2022, arXiv 2202.02794, TypiClust): photographs are clustered into as many groups as there will be
labels, and of each group without a label the most typical one is taken, the largest group first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from cytowell.types import BoolArray, FloatArray, IntArray

COMPONENTS = 48
"""Principal components of the features in which photographs are compared."""

LOOKS = 0.25
"""Weight of light, stain and sharpness together beside the features (1)."""

NEIGHBOURS = 10
"""Photographs to which the mean distance says how typical one is."""

MOST_CLUSTERS = 400
"""Beyond, labels are so many that which come first matters little."""

DOUBT, REPEATED = 0.5, 0.25
"""How much full doubt adds to a photograph's rank, and what another of its group takes away."""


@dataclass(frozen=True)
class Choice:
    """One photograph to label: its position, how many it stands for, and why it was chosen."""

    position: int
    stands_for: int
    why: str


def space_of(
    features: npt.NDArray[np.floating], appearances: npt.NDArray[np.floating] | None = None
) -> FloatArray:
    """Give photographs (N, K) as they are compared: features and how they look, standardised.

    Parameters
    ----------
    features, appearances
        (N, D), and (N, M) of `images.appearance.MEASURES` with NaN where one is unknown.
    """
    X = np.asarray(features, dtype=np.float64)
    X = X - X.mean(axis=0)
    deviation = X.std(axis=0)
    X = X / np.maximum(deviation, 0.1 * max(float(np.median(deviation)), 1e-6))
    most = min(COMPONENTS, len(X) - 1, X.shape[1])
    if most >= 1 and float(np.ptp(X, axis=0).max()) > 0:
        X = PCA(most, svd_solver="randomized", random_state=0).fit_transform(X)
    parts = [_evened(X)]
    if appearances is not None and len(appearances) == len(X):
        looks = np.asarray(appearances, dtype=np.float64)
        looks = looks[:, np.isfinite(looks).any(axis=0)]
        if looks.shape[1]:
            centre = np.nanmedian(looks, axis=0)
            looks = np.where(np.isfinite(looks), looks, centre) - centre
            scale = looks.std(axis=0)
            looks = np.clip(looks / np.maximum(scale, 1e-6), -3, 3) * (scale > 1e-6)
            parts.append(np.sqrt(LOOKS) * _evened(looks))
    joined: FloatArray = np.concatenate(parts, axis=1)
    return joined


def _evened(X: FloatArray) -> FloatArray:
    """Scale to a mean square length of one."""
    length = np.sqrt((X**2).sum(axis=1).mean())
    scaled: FloatArray = X / max(float(length), 1e-9)
    return scaled


def choose(
    space: FloatArray,
    count: int,
    labelled: BoolArray | None = None,
    doubts: FloatArray | None = None,
    groups: npt.NDArray[np.generic] | None = None,
    seed: int = 0,
) -> list[Choice]:
    """Choose photographs to label, those first that help most.

    Parameters
    ----------
    space
        (N, K), as `space_of` gives it.
    labelled
        Which have a label already; they are never chosen, and what they show is covered.
    doubts
        How much a bundle doubts each, 0..1.
    groups
        Plate, slide or day of each, over which the choice is spread.
    """
    n = len(space)
    known = np.zeros(n, dtype=np.bool_) if labelled is None else np.asarray(labelled)
    free = np.flatnonzero(~known)
    wanted = min(count, len(free))
    if wanted <= 0:
        return []
    clusters = _clusters(space, min(int(known.sum()) + wanted, MOST_CLUSTERS, n), seed)
    typical = _typicality(space)
    sizes = np.bincount(clusters)
    covered = np.bincount(clusters[known], minlength=len(sizes))
    used: dict[object, int] = {}
    if groups is not None:
        for name in groups[known]:
            used[name] = used.get(name, 0) + 1
    left = {int(c): set(free[clusters[free] == c].tolist()) for c in np.unique(clusters[free])}
    out: list[Choice] = []
    while len(out) < wanted:
        open_ = [c for c in left if left[c]]
        # Of clusters with as few labels the largest; a cluster that is used up has no turn.
        c = min(open_, key=lambda k: (covered[k], -sizes[k], k))
        rows = np.array(sorted(left[c]))
        rank = _rank(typical[rows])
        if doubts is not None:
            rank = rank + DOUBT * np.nan_to_num(doubts[rows])
        if groups is not None:
            most = max([1, *used.values()])
            rank = rank - REPEATED * np.array([used.get(g, 0) / most for g in groups[rows]])
        best = int(rows[int(rank.argmax())])
        why = "shows what no label shows yet" if not covered[c] else "shows more of a large kind"
        if doubts is not None and doubts[best] > 0.5:
            why += ", and the bundle doubts it"
        out.append(Choice(best, int(sizes[c]), why))
        left[c].discard(best)
        covered[c] += 1
        if groups is not None:
            used[groups[best]] = used.get(groups[best], 0) + 1
    return out


def _clusters(space: FloatArray, count: int, seed: int) -> IntArray:
    distinct = len(np.unique(space.round(9), axis=0))
    made = KMeans(max(1, min(count, distinct)), n_init=4, random_state=seed).fit(space)
    found: IntArray = made.labels_.astype(np.int64)
    return found


def _typicality(space: FloatArray) -> FloatArray:
    """Give the inverse of the mean distance to the nearest photographs."""
    near = min(NEIGHBOURS + 1, len(space))
    if near < 2:
        return np.ones(len(space))
    distances = NearestNeighbors(n_neighbors=near).fit(space).kneighbors(space)[0][:, 1:]
    inverse: FloatArray = 1 / np.maximum(distances.mean(axis=1), 1e-9)
    return inverse


def _rank(values: FloatArray) -> FloatArray:
    """Give ranks from 0 (least) to 1."""
    if len(values) < 2:
        return np.ones(len(values))
    order: FloatArray = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)
    return order / (len(values) - 1)
