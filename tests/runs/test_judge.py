"""A bundle on labelled photographs: every figure, and a page that says whose."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import cytowell
from cytowell.errors import BadTable, CytowellError, UnknownName
from cytowell.runs.judge import in_words, relabelled
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


def renamed(dataset: Dataset, old: str, new: str) -> Dataset:
    samples = tuple(replace(s, label=new if s.label == old else s.label) for s in dataset.samples)
    return replace(
        dataset, samples=samples, classes=tuple(sorted({s.label or "" for s in samples}))
    )


def test_a_class_that_the_bundle_lacks_is_counted_and_the_rest_evaluated(
    opened: Bundle, few: Dataset, tmp_path: Path
) -> None:
    data = renamed(few, few.classes[0], "blast")
    metrics = cytowell.evaluate(opened, data, out=tmp_path / "out")
    strange = sum(s.label == "blast" for s in data.samples)
    assert metrics["n"] == len(few) - strange
    (row,) = metrics["other_classes"]
    assert (row["class"], row["n"]) == ("blast", strange)
    assert sum(row["called"].values()) == row["decided"] <= strange
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "which the bundle does not know" in page
    rest = few.take([s.label != few.classes[0] for s in few.samples])
    assert metrics["accuracy"] == cytowell.evaluate(opened, rest)["accuracy"]


def test_a_misspelt_class_is_answered_with_the_map_that_says_so(
    opened: Bundle, few: Dataset
) -> None:
    strange = few.classes[0] + "s"
    (sentence,) = in_words(
        cytowell.evaluate(opened, renamed(few, few.classes[0], strange))["other_classes"]
    )
    assert f"--map {strange}={few.classes[0]}" in sentence


def test_classes_are_mapped_and_ignored(opened: Bundle, few: Dataset) -> None:
    first, second, _ = few.classes
    data = renamed(renamed(few, first, "seg"), second, "artefact")
    made = relabelled(data, ["artefact"], {"seg": first})
    metrics = cytowell.evaluate(opened, made)
    assert "other_classes" not in metrics
    assert metrics["n"] == sum(s.label != second for s in few.samples)
    with pytest.raises(UnknownName, match="Did you mean 'artefact'"):
        relabelled(data, ["artefacts"], {})


def test_a_data_set_of_unknown_classes_alone_is_refused(opened: Bundle, few: Dataset) -> None:
    data = few
    for i, name in enumerate(few.classes):
        data = renamed(data, name, f"other {i}")
    with pytest.raises(BadTable, match="--map"):
        cytowell.evaluate(opened, data)


def test_the_command_line_ignores_and_maps(
    cells: Path, bundle: Path, tmp_path: Path, cli: Any
) -> None:
    some = sorted(p for p in cells.iterdir() if p.is_dir())[:3]
    for folder, name in zip(some, ("seg", some[1].name, "artefact"), strict=True):
        shutil.copytree(folder, tmp_path / "data" / name)
    flags = ("--map", f"seg={some[0].name}", "--ignore", "artefact", "--json")
    said = cli("evaluate", bundle, tmp_path / "data", *flags)
    found = json.loads(said.out)
    assert found["n"] == 16
    assert "other_classes" not in found
    said = cli("evaluate", bundle, tmp_path / "data")
    assert "8 images are of 'artefact', which the bundle does not know" in " ".join(
        said.out.split()
    )
    said = cli("evaluate", bundle, tmp_path / "data", "--map", f"seg={some[0].name}s")
    assert said.status != 0
    assert f"Did you mean '{some[0].name}'" in said.err
    assert cli("evaluate", bundle, tmp_path / "data", "--map", "seg").status != 0


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
