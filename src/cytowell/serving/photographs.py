"""Whether a file is still the photograph that was called."""

from __future__ import annotations

import functools
from pathlib import Path

from cytowell.errors import CytowellError
from cytowell.serving.kept import Kept
from cytowell.storage import sha256


class PhotographChanged(CytowellError):
    """The file is not the photograph that was called."""


def is_changed(kept: Kept) -> bool:
    """Tell whether the file of a call is there and is not what was called."""
    try:
        told = Path(kept.file).stat()
        stamp = (told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
        return bool(kept.sha256) and _hash_at(kept.file, stamp) != kept.sha256
    except OSError:
        return False


def require_unchanged(kept: Kept) -> None:
    """Refuse a file that is not the photograph that was called.

    Raises
    ------
    PhotographChanged
        Naming it.
    """
    if is_changed(kept):
        raise PhotographChanged(
            f"{kept.name} is not the photograph that was called: its SHA-256 differs.",
            "Find out who replaced it, then call it again.",
        )


@functools.lru_cache(maxsize=20_000)
def _hash_at(path: str, stamp: tuple[int, ...]) -> str:
    """Hash a file, once for each state that the system tells of it."""
    return sha256(path)


def digest_of_file(path: str) -> str:
    """Give a file's SHA-256, "" where it cannot be read."""
    try:
        return sha256(path)
    except OSError:
        return ""
