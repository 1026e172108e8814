"""How a picture looks before anything is brought to one view: light, stain, sharpness, size.

What a bundle divides out or enlarges is gone from what its network sees; a laboratory wants to know
of it all the same. Values are logarithms or shares, so that a difference is a factor.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from cytowell.images.cell import BLACK, light_of

MEASURES = (
    "light",
    "light_red",
    "light_blue",
    "stain",
    "stain_red",
    "stain_blue",
    "sharpness",
    "size",
)
"""Columns of appearance.

`light` is the logarithm of the empty background, `light_red` and `light_blue` are those of its red
and blue against green; `stain` is the logarithm of the optical density of what is darker than half
of the view, `stain_red` and `stain_blue` are the shares of it that red and blue light lose;
`sharpness` is the logarithm of how much of the variance lies in the finest detail, in pixels of the
photograph; `size` is the logarithm of the nucleus' diameter, or of a box's side, in pixels of the
photograph (not a number of a whole picture)."""

Appearance = npt.NDArray[np.float32]

FINEST = 1.0
"""Standard deviation, in pixels, of the Gaussian that takes the finest detail away."""

LOOKED_AT = 384
"""Longer side, in pixels, of the middle of a view in which detail is looked at."""

VIEWED = 64
"""Longer side, in pixels, of the picture in which stain is measured."""

BRIGHT = 99.0
"""Percentile of each channel that stands for the light of a dark field."""


def appearance_of(
    photograph: Image.Image, view: tuple[float, float, float, float], size: float | None
) -> Appearance:
    """Measure a photograph, and what of it is looked at; float32, one of each of `MEASURES`.

    Parameters
    ----------
    photograph
        Upright RGB; light is that of the whole.
    view
        Left, top, right, bottom of what is looked at, in pixels; cut at the photograph's border.
    size
        Diameter of the nucleus or side of the box, in pixels; None where neither is known.
    """
    out = np.full(len(MEASURES), np.nan, dtype=np.float32)
    light = np.array(light_of(photograph) or _bright(photograph), dtype=np.float64)
    logs = np.log(light)
    out[:3] = logs.mean(), logs[0] - logs[1], logs[2] - logs[1]
    if size is not None and size > 0:
        out[7] = math.log(size)
    left, top = (max(0, math.floor(v)) for v in view[:2])
    right, bottom = (
        min(side, math.ceil(v)) for side, v in zip(photograph.size, view[2:], strict=True)
    )
    if right - left < 8 or bottom - top < 8:
        return out
    part = photograph.crop((left, top, right, bottom))
    out[3:6] = _stain(part, light)
    out[6] = _sharpness(part)
    return out


def _bright(photograph: Image.Image) -> list[float]:
    small = photograph.reduce(max(1, max(photograph.size) // 96))
    pixels = np.asarray(small, dtype=np.float32).reshape(-1, 3)
    return [max(1.0, float(v)) for v in np.percentile(pixels, BRIGHT, axis=0)]


def _stain(part: Image.Image, light: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    small = part.reduce(max(1, max(part.size) // VIEWED))
    pixels = np.asarray(small, dtype=np.float64).reshape(-1, 3)
    pixels = pixels[pixels.max(axis=1) > BLACK]
    if len(pixels) < 16:
        return math.nan, math.nan, math.nan
    density = -np.log((np.minimum(pixels, light) + 1) / (light + 1))
    total = density.sum(axis=1)
    mean = density[total >= np.median(total)].mean(axis=0)
    whole = float(mean.sum())
    if whole < 1e-3:
        return math.nan, math.nan, math.nan
    return math.log(whole), float(mean[0]) / whole, float(mean[2]) / whole


def _sharpness(part: Image.Image) -> float:
    grey = np.asarray(part.convert("L"), dtype=np.float32)
    tall, wide = grey.shape
    top, left = max(0, (tall - LOOKED_AT) // 2), max(0, (wide - LOOKED_AT) // 2)
    grey = grey[top : top + LOOKED_AT, left : left + LOOKED_AT]
    smooth = ndimage.gaussian_filter(grey, FINEST)
    coarse = float(smooth.var())
    fine = float((grey - smooth).var())
    if coarse < 1e-3:
        return math.nan
    # A picture of one value in large blocks has no fine detail at all: a floor keeps it finite.
    return math.log((fine + 1e-3) / coarse)
