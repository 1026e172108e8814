"""The linear head of a bundle, and what is known of the features it was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from cytowell.types import FloatArray


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
class SubclassHead:
    """Which kind within its class an image shows: (name, class) of each, and their head."""

    names: tuple[tuple[str, str], ...]
    head: Head

    def within(
        self, features: npt.NDArray[np.floating], labels: Sequence[str]
    ) -> list[tuple[str, float]]:
        """Give the likeliest kind of each image's class, and its probability given the class.

        Parameters
        ----------
        features
            (N, D).
        labels
            The class that each of the N images is given; ("", nan) for one without kinds.
        """
        found: list[tuple[str, float]] = []
        for scores, label in zip(self.head.logits(features), labels, strict=True):
            own = [i for i, (_, parent) in enumerate(self.names) if parent == label]
            if len(own) < 2:
                found.append(("", float("nan")))
                continue
            shares = softmax(scores[own])
            best = int(shares.argmax())
            found.append((self.names[own[best]][0], float(shares[best])))
        return found


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
        precision = self.precision.astype(np.float64)
        try:
            root = np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            # Of few images the rounding of what is stored leaves eigenvalues just under nought.
            values, vectors = np.linalg.eigh((precision + precision.T) / 2)
            root = vectors * np.sqrt(np.maximum(values, 1e-7 * values.max()))
        root = root.astype(np.float32)
        return root, self.means[~np.isnan(self.means[:, 0])] @ root
