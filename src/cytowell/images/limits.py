"""What is read at all, and how many bytes it may be unpacked to: every such limit is here.

A small file can announce, or be inflated to, more than a machine holds. Whoever unpacks asks a
`Budget` before the bytes are allocated, so that the answer is an error that names the file.
"""

from __future__ import annotations

from pathlib import Path

from cytowell.errors import CytowellError, ImageTooLarge

MAX_PIXELS = 89_478_485
"""Largest image that is decoded, in pixels: Pillow's own line, but an error and from the header."""

DECODED = 512 << 20
"""Bytes of one decoded picture, all its channels: `MAX_PIXELS` of three channels at 16 bits."""

IN_MEMORY = 64 << 20
"""Bytes that any other file (a table, a bundle's arrays) is unpacked to without asking further."""

ON_DISK = 256 << 20
"""The same for an archive that is unpacked to a folder: one of drawings may shrink well."""

RATIO = 100
"""Times its own size that a file grows at most beyond these: photographs are compressed already."""

BAND = 1 << 20
"""Pixels that are converted at once where a conversion holds several copies."""

KEPT_BYTES = 20 << 30
"""Bytes of unpacked archives, and of unpacked arrays, that the cache keeps; the oldest go first."""

MAX_ROWS = 5_000_000
"""Samples of one data set, at most: each costs some hundred bytes, however well a file packs it."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""What Pillow may try; everything else (GIF, FITS, EPS, PSD ...) is refused by name."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif"}
    | {".czi", ".nd2"}
)

_FIRST = (
    b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"ZISRAWFILE",
    b"\xda\xce\xbe\n",
)  # fmt: skip
"""First bytes of JPEG, PNG, BMP, TIFF, BigTIFF, CZI and ND2."""


def is_picture(file: Path) -> bool:
    """Whether a file without an ending, or with one that is not known, begins like a picture."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as handle:
            head = handle.read(12)
    except OSError:
        return False
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    heic = head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1")
    plain = head.startswith(_FIRST) and (head[:2] != b"BM" or head[6:10] == bytes(4))
    return webp or heic or plain


SMALLER = f"Images of up to {MAX_PIXELS:,} pixels are decoded: save it smaller or cut it."
NO_FILE_GROWS_SO = "No file of this kind grows so much: do not use it."


class Budget:
    """Bytes that one file may still be unpacked to.

    Parameters
    ----------
    shown
        What the file is called in the error.
    most
        Bytes in all.
    error, remedy
        What is raised when they are spent.
    """

    def __init__(
        self,
        shown: object,
        most: int,
        error: type[CytowellError] = ImageTooLarge,
        remedy: str = SMALLER,
    ) -> None:
        self.shown = str(shown)
        self.most = most
        self.left = most
        self._error = error
        self._remedy = remedy

    def spend(self, count: int) -> None:
        """Take bytes that are about to be allocated or written.

        Raises
        ------
        CytowellError
            The class that was named, if they are more than are left.
        """
        self.left -= int(count)
        if self.left < 0:
            raise self._error(
                f"{self.shown} would be unpacked to more than {self.most:,} bytes.", self._remedy
            )


def grown(packed: int, freely: int = IN_MEMORY) -> int:
    """Give the bytes that a file of so many bytes may be unpacked to."""
    return max(freely, RATIO * packed)


def cap(size: tuple[int, int], shown: str, each: int = 3) -> None:
    """Check what a header announces, before it is decoded.

    Parameters
    ----------
    size
        Width and height in pixels.
    each
        Bytes of a pixel, all channels together.

    Raises
    ------
    ImageTooLarge
        If it has more pixels, or more bytes, than are decoded.
    """
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageTooLarge(f"{shown} announces {size[0]} x {size[1]} pixels.", SMALLER)
    Budget(shown, DECODED).spend(size[0] * size[1] * each)
