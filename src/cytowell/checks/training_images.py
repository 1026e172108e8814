"""Which images taught a network: a compact record of them, and how they are found again.

A figure of images that a network was trained on is no test of it. So a bundle carries, for every
photograph that taught it, a truncated hash of its content and a fingerprint of its middle, from
which nothing of the picture can be restored that anybody could recognise. 64 bytes a photograph.

The fingerprint is of the grey middle (`SHARE` of both sides), so that a copy may be shifted, and so
that a picture cut to its middle is found, as BloodMNIST's are: 16 x 16 coefficients of the cosine
transform, the lowest 8 x 8 to four bits, of the others the sign. Mirroring changes signs of
coefficients, turning by 90 degrees swaps their axes: a stored one fits all eight orientations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft

from cytowell.checks.issues import Progress
from cytowell.checks.scan import open_hashed, unwarned
from cytowell.errors import CytowellError
from cytowell.images import Preprocessing, ahead
from cytowell.types import BoolArray, IntArray

WHOLE, SIDE = 58, 32
"""Side in pixels of a whole picture, and of its middle, of which a fingerprint is made."""

SHARE = SIDE / WHOLE
"""The middle's share of each side. BloodMNIST cut 200 of 360 and 363 pixels out of each image."""

LOW, HIGH = 8, 16
"""Coefficients along each axis that are kept to four bits, and those that are kept at all."""

LOW_ALIKE, FINE_ALIKE = 0.93, 0.85
"""Agreement from which two pictures are one: cosine of the low coefficients, and share (from -1 to
1, weighted by their size) of the others whose signs agree. Copies of 150 PBC images (saved at
quality 40, halved, turned, mirrored, shifted, cut to 28 pixels as BloodMNIST is) had .945 and .90
at least; of 1,000 others, against 6,000, the nearest had .89 and .75."""

LOW_CLOSE, FINE_CLOSE = 0.75, 0.5
"""Agreement from which shifts by half a pixel are tried too."""

REACH = 5
"""Largest shift of a copy that is tried, in 58ths of its side."""

NEAREST = 8
"""Records whose low coefficients are nearest, that are compared for each way to see an image."""

FLAT = 2.0
"""Standard deviation in grey levels below which a picture has nothing to be recognised by."""

BLOCK = 32
"""Images that are looked for together."""

NAMES = ("training_content", "training_low", "training_signs")
"""Arrays of a bundle that hold the record."""

MOST_PAIRS = 20_000_000
"""Distances that are held at once, where many images meet a long record."""

_STEP = 10.0
"""Steps of the four bits that hold the root of a coefficient; the low ones have unit length."""

_FINE = np.ones((HIGH, HIGH), dtype=np.bool_)
_FINE[:LOW, :LOW] = False
_WEIGHT = (1 + np.hypot(*np.mgrid[:HIGH, :HIGH])) ** 1.5
_SIGNS = (-1.0) ** np.arange(HIGH)
_COSINES = fft.dct(np.eye(SIDE), axis=0, norm="ortho")[:HIGH].astype(np.float32)
_Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingImages:
    """A record of N photographs, each once.

    Attributes
    ----------
    content
        The first eight bytes of each SHA-256 (`scan.open_hashed`), uint64 (N,), ascending.
    low
        Low coefficients, two to a byte, uint8 (N, 32); those of flat pictures are 0.
    signs
        Signs of the other coefficients, eight to a byte, uint8 (N, 24).
    """

    content: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint8]
    signs: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.content)

    def joined(self, other: TrainingImages | None) -> TrainingImages:
        """Give the record of the photographs of both."""
        if other is None:
            return self
        content = np.concatenate([self.content, other.content])
        kept, first = np.unique(content, return_index=True)
        both = zip((self.low, self.signs), (other.low, other.signs), strict=True)
        low, signs = (np.concatenate(pair)[first] for pair in both)
        return TrainingImages(kept, low, signs)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Give the arrays as a bundle holds them."""
        return dict(zip(NAMES, (self.content, self.low, self.signs), strict=True))

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> TrainingImages | None:
        """Read what `arrays` gave; None where a bundle does not say what taught it.

        Raises
        ------
        ValueError
            If the arrays do not fit one another.
        """
        if NAMES[0] not in arrays:
            return None
        content, low, signs = (arrays[name] for name in NAMES)
        shapes = (low.shape, signs.shape)
        kinds = [array.dtype.name for array in (content, low, signs)]
        if shapes != ((len(content), 32), (len(content), 24)) or kinds != [
            "uint64",
            "uint8",
            "uint8",
        ]:
            raise ValueError("a record of training images whose arrays do not fit one another")
        return TrainingImages(content, low, signs)

    @cached_property
    def unpacked(self) -> tuple[_Grey, _Grey, _Grey]:
        """Low coefficients (N, 64) as unit vectors, signs (N, 192) and descriptors (N, 64)."""
        nibbles = np.stack([self.low >> 4, self.low & 15], axis=2).reshape(len(self), -1)
        values = (nibbles.astype(np.float32) - 8) / _STEP
        told = np.asarray(self.low.any(axis=1))
        values = np.where(told[:, None], np.sign(values) * values**2, 0)
        signs = np.unpackbits(self.signs, axis=1).astype(np.float32) * 2 - 1
        described = _describe(values.reshape(-1, LOW, LOW))
        return _unit(values), signs, described


@dataclass(frozen=True)
class Known:
    """Which of N photographs a record holds: `exact` by their content, `near` as copies; (N,)."""

    exact: BoolArray
    near: BoolArray

    @property
    def either(self) -> BoolArray:
        """Where a photograph is in the record."""
        return self.exact | self.near


def record(
    paths: Sequence[str], reading: Preprocessing | None = None, progress: Progress | None = None
) -> TrainingImages:
    """Make the record of photographs; those that cannot be read taught nothing.

    Parameters
    ----------
    reading
        Channels and intensity window of multi-channel and 16-bit images.
    """
    what = "recording the training images"
    with unwarned():
        found = {v.content: v for v in _views(paths, reading, progress, what) if v is not None}
    views = [found[content] for content in sorted(found)]
    low = np.zeros((len(views), LOW * LOW // 2), dtype=np.uint8)
    signs = np.zeros((len(views), (HIGH * HIGH - LOW * LOW) // 8), dtype=np.uint8)
    rows = [i for i, view in enumerate(views) if not view.flat]
    if rows:
        c = _coefficients(np.stack([views[i].middle(0, 0) for i in rows]))
        nibbles = np.clip(np.rint(_STEP * np.sign(c) * np.sqrt(np.abs(c))), -8, 7) + 8
        pairs = nibbles[:, :LOW, :LOW].reshape(len(rows), -1, 2).astype(np.uint8)
        low[rows] = pairs[..., 0] << 4 | pairs[..., 1]
        signs[rows] = np.packbits(c[:, _FINE] > 0, axis=1)
    return TrainingImages(np.array(sorted(found), dtype=np.uint64), low, signs)


def find(
    known: TrainingImages,
    paths: Sequence[str],
    reading: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Known:
    """Find photographs that a record holds, and near copies of those that it holds.

    Parameters
    ----------
    paths
        N photographs, some perhaps several times.
    """
    different = list(dict.fromkeys(paths))
    exact = np.zeros(len(different), dtype=np.bool_)
    near = np.zeros(len(different), dtype=np.bool_)
    block: list[tuple[int, _View]] = []
    together = int(np.clip(MOST_PAIRS // (len(_COARSE) * max(1, len(known))), 1, BLOCK))
    what = "looking for training images"
    with unwarned(), contextlib.closing(_views(different, reading, progress, what)) as views:
        for i, view in enumerate(views):
            if view is not None:
                exact[i] = np.isin(np.uint64(view.content), known.content)
                if not exact[i] and not view.flat:
                    block.append((i, view))
            if block and (len(block) == together or i + 1 == len(different)):
                for (row, _), copied in zip(
                    block, _copies(known, [v for _, v in block]), strict=True
                ):
                    near[row] = copied
                block = []
    place = {path: i for i, path in enumerate(different)}
    rows = [place[path] for path in paths]
    return Known(exact[rows], near[rows])


@dataclass(frozen=True)
class _View:
    """What is looked at of a photograph: its hash, the grey whole at two sizes."""

    content: int
    whole: _Grey
    small: _Grey

    @property
    def flat(self) -> bool:
        return bool(self.middle(0, 0).std() < FLAT)

    def middle(self, x: int, y: int) -> _Grey:
        """Give the middle, as it would be if the picture were moved by so many pixels."""
        left, top = (WHOLE - SIDE) // 2 + x, (WHOLE - SIDE) // 2 + y
        return self.whole[top : top + SIDE, left : left + SIDE]

    def between(self, x: int, y: int) -> _View:
        """Give the view moved by half a pixel where `x` or `y` is 1."""
        whole = ((self.whole + np.roll(self.whole, (-y, -x), (0, 1))) / 2).astype(np.float32)
        return _View(self.content, whole, self.small)


_SHIFTS = [(x, y) for x in range(-REACH, REACH + 1) for y in range(-REACH, REACH + 1)]
_HALVES = ((1, 0), (0, 1), (1, 1))
_COARSE = [(x, y) for x, y in _SHIFTS if x % 2 == 0 and y % 2 == 0]


def _views(
    paths: Sequence[str], reading: Preprocessing | None, progress: Progress | None, what: str
) -> Generator[_View | None]:
    """Give each photograph's view, in order; None for one that cannot be read."""
    how = reading or Preprocessing()
    for i, view in enumerate(ahead(lambda path: _view(path, how), paths, waiting=16)):
        if progress is not None and (i % 50 == 49 or i + 1 == len(paths)):
            progress(what, i + 1, len(paths))
        yield view


def _view(path: str, reading: Preprocessing) -> _View | None:
    facts: dict[str, Any] = {}
    try:
        grey = open_hashed(path, reading, facts).convert("L")
    except CytowellError:
        return None
    whole, small = (_resized(grey, side) for side in (WHOLE, SIDE))
    return _View(int(str(facts["sha256"])[:16], 16), whole, small)


def _resized(grey: Image.Image, side: int) -> _Grey:
    shrinks = min(grey.size) >= side
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(grey.resize((side, side), how), dtype=np.float32)


def _coefficients(pictures: _Grey) -> _Grey:
    """Give (N, 16, 16) coefficients of pictures (N, 32, 32), evened over frequencies.

    Amplitudes in photographs fall with frequency; the low ones are brought to unit length.
    """
    found = np.asarray(_COSINES @ pictures @ _COSINES.T * _WEIGHT, dtype=np.float32)
    found[:, 0, 0] = 0
    lengths = np.linalg.norm(found[:, :LOW, :LOW], axis=(1, 2), keepdims=True)
    return np.asarray(found / np.maximum(lengths, 1e-6), dtype=np.float32)


def _describe(low: _Grey) -> _Grey:
    """Describe low coefficients (N, 8, 8) so that no orientation changes it: (N, 64).

    Sums of absolute values across the diagonal, and absolute differences.
    """
    sizes = np.abs(low)
    turned = np.swapaxes(sizes, 1, 2)
    upper, strict = np.triu_indices(LOW), np.triu_indices(LOW, 1)
    once = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    sums = ((sizes + turned) / 2)[:, upper[0], upper[1]] * once
    differences = np.abs(sizes - turned)[:, strict[0], strict[1]] / np.sqrt(2.0)
    return np.concatenate([sums, differences], axis=1, dtype=np.float32)


def _oriented(coefficients: _Grey) -> _Grey:
    """Give (N, 16, 16) coefficients in all eight orientations: (8 N, 16, 16)."""
    mirrored = [coefficients * x * y[:, None] for x in (1, _SIGNS) for y in (np.ones(HIGH), _SIGNS)]
    turned = [np.swapaxes(m, 1, 2) for m in mirrored]
    return np.concatenate([*mirrored, *turned], dtype=np.float32)


def _copies(known: TrainingImages, views: Sequence[_View]) -> Iterator[bool]:
    """Say of each view whether it is a copy of a photograph of the record."""
    if not len(known):
        yield from (False for _ in views)
        return
    descriptors = known.unpacked[2]
    coarse = np.stack([np.stack([*(v.middle(*s) for s in _COARSE), v.small]) for v in views])
    seen = _describe(_coefficients(coarse.reshape(-1, SIDE, SIDE))[:, :LOW, :LOW])
    apart = (descriptors**2).sum(axis=1) - 2 * seen @ descriptors.T
    count = min(NEAREST, len(known))
    nearest = np.argpartition(apart, count - 1, axis=1)[:, :count]
    for view, rows in zip(views, nearest.reshape(len(views), -1), strict=True):
        yield is_copy(known, view, np.unique(rows))


def is_copy(known: TrainingImages, view: _View, rows: IntArray) -> bool:
    """Say whether a view is a copy of one of the records at `rows` (M,)."""
    low, fine = agreement(known, view, rows)
    close = ((low >= LOW_CLOSE) & (fine >= FINE_CLOSE)).any(axis=0)
    if close.any() and not _alike(low, fine):
        # Between two whole shifts: half a pixel changes the signs of the finest coefficients.
        low, fine = (
            np.concatenate(both)
            for both in zip(
                *(agreement(known, view.between(*half), rows[close]) for half in _HALVES),
                strict=True,
            )
        )
    return _alike(low, fine)


def _alike(low: _Grey, fine: _Grey) -> bool:
    return bool(((low >= LOW_ALIKE) & (fine >= FINE_ALIKE)).any())


def agreement(known: TrainingImages, view: _View, rows: IntArray) -> tuple[_Grey, _Grey]:
    """Compare a view with records at `rows` (M,), in every orientation and shift (W of them).

    Returns
    -------
    tuple
        Cosine of the low coefficients, and agreement of the signs of the others; each (W, M).
    """
    pictures = np.stack([*(view.middle(x, y) for x, y in _SHIFTS), view.small])
    ways = _oriented(_coefficients(pictures))
    low, signs, _ = known.unpacked
    fine = ways[:, _FINE]
    sizes = np.maximum(np.abs(fine).sum(axis=1, keepdims=True), 1e-6)
    own = _unit(ways[:, :LOW, :LOW].reshape(len(ways), -1))
    return own @ low[rows].T, fine @ signs[rows].T / sizes


def _unit(rows: _Grey) -> _Grey:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-6), dtype=np.float32)
