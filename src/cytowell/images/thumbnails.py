"""A small picture of what a sample shows, for notebooks."""

from __future__ import annotations

import io

from PIL import Image

from cytowell.errors import CytowellError
from cytowell.images.decode import open_upright
from cytowell.images.record import Preprocessing
from cytowell.types import Sample

SIDE = 64
"""Longer side in pixels: twenty of them are a screen."""


def thumbnail(sample: Sample) -> bytes:
    """Give a PNG of a photograph, or of the box in it; nothing where it cannot be read."""
    if not sample.path:
        return b""
    try:
        scale = 1 if sample.box else 8
        image = open_upright(sample.path, Preprocessing(jpeg_scale=scale))
    except CytowellError:
        return b""
    if sample.box is not None:
        box = sample.box
        image = image.crop(
            (round(box.x), round(box.y), round(box.x + box.width), round(box.y + box.height))
        )
    if min(image.size) < 1:
        return b""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    image.info = {}
    drawn = io.BytesIO()
    image.save(drawn, "PNG")
    return drawn.getvalue()
