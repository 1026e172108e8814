"""What spoke for a call, drawn over what was called."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cytowell.images import Preprocessing, load
from cytowell.runtime.bundle import Bundle
from cytowell.types import FloatArray, Sample

STRONGEST = 0.6
"""Share of colour where the map is 1; what was called stays to be seen."""

COLOUR = np.array([213.0, 94.0, 0.0])
"""Vermillion of Okabe and Ito's palette, told apart with every kind of colour vision."""


def seen(record: Preprocessing, sample: Sample) -> Image.Image:
    """Give what a network with this record is shown of a sample, upright and cut out.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    return Image.fromarray(load(sample, record))


def heated(bundle: Bundle, sample: Sample, label: int) -> Image.Image:
    """Give the same with its class activation map over it (Zhou et al. 2016).

    Raises
    ------
    ImageError
        If it cannot be read.
    BundleError
        If the bundle's features are no means of maps.
    """
    pixels = load(sample, bundle.facts.preprocessing)
    drawn = over(pixels.astype(np.float64), bundle.activation(pixels, label))
    return Image.fromarray(drawn.round().astype(np.uint8))


def over(pixels: FloatArray, heat: FloatArray) -> FloatArray:
    """Lay a map (h, w) of 0..1 over pixels (H, W, 3) of 0..255, at their size."""
    sized = Image.fromarray(heat.astype(np.float32)).resize(
        (pixels.shape[1], pixels.shape[0]), Image.Resampling.BICUBIC
    )
    share = STRONGEST * np.clip(np.asarray(sized, dtype=np.float64), 0, 1)[..., None]
    mixed: FloatArray = pixels * (1 - share) + COLOUR * share
    return mixed
