"""The linear head of a bundle, and what is known of the features it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from cytowell.types import FloatArray, IntArray

MOST_COMPONENTS = 128
MOST_STORED = 2_000
LEAST_DEVIATION = 0.1
"""Of the median one: what hardly varies in these images may move on the next by chance."""


@dataclass(frozen=True)
class Head:
    """logits = features @ weight.T + bias; weight (C, D), bias (C,)."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, features: npt.NDArray[np.floating]) -> FloatArray:
        """Give logits (N, C) of features (N, D)."""
        scored: FloatArray = np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias
        return scored


@dataclass(frozen=True)
class Statistics:
    """What the training images look like in feature space, small enough to travel.

    Attributes
    ----------
    centre, axes
        Principal components of the standardised training features, the deviations folded in:
        (D,) and (K, D), K <= 128.
    means
        Mean of each class in them, (C, K); NaN for a class without images.
    precision
        Inverse of the pooled within-class covariance, shrunk (Ledoit & Wolf 2004,
        doi 10.1016/S0047-259X(03)00096-4), (K, K).
    stored, stored_labels
        At most 2,000 training images in these components, half precision, and their classes.
    """

    centre: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    means: npt.NDArray[np.float32]
    precision: npt.NDArray[np.float32]
    stored: npt.NDArray[np.float16]
    stored_labels: npt.NDArray[np.int16]

    def project(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Give features (N, D) in principal components (N, K)."""
        moved = np.asarray(features, dtype=np.float32) - self.centre
        projected = moved @ self.axes.T
        return projected.astype(np.float32, copy=False)

    def distance(self, features: npt.NDArray[np.floating]) -> FloatArray:
        """Give the Mahalanobis distance (N,) to the nearest class (Lee et al. 2018, eq. 2).

        arXiv 1807.03888. What lies far from every class is not what was learnt from.
        """
        whitening, known = self._whitened
        points = self.project(features) @ whitening
        squared = ((points[:, None, :] - known[None, :, :]) ** 2).sum(axis=2)
        nearest: FloatArray = np.sqrt(squared.min(axis=1)).astype(np.float64)
        return nearest

    @cached_property
    def _whitened(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Root of the precision and the class means in it: Mahalanobis becomes Euclid."""
        root = np.linalg.cholesky(self.precision.astype(np.float64)).astype(np.float32)
        return root, self.means[~np.isnan(self.means[:, 0])] @ root

    @staticmethod
    def fit(
        features: npt.NDArray[np.floating],
        labels: IntArray,
        classes: int,
        seed: int = 0,
    ) -> Statistics:
        """Fit to the training part's features (N, D) and class indices (N,).

        Every map counts, those that the head does not use too, and each feature by its deviation:
        early ones tell another kind of picture at once, and late ones keep a change of light or of
        compression from looking like one.
        """
        X = np.asarray(features, dtype=np.float64)
        centre = X.mean(axis=0)
        deviation = X.std(axis=0)
        scale = np.maximum(deviation, LEAST_DEVIATION * max(float(np.median(deviation)), 1e-6))
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
