"""One photograph to upright RGB, whatever wrote it, or an error that says what to do."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from cytowell.errors import ImageError, ImageTooLarge, MissingDecoder, how_to_install
from cytowell.images.arrays import npz_image, to_rgb_array
from cytowell.images.failures import reading
from cytowell.images.limits import BAND, FORMATS, SMALLER, cap
from cytowell.images.microscope import is_microscope_file, read_microscope_file
from cytowell.images.planes import PIXEL_SIZE
from cytowell.images.record import Preprocessing
from cytowell.images.tiff import read_tiff
from cytowell.storage import open_file
from cytowell.types import NPZ_MARK

FROM_CAMERA = "Copy it again from the camera."


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image file in memory, as it was sent: its name, for rows and errors, and its bytes."""

    name: str
    data: bytes


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
        Mode RGB, EXIF rotation applied, transparency laid on white; pixels and, where the file
        tells it, their size (`planes.pixel_size`), nothing else: no name, place or comment travels
        on into what is saved of it.

    Raises
    ------
    ImageError
        If it is missing, truncated, too large, or of a format that is not read.
    """
    shown = name or ("image" if isinstance(source, bytes) else str(source))
    with reading(shown):
        opened = _ELSEWHERE[-1] if _ELSEWHERE else _opened
        image, size = opened(source, record or Preprocessing(), shown)
        if min(image.size) < 1:
            raise ImageError(
                f"{shown} has no pixels ({image.width} x {image.height}).", FROM_CAMERA
            )
        image.info = {PIXEL_SIZE: size} if size else {}
        return image


_Opened = tuple[Image.Image, float | None]
"""A picture, and the side of a pixel in micrometres where that is known."""

Decoder = Callable[[str | Path | bytes, Preprocessing, str], _Opened]
"""Decodes a source, as a record says, under a name for errors."""

_ELSEWHERE: list[Decoder] = []
"""Who decodes in place of this process, the last one that was named: see `decode_with`."""


def decode_with(decoder: Decoder) -> Callable[[], None]:
    """Have every picture of this process decoded by another, as a server does for what it is sent.

    Returns
    -------
    Callable
        Ends that.
    """
    _ELSEWHERE.append(decoder)
    return functools.partial(_ELSEWHERE.remove, decoder)


def _opened(source: str | Path | bytes, record: Preprocessing, shown: str) -> _Opened:
    if not isinstance(source, bytes) and NPZ_MARK in str(source):
        return Image.fromarray(to_rgb_array(npz_image(str(source)), record, shown)), None
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as stream:
            head = stream.read(16)
            stream.seek(0)
            if is_microscope_file(head):
                array, size = read_microscope_file(stream, record, shown)
                return Image.fromarray(array), size
            data = source if isinstance(source, bytes) else stream.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"{shown} cannot be read ({reason}).",
            "Check that the file is there and may be read.",
        ) from error
    if not data:
        raise ImageError(f"{shown} is empty (0 bytes).", FROM_CAMERA)
    if _is_heic(data):
        return _heic(data, shown), None
    size = None
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        read, size = read_tiff(data, record, shown)
        if read is not None:
            return Image.fromarray(read), size
    return _pillow(data, record, shown), size


def _pillow(data: bytes, record: Preprocessing, shown: str) -> Image.Image:
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        cap(image.size, shown, 4)
        if image.format in ("JPEG", "MPO") and record.jpeg_scale > 1:
            wanted = (image.width // record.jpeg_scale, image.height // record.jpeg_scale)
            image.draft("RGB", wanted)
        image.load()
        if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            return Image.fromarray(to_rgb_array(np.asarray(image), record, shown))
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
        raise ImageTooLarge(f"{shown} has too many pixels.", SMALLER) from error


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
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Lay what is transparent on white, some rows at a time: four copies of all would be held."""
    laid = Image.new("RGB", image.size)
    rows = max(1, BAND // max(1, image.width))
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", part.size, (255, 255, 255, 255))
        laid.paste(Image.alpha_composite(white, part).convert("RGB"), (0, top))
    return laid


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
            f"{how_to_install('heic')}; or set the phone to save JPEG.",
        ) from error
    picture = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    cap(picture.size, shown, 4)
    image: Image.Image = picture.to_pillow()
    return _to_rgb(_turned(image))


# Truncated files are an error here, never grey stripes: a global of Pillow that others may set.
ImageFile.LOAD_TRUNCATED_IMAGES = False
