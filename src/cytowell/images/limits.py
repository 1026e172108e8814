"""What is read at all: formats, endings, and how many pixels."""

from __future__ import annotations

from cytowell.errors import ImageTooLarge

MAX_PIXELS = 89_478_485
"""Largest image that is decoded, in pixels: Pillow's own line, but an error and from the header."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""What Pillow may try; everything else (GIF, FITS, EPS, PSD ...) is refused by name."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif"}
    | {".czi", ".nd2"}
)
NPZ_MARK = ".npz::"

SMALLER = f"Images of up to {MAX_PIXELS:,} pixels are decoded: save it smaller or cut it."


def cap(size: tuple[int, int], shown: str) -> None:
    """Raise ImageTooLarge if a header announces more pixels than are decoded."""
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageTooLarge(f"{shown} announces {size[0]} x {size[1]} pixels.", SMALLER)
