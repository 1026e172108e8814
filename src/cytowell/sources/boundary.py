"""Whether a path that a file names may be opened: judged by one function, before anybody looks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cytowell.errors import BadAnnotation
from cytowell.types import file_of


def lies_inside(path: str | Path, within: Path | None) -> bool:
    """Tell whether what a path opens lies in a folder, links followed; without a folder, always.

    Nothing is opened or measured. Archives and uploads are read within their own folder; what a
    user names on their own machine may lie anywhere.

    Parameters
    ----------
    path
        As a sample has it: a file, or an image in an `.npz`.
    """
    if within is None:
        return True
    try:
        return Path(file_of(str(path))).resolve().is_relative_to(within.resolve())
    except (OSError, ValueError, RuntimeError):  # names that no disk could hold, links in a circle
        return False


def require_inside(paths: Iterable[str | Path], within: Path | None, named_by: str) -> None:
    """Refuse paths that lead out of a folder.

    Raises
    ------
    BadAnnotation
        Without saying what they are, or whether they are there: whoever made the file may read it.
    """
    outside = sum(not lies_inside(p, within) for p in set(paths))
    if outside:
        raise BadAnnotation(
            f"{named_by} names {outside} files outside of itself.",
            "Put them into the archive, or unpack it yourself and look at what it names.",
        )
