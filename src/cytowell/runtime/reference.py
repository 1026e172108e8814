"""What a bundle keeps of its training images, so that new ones can be compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cytowell.images.appearance import MEASURES
from cytowell.types import FloatArray, IntArray

MOST = 2_000
"""Images that are kept, as of the features: their file has some tens of kilobytes."""


@dataclass(frozen=True)
class Reference:
    """Measures of the images that a bundle was made from; one row each.

    Attributes
    ----------
    appearances
        `images.appearance.MEASURES` of each, (N, K), NaN where one was not measured.
    distances
        Distance to the training images, (N,), of those that were not trained on; else NaN. What
        was trained on lies nearer than anything new.
    called
        Index of the class that the bundle calls each, (N,).
    groups
        Number of the photograph, slide or donor of each, (N,).
    """

    appearances: npt.NDArray[np.float32]
    distances: npt.NDArray[np.float32]
    called: npt.NDArray[np.int16]
    groups: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.called)
        if self.appearances.shape != (n, len(MEASURES)):
            raise ValueError(f"appearances of shape {self.appearances.shape} of {n} images")
        if self.distances.shape != (n,) or self.groups.shape != (n,) or self.called.ndim != 1:
            raise ValueError("a reference whose rows do not belong together")


def reference_of(
    appearances: npt.NDArray[np.floating],
    distances: FloatArray,
    called: IntArray,
    groups: Sequence[str],
    seed: int = 0,
) -> Reference:
    """Keep at most `MOST` images, first those whose distance is known; names of groups are not."""
    order = np.random.default_rng(seed).permutation(len(called))
    order = order[np.argsort(~np.isfinite(distances[order]), kind="stable")][:MOST]
    rows = np.sort(order)
    numbers = np.unique(np.asarray(groups, dtype=str)[rows], return_inverse=True)[1]
    return Reference(
        np.asarray(appearances[rows], dtype=np.float32),
        np.asarray(distances[rows], dtype=np.float32),
        np.asarray(called[rows], dtype=np.int16),
        numbers.astype(np.int32),
    )
