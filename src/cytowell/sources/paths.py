"""What a person names on a command line, as samples to be called: files, folders, globs, lists."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cytowell.errors import EmptyDataset
from cytowell.images import SUFFIXES
from cytowell.images.limits import is_picture
from cytowell.sources import table
from cytowell.sources.walk import walk
from cytowell.storage import is_there
from cytowell.types import Sample, fields_of


def named(
    paths: Sequence[str],
    listed: Iterable[str] | None = None,
    skipped: list[str] | None = None,
) -> tuple[Iterator[Sample], frozenset[str], int | None]:
    """Give samples in the order named, which columns they have, and how many if that is known.

    Parameters
    ----------
    paths
        Files, folders (searched to the bottom), globs, tables, or ``-`` for a list of files.
    listed
        Lines that stand for ``-``; standard input without it.
    skipped
        Files of folders that are no pictures by their first bytes are added to it.

    Raises
    ------
    EmptyDataset
        If a folder or a glob holds no image. A file that is missing is a row with its error.
    """
    known: set[str] = set()
    total: int | None = 0
    parts: list[Iterable[Sample]] = []
    for path in paths:
        place = Path(path)
        if path == "-":
            lines = sys.stdin if listed is None else listed
            parts.append(Sample(line.rstrip("\r\n")) for line in lines if line.strip())
            total = None
            continue
        found: Sequence[Sample]
        if place.suffix.lower() in table.SUFFIXES:
            found = table.read_to_call(place).samples
            if not found:
                raise EmptyDataset(f"{path} has no rows.", "Write one line for each photograph.")
            known |= fields_of(found)
        elif is_there(place) and place.is_dir():
            found = _in_folder(place, skipped if skipped is not None else [])
        elif not is_there(place) and glob.has_magic(path):
            matches = glob.glob(path, recursive=True)  # noqa: PTH207  (takes absolute patterns)
            found = [Sample(f) for f in sorted(matches) if not Path(f).is_dir()]
            if not found:
                raise EmptyDataset(f"Nothing matches {path}.", "Check the pattern.")
        else:
            found = [Sample(path)]
        parts.append(found)
        total = None if total is None else total + len(found)
    return (s for part in parts for s in part), frozenset(known), total


def _in_folder(place: Path, skipped: list[str]) -> list[Sample]:
    """Give a folder's images; a folder in it that may not be opened is a sample that will fail."""
    closed: list[Path] = []
    found = []
    for file in walk(place, closed):
        if file.suffix.lower() in SUFFIXES or is_picture(file):
            found.append(Sample(str(file)))
        else:
            skipped.append(str(file))
    if place in closed:
        raise EmptyDataset(f"{place} may not be looked into.", "Ask for the right to read it.")
    if not found and not closed:
        raise EmptyDataset(
            f"{place} holds no images.", "JPEG, PNG, TIFF, BMP, WebP, HEIC, CZI and ND2 are read."
        )
    return found + [Sample(str(folder)) for folder in closed]
