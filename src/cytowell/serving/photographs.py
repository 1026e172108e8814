"""Whether a file is still the photograph that was called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from cytowell.errors import CytowellError
from cytowell.serving.kept import CallRow, Kept
from cytowell.serving.tables import ImageRow
from cytowell.storage import sha256

UPLOADS = "uploads"
"""Folder of jobs' images in a server's data folder."""

Known = tuple[str, str, Path]
"""Name, SHA-256 and place of a photograph."""


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


@dataclass(frozen=True)
class Photographs:
    """What became of photographs: how many are as they were, how many are not there, what is wrong.

    One that lies outside of the data folder (an inbox's) may be taken away by whoever put it there;
    one inside may not.
    """

    same: int
    missing: int
    wrong: str


def photographs_of(session: Session, data: Path) -> list[Known]:
    """Give every photograph that is kept."""
    calls = select(CallRow.file, CallRow.sha256).distinct().order_by(CallRow.file)
    images = select(ImageRow.job, ImageRow.position, ImageRow.sha256)
    return [(Path(f).name, d, Path(f)) for f, d in session.execute(calls)] + [
        (f"image {p} of job {job}", d, data / UPLOADS / job / str(p))
        for job, p, d in session.execute(images)
    ]


def compared(
    photographs: Iterable[Known], data: Path, again: Callable[[], Iterable[Known]]
) -> Photographs:
    """Compare photographs with their SHA-256.

    Parameters
    ----------
    again
        Gives them anew: what was forgotten in the meantime, with its file, is no finding.
    """
    same = missing = 0
    inside = data.resolve()
    for known in photographs:
        name, digest, file = known
        found = digest_of_file(str(file))
        if found == digest:
            same += 1
        elif not found and not file.resolve().is_relative_to(inside):
            missing += 1
        elif known in set(again()):
            how = "replaced" if found else "taken out"
            return Photographs(same, missing, f"{name} ({file}) was {how}")
    return Photographs(same, missing, "")
