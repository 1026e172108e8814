"""A bundle on labelled photographs: every figure, and a page that says whose."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import cytowell
from cytowell.errors import BadTable, CytowellError
from cytowell.runs.run import Run
from cytowell.runtime.bundle import Bundle, load
from cytowell.types import Dataset, Sample


@pytest.fixture
def opened(plain: Run) -> Bundle:
    return load(plain.bundle)


@pytest.fixture
def table(few: Dataset, tmp_path: Path) -> Path:
    rows = [
        {"path": s.path, "label": s.label, "site": "AB"[i % 2], "group": s.group}
        for i, s in enumerate(few.samples)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def test_figures_with_intervals_and_a_page(opened: Bundle, few: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    metrics = cytowell.evaluate(opened, few, out=out)
    assert metrics["n"] == len(few)
    assert set(metrics["accuracy"]) == {"value", "low", "high"}
    assert {c["class"] for c in metrics["per_class"]} == set(few.classes)
    assert {p.name for p in out.iterdir()} == {"report.html", "report.json", "predictions.csv"}
    html = (out / "report.html").read_text(encoding="utf-8")
    assert few.digest() in html
    assert opened.digest in html
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", html)
    assert len(pd.read_csv(out / "predictions.csv")) == len(few)
    json.loads((out / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_by_a_column(opened: Bundle, table: Path, tmp_path: Path) -> None:
    metrics = cytowell.evaluate(opened, cytowell.read(table), by="site", out=tmp_path / "out")
    assert set(metrics["by"]["site"]) == {"A", "B"}
    assert sum(m["n"] for m in metrics["by"]["site"].values()) == metrics["n"]
    assert "site" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_by_a_column_that_is_not_there(opened: Bundle, table: Path) -> None:
    with pytest.raises(CytowellError, match="sight"):
        cytowell.evaluate(opened, cytowell.read(table), by="sight")


def test_a_label_that_the_bundle_does_not_know(opened: Bundle, few: Dataset) -> None:
    strange = few.classes[0] + "s"
    samples = tuple(
        replace(s, label=strange if s.label == few.classes[0] else s.label) for s in few.samples
    )
    classes = tuple(sorted({s.label or "" for s in samples}))
    with pytest.raises(BadTable, match=f"Did you mean '{few.classes[0]}'"):
        cytowell.evaluate(opened, replace(few, samples=samples, classes=classes))


def test_no_labels(opened: Bundle, few: Dataset) -> None:
    bare = Dataset(tuple(Sample(p) for p in few.paths), (), "bare")
    with pytest.raises(BadTable, match="no labels"):
        cytowell.evaluate(opened, bare)


def test_some_without_label_and_one_unreadable(
    opened: Bundle, few: Dataset, tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture", encoding="utf-8")
    mixed = replace(
        few,
        samples=(
            *few.samples[:30],
            *(replace(s, label=None) for s in few.samples[30:]),
            Sample(str(text), few.classes[0]),
        ),
    )
    metrics = cytowell.evaluate(opened, mixed, out=tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out/predictions.csv")
    assert len(frame) == 31
    assert frame["error"].notna().sum() == 1
    assert metrics["n"] in (30, 31)


def test_fewer_classes_than_the_bundle_knows(opened: Bundle, few: Dataset) -> None:
    kept = few.classes[:2]
    two = replace(few.take([s.label in kept for s in few.samples]), classes=kept)
    metrics = cytowell.evaluate(opened, two)
    assert metrics["n"] == len(two)
