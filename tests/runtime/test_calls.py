"""The same calls in CSV, Parquet and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cytowell.errors import RecipeError, StorageError
from cytowell.runtime.calls import SUFFIXES, writer
from cytowell.types import CALL_COLUMNS, Predictions, Sample, fields_of

CLASSES = ("basophil", "café, au lait")


def calls(first: int, count: int, **columns: Any) -> Predictions:
    rng = np.random.default_rng(first)
    probabilities = rng.dirichlet([1, 1], size=count)
    errors = tuple("cannot be read" if (first + i) % 4 == 3 else "" for i in range(count))
    probabilities[[bool(e) for e in errors]] = np.nan
    samples = tuple(
        Sample(
            f"a/{first + i}.jpg",
            CLASSES[i % 2] if (first + i) % 3 else None,
            f"slide {first + i}",
            extra={k: v[i] for k, v in columns.items()},
        )
        for i in range(count)
    )
    decided = np.nan_to_num(probabilities).max(axis=1) > 0.7
    reasons = tuple("" if d or e else "unsure" for d, e in zip(decided, errors, strict=True))
    return Predictions(samples, CLASSES, probabilities, decided, reasons, errors)


def read(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    if file.suffix == ".jsonl":
        lines = file.read_text(encoding="utf-8").splitlines()
        return pd.DataFrame([json.loads(line) for line in lines])
    return pd.read_csv(file)


def put_all(out: Path, batches: Iterable[Predictions]) -> None:
    with writer(out, frozenset({"truth", "group"})) as put:
        for batch in batches:
            put(batch)


def interrupted() -> Iterator[Predictions]:
    yield calls(0, 3)
    raise KeyboardInterrupt


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def build(suffix: str) -> Path:
        batches = [
            calls(0, 5, well=[1, 2, 3, 4, 5], note=[None] * 5, probability=["x"] * 5),
            calls(5, 4, well=[6, 7, 8, 9], note=["a", None, "c", "d"], probability=["y"] * 4),
        ]
        known = fields_of(s for b in batches for s in b.samples)
        with writer(tmp_path / f"calls{suffix}", known) as put:
            for batch in batches:
                put(batch)
        return tmp_path / f"calls{suffix}"

    return build


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_come_in_the_order_that_was_promised(write: Write, suffix: str) -> None:
    frame = read(write(suffix))
    assert list(frame.columns) == [
        *CALL_COLUMNS,
        *(f"p_{c}" for c in CLASSES),
        "truth",
        "group",
        "well",
        "note",
        "given_probability",
    ]
    assert frame["path"].tolist() == [f"a/{i}.jpg" for i in range(9)]


def test_all_three_say_the_same(write: Write) -> None:
    first, *others = (read(write(suffix)) for suffix in SUFFIXES)
    for other in others:
        for name in first.columns:
            a, b = first[name], other[name]
            assert a.replace("", None).isna().tolist() == b.replace("", None).isna().tolist(), name
            if pd.api.types.is_float_dtype(a) and name != "well":
                assert a.to_numpy() == pytest.approx(b.to_numpy(dtype=float), abs=1e-6, nan_ok=True)
            else:
                assert [str(v) for v in a[a.notna()]] == [str(v) for v in b[a.notna()]], name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_can_be_read_as_calls(write: Write, suffix: str) -> None:
    again = Predictions.from_frame(read(write(suffix)))
    assert again.classes == CLASSES
    assert again.decided.dtype == np.bool_
    assert again.readable.tolist() == [i % 4 != 3 for i in range(9)]
    assert [s.label for s in again.samples][:3] == [None, CLASSES[1], CLASSES[0]]
    assert again.samples[5].extra["well"] == 6


def test_csv_says_true_and_false(write: Write) -> None:
    text = write(".csv").read_text(encoding="utf-8")
    assert ",true," in text
    assert ",false," in text
    assert "True" not in text


def test_json_lines_hold_no_nan(write: Write) -> None:
    for line in write(".jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line, parse_constant=pytest.fail)
        assert isinstance(record["decided"], bool)
        assert isinstance(record["well"], int)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_column_of_text_may_begin_with_p(tmp_path: Path, suffix: str) -> None:
    with writer(tmp_path / f"calls{suffix}") as put:
        put(calls(0, 2, p_note=["first", "second"]))
    assert read(tmp_path / f"calls{suffix}")["p_note"].tolist() == ["first", "second"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [1, 2, 4096])
def test_a_value_may_be_missing_at_first_or_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, rows: int
) -> None:
    monkeypatch.setattr("cytowell.runtime.calls.ROW_GROUP", rows)
    nan = float("nan")
    with writer(tmp_path / f"calls{suffix}", frozenset({"truth", "group"})) as put:
        put(calls(0, 2, well=[1, 2], note=[nan, nan], tray=[None, None]))
        put(calls(2, 2, well=[None, 4], note=["a", nan], tray=["A1", None]))
    frame = read(tmp_path / f"calls{suffix}")
    assert frame["well"].isna().tolist() == [False, False, True, False]
    assert frame["note"].fillna("").tolist() == ["", "", "a", ""]
    assert frame["tray"].fillna("").tolist() == ["", "", "A1", ""]


def test_a_parquet_file_of_many_batches_has_few_row_groups(tmp_path: Path) -> None:
    with writer(tmp_path / "calls.parquet") as put:
        for i in range(50):
            put(calls(8 * i, 8))
    assert pq.ParquetFile(tmp_path / "calls.parquet").num_row_groups == 1
    assert len(read(tmp_path / "calls.parquet")) == 400


def test_a_column_of_numbers_that_turns_to_text_is_no_silent_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cytowell.runtime.calls.ROW_GROUP", 2)
    batches = [calls(0, 2, well=[1, 2]), calls(2, 2, well=["A1", "A2"])]
    with pytest.raises(RecipeError, match="well"):
        put_all(tmp_path / "calls.parquet", batches)


def test_an_unknown_ending_is_refused_before_anything_is_called(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"\.parquet"), writer(tmp_path / "calls.xlsx"):
        pytest.fail("it was opened")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupt_leaves_the_old_file_as_it_was(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"calls{suffix}"
    out.write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        put_all(out, interrupted())
    assert out.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_folder_in_the_way_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").mkdir()
    with pytest.raises(StorageError, match="--out"), writer(tmp_path / "calls.csv") as put:
        put(calls(0, 1))


def test_without_a_file_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    with writer(None) as put:
        put(calls(0, 3))
        put(calls(3, 2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("path,label,probability,decided,reason,error,p_basophil")
    assert len(lines) == 6
