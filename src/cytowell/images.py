"""The one preprocessing: decode, turn upright, crop, resize. Training and service both come here.

What leaves this room is always upright RGB uint8. Normalisation is inside the bundle's graph, so
that nobody can do it differently.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from cytowell.errors import (
    CytowellError,
    ImageError,
    ImageTooLarge,
    MissingDecoder,
    RecipeError,
    StorageError,
)
from cytowell.storage import cache_folder, write_with
from cytowell.types import Box, Pixels, Sample

MAX_PIXELS = 89_478_485
"""Largest image that is decoded, in pixels: Pillow's own line, but an error and from the header."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""What Pillow may try; everything else (GIF, FITS, EPS, PSD ...) is refused by name."""

SQUASHED = 1.1
"""Up to this ratio of its sides a whole picture is made square; beyond, it is fitted in."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif"}
)
HEIC_SUFFIXES = frozenset({".heic", ".heif"})
NPZ_MARK = ".npz::"

_INTERPOLATION = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the network's input; travels inside the bundle.

    Attributes
    ----------
    size
        Side of the square input in pixels.
    crop
        Share of the shorter side that is kept about the centre. At 1 nothing is cut: the whole
        picture is fitted into the square and the rest is filled with the mean of its own border.
    interpolation
        `bilinear`, `bicubic` or `box`, always antialiased (Pillow's resize).
    jpeg_scale
        JPEGs are decoded at 1/1, 1/2, 1/4 or 1/8 of their size; faster, and not the same pixels.
    channels
        Which channels of a multi-channel TIFF become red, green and blue, counted from 0; None
        takes the first three, or the only one thrice.
    window
        Lowest and highest intensity of 16-bit images, mapped to 0 and 255; None takes the whole
        range of the data type. Never an image's own maximum: brightness would lose its meaning.
    """

    size: int = 224
    crop: float = 1.0
    interpolation: str = "bilinear"
    jpeg_scale: int = 1
    channels: tuple[int, ...] | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096:
            raise RecipeError(f"size = {self.size} is no image side.", "Use 8 to 4096 pixels.")
        if not 0.1 <= self.crop <= 1.0:
            raise RecipeError(f"crop = {self.crop} is no share.", "Use 0.1 to 1.0.")
        if self.interpolation not in _INTERPOLATION:
            raise RecipeError(
                f"interpolation = {self.interpolation!r} is not known.",
                f"Use one of {', '.join(_INTERPOLATION)}.",
            )
        if self.jpeg_scale not in (1, 2, 4, 8):
            raise RecipeError(f"jpeg_scale = {self.jpeg_scale} is not known.", "Use 1, 2, 4 or 8.")
        chosen = self.channels
        if chosen is not None and (not 1 <= len(chosen) <= 3 or min(chosen) < 0):
            raise RecipeError(
                f"channels = {chosen} is no choice.", "Give one to three, counted from 0."
            )
        if self.window is not None and (
            len(self.window) != 2 or not self.window[0] < self.window[1]
        ):
            raise RecipeError(f"window = {self.window} is empty.", "Give LOW,HIGH with LOW < HIGH.")

    def to_json(self) -> dict[str, Any]:
        """Give the record as it stands in a bundle."""
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> Preprocessing:
        """Read the record of a bundle."""
        known = {k: record[k] for k in Preprocessing.__dataclass_fields__ if k in record}
        for name in ("channels", "window"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        return Preprocessing(**known)


def open_upright(
    source: str | Path | bytes, record: Preprocessing | None = None, name: str = ""
) -> Image.Image:
    """Decode one photograph to upright RGB.

    Parameters
    ----------
    source
        A path, ``file.npz::name/index``, or the file's bytes.
    record
        Decides JPEG scale, channels and window; all defaults without it.
    name
        What to call it in errors when bytes are given.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, EXIF rotation applied, transparency laid on white.

    Raises
    ------
    ImageError
        If it is missing, truncated, too large, or of a format that is not read.
    """
    record = record or Preprocessing()
    shown = name or ("image" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and NPZ_MARK in str(source):
        return Image.fromarray(_rgb(_npz_image(str(source)), record, shown))
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"{shown} cannot be read ({reason}).",
            "Check that the file is there and may be read.",
        ) from error
    if not data:
        raise ImageError(f"{shown} is empty (0 bytes).", "Copy it again from the camera.")
    if _is_heic(data):
        return _heic(data, shown)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        array = _tiff(data, record, shown)
        if array is not None:
            return Image.fromarray(array)
    return _pillow(data, record, shown)


def _pillow(data: bytes, record: Preprocessing, shown: str) -> Image.Image:
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        _cap(image.size, shown)
        if image.format in ("JPEG", "MPO") and record.jpeg_scale > 1:
            wanted = (image.width // record.jpeg_scale, image.height // record.jpeg_scale)
            image.draft("RGB", wanted)
        image.load()
        if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            return Image.fromarray(_rgb(np.asarray(image), record, shown))
        if record.window is not None and _is_squeezed(image, data):
            raise ImageError(
                f"{shown} has 16 bits a channel in a form that is read with 8: the window "
                f"{record.window} cannot be laid on it.",
                "Save it as TIFF, uncompressed or with deflate.",
            )
        if image.format != "PNG" or "exif" in image.info:
            image = _turned(image)
        return _to_rgb(image)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{shown} is not an image that can be read.",
            "Save it as JPEG, PNG, TIFF, BMP or WebP; a still of it, if it is an animation.",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(f"{shown} has too many pixels.", _SMALLER) from error
    except CytowellError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead to
        raise ImageError(
            f"{shown} is damaged or incomplete ({error}).", "Copy it again from the camera."
        ) from error


_SMALLER = f"Images of up to {MAX_PIXELS:,} pixels are decoded: save it smaller or cut it."


def _cap(size: tuple[int, int], shown: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageTooLarge(f"{shown} announces {size[0]} x {size[1]} pixels.", _SMALLER)


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's parser raises whatever broken EXIF leads to; the pixels are fine
        return image


def _is_squeezed(image: Image.Image, data: bytes) -> bool:
    """Whether Pillow has kept only the upper 8 of 16 bits."""
    if image.format == "PNG":
        return data[24] == 16
    tags = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and max(tags.get(258, (8,))) > 8


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (
        b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"
    )  # fmt: skip


def _heic(data: bytes, shown: str) -> Image.Image:
    try:
        import pi_heif  # noqa: PLC0415  (an extra: absent from a plain install)
    except ImportError as error:
        raise MissingDecoder(
            f"{shown} is HEIC, which a plain install does not read.",
            'Run: pip install "cytowell[heic]", or set the phone to save JPEG.',
        ) from error
    try:
        picture = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        _cap(picture.size, shown)
        image: Image.Image = picture.to_pillow()
        return _to_rgb(_turned(image))
    except CytowellError:
        raise
    except Exception as error:
        raise ImageError(
            f"{shown} is damaged or incomplete ({error}).", "Copy it again from the camera."
        ) from error


def _tiff(data: bytes, record: Preprocessing, shown: str) -> Pixels | None:
    """Read what Pillow would squeeze: 16 bits, floats, many channels. None leaves it to Pillow."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages.first
            _cap((int(page.imagewidth), int(page.imagelength)), shown)
            series = tiff.series[0]
            if int(np.prod(series.shape)) > 8 * MAX_PIXELS:
                raise ImageTooLarge(f"{shown} holds {series.shape} values.", _SMALLER)
            axes = series.axes
            grey = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, None)
            many = "C" in axes or (page.samplesperpixel > 1 and grey)
            one = axes in ("YX", "YXS", "SYX")
            if page.dtype == np.uint8 and not many and (one or record.channels is None):
                return None
            array = np.asarray(series.asarray())
            orientation = page.tags.valueof(274, 1)
    except CytowellError:
        raise
    except Exception:
        return None
    for axis in [a for a in axes if a not in "YXSC"]:
        if axis in "IQ" and "C" not in axes and "S" not in axes:
            axes = axes.replace(axis, "C", 1)
            continue
        array = np.take(array, 0, axis=axes.index(axis))
        axes = axes.replace(axis, "", 1)
    colour = next((a for a in "CS" if a in axes), None)
    if colour is not None:
        array = np.moveaxis(array, axes.index(colour), -1)
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    # In each pair: whether the rows and the columns of what is now upright run backwards.
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
        orientation, (1, 1)
    )
    return _rgb(array[::rows, ::columns], record, shown)


def _rgb(array: npt.NDArray[Any], record: Preprocessing, shown: str) -> Pixels:
    """Choose channels, map the intensity window to 0..255; (H, W[, C]) of any type to RGB."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise ImageError(
            f"{shown} has {array.ndim} axes.", "Save one plane of it: height, width, channels."
        )
    channels = record.channels
    if channels is None:
        channels = (0, 1, 2) if array.shape[2] >= 3 else (0, 0, 0)
    if max(channels) >= array.shape[2]:
        raise ImageError(
            f"{shown} has {array.shape[2]} channels, not channel {max(channels)}.",
            f"Choose --channels from 0 to {array.shape[2] - 1}.",
        )
    if len(channels) == 1:
        channels = channels * 3
    if len(channels) == 2:
        array = np.concatenate([array, np.zeros_like(array[:, :, :1])], axis=2)
        channels = (*channels, array.shape[2] - 1)
    array = array[:, :, list(channels)]
    if array.dtype == np.uint8 and record.window is None:
        return np.ascontiguousarray(array)
    if record.window is not None:
        low, high = record.window
    elif np.issubdtype(array.dtype, np.integer):
        # A 16-bit PNG arrives from Pillow as 32-bit integers whose range is still 16 bits.
        wide = array.dtype.itemsize > 2
        low, high = (0.0, 65535.0) if wide else (0.0, float(np.iinfo(array.dtype).max))
    elif array.dtype == np.bool_:
        low, high = 0.0, 1.0
    else:
        low, high = 0.0, 1.0
    scaled = (array.astype(np.float32) - low) * (255.0 / (high - low))
    rounded: Pixels = np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)
    return rounded


@functools.lru_cache(maxsize=8)
def npz_member(file: str, member: str) -> npt.NDArray[Any]:
    """Map one array of an `.npz` into memory without holding it: unpacked once into the cache.

    Raises
    ------
    ImageError
        If the file is no npz, lacks the member, or holds pickled objects.
    """
    try:
        stat = Path(file).stat()
        key = hashlib.sha256(
            f"{Path(file).resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{member}".encode()
        ).hexdigest()[:24]
        unpacked = cache_folder() / "npz" / f"{key}.npy"
        if not unpacked.exists():
            with zipfile.ZipFile(file) as archive, archive.open(f"{member}.npy") as stream:

                def copy(path: Path) -> None:
                    with path.open("wb") as out:
                        while block := stream.read(1 << 20):
                            out.write(block)

                write_with(unpacked, copy)
        array: npt.NDArray[Any] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
    except StorageError:
        raise
    except Exception as error:  # zipfile and zlib raise whatever the broken bytes lead to
        raise ImageError(
            f"{file} is no readable .npz with an array {member!r} ({error}).",
            "MedMNIST files hold train_images, train_labels, val_..., test_...",
        ) from error
    return array


def _npz_image(path: str) -> npt.NDArray[Any]:
    file, _, rest = path.partition("::")
    member, _, index = rest.rpartition("/")
    array = npz_member(file, member)
    try:
        return np.asarray(array[int(index)])
    except (IndexError, ValueError) as error:
        raise ImageError(
            f"{path} is not in the file.", f"{member} holds {len(array)} images, from 0."
        ) from error


def prepare(image: Image.Image, record: Preprocessing, box: Box | None = None) -> Pixels:
    """Crop and resize an upright RGB image to the network's input.

    Returns
    -------
    numpy.ndarray
        uint8, shape (size, size, 3).
    """
    size, how = record.size, _INTERPOLATION[record.interpolation]
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


# Truncated files are an error here, never grey stripes: a global of Pillow that others may set.
ImageFile.LOAD_TRUNCATED_IMAGES = False
