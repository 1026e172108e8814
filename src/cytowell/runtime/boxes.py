"""Which of many boxes on one thing is kept, and how a large photograph is tiled. No PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cytowell.images.boxes import overlaps
from cytowell.types import BoolArray, FloatArray, IntArray

PIECE = 0.6
"""Share of a box that an edge has cut, from which on a larger one holds what it shows."""


def suppress(corners: FloatArray, scores: FloatArray, labels: IntArray, most: float) -> IntArray:
    """Give positions of the boxes that are kept, the surest first.

    Greedy non-maximum suppression within each class: a box goes where a surer one of its class
    overlaps it by more than `most` (intersection over union).
    """
    kept: list[int] = []
    # Boxes of different classes are moved apart so that they never overlap: one pass for all.
    reach = float(corners.max() - corners.min()) + 1.0 if len(corners) else 1.0
    apart = corners + (labels * reach)[:, None]
    waiting = np.argsort(-scores, kind="stable")
    while len(waiting):
        first, waiting = waiting[0], waiting[1:]
        kept.append(int(first))
        waiting = waiting[overlaps(apart[first], apart[waiting]) <= most]
    return np.array(kept, dtype=np.int64)


def without_pieces(corners: FloatArray, labels: IntArray, cut: BoolArray) -> IntArray:
    """Give positions of the boxes that are no piece of a larger one of their class.

    Parameters
    ----------
    cut
        Which boxes an edge of a tile cuts: others may lie in one another.
    """
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    fine = np.ones(len(corners), dtype=np.bool_)
    for i in np.flatnonzero(cut):
        larger = (labels == labels[i]) & (areas > areas[i])
        low = np.maximum(corners[i, :2], corners[larger, :2])
        high = np.minimum(corners[i, 2:], corners[larger, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        fine[i] = shared.max(initial=0.0) < PIECE * areas[i]
    return np.flatnonzero(fine)


def tiles(size: tuple[int, int], side: int, shared: float) -> Iterator[tuple[int, int, int, int]]:
    """Give left, top, right, bottom of tiles that cover a picture, neighbours sharing a part.

    Parameters
    ----------
    size
        Width and height of the picture.
    side
        Of a tile; a picture that is smaller is one tile.
    shared
        Share of a tile's side that its neighbour covers too, at least.
    """
    across, down = (_starts(length, side, shared) for length in size)
    for top in down:
        for left in across:
            yield left, top, min(size[0], left + side), min(size[1], top + side)


def _starts(length: int, side: int, shared: float) -> list[int]:
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - shared)))) + 1
    return [int(v) for v in np.linspace(0, length - side, count).round()]
