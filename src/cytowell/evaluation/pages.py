"""What every page is made with: templates that escape, pictures that need no network."""

from __future__ import annotations

import base64
import io

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image


def environment(room: str = "evaluation") -> Environment:
    """Give the templates of a room; every value is escaped, none may be missing."""
    return Environment(
        loader=PackageLoader("cytowell", room),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def jpeg_uri(image: Image.Image, side: int) -> str:
    """Give a picture of at most this longer side as a data URI: pixels, no EXIF, no comment."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # A new image of the pixels: Pillow would copy a comment or colour profile along.
    Image.fromarray(np.asarray(small)).save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
