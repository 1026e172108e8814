"""A CSV, TSV or Parquet table: path, label, group, split, box; further columns ride along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytowell.errors import BadTable
from cytowell.images import NPZ_MARK
from cytowell.storage import holds_neutral, is_there, restored
from cytowell.types import Box, Dataset, Sample

SUFFIXES = (".csv", ".tsv", ".parquet")

_BOX = ("x", "y", "width", "height")
_PARTS = {"train": "train", "valid": "validation", "val": "validation"} | {
    "validation": "validation",
    "test": "test",
    "excluded": "excluded",
}


def read(path: Path) -> Dataset:
    """Read a table to learn or to evaluate from.

    `truth` is the label if it is there, else `label`. Paths may be relative to the table.

    Raises
    ------
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
    return _dataset(path, frame, column if column in frame.columns else None)


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
            frame = pd.read_parquet(path)
        else:
            frame = _read_text(path)
    except BadTable:
        raise
    except Exception as error:
        raise BadTable(f"{path} cannot be read as a table ({error}).") from error
    frame.columns = [str(c).strip() for c in frame.columns]
    if "path" not in frame.columns and "photo" in frame.columns:
        # What `cytowell wells` writes: the photograph that boxes lie in.
        frame = frame.rename(columns={"photo": "path"})
    if "path" not in frame.columns:
        raise BadTable(
            f"{path} has no column 'path' (it has {', '.join(map(str, frame.columns[:6]))}).",
            "Name the column of file names 'path' and the one of classes 'label'.",
        )
    if frame["path"].isna().any():
        row = int(frame["path"].isna().to_numpy().argmax()) + 2
        raise BadTable(f"{path} has no path in line {row}.", "Fill it in or remove the line.")
    return frame


def read_texts(path: Path) -> pd.DataFrame:
    """Read a table of anything, every cell as the text that it is; "" for an empty one.

    Raises
    ------
    BadTable
        If it cannot be read, or has no row.
    """
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
            frame = frame.astype(object).where(frame.notna(), "").astype(str)
        else:
            frame = _read_text(path, every=True)
    except BadTable:
        raise
    except Exception as error:
        raise BadTable(f"{path} cannot be read as a table ({error}).") from error
    frame.columns = [str(c).strip() for c in frame.columns]
    if not len(frame):
        raise BadTable(f"{path} has no row.", "Its first line names the columns.")
    return frame


def _read_text(path: Path, every: bool = False) -> pd.DataFrame:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = path.read_text(encoding=encoding)
        except UnicodeDecodeError:
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


def _as_written(cell: Any) -> Any:
    """Give a cell as it was before it was made safe for spreadsheets."""
    return restored(cell) if isinstance(cell, str) and "'" in cell else cell


def _dataset(path: Path, frame: pd.DataFrame, label: str | None) -> Dataset:
    known = {"path", "group", "split", "subclass", *([label] if label else [])}
    boxed = all(c in frame.columns for c in _BOX)
    if boxed:
        known |= set(_BOX)
    # Keys are typed as any hashable; `read_frame` made every column's name a text.
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    samples = []
    for number, row in enumerate(rows, start=2):
        samples.append(
            Sample(
                path=_place(path, str(row["path"])),
                label=_text(row.get(label)) if label else None,
                group=_text(row.get("group")),
                split=_part(path, number, _text(row.get("split"))),
                subclass=_text(row.get("subclass")),
                box=_box(path, number, row) if boxed else None,
                extra={str(k): v for k, v in row.items() if k not in known},
            )
        )
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    return Dataset(tuple(samples), classes)


def _place(table: Path, named: str) -> str:
    if Path(named.split("::")[0]).is_absolute():
        return named
    beside = table.parent / named
    file = Path(str(beside).split("::")[0]) if NPZ_MARK in named else beside
    return str(beside) if is_there(file) or not is_there(named) else named


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
