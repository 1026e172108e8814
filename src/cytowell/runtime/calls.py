"""Calls to a file, batch by batch: CSV, Parquet or JSON lines, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cytowell.errors import RecipeError
from cytowell.storage import explaining, replacing
from cytowell.types import Predictions

SUFFIXES = (".csv", ".parquet", ".jsonl")


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
        if name == "probability" or str(name).startswith("p_"):
            out[name] = frame[name].astype(float).round(6)
    return out


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
            clean = {str(k): None if v is None or v != v else v for k, v in row.items()}
            self._handle.write(json.dumps(clean, ensure_ascii=False, default=str) + "\n")


class _Parquet:
    def __init__(self, file: Path, known: frozenset[str]) -> None:
        self._file = file
        self._known = known
        self._writer: Any = None

    def __call__(self, calls: Predictions) -> None:
        frame = calls.frame(self._known)
        for name in frame.columns:
            if frame[name].dtype == object:
                frame[name] = frame[name].map(lambda v: None if v is None or v != v else str(v))
        if self._writer is None:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            # A column that is empty in the first batch may hold text in the next.
            fields = [
                f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in table.schema
            ]
            self._schema = pa.schema(fields)
            self._writer = pq.ParquetWriter(self._file, self._schema)
        rows = pa.Table.from_pandas(frame, schema=self._schema, preserve_index=False, safe=False)
        self._writer.write_table(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
