"""TIFF as microscopes write it: 16 bits, many channels, stacks, OME and ImageJ metadata."""

from __future__ import annotations

import io
import logging
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from defusedxml import ElementTree
from PIL import Image

from cytowell.errors import CytowellError, ImageError, PlaneNotChosen
from cytowell.images.arrays import to_rgb_array
from cytowell.images.inflate import INFLATERS, PIECE
from cytowell.images.limits import DECODED, Budget, cap
from cytowell.images.planes import ANY, choose, parse_plane, sensible
from cytowell.images.record import Preprocessing
from cytowell.types import Pixels

_TURNS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""Whether the rows and the columns of what is now upright run backwards, by orientation."""

_MICRONS = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0,
    "\\u00b5m": 1.0, "nm": 1e-3, "å": 1e-4, "pm": 1e-6,
}  # fmt: skip


FRAME = 4096
"""Bytes that are held of each page of a file, however little of it is in it."""

# What tifffile finds odd is in our errors; its own lines would fill a server's log.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(data: bytes, record: Preprocessing, shown: str) -> tuple[Pixels | None, float | None]:
    """Read what Pillow would squeeze, and the side of a pixel in micrometres where it is told.

    Returns
    -------
    tuple
        RGB of 16 bits, floats, many channels or a plane of a stack; None leaves it to Pillow.

    Raises
    ------
    ImageError
        If it is a stack and the plane cannot be read: Pillow would give another.
    """
    stack, size = False, None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages.first
            cap((int(page.imagewidth), int(page.imagelength)), shown)
            Budget(shown, DECODED).spend(FRAME * len(tiff.pages))
            positions = _positions(tiff)
            axes = positions[0].axes
            pages = set(axes) & set("IQ") & set(parse_plane(record.plane))
            stack = len(positions) > 1 or bool(set(axes) - set("YXSCIQ")) or bool(pages)
            grey = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, None)
            many = "C" in axes or (page.samplesperpixel > 1 and grey)
            one = axes in ("YX", "YXS", "SYX")
            # Pillow 12 reads four values a pixel where uncompressed YCbCr has three.
            plain = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression == 1
            whole = page.tags.valueof(530, (2, 2)) == (1, 1) and axes == "YXS"
            easy = page.dtype == np.uint8 and not many and not stack
            easy = easy and (one or record.channels is None)
            record = _with_bits(record, tiff, page)
            place, chosen = _chosen(positions, record, shown)
            size = _pixel_size(tiff, tiff.series.index(positions[place]))
            if easy and not (plain and whole):
                return None, size
            array, axes = _read(positions[place], chosen, Budget(shown, DECODED))
            if easy:
                array = np.asarray(Image.fromarray(array, "YCbCr").convert("RGB"))
            orientation = page.tags.valueof(274, 1)
    except CytowellError:
        raise
    except Exception as error:
        if stack:
            raise ImageError(
                f"The plane of {shown} cannot be read ({error}).",
                "Save the stack uncompressed or with deflate; pip install imagecodecs reads more.",
            ) from error
        return None, size
    colour = next((a for a in "CS" if a in axes), None)
    if colour is not None:
        array = np.moveaxis(array, axes.index(colour), -1)
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    rows, columns = _TURNS.get(orientation, (1, 1))
    return to_rgb_array(array[::rows, ::columns], record, shown), size


def _with_bits(record: Preprocessing, tiff: tifffile.TiffFile, page: Any) -> Preprocessing:
    """Give the record with the window of the bits that the camera used, where the file tells them.

    A picture of 12 bits in a file of 16 is nearly black else.
    """
    if record.window is not None or page.dtype != np.uint16:
        return record
    most = page.tags.valueof(281)  # MaxSampleValue
    highest = max(np.ravel(most)) if most is not None else 0
    if tiff.is_ome and tiff.ome_metadata:
        found = re.search(r'SignificantBits="(\d{1,2})"', tiff.ome_metadata)
        highest = 2 ** int(found[1]) - 1 if found else highest
    if not 255 <= highest < 65535:
        return record
    return replace(record, window=(0.0, float(highest)))


def _positions(tiff: tifffile.TiffFile) -> list[Any]:
    """Give the series that are positions of one stage: what differs is a label or a small copy."""
    first, *others = tiff.series
    if not tiff.is_ome or "P" in first.axes:
        return [first]
    return [first, *(s for s in others if (s.axes, s.shape) == (first.axes, first.shape))]


def _chosen(positions: list[Any], record: Preprocessing, shown: str) -> tuple[int, dict[str, int]]:
    """Give the position, and the index along every axis that is none of the picture's own.

    Pages of which nothing is told may be planes, colours or channels: none is guessed. Where
    channels are chosen and there are no others, they are these.
    """
    first = positions[0]
    told = parse_plane(record.plane)
    sizes = {a: int(n) for a, n in zip(first.axes, first.shape, strict=True) if a not in "YXSC"}
    untold = [a for a in sizes if a in "IQ" and a not in told]
    pages = math.prod(sizes[a] for a in untold)
    if pages > 1 and record.channels is None and record.plane != ANY:
        axis = untold[0]
        raise PlaneNotChosen(
            f"{shown} has {pages} pages, and does not say what they are.",
            f"Choose one, --plane {axis}=0 to {axis}={sizes[axis] - 1}; or, if they are channels, "
            "those that become red, green and blue: --channels 0,1,2.",
        )
    for axis in untold:
        del sizes[axis]
    if len(positions) > 1:
        sizes["P"] = len(positions)
    chosen = choose(sizes, record.plane, shown)
    place = chosen.pop("P", 0) if len(positions) > 1 else 0
    channels = "C" not in first.axes and "S" not in first.axes
    return place, chosen | dict.fromkeys(untold[1:] if channels else untold, 0)


def _read(series: Any, chosen: dict[str, int], budget: Budget) -> tuple[npt.NDArray[Any], str]:
    """Read the pages that the chosen planes lie in, and no others where each is a page.

    Returns
    -------
    tuple
        An array, and the axes (Y, X, C or S) that it has.
    """
    axes, shape = series.axes, tuple(int(n) for n in series.shape)
    cap((shape[axes.index("X")], shape[axes.index("Y")]), budget.shown)
    index = tuple(chosen.get(a, slice(None)) for a in axes)
    left = "".join("C" if a in "IQ" else a for a in axes if a not in chosen)
    first = min(axes.index(a) for a in "YXS" if a in axes)
    count = math.prod(shape[:first])
    if 1 < count == len(series.pages):
        places = np.arange(count).reshape(shape[:first])[index[:first]]
        budget.spend(places.size * math.prod(shape[first:]) * series.dtype.itemsize)
        block = np.empty((*places.shape, *shape[first:]), dtype=series.dtype)
        rows = block.reshape(places.size, *shape[first:])
        for i, place in enumerate(places.ravel()):
            rows[i] = _page(series.pages[int(place)], budget).reshape(shape[first:])
        return block[(slice(None),) * places.ndim + index[first:]], left
    budget.spend(math.prod(shape) * series.dtype.itemsize)
    for page in series.pages:
        if page is not None:
            _judge(page, budget)
    array = np.asarray(series.asarray(maxworkers=1))
    if array.shape != shape:
        raise ImageError(
            f"{budget.shown} lacks pixels that it announces.", "Copy it again from the camera."
        )
    return array[index], left


def _page(page: Any, budget: Budget) -> npt.NDArray[Any]:
    _judge(page, budget)
    return np.asarray(page.asarray(maxworkers=1))


def _judge(page: Any, budget: Budget) -> None:
    """Look at each strip or tile of a page before it is decoded.

    Raises
    ------
    ImageError
        If none is there, or one holds much more than its place in the picture takes.
    """
    key = page.keyframe
    if not any(page.databytecounts) or not any(page.dataoffsets):
        raise ImageError(f"{budget.shown} has no pixels.", "Copy it again from the camera.")
    rows = key.tilelength if key.is_tiled else min(key.rowsperstrip, key.imagelength)
    each = math.prod(key.chunks) // max(1, key.chunks[0]) * rows * key.dtype.itemsize
    Budget(budget.shown, DECODED).spend(each)
    inflate = INFLATERS.get(int(key.compression))
    if inflate is None:
        return
    file = page.parent.filehandle
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(int(offset))
        # Some writers fill the last strip up, or add a few bytes.
        strip = Budget(budget.shown, 2 * each + PIECE)
        for piece in inflate(file.read(int(size))):
            strip.spend(len(piece))
        budget.spend(max(0, strip.most - strip.left - each))


def _pixel_size(tiff: tifffile.TiffFile, place: int) -> float | None:
    """Give micrometres a pixel of a series where OME or ImageJ say so; dpi say nothing."""
    try:
        if tiff.is_ome and tiff.ome_metadata:
            root = ElementTree.fromstring(tiff.ome_metadata)
            told = [e for e in root.iter() if e.tag.endswith("}Pixels")][place]
            unit = told.get("PhysicalSizeXUnit", "µm").lower()
            return sensible(float(told.get("PhysicalSizeX")) * _MICRONS[unit])
        if tiff.is_imagej:
            unit = str((tiff.imagej_metadata or {}).get("unit", "")).lower()
            over, under = tiff.pages.first.tags.valueof(282, (0, 1))
            return sensible(_MICRONS[unit] * under / over)
    except Exception:  # whatever broken metadata lead to: the pixels are fine
        return None
    return None
