"""Calls to a file, batch by batch: CSV, Parquet or JSON lines, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from cytowell.errors import RecipeError
from cytowell.registry import needed
from cytowell.storage import explaining, replacing
from cytowell.types import Predictions

SUFFIXES = (".csv", ".parquet", ".jsonl")

NUMBERS = ("probability", "object", "score", "x", "y", "width", "height")
"""Columns that hold numbers, even where the first of them are empty."""

ROW_GROUP = 4096
"""Rows that a Parquet file takes at once: of a few rows each, a million would be all overhead."""


@contextlib.contextmanager
def writer(
    out: Path | None, known: frozenset[str] = frozenset()
) -> Iterator[Callable[[Predictions], None]]:
    """Give a function that appends calls to `out`, or prints them as CSV without one.

    Parameters
    ----------
    known
        Which of the samples' own columns the whole list has (`types.fields_of`).

    Raises
    ------
    RecipeError
        If the file's ending is none of `SUFFIXES`.
    """
    if out is None:
        yield _Csv(sys.stdout, known)
        return
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise RecipeError(f"{out} has no known ending.", f"Use one of {', '.join(SUFFIXES)}.")
    with replacing(out) as beside, explaining(out):
        if suffix == ".parquet":
            parquet = _Parquet(beside, known)
            try:
                yield parquet
                parquet.flush()
            finally:
                parquet.close()
        else:
            with beside.open("w", encoding="utf-8", newline="") as handle:
                yield _Csv(handle, known) if suffix == ".csv" else _Lines(handle, known)


def shape(frame: pd.DataFrame) -> pd.DataFrame:
    """Round probabilities to what they are worth and write booleans as true and false."""
    out = frame.copy()
    out["decided"] = ["true" if d else "false" for d in frame["decided"]]
    for name in frame.columns:
        ours = name == "probability" or str(name).startswith("p_")
        if ours and pd.api.types.is_float_dtype(frame[name]):
            out[name] = frame[name].round(6)
    return out


def named_rows(calls: Predictions, known: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Give the rows of a file of calls, each photograph by its base name; nothing there is None."""
    names = {s.path: Path(s.path).name for s in calls.samples}
    out = []
    for sample, row in zip(
        calls.samples, shape(calls.frame(known)).to_dict("records"), strict=True
    ):
        base = names[sample.path]
        clean = {str(k): None if pd.isna(v) else _plain(v) for k, v in row.items()}
        clean["path"] = base
        clean["error"] = str(clean["error"] or "").replace(sample.path, base)
        if clean.get("group"):
            clean["group"] = base
        out.append(clean)
    return out


def _plain(value: Any) -> Any:
    """Give a number of NumPy's as Python's own."""
    return value.item() if hasattr(value, "item") else value


class _Csv:
    def __init__(self, handle: Any, known: frozenset[str]) -> None:
        self._handle = handle
        self._known = known
        self._columns: list[str] | None = None

    def __call__(self, calls: Predictions) -> None:
        frame = shape(calls.frame(self._known))
        first = self._columns is None
        if self._columns is None:
            self._columns = list(frame.columns)
        frame = frame.reindex(columns=self._columns)
        frame.to_csv(self._handle, header=first, index=False, lineterminator="\n")


class _Lines:
    def __init__(self, handle: Any, known: frozenset[str]) -> None:
        self._handle = handle
        self._known = known

    def __call__(self, calls: Predictions) -> None:
        for row in calls.frame(self._known).to_dict("records"):
            clean = {str(k): None if pd.isna(v) else v for k, v in row.items()}
            self._handle.write(json.dumps(clean, ensure_ascii=False, default=str) + "\n")


class _Parquet:
    def __init__(self, file: Path, known: frozenset[str]) -> None:
        self._arrow = needed("pyarrow", f"{file.suffix} output")
        self._parquet = needed("pyarrow.parquet", f"{file.suffix} output")
        self._file = file
        self._known = known
        self._writer: Any = None
        self._waiting: list[Predictions] = []

    def __call__(self, calls: Predictions) -> None:
        self._waiting.append(calls)
        if sum(len(c) for c in self._waiting) >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        frame = Predictions.join(self._waiting).frame(self._known)
        self._waiting = []
        for name in frame.columns:
            if frame[name].dtype == object:
                frame[name] = frame[name].map(lambda v: None if pd.isna(v) else str(v))
        if self._writer is None:
            # A column that is empty so far may hold text later.
            for name in frame.columns[frame.isna().all()]:
                if name not in NUMBERS and not name.startswith("p_"):
                    frame[name] = frame[name].astype("str")
            self._schema = self._arrow.Schema.from_pandas(frame, preserve_index=False)
            self._writer = self._parquet.ParquetWriter(self._file, self._schema)
        try:
            rows = self._arrow.Table.from_pandas(frame, schema=self._schema, preserve_index=False)
        except (self._arrow.ArrowInvalid, self._arrow.ArrowTypeError) as error:
            raise RecipeError(
                f"A column that began with numbers goes on with something else ({error}).",
                "Write .csv or .jsonl, or call the tables one by one.",
            ) from error
        self._writer.write_table(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
