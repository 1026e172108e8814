"""The one preprocessing: decode, turn upright, crop, resize. Training and service both come here.

Where the record has a cell's view, the crop is the canonical window of `images.cell`.

What leaves this room is always upright RGB uint8. Normalisation is inside the bundle's graph, so
that nobody can do it differently.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from cytowell.errors import CytowellError, ImageError
from cytowell.images.ahead import ahead, worker_count
from cytowell.images.appearance import Appearance, appearance_of
from cytowell.images.arrays import npz_member
from cytowell.images.cell import NUCLEUS, CellView, MeasuredCell, measure, render, window_of
from cytowell.images.decode import Encoded, open_upright
from cytowell.images.failures import reading
from cytowell.images.limits import FORMATS, MAX_PIXELS, SUFFIXES
from cytowell.images.record import INTERPOLATION, READING, Preprocessing
from cytowell.images.sizes import orientation_of, upright_size
from cytowell.types import NPZ_MARK, Box, Pixels, Sample, file_of

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "NPZ_MARK",
    "READING",
    "SQUASHED",
    "SUFFIXES",
    "Appearance",
    "CellView",
    "Encoded",
    "MeasuredCell",
    "Preprocessing",
    "Seen",
    "ahead",
    "cut_out",
    "load",
    "load_many",
    "load_seen",
    "npz_member",
    "open_upright",
    "orientation_of",
    "photograph_of",
    "prepare",
    "require_inside",
    "see",
    "upright_size",
    "worker_count",
]

SQUASHED = 1.1
"""Up to this ratio of its sides a whole picture is made square; beyond, it is fitted in."""


class Seen(NamedTuple):
    """The network's input, uint8 (size, size, 3), and what was measured for it, if anything.

    `appearance` is `appearance.MEASURES` of the photograph as it is, where it was asked for.
    """

    pixels: Pixels
    measured: MeasuredCell | None
    appearance: Appearance | None = None


def see(
    image: Image.Image,
    record: Preprocessing,
    box: Box | None = None,
    known: Mapping[str, Any] | None = None,
    appearance: bool = False,
) -> Seen:
    """Give the network's input of an upright RGB image, or of a box in it.

    Parameters
    ----------
    known
        Values that were measured before and travel with a cut-out (`cell.MEASURED`).
    appearance
        Whether light, stain, sharpness and size are measured too.

    Raises
    ------
    ImageError
        If the box, or the place of the nucleus that is known, lies outside of the image.
    """
    if record.cell is None:
        shown = _looked_at(image, record, box) if appearance else None
        return Seen(prepare(image, record, box), None, shown)
    if box is not None:
        require_inside(image.size, box)
    measured = MeasuredCell.from_columns(known) if known and box is None else None
    if measured is None:
        measured = measure(image, record.cell, box)
    elif not (0 <= measured.x <= image.width and 0 <= measured.y <= image.height):
        raise ImageError(
            f"The nucleus at {measured.x:g}, {measured.y:g} lies outside the image of "
            f"{image.width} x {image.height} pixels.",
            f"Correct the columns {', '.join(NUCLEUS)} of its row, or leave them out.",
        )
    how = INTERPOLATION[record.interpolation]
    shown = None
    if appearance:
        left, top, side = window_of(measured, record.cell)
        diameter = measured.diameter if measured.found else None
        shown = appearance_of(image, (left, top, left + side, top + side), diameter)
    return Seen(render(image, record.cell, measured, record.size, how), measured, shown)


def _looked_at(image: Image.Image, record: Preprocessing, box: Box | None) -> Appearance:
    """Measure a picture, or a box in one; without a view of the cell a box alone has a size."""
    if box is None:
        return appearance_of(image, _centre(image.size, record.crop), None)
    left, top, right, bottom = require_inside(image.size, box)
    side = math.sqrt((right - left) * (bottom - top))
    return appearance_of(image, (left, top, right, bottom), side)


def prepare(image: Image.Image, record: Preprocessing, box: Box | None = None) -> Pixels:
    """Crop and resize an upright RGB image to the network's input.

    Returns
    -------
    numpy.ndarray
        uint8, shape (size, size, 3).
    """
    if record.cell is not None:
        return see(image, record, box).pixels
    size, how = record.size, INTERPOLATION[record.interpolation]
    if box is not None:
        image = cut_out(image, record, box)
    if box is None or record.crop_boxes:
        image = image.crop(_centre(image.size, record.crop))
    longer = max(image.size)
    if longer / min(image.size) <= SQUASHED:
        return np.asarray(image.resize((size, size), how), dtype=np.uint8)
    scale = size / longer
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    part = image.resize(inner, how)
    pixels = np.asarray(part, dtype=np.uint8)
    edge = np.concatenate(
        [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]], axis=0, dtype=np.float32
    )
    square = np.empty((size, size, 3), dtype=np.uint8)
    square[:] = edge.mean(axis=0).astype(np.uint8)
    y, x = (size - inner[1]) // 2, (size - inner[0]) // 2
    square[y : y + inner[1], x : x + inner[0]] = pixels
    return square


def cut_out(photograph: Image.Image, record: Preprocessing, box: Box) -> Image.Image:
    """Cut a box out of an upright photograph, at its own resolution, as the record says.

    Raises
    ------
    ImageError
        If it lies outside.
    """
    width, height = photograph.size
    left, top, right, bottom = require_inside(photograph.size, box)
    wide, tall = right - left, bottom - top
    more = round(record.margin * max(wide, tall))
    if record.square:
        wide, tall = max(wide, tall), max(wide, tall)
    left, right = _widened(left, right, wide + 2 * more, width)
    top, bottom = _widened(top, bottom, tall + 2 * more, height)
    part = photograph.crop((left, top, right, bottom))
    if not record.round:
        return part
    mask = Image.new("L", part.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, part.width - 1, part.height - 1), fill=255)
    return Image.composite(part, Image.new("RGB", part.size), mask)


def require_inside(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Give left, top, right, bottom of a box, in whole pixels of an image of this size.

    Raises
    ------
    ImageError
        If it lies outside.
    """
    width, height = size
    # Cut to the photograph first: sides of others' files may be too long to be rounded.
    left, right = (round(min(max(v, 0), width)) for v in (box.x, box.x + box.width))
    top, bottom = (round(min(max(v, 0), height)) for v in (box.y, box.y + box.height))
    if right <= left or bottom <= top:
        where = f"The box at {box.x:g}, {box.y:g} of {box.width:g} x {box.height:g} pixels"
        if box.width <= 0 or box.height <= 0:
            raise ImageError(
                f"{where} is empty.", "Correct its width and height, or take it out of the table."
            )
        raise ImageError(
            f"{where} lies outside the image of {width} x {height} pixels.",
            "Boxes are in pixels of the upright photograph.",
        )
    return left, top, right, bottom


def _widened(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """Give a stretch of this length about the same middle, moved or cut to lie in 0..limit."""
    length = min(length, limit)
    start = (low + high - length + 1) // 2
    start = min(max(start, 0), limit - length)
    return start, start + length


def _centre(size: tuple[int, int], crop: float) -> tuple[int, int, int, int]:
    """Give left, top, right, bottom in whole pixels: what any runtime can cut exactly."""
    if crop >= 1.0:
        return 0, 0, size[0], size[1]
    side = max(1, round(crop * min(size)))
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side


def load(sample: Sample, record: Preprocessing) -> Pixels:
    """Read one sample as the network's input: uint8, shape (size, size, 3).

    Raises
    ------
    ImageError
        Whatever a library raises on the way, with the file's name.
    """
    return load_seen(sample, record).pixels


def load_seen(sample: Sample, record: Preprocessing, appearance: bool = False) -> Seen:
    """Read one sample as the network's input, with what was measured for it; raises as `load`."""
    with reading(sample.path):
        if sample.box is None:
            image = open_upright(sample.path, record)
            return see(image, record, known=sample.extra, appearance=appearance)
        box = None if record.whole else sample.box
        return see(photograph_of(sample.path, record), record, box, appearance=appearance)


class _Last(threading.local):
    """The photograph that this thread has last cut a box from: the next box is in it too."""

    key: tuple[object, ...] = ()
    image: Image.Image | None = None


_LAST = _Last()


def photograph_of(path: str, record: Preprocessing) -> Image.Image:
    """Decode the whole photograph that boxes lie in; box after box of one it is decoded once.

    Boxes are in pixels of the whole photograph, so it is never decoded at a reduced scale. Not to
    be changed by whoever asks for it.
    """
    try:
        stat = Path(file_of(path)).stat()
        stamp: tuple[object, ...] = (stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError):
        stamp = ()
    key = (path, record.channels, record.window, record.plane, *stamp)
    if _LAST.image is None or _LAST.key != key:
        _LAST.image = None  # two photographs of 80 megapixels need not be held at once
        _LAST.image = open_upright(path, record.unscaled)
        _LAST.key = key
    return _LAST.image


def load_many(
    samples: Sequence[Sample], record: Preprocessing, workers: int | None = None
) -> Iterator[Pixels | CytowellError]:
    """Read samples in order on a few threads, a bounded number ahead; an error is a value here."""

    def one(sample: Sample) -> Pixels | CytowellError:
        try:
            return load(sample, record)
        except CytowellError as error:
            return error

    return ahead(one, samples, workers, waiting=8)
