"""Photographs to features, in order, in constant memory, with every processor busy.

Each thread decodes a few images and runs the network on them itself: no hand-over, no waiting, and
a network on one thread does more per processor than on several.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cytowell.errors import CytowellError, ImageError
from cytowell.images import Encoded, Preprocessing, Seen, ahead, load_seen, open_upright, see
from cytowell.images.appearance import MEASURES
from cytowell.images.failures import reading
from cytowell.runtime.session import Session
from cytowell.types import Dataset, IntArray, Pixels, Sample

Source = Sample | Encoded | Pixels
"""What can be called: a named photograph, a file in memory, upright pixels."""

BATCH = 4
"""Images a thread takes at once: enough to amortise a call, few enough to stay in cache. With eight
a network of four views at 192 px took a gigabyte on two threads, and was no faster."""

NONE = np.zeros((0, len(MEASURES)), dtype=np.float32)


@dataclass(frozen=True)
class Batch:
    """Samples, their errors ("" for none), and features (M, D) of the `called` ones, in order.

    `doubts`, one for each of the M or none at all, say what was seen in an image that keeps a call
    from being made ("" for nothing). `appearances` (M, K) are what `images.appearance.MEASURES`
    names; without any they are not known.
    """

    samples: tuple[Sample, ...]
    errors: tuple[str, ...]
    features: npt.NDArray[np.float32]
    doubts: tuple[str, ...] = ()
    appearances: npt.NDArray[np.float32] = field(default_factory=lambda: NONE)

    @property
    def called(self) -> IntArray:
        """Positions of the samples that were read: no error, and something to be called; (M,)."""
        pairs = enumerate(zip(self.samples, self.errors, strict=True))
        return np.array([i for i, (s, e) in pairs if not e and not s.nothing], dtype=np.int64)


def features(
    session: Session,
    record: Preprocessing,
    samples: Iterable[Source],
    workers: int | None = None,
) -> Iterator[Batch]:
    """Give features batch by batch, in order; a bounded number of batches is under way."""
    source = iter(samples)
    chunks = iter(lambda: list(itertools.islice(source, BATCH)), [])
    return ahead(lambda chunk: batch_of(session, record, chunk), chunks, workers)


def as_samples(images: Any) -> Sequence[Source]:
    """Give one or many images of any accepted kind as a list."""
    if isinstance(images, Dataset):
        return images.samples
    if isinstance(images, str | Path | Sample | Encoded | Image.Image):
        images = [images]
    if isinstance(images, np.ndarray) and images.ndim <= 3:
        images = [images]
    out: list[Source] = []
    for image in images:
        if isinstance(image, Sample | Encoded):
            out.append(image)
        elif isinstance(image, Image.Image):
            out.append(np.asarray(image.convert("RGB")))
        elif isinstance(image, np.ndarray):
            out.append(image)
        else:
            out.append(Sample(str(image)))
    return out


def batch_of(session: Session, record: Preprocessing, chunk: Sequence[Source]) -> Batch:
    """Decode a few images and run the network on them, in this thread."""
    samples, errors, pixels, doubts, shown = [], [], [], [], []
    for item in chunk:
        sample = item if isinstance(item, Sample) else Sample(getattr(item, "name", ""))
        error = sample.error
        try:
            if not sample.nothing and not error:
                with reading(sample.path):
                    seen = _seen(item, record)
                pixels.append(seen.pixels)
                doubts.append(seen.measured.doubt if seen.measured is not None else "")
                shown.append(seen.appearance)
                if seen.measured is not None:
                    sample = replace(sample, extra={**sample.extra, **seen.measured.columns()})
        except CytowellError as problem:
            error = str(problem)
        samples.append(sample)
        errors.append(error)
    found = _featured(session, pixels)
    called = [i for i, s in enumerate(samples) if not errors[i] and not s.nothing]
    for i, row in zip(called, found, strict=True):
        if isinstance(row, CytowellError):
            errors[i] = f"{samples[i].path} cannot be called. {row}".strip()
    fine = [i for i, row in enumerate(found) if not isinstance(row, CytowellError)]
    rows = [found[i] for i in fine]
    features = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
    appearances = np.array([shown[i] for i in fine], dtype=np.float32) if fine else NONE
    doubted = tuple(doubts[i] for i in fine)
    return Batch(tuple(samples), tuple(errors), features, doubted, appearances)


def _featured(session: Session, pixels: list[Pixels]) -> list[Any]:
    """Give the features (D,) of each picture; where the network fails, each alone or its error."""
    if not pixels:
        return []
    try:
        with reading("A batch", "cannot be called", ""):
            return list(session.features(np.stack(pixels)))
    except CytowellError as error:
        if len(pixels) == 1:
            return [error]
    return [found for one in pixels for found in _featured(session, [one])]


def _seen(item: Source, record: Preprocessing) -> Seen:
    if isinstance(item, Sample):
        return load_seen(item, record, appearance=True)
    if isinstance(item, Encoded):
        return see(open_upright(item.data, record, item.name), record, appearance=True)
    return _given(item, record)


def _given(array: Pixels, record: Preprocessing) -> Seen:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageError(
            f"An array of shape {array.shape} and type {array.dtype} is no image.",
            "Give upright RGB as uint8 of shape (height, width, 3).",
        )
    return see(Image.fromarray(np.ascontiguousarray(array)), record, appearance=True)
