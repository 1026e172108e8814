"""One look at every photograph: small facts that the checks share, so that each is decoded once.

Nothing here judges. A photograph is read whole (for its hash), decoded at a reduced scale, and
leaves a row of numbers, a grey thumbnail and a descriptor that mirroring and turning leave alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import ExifTags, Image
from scipy import fft
from skimage.measure import blur_effect

from cytowell.checks.issues import Progress
from cytowell.errors import CytowellError
from cytowell.images import FORMATS, NPZ_MARK, Preprocessing, ahead, open_upright
from cytowell.types import Dataset, IntArray, Pixels, printable

WORKING_SIDE = 384
"""Longer side in pixels at which photographs are measured; larger ones are reduced to it."""

SHARP_SIDE = 256
"""Side of the central part whose sharpness is measured."""

THUMB = 32
COARSE = 8

_BRIGHTNESS = (1, 5, 95, 99)


@dataclass(frozen=True)
class Scan:
    """What one look at the photographs gave.

    Attributes
    ----------
    paths
        Every photograph once, P of them.
    photograph
        For each sample the position of its photograph in `paths`; shape (N,).
    facts
        One row per photograph: `sha256` (of the bytes; of the pixels in an array), `bytes`,
        `format` ("" if not known), `width`, `height`, `frames`, `camera` and `taken` (model and
        day as EXIF has them), `error` ("" if it could be decoded), `complete` (whether its end is
        there), `brightness_perc_1/5/95/99`, `entropy` (bits), `contrast` (grey levels),
        `sharpness` (0..1), `red_green` and `blue_green` (mean chroma, -1..1), `saturation` (0..1).
        NaN where it could not be decoded.
    grey
        uint8 thumbnails, shape (P, 32, 32).
    descriptors
        Unit vectors that mirroring and turning by 90 degrees do not change; shape (P, D).
    """

    paths: tuple[str, ...]
    photograph: IntArray
    facts: pd.DataFrame
    grey: Pixels
    descriptors: npt.NDArray[np.float32]

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """Where the photograph could be decoded; shape (P,)."""
        return np.asarray(self.facts["error"].to_numpy() == "", dtype=np.bool_)

    def spread(self, fact: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give every sample the fact of its photograph: (P, ...) to (N, ...)."""
        return np.asarray(fact)[self.photograph]


def look(
    dataset: Dataset,
    record: Preprocessing | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Scan:
    """Look once at every photograph of a data set, on as many threads as there are processors.

    Parameters
    ----------
    record
        Channels and intensity window of multi-channel and 16-bit images.
    """
    paths = tuple(dict.fromkeys(dataset.paths))
    place = {path: i for i, path in enumerate(paths)}
    rows: list[dict[str, Any]] = []
    grey = np.zeros((len(paths), THUMB, THUMB), dtype=np.uint8)
    descriptors = np.zeros((len(paths), len(_describe(np.zeros((THUMB, THUMB, 3))))), np.float32)
    with unwarned():
        for i, (facts, small) in enumerate(_measured(paths, record, workers)):
            rows.append(facts)
            if small is not None:
                grey[i] = np.asarray(Image.fromarray(small).convert("L"))
                descriptors[i] = _describe(small.astype(np.float64))
            if progress is not None and (i % 50 == 49 or i + 1 == len(paths)):
                progress("looking at the photographs", i + 1, len(paths))
    photograph = np.array([place[p] for p in dataset.paths], dtype=np.int64)
    return Scan(paths, photograph, pd.DataFrame(rows, columns=_COLUMNS), grey, descriptors)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Keep Pillow's warnings of odd metadata and large headers: what matters becomes a fact."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


_MEASURES = (
    *(f"brightness_perc_{p}" for p in _BRIGHTNESS),
    *("entropy", "contrast", "sharpness", "red_green", "blue_green", "saturation"),
)
_COLUMNS = [
    *("sha256", "bytes", "format", "width", "height", "frames", "error", "complete"),
    *("camera", "taken"),
    *_MEASURES,
]
_Measured = tuple[dict[str, Any], Pixels | None]


def _measured(
    paths: Sequence[str], record: Preprocessing | None, workers: int | None
) -> Iterator[_Measured]:
    return ahead(lambda path: _measure(path, record), paths, workers, waiting=16)


def _measure(path: str, record: Preprocessing | None) -> _Measured:
    facts: dict[str, Any] = dict.fromkeys(_MEASURES, np.nan)
    facts |= {"error": "", "camera": "", "taken": ""}
    try:
        image = open_hashed(path, record or Preprocessing(), facts)
    except CytowellError as error:
        facts["error"] = error.problem
        return facts, None
    working = image.copy() if max(image.size) > WORKING_SIDE else image
    working.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    facts |= _light(working) | _detail(working)
    return facts, np.asarray(working.resize((THUMB, THUMB), Image.Resampling.BOX))


def open_hashed(path: str, record: Preprocessing, facts: dict[str, Any]) -> Image.Image:
    """Decode a photograph, noting its hash and what its header says even if the decoding fails.

    `sha256` is of a file's bytes, and of shape and pixels where the image is one of an array.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    facts |= {"sha256": "", "bytes": 0, "format": "", "width": 0, "height": 0, "frames": 1}
    facts["complete"] = True
    if NPZ_MARK not in path:
        return _decode(path, record, facts)
    image = open_upright(path, record)
    pixels = np.asarray(image)
    named = f"{pixels.shape}".encode() + pixels.tobytes()
    facts |= {"format": "array", "sha256": hashlib.sha256(named).hexdigest()}
    facts |= {"bytes": pixels.nbytes, "width": image.width, "height": image.height}
    return image


def _decode(path: str, record: Preprocessing, facts: dict[str, Any]) -> Image.Image:
    try:
        data = Path(path).read_bytes()
    except OSError:
        return open_upright(path, record)  # which fails again, and says why in the usual words
    facts |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    facts |= _header(data)
    facts["complete"] = _is_complete(data, facts["format"])
    longest = max(facts["width"], facts["height"])
    scale = next((s for s in (8, 4, 2) if longest // s >= WORKING_SIDE), 1)
    try:
        image = open_upright(data, replace(record, jpeg_scale=scale), name=path)
    except CytowellError as error:
        if "truncated" in error.problem:
            facts["complete"] = False
        raise
    if (image.width > image.height) != (facts["width"] > facts["height"]):
        facts["width"], facts["height"] = facts["height"], facts["width"]
    if not facts["width"]:
        facts["width"], facts["height"] = image.size
    return image


def _header(data: bytes) -> dict[str, Any]:
    known = content_type(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            name = "JPEG" if image.format == "MPO" else image.format
            # A phone's MPO holds a preview as its second frame: one photograph all the same.
            frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
            size = {"width": image.width, "height": image.height, "frames": frames}
            return {"format": name, **size, **_camera(image)}
    except Exception:  # Pillow's parsers raise whatever the broken bytes lead to
        return {"format": known}


def _camera(image: Image.Image) -> dict[str, str]:
    """Give the camera and the day that EXIF names, "" where it names none."""
    try:
        exif = image.getexif()
        model = str(exif.get(ExifTags.Base.Model, "")).strip("\0 ")
        moments = (exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal),
                   exif.get(ExifTags.Base.DateTime))  # fmt: skip
        taken = next((str(m) for m in moments if m), "")
    except Exception:  # EXIF is as broken as any other part of a file
        return {}
    return {"camera": printable(model)[:64], "taken": printable(taken)[:10]}


_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF8", "GIF"), (b"%PDF", "PDF"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
    (b"PK\3\4", "ZIP"), (b"8BPS", "PSD"), (b"SIMPLE  =", "FITS"), (b"\0\0\0\x0cjP  ", "JPEG2000"),
)  # fmt: skip


def content_type(data: bytes) -> str:
    """Tell from the first bytes what a file is, whatever its name says; "" if nobody knows."""
    for start, name in _MAGIC:
        if data.startswith(start):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and len(data) > 26 and data[6:10] == b"\0\0\0\0":
        return "BMP"
    if data[4:8] == b"ftyp":
        return "HEIF"
    start_bytes = data[:512]
    printable = sum(32 <= b < 127 or b in (9, 10, 13) for b in start_bytes)
    return "text" if start_bytes and printable == len(start_bytes) else ""


def _is_complete(data: bytes, kind: str) -> bool:
    """Tell whether a file's end is there, which a lenient decoder does not ask."""
    if kind == "JPEG":
        start = data.rfind(b"\xff\xda")
        return start >= 0 and data.find(b"\xff\xd9", start) >= 0
    if kind == "PNG":
        return b"IEND" in data[-64 * 1024 :]
    if kind == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return True


def _light(image: Image.Image) -> dict[str, float]:
    """Measure brightness and colour of an RGB image."""
    small = np.asarray(image.resize((96, 96), Image.Resampling.BOX), dtype=np.float32) / 255
    red, green, blue = small[..., 0], small[..., 1], small[..., 2]
    # Perceived brightness as cleanvision has it, so that its thresholds hold.
    bright = np.sqrt(0.241 * red**2 + 0.691 * green**2 + 0.068 * blue**2)
    facts = {
        f"brightness_perc_{p}": float(v)
        for p, v in zip(_BRIGHTNESS, np.percentile(bright, _BRIGHTNESS), strict=True)
    }
    facts["red_green"] = float((red - green).mean())
    facts["blue_green"] = float((blue - green).mean())
    facts["saturation"] = float((small.max(axis=2) - small.min(axis=2)).mean())
    return facts


def _detail(image: Image.Image) -> dict[str, float]:
    """Measure how much there is to see, and how sharply (Crete et al. 2007, 10.1117/12.702790)."""
    grey = image.convert("L")
    left, top = max(0, grey.width - SHARP_SIDE) // 2, max(0, grey.height - SHARP_SIDE) // 2
    centre = grey.crop((left, top, min(left + SHARP_SIDE, grey.width),
                        min(top + SHARP_SIDE, grey.height)))  # fmt: skip
    pixels = np.asarray(centre, dtype=np.float32)
    low, high = np.percentile(np.asarray(grey), (0.1, 99.9))
    with np.errstate(invalid="ignore", divide="ignore"):
        blur = float(blur_effect(pixels, h_size=3)) if min(pixels.shape) >= 8 else 0.0
    return {
        "entropy": float(grey.entropy()),
        "contrast": float(high - low),
        "sharpness": 1.0 - blur if np.isfinite(blur) else 0.0,
    }


def _describe(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Describe a thumbnail by its coarse cosine transform, blind to mirroring and turning.

    Mirroring changes only signs of the coefficients, turning also swaps their two axes: absolute
    values, and sums and differences across the diagonal, stay as they are.
    """
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    parts = []
    for plane, side in ((grey, COARSE), (rgb[..., 0] - grey, 4), (rgb[..., 2] - grey, 4)):
        waves = np.abs(fft.dctn(plane, norm="ortho")[:side, :side])
        waves[0, 0] *= 0.0 if plane is grey else 0.2
        upper, strict = np.triu_indices(side), np.triu_indices(side, 1)
        weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
        parts.append(((waves + waves.T) / 2)[upper] * weight)
        parts.append(np.abs((waves - waves.T) / 2)[strict] * np.sqrt(2.0))
    vector = np.concatenate(parts)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), dtype=np.float32)
