"""Which of many boxes on one thing is kept, and how a large photograph is tiled. No PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cytowell.images.boxes import overlaps
from cytowell.types import FloatArray, IntArray


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
