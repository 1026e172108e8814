"""Boxes and pixels: how far two boxes overlap, and a photograph fitted into a detector's square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cytowell.types import FloatArray, Pixels

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
