"""Tables of objects as ImageJ ("Analyze Particles") and CellProfiler measure them.

ImageJ: `Label` (the photograph) with `BX, BY, Width, Height`; CellProfiler: `FileName_...` with
`AreaShape_BoundingBoxMinimum_X` and so on. Both in pixels: ImageJ's scale has to be removed first.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cytowell.errors import BadAnnotation
from cytowell.sources import table
from cytowell.sources.annotations import (
    Photograph,
    Writer,
    dataset_of,
    few,
    head_of,
    number,
    require_images,
    said,
)
from cytowell.sources.beside import Beside
from cytowell.types import Box, Dataset

FILE = "Results.csv"
IMAGEJ = ("BX", "BY", "Width", "Height")
CELLPROFILER = tuple(
    f"AreaShape_BoundingBox{end}_{axis}" for end in ("Minimum", "Maximum") for axis in "XY"
)


def is_one(file: Path) -> bool:
    """Whether a table's first line names the boxes of either program."""
    line = head_of(file, 1 << 16).split(b"\n")[0].decode("utf-8", "replace")
    names = {n.strip().strip('"') for n in line.replace("\t", ",").replace(";", ",").split(",")}
    return set(IMAGEJ) <= names or set(CELLPROFILER) <= names


def looks_like(folder: Path) -> bool:
    """Whether a folder holds such a table."""
    return file_of(folder) is not None


def file_of(folder: Path) -> Path | None:
    """Give the table of a folder, None if there is none."""
    return next((f for f in sorted(folder.glob("*.csv")) if is_one(f)), None)


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a table with its images beside or below it.

    Raises
    ------
    BadAnnotation
        If nothing says in which photograph an object is.
    EmptyDataset
        If there is no image.
    """
    root = path if path.is_dir() else path.parent
    file = (file_of(path) if path.is_dir() else path) or path / FILE
    frame = table.read_texts(file)
    beside = Beside(root, within)
    named = _photographs(frame, file, beside)
    kinds = next((c for c in ("Class", "class", "Category", "Classification") if c in frame), None)
    found: dict[str, Photograph] = {}
    for row, (name, values) in enumerate(zip(named, frame.to_dict("records"), strict=True), 2):
        place = beside.find(name)
        p = found.setdefault(place, Photograph(place, str(file)))
        label = str(values[kinds]).strip() if kinds else ""
        p.boxes.append((_box(values, f"{file} line {row}"), label or None))
    for image in beside.images:
        found.setdefault(str(image), Photograph(str(image)))
    require_images(found, path)
    missing = [Path(p).name for p in found if not Path(p).is_file()]
    notes = [*said(len(missing), f"images that are told of are not there: {few(missing)}.")]
    return dataset_of(found.values(), notes)


def _photographs(frame: pd.DataFrame, file: Path, beside: Beside) -> list[str]:
    """Give the photograph of each row; ImageJ adds a particle's number after a colon."""
    column = next(
        (c for c in map(str, frame.columns) if c.startswith(("FileName_", "Image_FileName_"))), None
    )
    column = column or ("Label" if "Label" in frame else None)
    if column is None:
        if len(beside.images) == 1:
            return [beside.images[0].name] * len(frame)
        raise BadAnnotation(
            f"{file} does not say in which photograph an object is.",
            "Tick Display label in ImageJ, or export the image's FileName with the objects.",
        )
    names = {f.name for f in beside.images}
    return [n if n in names else n.split(":")[0] for n in map(str, frame[column])]


def _box(row: Mapping[Hashable, Any], where: str) -> Box:
    if all(c in row for c in IMAGEJ):
        return Box(*(number(row[c], where) for c in IMAGEJ))
    left, top, right, bottom = (number(row[c], where) for c in CELLPROFILER)
    return Box(left, top, right - left, bottom - top)


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write one table as ImageJ does, with a column for the class."""
    rows = [
        {
            "Label": Path(p.path).relative_to(folder).as_posix(),
            "BX": b.x,
            "BY": b.y,
            "Width": b.width,
            "Height": b.height,
            "Class": label or "",
        }
        for p in photographs
        for b, label in p.boxes
    ]
    frame = pd.DataFrame(rows, columns=["Label", *IMAGEJ, "Class"])
    frame.index = pd.RangeIndex(1, len(frame) + 1, name=" ")
    frame.to_csv(folder / FILE, lineterminator="\n")


WRITER = Writer("{part}/{name}", write)
