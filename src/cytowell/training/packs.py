"""Images decoded once, kept as uint8 in a memory map: an epoch reads pages, not JPEGs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cytowell.errors import CytowellError, DatasetError
from cytowell.images import Preprocessing, load_many
from cytowell.storage import cache_folder, explaining, replacing
from cytowell.types import Dataset, Pixels, file_of

SHORTER_SIDE = 0.9999
"""A crop that is the square on the whole shorter side; 1 would mean the picture fitted in."""

AROUND = 1.5
"""How much more than the network's view is stored, by side: a view of half the picture would cost
four times the bytes else. What is turned or shifted in from further away is a reflection."""

KEPT_BYTES = 20 << 30
"""Packs beyond this are the first to go, oldest first."""


def around(record: Preprocessing, size: int) -> Preprocessing:
    """Give the record of the pack for a phase: what the network sees, and what lies around it."""
    if record.cell is not None:
        wider = replace(record.cell, window=min(10.0, AROUND * record.cell.window))
        return replace(record, size=round(size * wider.window / record.cell.window), cell=wider)
    if record.crop >= SHORTER_SIDE:
        return replace(record, size=size)
    crop = min(SHORTER_SIDE, AROUND * record.crop)
    return replace(record, size=round(size * crop / record.crop), crop=crop)


def pack(
    dataset: Dataset, record: Preprocessing, said: Callable[[str], None] = lambda _: None
) -> Pixels:
    """Decode a data set once.

    Returns
    -------
    numpy.ndarray
        uint8 memory map of shape (N, size, size, 3), row i is sample i.

    Raises
    ------
    DatasetError
        If an image cannot be read: a training never skips one silently.
    """
    key = hashlib.sha256(
        json.dumps([[_identity(s.path), str(s.box)] for s in dataset.samples]).encode()
        + json.dumps(record.to_json()).encode()
    ).hexdigest()[:32]
    folder = cache_folder() / "packs"
    file = folder / f"{key}.npy"
    if not file.exists():
        _make_room(folder, len(dataset) * record.size**2 * 3)
        said(f"reading {len(dataset)} images at {record.size} px")
        with replacing(file) as beside, explaining(file):
            _write(beside, dataset, record)
    else:
        file.touch()
    mapped: Pixels = np.load(file, mmap_mode="r")
    return mapped


def _write(file: Path, dataset: Dataset, record: Preprocessing) -> None:
    shape = (len(dataset), record.size, record.size, 3)
    needed = int(np.prod(shape))
    if shutil.disk_usage(file.parent).free < needed + (64 << 20):
        raise OSError(28, "No space left on device")
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    for i, pixels in enumerate(load_many(dataset.samples, record)):
        if isinstance(pixels, CytowellError):
            raise DatasetError(
                f"A training image cannot be read: {pixels}",
                "Run cytowell check, and mend or remove what it lists.",
            )
        out[i] = pixels
    out.flush()


def _identity(path: str) -> Sequence[object]:
    file = Path(file_of(path))
    try:
        stat = file.stat()
    except OSError as error:
        raise DatasetError(
            f"A training image cannot be read: {path} ({error.strerror}).",
            "Run cytowell check, and mend or remove what it lists.",
        ) from error
    return (str(file.resolve()), path[len(file_of(path)) + 2 :], stat.st_size, stat.st_mtime_ns)


def _make_room(folder: Path, needed: int) -> None:
    packs = sorted(folder.glob("*.npy"), key=lambda p: p.stat().st_mtime)
    total = sum(p.stat().st_size for p in packs) + needed
    for old in packs:
        if total <= KEPT_BYTES:
            break
        total -= old.stat().st_size
        old.unlink(missing_ok=True)
