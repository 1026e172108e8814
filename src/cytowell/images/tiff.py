"""TIFF as microscopes write it: 16 bits, many channels, stacks, OME and ImageJ metadata."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from defusedxml import ElementTree
from PIL import Image

from cytowell.errors import CytowellError, ImageTooLarge
from cytowell.images.arrays import to_rgb_array
from cytowell.images.limits import MAX_PIXELS, SMALLER, cap
from cytowell.images.planes import choose
from cytowell.images.record import Preprocessing
from cytowell.types import Pixels

_TURNS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""Whether the rows and the columns of what is now upright run backwards, by orientation."""

_MICRONS = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0,
    "\\u00b5m": 1.0, "nm": 1e-3, "å": 1e-4, "pm": 1e-6, "inch": 25400.0, "in": 25400.0,
}  # fmt: skip


def read_tiff(data: bytes, record: Preprocessing, shown: str) -> tuple[Pixels | None, float | None]:
    """Read what Pillow would squeeze, and the side of a pixel in micrometres where it is told.

    Returns
    -------
    tuple
        RGB of 16 bits, floats, many channels or a plane of a stack; None leaves it to Pillow.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages.first
            cap((int(page.imagewidth), int(page.imagelength)), shown)
            size = _pixel_size(tiff)
            positions = len(tiff.series) if tiff.is_ome else 1
            axes = tiff.series[0].axes
            grey = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, None)
            many = "C" in axes or (page.samplesperpixel > 1 and grey)
            one = axes in ("YX", "YXS", "SYX") and positions == 1
            # Pillow 12 reads four values a pixel where uncompressed YCbCr has three.
            plain = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression == 1
            whole = page.tags.valueof(530, (2, 2)) == (1, 1) and axes == "YXS"
            stack = positions > 1 or any(a in axes for a in "ZT") or bool(record.plane)
            asked = record.channels is not None or stack
            easy = page.dtype == np.uint8 and not many and (one or not asked)
            if easy and not (plain and whole):
                return None, size
            array, axes = _plane(tiff, record, shown)
            if easy:
                array = np.asarray(Image.fromarray(array, "YCbCr").convert("RGB"))
            orientation = page.tags.valueof(274, 1)
    except CytowellError:
        raise
    except Exception:
        return None, None
    colour = next((a for a in "CS" if a in axes), None)
    if colour is not None:
        array = np.moveaxis(array, axes.index(colour), -1)
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    rows, columns = _TURNS.get(orientation, (1, 1))
    return to_rgb_array(array[::rows, ::columns], record, shown), size


def _plane(
    tiff: tifffile.TiffFile, record: Preprocessing, shown: str
) -> tuple[npt.NDArray[Any], str]:
    """Read the chosen plane with its channels: an array, and the axes (Y, X, C or S) it has."""
    positions = tiff.series if tiff.is_ome else tiff.series[:1]
    axes = _named(positions[0].axes)
    sizes = {a: int(n) for a, n in zip(axes, positions[0].shape, strict=True) if a not in "YXSC"}
    if len(positions) > 1:
        sizes["P"] = len(positions)
    if set(sizes) <= set("IQ") and not record.plane:
        chosen = dict.fromkeys(sizes, 0)  # `several_frames` is a finding of the checks
    else:
        chosen = choose(sizes, record.plane, shown)
    series = positions[chosen.pop("P", 0)]
    axes = _named(series.axes)
    return _read(series, axes, chosen, shown), "".join(a for a in axes if a not in chosen)


def _named(axes: str) -> str:
    """Take pages of which nothing is told for channels, where there are no others."""
    if "C" not in axes and "S" not in axes:
        axes = re.sub("[IQ]", "C", axes, count=1)
    return axes


def _read(series: Any, axes: str, chosen: dict[str, int], shown: str) -> npt.NDArray[Any]:
    """Read the pages that the chosen planes lie in, and no others where each is a page."""
    shape = series.shape
    index = tuple(chosen.get(a, slice(None)) for a in axes)
    first = axes.index("Y") if "S" not in axes else min(axes.index("Y"), axes.index("S"))
    leading = shape[:first]
    count = int(np.prod(leading, dtype=np.int64))
    page = int(np.prod(shape[first:], dtype=np.int64))
    wanted = np.arange(count).reshape(leading)[index[:first]]
    if wanted.size * page > 8 * MAX_PIXELS:
        raise ImageTooLarge(f"{shown} holds {wanted.size * page:,} values a plane.", SMALLER)
    if len(series.pages) == count and count > wanted.size:
        read = [series.pages[int(i)].asarray() for i in wanted.ravel()]
        block = np.stack(read).reshape(*wanted.shape, *shape[first:])
        return block[(slice(None),) * wanted.ndim + index[first:]]
    if count * page > 8 * MAX_PIXELS:
        raise ImageTooLarge(f"{shown} holds {shape} values.", SMALLER)
    return np.asarray(series.asarray())[index]


def _pixel_size(tiff: tifffile.TiffFile) -> float | None:
    """Give micrometres a pixel where OME or ImageJ say so; a resolution in dpi says nothing."""
    try:
        if tiff.is_ome and tiff.ome_metadata:
            for element in ElementTree.fromstring(tiff.ome_metadata).iter():
                if element.tag.endswith("}Pixels") and element.get("PhysicalSizeX"):
                    unit = element.get("PhysicalSizeXUnit", "µm")
                    return _positive(float(element.get("PhysicalSizeX")) * _MICRONS[unit.lower()])
        if tiff.is_imagej:
            unit = str((tiff.imagej_metadata or {}).get("unit", "")).lower()
            over, under = tiff.pages.first.tags.valueof(282, (0, 1))
            return _positive(_MICRONS[unit] * under / over)
    except Exception:  # whatever broken metadata lead to: the pixels are fine
        return None
    return None


def _positive(size: float) -> float | None:
    return size if 0 < size < 1e6 else None
