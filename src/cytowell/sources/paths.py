"""What a person names on a command line, as samples to be called: files, folders, globs, lists."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cytowell.errors import EmptyDataset
from cytowell.images import SUFFIXES
from cytowell.sources.folders import walk
from cytowell.sources.table import read_to_call
from cytowell.types import Sample, fields_of

TABLES = (".csv", ".tsv", ".parquet")


def named(
    paths: Sequence[str], listed: Iterable[str] | None = None
) -> tuple[Iterator[Sample], frozenset[str], int | None]:
    """Give samples in the order named, which columns they have, and how many if that is known.

    Parameters
    ----------
    paths
        Files, folders (searched to the bottom), globs, tables, or ``-`` for a list of files.
    listed
        Lines that stand for ``-``; standard input without it.

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
        if place.suffix.lower() in TABLES:
            found = read_to_call(place).samples
            known |= fields_of(found)
        elif place.is_dir():
            found = [Sample(str(f)) for f in walk(place) if f.suffix.lower() in SUFFIXES]
            if not found:
                raise EmptyDataset(
                    f"{path} holds no images.", "JPEG, PNG, TIFF, BMP, WebP and HEIC are read."
                )
        elif not place.exists() and glob.has_magic(path):
            matches = glob.glob(path, recursive=True)  # noqa: PTH207  (takes absolute patterns)
            found = [Sample(f) for f in sorted(matches)]
            if not found:
                raise EmptyDataset(f"Nothing matches {path}.", "Check the pattern.")
        else:
            found = [Sample(path)]
        parts.append(found)
        total = None if total is None else total + len(found)
    return (s for part in parts for s in part), frozenset(known), total
