"""A CSV, TSV or Parquet table: path, label, group, split, box; further columns ride along."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytowell.errors import BadTable, MissingExtra
from cytowell.images.limits import NO_FILE_GROWS_SO, Budget, grown
from cytowell.registry import needed
from cytowell.sources.boundary import require_inside
from cytowell.sources.walk import walk
from cytowell.storage import holds_neutral, is_there, restored
from cytowell.types import NPZ_MARK, Box, Dataset, Sample, file_of

SUFFIXES = (".csv", ".tsv", ".parquet")

CELL = 8
"""Bytes of a cell of a table in memory, at least."""

BATCH = 65_536
"""Rows of Parquet that are unpacked at once."""

_BOX = ("x", "y", "width", "height")
_PARTS = {"train": "train", "valid": "validation", "val": "validation"} | {
    "validation": "validation",
    "test": "test",
    "excluded": "excluded",
}


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a table to learn or to evaluate from.

    `truth` is the label if it is there, else `label`. Paths may be relative to the table.

    Parameters
    ----------
    within
        The folder that its paths have to lie in; anywhere without it.

    Raises
    ------
    BadAnnotation
        If a path leads out of that folder.
    BadTable
        Without a column `path`; or with `decided` or `p_` columns and no `truth`, because then
        `label` is a prediction and learning from it would teach the tool its own mistakes.
    """
    frame = read_frame(path)
    called = [c for c in frame.columns if c == "decided" or c.startswith("p_")]
    if called and "truth" not in frame.columns:
        raise BadTable(
            f"{path} is a table of calls (column {called[0]!r}): its labels are predictions.",
            "Add a column truth with what a person says each image is.",
        )
    column = "truth" if "truth" in frame.columns else "label"
    return _dataset(path, frame, column if column in frame.columns else None, within)


def read_to_call(path: Path) -> Dataset:
    """Read a table of photographs to be called; its label, if it has one, will be the truth.

    In a table of calls `label` is an earlier prediction and rides along as another column.
    """
    frame = read_frame(path)
    called = any(c == "decided" or c.startswith("p_") for c in frame.columns)
    column = "truth" if "truth" in frame.columns else "label"
    if column == "label" and called:
        column = ""
    return _dataset(path, frame, column if column in frame.columns else None)


def read_frame(path: Path) -> pd.DataFrame:
    """Read the table itself; commas, semicolons and tabs, UTF-8 or Western encodings."""
    try:
        if path.suffix.lower() == ".parquet":
            frame = _read_parquet(path)
        else:
            frame = _read_text(path)
    except (BadTable, MissingExtra):
        raise
    except Exception as error:
        raise BadTable(f"{path} cannot be read as a table ({error}).") from error
    frame.columns = [str(c).strip() for c in frame.columns]
    if "path" not in frame.columns and "photo" in frame.columns:
        # What `cytowell wells` writes: the photograph that boxes lie in.
        frame = frame.rename(columns={"photo": "path"})
    frame = frame.rename(columns=usual_names(list(frame.columns)))
    if "path" not in frame.columns:
        raise BadTable(
            f"{path} has no column 'path' (it has {', '.join(map(str, frame.columns[:6]))}).",
            "Name the column of file names 'path' and the one of classes 'label'.",
        )
    if frame["path"].isna().any():
        row = int(frame["path"].isna().to_numpy().argmax()) + 2
        raise BadTable(f"{path} has no path in line {row}.", "Fill it in or remove the line.")
    return frame


SYNONYMS = {
    "path": ("path", "filename", "file_name", "file name", "file", "image", "filepath",
             "file_path", "image_path", "image path"),
    "label": ("label", "class", "category", "class_name", "labels"),
    "group": ("group",),
    "split": ("split",),
    "truth": ("truth",),
}  # fmt: skip
"""What people call the columns, in small letters."""


def usual_names(columns: list[str]) -> dict[str, str]:
    """Give which columns stand for `path`, `label` and so on, where only one can be meant."""
    renamed: dict[str, str] = {}
    for name, others in SYNONYMS.items():
        if name in columns or (name == "label" and "truth" in columns):
            continue
        found = [c for c in columns if c.strip().lower() in others]
        if len(found) == 1:
            renamed[found[0]] = name
    return renamed


def read_texts(path: Path) -> pd.DataFrame:
    """Read a table of anything, every cell as the text that it is; "" for an empty one.

    Raises
    ------
    BadTable
        If it cannot be read, or has no row.
    """
    try:
        if path.suffix.lower() == ".parquet":
            frame = _read_parquet(path)
            frame = frame.astype(object).where(frame.notna(), "").astype(str)
        else:
            frame = _read_text(path, every=True)
    except (BadTable, MissingExtra):
        raise
    except Exception as error:
        raise BadTable(f"{path} cannot be read as a table ({error}).") from error
    frame.columns = [str(c).strip() for c in frame.columns]
    if not len(frame):
        raise BadTable(f"{path} has no row.", "Its first line names the columns.")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file, counting what it is unpacked to before that is done.

    A word that is kept once and repeated a million times costs as often as it is repeated: texts
    are read as the numbers of their words, and counted.
    """
    pa, pc, pq = (needed(f"pyarrow{m}", str(path)) for m in ("", ".compute", ".parquet"))
    budget = Budget(path, grown(path.stat().st_size), BadTable, NO_FILE_GROWS_SO)
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        if any(pa.types.is_nested(field.type) for field in schema):
            raise BadTable(f"{path} has columns of lists.", "Write one value in each cell.")
        budget.spend(CELL * file.metadata.num_rows * len(schema))
        budget.spend(sum(_unpacked(file.metadata.row_group(i)) for i in range(file.num_row_groups)))
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        parts = []
        for part in file.iter_batches(BATCH):
            for column in part.columns:
                if pa.types.is_dictionary(column.type):
                    words = column.dictionary.cast(pa.large_string())
                    lengths = pc.take(pc.binary_length(words), column.indices)
                    budget.spend(pc.sum(lengths).as_py() or 0)
            parts.append(part)
        read: pd.DataFrame = pa.Table.from_batches(
            parts, parts[0].schema if parts else schema
        ).to_pandas()
    for name in read.columns[read.dtypes == "category"]:
        read[name] = read[name].astype(object)
    return read


def _unpacked(group: Any) -> int:
    return sum(group.column(i).total_uncompressed_size for i in range(group.num_columns))


def _read_text(path: Path, every: bool = False) -> pd.DataFrame:
    for encoding in _encodings(path):
        try:
            text = path.read_text(encoding=encoding)
        except UnicodeError:
            continue
        head = text.split("\n", 1)[0]
        if not head.strip():
            raise BadTable(f"{path} is empty.", "Its first line names the columns.")
        separator = max(",;\t", key=head.count)
        names = ("path", "label", "truth", "group", "split", "subclass")
        frame = pd.read_csv(
            path,
            sep=separator,
            encoding=encoding,
            dtype="str" if every else dict.fromkeys(names, "str"),
            keep_default_na=False,
            na_values=[] if every else [""],
        )
        if holds_neutral(text):
            frame = frame.rename(columns=lambda name: restored(str(name))).map(_as_written)
        return frame
    raise BadTable(f"{path} is not text.", "Save it as CSV in UTF-8.")


def _encodings(path: Path) -> tuple[str, ...]:
    """Give what a table may be written in; a spreadsheet's "Unicode text" begins with its mark."""
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ("utf-16",)
    if head[1:2] == b"\0" or head[:1] == b"\0":
        return ("utf-16-le" if head[1:2] == b"\0" else "utf-16-be",)
    return ("utf-8-sig", "cp1252")


def _as_written(cell: Any) -> Any:
    """Give a cell as it was before it was made safe for spreadsheets."""
    return restored(cell) if isinstance(cell, str) and "'" in cell else cell


def _dataset(
    path: Path, frame: pd.DataFrame, label: str | None, within: Path | None = None
) -> Dataset:
    known = {"path", "group", "split", "subclass", *([label] if label else [])}
    boxed = all(c in frame.columns for c in _BOX)
    if boxed:
        known |= set(_BOX)
    # Keys are typed as any hashable; `read_frame` made every column's name a text.
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    if within is not None:
        require_inside({path.parent / str(row["path"]) for row in rows}, within, path.name)
    places = places_of(path, [str(row["path"]) for row in rows], within)
    samples = []
    for number, row in enumerate(rows, start=2):
        samples.append(
            Sample(
                path=places[str(row["path"])],
                label=_text(row.get(label)) if label else None,
                group=_text(row.get("group")),
                split=_part(path, number, _text(row.get("split"))),
                subclass=_text(row.get("subclass")),
                box=_box(path, number, row) if boxed else None,
                extra={str(k): v for k, v in row.items() if k not in known},
            )
        )
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    elsewhere = sum(places[n] != _place(path, n, within is None) for n in places)
    notes = []
    if elsewhere:
        notes.append(
            f"{path.name} names {elsewhere} files by paths of another machine: those of the same "
            "name beside the table were taken."
        )
    return Dataset(tuple(samples), classes, notes=tuple(notes))


def places_of(table: Path, named: list[str], within: Path | None) -> dict[str, str]:
    """Give where each named photograph lies; a path of another machine by what it ends in.

    Of such a path the longest end that is there beside the table is taken, else the only file of
    that name below it.

    Raises
    ------
    BadTable
        If several files below the table have that name.
    """
    found: dict[str, str] = {}
    by_name: dict[str, list[Path]] | None = None
    for name in dict.fromkeys(named):
        found[name] = _place(table, name, within is None)
        if is_there(file_of(found[name])) or NPZ_MARK in name:
            continue
        parts = [p for p in re.split(r"[\\/]+", name) if p not in ("", ".")]
        ends = (table.parent.joinpath(*parts[i:]) for i in range(len(parts)))
        near = next((e for e in ends if ".." not in e.parts and is_there(e)), None)
        if near is not None:
            found[name] = str(near)
            continue
        if not parts or len(parts) == 1 or "\\" not in name:
            continue  # it is missing, and no path of another system
        if by_name is None:
            by_name = {}
            for file in walk(table.parent):
                by_name.setdefault(file.name, []).append(file)
        same = by_name.get(parts[-1], [])
        if len(same) > 1:
            raise BadTable(
                f"{table} names {name}, and {len(same)} files beside it are called {parts[-1]}.",
                "Write paths from the table's folder, with forward slashes.",
            )
        if same:
            found[name] = str(same[0])
    if within is not None:
        require_inside(set(found.values()), within, table.name)
    return found


def _place(table: Path, named: str, anywhere: bool) -> str:
    """Give where a row's photograph lies: beside the table, or as named where it is trusted."""
    if Path(file_of(named)).is_absolute():
        return named
    beside = str(table.parent / named)
    if not anywhere or is_there(file_of(beside)) or not is_there(named):
        return beside
    return named


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and value != value) or value is pd.NA:
        return None
    return str(value).strip() or None


def _part(path: Path, number: int, value: str | None) -> str | None:
    if value is None:
        return None
    if value.lower() not in _PARTS:
        raise BadTable(
            f"{path} line {number} has the split {value!r}.",
            "Use train, validation, test or nothing.",
        )
    return _PARTS[value.lower()]


def _box(path: Path, number: int, row: dict[str, Any]) -> Box | None:
    values = [row[c] for c in _BOX]
    if all(v is None or v != v for v in values):
        return None
    try:
        box = Box(*(float(v) for v in values))
        if not np.isfinite([box.x, box.y, box.width, box.height]).all():
            raise ValueError("a side is missing")
        return box
    except (TypeError, ValueError) as error:
        raise BadTable(
            f"{path} line {number} has a box that is no number ({values}).",
            "x, y, width and height are pixels of the upright photograph.",
        ) from error
