"""Photographs with boxes, shown anew at every step: zoomed, turned by quarters, four in a mosaic.

Only changes that keep an upright box exact: flips, quarter turns, shifts, zooms, light and stain.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cytowell.images import open_upright
from cytowell.images.boxes import GREY, letterbox
from cytowell.storage import explaining, replacing
from cytowell.training.augment import coloured
from cytowell.training.degrade import degrade, empty
from cytowell.training.detection_recipe import Detection
from cytowell.types import Box, FloatArray, IntArray, Pixels

ROOM = 1.3
"""Side at which photographs are kept, in sides of the input: what is zoomed in is not blurred."""

LEFT = 0.3
"""Share of an object's area that must be in the scene for its box to be there."""

LEAST = 2.0
"""Pixels of a box's shorter side in the scene, at least."""


@dataclass(frozen=True)
class Annotated:
    """One photograph, and the boxes and class indices of what is on it."""

    path: str
    boxes: tuple[Box, ...]
    labels: IntArray


@dataclass(frozen=True)
class Shown:
    """Photographs decoded once, as a memory map, each in the upper left of its square.

    Attributes
    ----------
    pixels
        uint8 (N, S, S, 3).
    sizes
        Width and height in it, (N, 2).
    corners
        Boxes (M, 4) in its pixels, for each photograph.
    """

    pixels: Pixels
    sizes: IntArray
    corners: tuple[FloatArray, ...]
    labels: tuple[IntArray, ...]

    def __len__(self) -> int:
        return len(self.sizes)


def show(photographs: Sequence[Annotated], side: int, file: Path) -> Shown:
    """Decode photographs into `file`, for scenes of this side."""
    square = round(side * ROOM)
    sizes = np.zeros((len(photographs), 2), dtype=np.int64)
    corners = []
    with replacing(file) as beside, explaining(file):
        shape = (len(photographs), square, square, 3)
        if shutil.disk_usage(beside.parent).free < int(np.prod(shape)) + (64 << 20):
            raise OSError(errno.ENOSPC, "No space left on device")
        out = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=shape)
        for i, photograph in enumerate(photographs):
            image = open_upright(photograph.path)
            boxed = letterbox(image, square, False)
            out[i] = boxed.pixels
            sizes[i] = [max(1, min(square, round(v * boxed.scale))) for v in image.size]
            corners.append(corners_of(photograph.boxes) * boxed.scale)
        out.flush()
        del out
    mapped: Pixels = np.load(file, mmap_mode="r")
    return Shown(mapped, sizes, tuple(corners), tuple(p.labels for p in photographs))


def corners_of(boxes: Sequence[Box]) -> FloatArray:
    """Give left, top, right, bottom of boxes; (N, 4)."""
    return np.array(
        [[b.x, b.y, b.x + b.width, b.y + b.height] for b in boxes], dtype=np.float64
    ).reshape(-1, 4)


def batch(
    shown: Shown, rows: IntArray, side: int, s: Detection, mosaic: float, mark: int
) -> tuple[Tensor, Tensor]:
    """Make one scene for each of these photographs.

    Returns
    -------
    Tensor, Tensor
        Images (N, 3, side, side), 0..255, and targets (N, M, 5): class, centre, sides in pixels.
    """
    rng = np.random.default_rng(mark)
    scenes = [_scene(shown, int(row), side, s, mosaic, rng) for row in rows]
    pixels = torch.from_numpy(np.stack([p for p, _, _ in scenes])).permute(0, 3, 1, 2).float()
    generator = torch.Generator().manual_seed(mark)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(rows), *shape, generator=generator)

    images = coloured(pixels, s.augmentation, uniform)
    most = max(1, *(len(c) for _, c, _ in scenes))
    targets = np.zeros((len(rows), most, 5), dtype=np.float32)
    for i, (_, corners, labels) in enumerate(scenes):
        targets[i, : len(labels), 0] = labels
        targets[i, : len(labels), 1:3] = (corners[:, :2] + corners[:, 2:]) / 2
        targets[i, : len(labels), 3:] = corners[:, 2:] - corners[:, :2]
    return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(targets)


def _scene(
    shown: Shown, row: int, side: int, s: Detection, mosaic: float, rng: np.random.Generator
) -> tuple[Pixels, FloatArray, IntArray]:
    """Give pixels, corners and labels of one scene that shows this photograph."""
    if s.empty and rng.random() < s.empty:
        return empty(side, rng), np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    canvas = np.full((side, side, 3), GREY, dtype=np.uint8)
    found, labels = [], []
    if rng.random() < mosaic:
        x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * side)
        rows = [row, *rng.integers(0, len(shown), 3)]
        places = ((0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side))
        windows = [(int(rows[i]), places[i]) for i in rng.permutation(4)]
    else:
        windows = [(row, (0, 0, side, side))]
    for number, window in windows:
        corners = _pasted(canvas, shown, number, window, s, rng)
        kept = _visible(corners, window)
        found.append(np.clip(corners, [*window[:2]] * 2, [*window[2:]] * 2)[kept])
        labels.append(shown.labels[number][kept])
    # Only where the recipe asks: scenes of older recipes stay what they were.
    if s.degrade and rng.random() < s.degrade:
        canvas = degrade(canvas, rng)
    return canvas, np.concatenate(found), np.concatenate(labels)


def _pasted(
    canvas: Pixels,
    shown: Shown,
    row: int,
    window: tuple[int, int, int, int],
    s: Detection,
    rng: np.random.Generator,
) -> FloatArray:
    """Paste a photograph, turned and zoomed, into a window; give its boxes on the canvas."""
    width, height = (int(v) for v in shown.sizes[row])
    pixels, corners = _turned(shown.pixels[row][:height, :width], shown.corners[row], s, rng)
    scale = float(len(canvas) / max(pixels.shape[:2]) * (1 + s.zoom) ** rng.uniform(-1, 1))
    tall, wide = (max(1, round(v * scale)) for v in pixels.shape[:2])
    small = np.asarray(Image.fromarray(pixels).resize((wide, tall), Image.Resampling.BILINEAR))
    left, top, right, bottom = window
    # Anywhere that wastes neither window nor photograph.
    at_x, at_y = (
        start + int(rng.uniform(min(0, free), max(0, free)))
        for start, free in ((left, right - left - wide), (top, bottom - top - tall))
    )
    x0, x1 = max(left, at_x), min(right, at_x + wide)
    y0, y1 = max(top, at_y), min(bottom, at_y + tall)
    canvas[y0:y1, x0:x1] = small[y0 - at_y : y1 - at_y, x0 - at_x : x1 - at_x]
    placed: FloatArray = corners * scale + [at_x, at_y, at_x, at_y]
    return placed


def _turned(
    pixels: Pixels, corners: FloatArray, s: Detection, rng: np.random.Generator
) -> tuple[Pixels, FloatArray]:
    """Flip and turn by quarters, where the recipe allows either."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = corners.T
    flips = rng.random(3) < 0.5
    if s.augmentation.flip and flips[0]:
        pixels, left, right = pixels[:, ::-1], width - right, width - left
    if s.augmentation.flip and flips[1]:
        pixels, top, bottom = pixels[::-1], height - bottom, height - top
    if s.augmentation.flip and s.augmentation.rotation >= 90 and flips[2]:
        pixels = pixels.transpose(1, 0, 2)
        left, top, right, bottom = top, left, bottom, right
    return np.ascontiguousarray(pixels), np.stack([left, top, right, bottom], axis=1)


def _visible(corners: FloatArray, window: tuple[int, int, int, int]) -> IntArray:
    """Give positions of the boxes of which enough is within the window."""
    cut = np.clip(corners, [*window[:2]] * 2, [*window[2:]] * 2)
    sides = cut[:, 2:] - cut[:, :2]
    whole = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    enough = sides.prod(axis=1) > LEFT * whole
    return np.flatnonzero(enough & (sides.min(axis=1) >= LEAST))
