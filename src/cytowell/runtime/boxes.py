"""Boxes as arrays: letterbox, overlap, and which of many on one thing is kept. No PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cytowell.types import FloatArray, IntArray, Pixels

GREY = 114
"""What a letterbox is filled with: every YOLO since v5 and YOLOX learn with it."""


@dataclass(frozen=True)
class Letterbox:
    """A photograph made to fit a square: pixels (side, side, 3), and the way back.

    Attributes
    ----------
    scale
        Pixels of the square per pixel of the photograph.
    left, top
        Where the photograph begins in the square.
    """

    pixels: Pixels
    scale: float
    left: int
    top: int

    def back(self, corners: FloatArray) -> FloatArray:
        """Give boxes (N, 4), as left, top, right, bottom, in the photograph's pixels."""
        moved: FloatArray = (corners - [self.left, self.top, self.left, self.top]) / self.scale
        return moved


def letterbox(image: Image.Image, side: int, centred: bool) -> Letterbox:
    """Fit an upright RGB image into a square of this side, in its middle or its upper left."""
    scale = min(side / image.width, side / image.height)
    wide = max(1, min(side, round(image.width * scale)))
    tall = max(1, min(side, round(image.height * scale)))
    left, top = ((side - wide) // 2, (side - tall) // 2) if centred else (0, 0)
    pixels = np.full((side, side, 3), GREY, dtype=np.uint8)
    small = image.resize((wide, tall), Image.Resampling.BILINEAR)
    pixels[top : top + tall, left : left + wide] = np.asarray(small, dtype=np.uint8)
    return Letterbox(pixels, scale, left, top)


def overlaps(one: FloatArray, others: FloatArray) -> FloatArray:
    """Give intersection over union of a box (4,) with boxes (N, 4), as corners."""
    low = np.maximum(one[:2], others[:, :2])
    high = np.minimum(one[2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(axis=1)
    whole = np.clip(one[2:] - one[:2], 0, None).prod() + areas - both
    shares: FloatArray = both / np.maximum(whole, 1e-12)
    return shares


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
