"""How large a photograph is when it is upright, from its header alone where that tells."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from cytowell.errors import PlaneNotChosen
from cytowell.images.decode import open_upright
from cytowell.images.limits import cap
from cytowell.images.planes import ANY
from cytowell.images.record import Preprocessing
from cytowell.storage import open_file
from cytowell.types import NPZ_MARK

_TELLING = ("JPEG", "PNG", "BMP", "WEBP")
_ORIENTATION = 274
_SIDEWAYS = (5, 6, 7, 8)


def upright_size(path: str, record: Preprocessing | None = None) -> tuple[int, int]:
    """Give width and height in pixels of the upright photograph; a record tells which plane.

    Raises
    ------
    ImageError
        If it is missing, damaged, or of a format that is not read.
    """
    return orientation_of(path, record)[0]


def orientation_of(path: str, record: Preprocessing | None = None) -> tuple[tuple[int, int], int]:
    """Give width and height of the upright photograph, and the EXIF orientation 1..8 it was in.

    Raises
    ------
    ImageError
        If it is missing, damaged, or of a format that is not read.
    """
    if NPZ_MARK not in path:
        try:
            with open_file(path) as file, Image.open(file, formats=_TELLING) as image:
                width, height = image.size
                cap(image.size, path)
                turned = _orientation(image)
            return ((height, width) if turned in _SIDEWAYS else (width, height)), turned
        except Exception:  # whatever a broken header leads to: decoding says what is wrong
            pass
    try:
        return open_upright(path, record).size, 1
    except PlaneNotChosen:
        how = replace(record or Preprocessing(), plane=ANY)
        return open_upright(path, how).size, 1


def _orientation(image: Image.Image) -> int:
    # Pillow looks at the EXIF of a PNG only when all of it is read, and so does decoding.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    told = image.getexif().get(_ORIENTATION, 1)
    return told if told in range(1, 9) else 1
