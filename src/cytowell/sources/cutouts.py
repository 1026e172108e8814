"""Groups of cut-outs that a person has sorted into class folders by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
from PIL import Image

from cytowell.sources import table
from cytowell.sources.walk import walk
from cytowell.storage import is_there
from cytowell.types import GROUP_KEY, Dataset

HEAD = b"\x89PNG\r\n\x1a\n"


def was_sorted(folder: Path, name: str) -> bool:
    """Whether the files of a folder's table were moved from where it has them, within the folder.

    A table of which some files are simply gone still says what the others are.
    """
    frame = table.read_frame(folder / name)
    gone = [str(p) for p in frame["path"] if not is_there(folder / str(p))]
    if not gone or len(gone) < len(frame) / 2:
        return False
    there = Counter(f.name for f in walk(folder))
    return all(there[Path(p).name] == 1 for p in gone if Path(p).name in there) and any(
        there[Path(p).name] for p in gone
    )


def with_rows(dataset: Dataset, folder: Path, name: str) -> Dataset:
    """Give sorted files the group and the further columns of their rows, found by their names.

    What a person has said by sorting, the class, stands; the label of the table does not.
    """
    frame = table.read_frame(folder / name)
    base = [Path(str(p)).name for p in frame["path"]]
    once = Counter(base)
    rows = {n: row for n, row in zip(base, frame.to_dict("records"), strict=True) if once[n] == 1}
    samples = []
    for s in dataset.samples:
        row = rows.get(Path(s.path).name)
        if row is None:
            samples.append(s)
            continue
        group = row.get("group")
        known = ("path", "label", "truth", "group", "split", "subclass")
        extra = {str(k): v for k, v in row.items() if k not in known}
        samples.append(
            replace(s, group=None if pd.isna(group) else str(group), extra={**extra, **s.extra})
        )
    note = f"{name} was written before the files were sorted: classes are the folders' names."
    return replace(dataset, samples=tuple(samples), notes=(*dataset.notes, note))


def with_written_groups(dataset: Dataset) -> Dataset:
    """Give cut-outs without a group the one that is written into them."""
    found = {
        i: group
        for i, s in enumerate(dataset.samples)
        if s.group is None and s.path.lower().endswith(".png") and (group := _written(s.path))
    }
    if not found:
        return dataset
    samples = tuple(
        replace(s, group=found[i]) if i in found else s for i, s in enumerate(dataset.samples)
    )
    note = f"{len(found)} cut-outs say to which photograph or group they belong."
    return replace(dataset, samples=samples, notes=(*dataset.notes, note))


def _written(path: str) -> str:
    """Give the group that a PNG names before its pixels, "" for none."""
    try:
        with Path(path).open("rb") as file:
            if GROUP_KEY.encode() not in file.read(2048):
                return ""
            file.seek(0)
            with Image.open(file, formats=("PNG",)) as image:
                return str(image.info.get(GROUP_KEY, ""))
    except Exception:  # a damaged picture is a finding of the checks, not of this
        return ""
