"""What the training images look like in feature space: fitted here, used by the runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from cytowell.runtime.bundle import MapSlice
from cytowell.runtime.head import Statistics
from cytowell.types import IntArray

MOST_COMPONENTS = 128
MOST_STORED = 2_000
LEAST_DEVIATION = 0.1
"""Of the median one: what hardly varies in these images may move on the next by chance."""


def statistics_of(
    features: npt.NDArray[np.floating],
    labels: IntArray,
    classes: int,
    seed: int = 0,
    maps: Sequence[MapSlice] = (),
) -> Statistics:
    """Give the statistics of the training part's features (N, D) and class indices (N,).

    Every map counts, those that the head does not use too, and each feature by its deviation:
    early ones tell another kind of picture at once, and late ones keep a change of light or of
    compression from looking like one. Each map has the same variance in all, however many features
    it has: of 1,752 of Lite0 the last has 1,280, and of the early ones, which tell most, next to
    nothing was left in the principal components.
    """
    X = np.asarray(features, dtype=np.float64)
    centre = X.mean(axis=0)
    deviation = X.std(axis=0)
    scale = np.maximum(deviation, LEAST_DEVIATION * max(float(np.median(deviation)), 1e-6))
    for part in maps:
        scale[part.start : part.stop] *= np.sqrt(part.stop - part.start)
    most = min(MOST_COMPONENTS, max(1, len(X) - classes), X.shape[1])
    # With many images the number of features bounds the work, with few the number of images.
    solver = "covariance_eigh" if len(X) > X.shape[1] else "full"
    found = PCA(most, svd_solver=solver).fit((X - centre) / scale)
    axes = found.components_ / scale
    points = (X - centre) @ axes.T
    means = np.full((classes, most), np.nan)
    for c in np.unique(labels):
        means[c] = points[labels == c].mean(axis=0)
    shrunk = LedoitWolf(assume_centered=True).fit(points - means[labels])
    chosen = np.random.default_rng(seed).permutation(len(X))[:MOST_STORED]
    return Statistics(
        centre.astype(np.float32),
        axes.astype(np.float32),
        means.astype(np.float32),
        shrunk.precision_.astype(np.float32),
        np.clip(points[chosen], -60_000, 60_000).astype(np.float16),
        labels[chosen].astype(np.int16),
    )
