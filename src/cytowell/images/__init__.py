"""The one preprocessing: decode, turn upright, crop, resize. Training and service both come here.

What leaves this room is always upright RGB uint8. Normalisation is inside the bundle's graph, so
that nobody can do it differently.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
from PIL import Image

from cytowell.errors import CytowellError, ImageError
from cytowell.images.arrays import npz_member
from cytowell.images.decode import open_upright
from cytowell.images.limits import FORMATS, MAX_PIXELS, NPZ_MARK, SUFFIXES
from cytowell.images.record import INTERPOLATION, Preprocessing
from cytowell.types import Box, Pixels, Sample

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "NPZ_MARK",
    "SQUASHED",
    "SUFFIXES",
    "Preprocessing",
    "load",
    "load_many",
    "npz_member",
    "open_upright",
    "prepare",
    "worker_count",
]

SQUASHED = 1.1
"""Up to this ratio of its sides a whole picture is made square; beyond, it is fitted in."""


def prepare(image: Image.Image, record: Preprocessing, box: Box | None = None) -> Pixels:
    """Crop and resize an upright RGB image to the network's input.

    Returns
    -------
    numpy.ndarray
        uint8, shape (size, size, 3).
    """
    size, how = record.size, INTERPOLATION[record.interpolation]
    image = image.crop(_region(image.size, record.crop, box))
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


def _region(size: tuple[int, int], crop: float, box: Box | None) -> tuple[int, int, int, int]:
    """Give left, top, right, bottom in whole pixels: what any runtime can cut exactly."""
    left, top, right, bottom = 0, 0, size[0], size[1]
    if box is not None:
        left, top = max(round(box.x), 0), max(round(box.y), 0)
        right = min(round(box.x + box.width), right)
        bottom = min(round(box.y + box.height), bottom)
        if right <= left or bottom <= top:
            raise ImageError(
                f"The box {box} lies outside the image of {size[0]} x {size[1]} pixels.",
                "Boxes are in pixels of the upright photograph.",
            )
    if crop < 1.0:
        side = max(1, round(crop * min(right - left, bottom - top)))
        left, top = left + (right - left - side) // 2, top + (bottom - top - side) // 2
        right, bottom = left + side, top + side
    return left, top, right, bottom


def load(sample: Sample, record: Preprocessing) -> Pixels:
    """Read one sample as the network's input: uint8, shape (size, size, 3)."""
    # A box is in pixels of the whole photograph, so a reduced decode would misplace it.
    full = record if sample.box is None or record.jpeg_scale == 1 else _full_scale(record)
    return prepare(open_upright(sample.path, full), record, sample.box)


def _full_scale(record: Preprocessing) -> Preprocessing:
    return Preprocessing(**(asdict(record) | {"jpeg_scale": 1}))


def worker_count() -> int:
    """Give the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def load_many(
    samples: Sequence[Sample], record: Preprocessing, workers: int | None = None
) -> Iterator[Pixels | CytowellError]:
    """Read samples in order on a few threads, a bounded number ahead; an error is a value here."""

    def one(sample: Sample) -> Pixels | CytowellError:
        try:
            return load(sample, record)
        except CytowellError as error:
            return error

    count = workers or worker_count()
    with ThreadPoolExecutor(count, thread_name_prefix="decode") as pool:
        ahead = 8 * count
        pending = [pool.submit(one, s) for s in samples[:ahead]]
        try:
            for position in range(len(samples)):
                result = pending[position % ahead].result()
                if position + ahead < len(samples):
                    pending[position % ahead] = pool.submit(one, samples[position + ahead])
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
