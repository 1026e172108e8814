"""The canonical view of a stained cell: empty light divided out, centred, in a window of its size.

A cell is seen the same way wherever it was photographed. What was measured (light, centre, diameter
of the nucleus) is a value that travels with the picture or the cut-out; the record holds settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from cytowell.settings import setting, settings
from cytowell.types import Box, Pixels

_Floats = npt.NDArray[np.float32]

LIGHT = ("light_red", "light_green", "light_blue")
NUCLEUS = ("nucleus_x", "nucleus_y", "nucleus_px")
MEASURED = (*LIGHT, *NUCLEUS)
"""Columns in which measured values travel: intensities 0..255 of the empty background; centre and
diameter of the nucleus in pixels of the picture that the row names."""

WHITE = 245.0
"""Intensity that the empty background gets; noise above it is kept."""

BLACK = 16
"""Pixels not above this in any channel are a border or a mask, not a part of the picture."""

EMPTY = 92.0
"""Percentile of each channel that is taken for the empty background."""

THUMBNAIL = 128
"""Longer side, in pixels, of the picture in which the nucleus is looked for."""

STAINED = 0.5
"""Share of the darkest stain (percentile 99.3) from which a pixel belongs to a nucleus."""

FAINT = 0.2
"""Least optical density of a nucleus; what is fainter everywhere has none."""

REGION = 0.3
"""Share of a box's longer side around it in which its nucleus is looked for."""

UNFOUND = 0.75
"""Diameter of a nucleus that was not found, as a share of its box: the median of white cells."""

SEVERAL = 0.4
"""Share of the nucleus' area from which another one in the picture is a second cell."""

NEAR, APART = 0.3, 0.8
"""Lobes that lie nearer than the first share of the nucleus' diameter are parts of it; what lies
nearer than the second may be one, and is no other cell."""

MEANT = 2.0
"""A cell is the one that is meant if all others lie this many times as far from the middle."""


@settings
class CellView:
    """Which parts of the canonical view are on; travels inside the preprocessing record."""

    light: Annotated[
        bool,
        setting("Whether the empty background is measured, per channel, and divided out."),
    ] = True
    centre: Annotated[
        bool,
        setting(
            "Whether the window is centred on the nucleus that was found, instead of on the box or "
            "the middle of the picture."
        ),
    ] = True
    window: Annotated[
        float,
        setting(
            "Side of the square window. Beyond the edge of the picture it is filled with empty "
            "background.",
            low=1,
            high=10,
            unit="diameters of the nucleus",
        ),
    ] = 2.24

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> CellView:
        """Read the settings of a bundle; raises ValueError for one that is not known."""
        if unknown := set(record) - set(CellView.__dataclass_fields__):
            raise ValueError(f"unknown settings of the cell's view: {', '.join(sorted(unknown))}")
        return CellView(**record)


@dataclass(frozen=True)
class MeasuredCell:
    """What was measured of one cell, in pixels of the picture it was measured in.

    Attributes
    ----------
    light
        Intensity of the empty background, 0..255, per channel; None where none was found.
    x, y, diameter
        Centre and diameter of the nucleus: that of a disc with the same variance of positions.
    found
        Whether a nucleus was found; if not, the values are those of the box or the picture.
    several
        Whether the picture shows a second nucleus of that kind, and its middle does not tell which
        of the cells is meant.
    """

    light: tuple[float, float, float] | None
    x: float
    y: float
    diameter: float
    found: bool = True
    several: bool = False

    @property
    def doubt(self) -> str:
        """Say what keeps a call from being made, "" for nothing."""
        if not self.found:
            return "no nucleus was found"
        return "several cells in the picture" if self.several else ""

    def columns(self) -> dict[str, Any]:
        """Give the values as columns of a table."""
        light = self.light or (None, None, None)
        place = (self.x, self.y, self.diameter) if self.found else (None, None, None)
        return dict(zip(MEASURED, (*light, *place), strict=True))

    def moved(self, right: float, down: float) -> MeasuredCell:
        """Give the same in pixels of a picture whose corner lies elsewhere."""
        return replace(self, x=round(self.x + right, 2), y=round(self.y + down, 2))

    @staticmethod
    def from_columns(row: Mapping[str, Any]) -> MeasuredCell | None:
        """Read the values that travel with a cut-out; None where it has none."""
        try:
            x, y, diameter = (float(row[name]) for name in NUCLEUS)
        except (KeyError, TypeError, ValueError):
            return None
        if not (math.isfinite(x + y + diameter) and diameter > 0):
            return None
        try:
            light = tuple(float(row[name]) for name in LIGHT)
        except (KeyError, TypeError, ValueError):
            light = ()
        known = len(light) == 3 and all(1 <= v <= 255 for v in light)
        return MeasuredCell((light[0], light[1], light[2]) if known else None, x, y, diameter)


def measure(image: Image.Image, view: CellView, box: Box | None = None) -> MeasuredCell:
    """Measure light, centre and diameter of the cell in a box, or in the middle of a picture.

    Parameters
    ----------
    image
        The whole upright photograph, RGB: light is never measured on a box alone.
    """
    light = light_of(image) if view.light else None
    left, top, region = 0, 0, image
    middle, longer = (image.width / 2, image.height / 2), float(min(image.size)) / 2
    if box is not None:
        longer = max(box.width, box.height)
        more = REGION * longer
        left, top = max(0, math.floor(box.x - more)), max(0, math.floor(box.y - more))
        right = min(image.width, math.ceil(box.x + box.width + more))
        bottom = min(image.height, math.ceil(box.y + box.height + more))
        if right > left and bottom > top:
            region = image.crop((left, top, right, bottom))
        middle = (box.x + box.width / 2 - left, box.y + box.height / 2 - top)
    nucleus = _nucleus(region, light or (255.0, 255.0, 255.0), middle)
    if nucleus is None:
        x, y, diameter, several = *middle, UNFOUND * longer, False
    else:
        x, y, diameter, several = nucleus
    if not view.centre:
        x, y = middle
    return MeasuredCell(
        light,
        round(x + left, 2),
        round(y + top, 2),
        round(max(diameter, 2.0), 2),
        found=nucleus is not None,
        several=several and box is None,
    )


def light_of(image: Image.Image) -> tuple[float, float, float] | None:
    """Give the intensity of the empty background of a photograph, 0..255 per channel.

    It is the 92nd percentile of each channel: robust against reflections and dust. Black borders
    and the mask of an eyepiece are not part of the picture. None in a dark field (fluorescence).
    """
    if "light" not in image.info:
        small = image.reduce(max(1, max(image.size) // 96))
        pixels = np.asarray(small, dtype=np.float32).reshape(-1, 3)
        shown = pixels[pixels.max(axis=1) > BLACK]
        bright = len(shown) >= max(16, 0.2 * len(pixels))
        light = np.percentile(shown, EMPTY, axis=0) if bright else np.zeros(3)
        dark = light.max() < 64 or np.median(shown.max(axis=1)) < 0.25 * light.max()
        image.info["light"] = None if dark else tuple(round(float(max(v, 32.0)), 1) for v in light)
    found: tuple[float, float, float] | None = image.info["light"]
    return found


def _nucleus(
    image: Image.Image, light: tuple[float, float, float], middle: tuple[float, float]
) -> tuple[float, float, float, bool] | None:
    """Give centre, diameter and whether there is another, None where nothing is stained.

    Nuclei absorb red and green and let blue through; red cells absorb green and blue.
    """
    scale = max(image.size) / THUMBNAIL
    wide, tall = (max(1, round(side / scale)) for side in image.size)
    how = Image.Resampling.BOX if scale > 1 else Image.Resampling.BILINEAR
    pixels = np.asarray(image.resize((wide, tall), how), dtype=np.float32)
    border = pixels.max(axis=2) <= BLACK
    if border.any():
        border = ndimage.binary_dilation(border, iterations=2)
    density = -np.log((np.minimum(pixels / np.array(light, dtype=np.float32), 1.0) * 255 + 1) / 256)
    stain = ndimage.gaussian_filter(density[..., 0] + density[..., 1] - density[..., 2], 1.0)
    stain[border] = 0
    values = stain[~border]
    if values.size < 64 or float(np.ptp(values)) < FAINT:
        return None
    least = max(float(threshold_otsu(values)), STAINED * float(np.percentile(values, 99.3)), FAINT)
    mask = ndimage.binary_opening(stain > least)
    mask = ndimage.binary_closing(np.pad(mask, 4), iterations=2)[4:-4, 4:-4]
    parts, count = ndimage.label(mask)
    if not count:
        return None
    numbers = np.arange(1, count + 1)
    areas = np.asarray(ndimage.sum(mask, parts, numbers))
    centres = np.asarray(ndimage.center_of_mass(mask, parts, numbers))
    away = np.hypot(centres[:, 1] - middle[0] / scale, centres[:, 0] - middle[1] / scale)
    main = int(np.argmax(areas * np.exp(-((away / (0.3 * min(wide, tall))) ** 2))))
    kept, others = _lobes(parts, areas, main)
    y, x = np.nonzero(kept)
    diameter = 4 * math.sqrt((float(x.var()) + float(y.var())) / 2 + 1 / 12)
    own = math.hypot(x.mean() - middle[0] / scale, y.mean() - middle[1] / scale)
    reach = MEANT * own + 0.05 * min(wide, tall)
    several = any(areas[i] >= SEVERAL * kept.sum() and away[i] < reach for i in others)
    return (
        (float(x.mean()) + 0.5) * scale,
        (float(y.mean()) + 0.5) * scale,
        diameter * scale,
        several,
    )


def _lobes(
    parts: npt.NDArray[np.int32], areas: npt.NDArray[np.float64], main: int
) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Give the pixels of a nucleus with all its lobes, and which parts are of other cells."""
    kept = parts == main + 1
    further = [i for i in range(len(areas)) if i != main and areas[i] > 0.05 * areas[main]]
    if not further:
        return kept, []
    reach = NEAR * 2 * math.sqrt(areas[main] / math.pi)
    distance = ndimage.distance_transform_edt(~kept)
    others = []
    for i in further:
        here = parts == i + 1
        if areas[i] < 1.5 * areas[main] and distance[here].min() < reach:
            kept = kept | here
        elif distance[here].min() >= reach * APART / NEAR:
            others.append(i)
    return kept, others


def window_of(measured: MeasuredCell, view: CellView) -> tuple[int, int, int]:
    """Give left, top and side, in whole pixels of the picture, of what the network sees."""
    side = max(1, math.floor(view.window * measured.diameter + 0.5))
    left = math.floor(measured.x - side / 2 + 0.5)
    return left, math.floor(measured.y - side / 2 + 0.5), side


def render(
    image: Image.Image, view: CellView, measured: MeasuredCell, size: int, how: Image.Resampling
) -> Pixels:
    """Give the window of a measured cell as the network sees it: uint8, shape (size, size, 3)."""
    left, top, side = window_of(measured, view)
    inside = (
        max(left, 0),
        max(top, 0),
        min(left + side, image.width),
        min(top + side, image.height),
    )
    light = measured.light
    empty = light or tuple(np.median(np.asarray(image.resize((32, 32))), axis=(0, 1)))
    # Windows of many times the network's pixels are averaged first: they could fill the memory.
    step = max(1, side // (8 * size))
    part = Image.new("RGB", (side // step, side // step), tuple(round(float(v)) for v in empty))
    if inside[2] > inside[0] and inside[3] > inside[1]:
        shown = image.crop(inside)
        place = ((inside[0] - left) // step, (inside[1] - top) // step)
        part.paste(shown.reduce(step) if step > 1 else shown, place)
    pixels = np.asarray(part.resize((size, size), how), dtype=np.float32)
    if light is None:
        return pixels.astype(np.uint8)
    border = pixels.max(axis=2) <= BLACK
    lit: _Floats = np.clip(pixels * np.array([WHITE / v for v in light], dtype=np.float32), 0, 255)
    if border.mean() > 0.02:
        lit[ndimage.binary_dilation(border)] = WHITE
    return lit.astype(np.uint8)
