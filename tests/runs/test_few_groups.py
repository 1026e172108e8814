"""Of few groups each is left out in turn, and what one group alone would say is not said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell import splits
from cytowell.errors import SplitError
from cytowell.evaluation.metrics import evaluate
from cytowell.learners.linear import judging_folds, out_of_fold
from cytowell.runs.parts import divide
from cytowell.runs.recipe import Recipe, make
from cytowell.runs.run import Run
from cytowell.runtime.bundle import load
from cytowell.sources.samples import write_samples
from cytowell.types import Dataset, Findings, Predictions, Sample, Split


def nothing_found(data: Dataset) -> Findings:
    return Findings(pd.DataFrame({"path": data.paths}), excluded=np.zeros(len(data), dtype=bool))


def plates(each: int = 40, count: int = 4) -> Dataset:
    samples = tuple(
        Sample(f"{label}{i}.png", label, f"plate {i % count}")
        for label in "ab"
        for i in range(each)
    )
    return Dataset(samples, ("a", "b"))


@pytest.mark.parametrize("learner", ["frozen", "finetune", "contrastive"])
def test_no_plate_of_four_is_held_back_for_good(learner: str) -> None:
    data, recipe = plates(), make(learner)[0]
    made, crossed = divide(data, nothing_found(data), recipe, None)
    assert crossed
    assert set(made.parts) == {"train"}
    assert "4 groups" in made.how
    asked = divide(data, nothing_found(data), replace(recipe, by_image=True), None)
    assert set(asked[0].parts) == {"train", "validation", "test"}
    many = plates(count=20)
    assert not divide(many, nothing_found(many), recipe, None)[1]


def test_a_split_of_few_plates_stays_as_the_user_made_it() -> None:
    data = plates()
    names = {"plate 0": "test", "plate 1": "validation"}
    given = Split(np.array([names.get(str(g), "train") for g in data.groups]), data.paths)
    made, crossed = divide(data, nothing_found(data), make("frozen")[0], given)
    assert not crossed
    assert made.parts.tolist() == given.parts.tolist()


def test_a_class_of_one_group_is_learnt_and_not_judged() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 12)
    groups = np.array([f"g{i % 3}" if c < 2 else "g0" for i, c in enumerate(labels)])
    X = (rng.normal(size=(36, 8)) + 3 * np.eye(3, 8)[labels]).astype(np.float32)
    cuts = judging_folds(labels, groups, 5, 0)
    assert len(cuts) == 3
    for learn, judge in cuts:
        assert not set(groups[learn]) & set(groups[judge])
        assert set(labels[judge]) <= {0, 1}
    logits = out_of_fold(X, labels, cuts, 3, 0.1, "balanced", 0)
    assert np.isnan(logits[labels == 2]).all()
    assert np.isfinite(logits[labels < 2]).all()


def calls(groups: list[str], labels: str = "abababab") -> Predictions:
    samples = tuple(
        Sample(f"{i}.png", label, g)
        for i, (label, g) in enumerate(zip(labels, groups, strict=True))
    )
    p = np.array([[0.9, 0.1] if label == "a" else [0.2, 0.8] for label in labels])
    p[0] = p[0][::-1]
    none = ("",) * len(samples)
    return Predictions(samples, ("a", "b"), p, np.ones(len(samples), dtype=bool), none, none)


def test_no_interval_is_made_by_one_group() -> None:
    one = evaluate(calls(["plate"] * 8), resamples=50)
    entries = [v for v in one.values() if isinstance(v, dict) and "low" in v]
    entries += [
        row[k] for row in one["per_class"] for k in ("recall", "precision", "f1", "roc_auc")
    ]
    assert all(e["low"] is None and e["high"] is None for e in entries)
    two = evaluate(calls(["p", "q"] * 2 + ["p", "q", "p", "r"]), resamples=50)
    rows = {row["class"]: row for row in two["per_class"]}
    assert rows["a"]["recall"]["low"] is None, "its images are all of p"
    assert rows["b"]["recall"]["low"] is not None


@pytest.fixture(scope="module")
def wells(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Give 40 wells of four plates."""
    data = cytowell.read(write_samples(tmp_path_factory.mktemp("few"), "wells", 20)["wells"])
    samples = tuple(
        replace(data.samples[i], group=f"plate {(i * 7) % 4}") for i in range(len(data))
    )
    return replace(data, samples=samples)


@pytest.fixture(scope="module")
def quick() -> Recipe:
    return make("frozen", backbones=("imagenet",), crops=(1.0,), strengths=(0.003, 0.03))[0]


@pytest.fixture(scope="module")
def four(wells: Dataset, quick: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cytowell.train(wells, tmp_path_factory.mktemp("four") / "run", quick)


def test_four_plates_are_each_left_out(four: Run, wells: Dataset) -> None:
    assert four.metrics["n"] == len(wells)
    assert four.metrics["groups"] == 4
    assert four.metrics["accuracy"]["low"] is not None
    record = json.loads((four.folder / "report.json").read_text(encoding="utf-8"))
    assert "4 groups" in record["lead"][0]
    assert "left out in turn" in record["lead"][0]
    html = four.report.read_text(encoding="utf-8")
    assert html.index("left out in turn") < html.index("called rightly")
    assert load(four.bundle).facts.origin["images"]["train"] == len(wells)


def test_a_class_from_one_plate_has_no_figure_and_the_report_says_so(
    wells: Dataset, quick: Recipe, tmp_path: Path
) -> None:
    third = [i for i, s in enumerate(wells.samples) if s.group == "plate 0"][:4]
    samples = tuple(
        replace(s, label="torn") if i in third else s for i, s in enumerate(wells.samples)
    )
    data = replace(wells, samples=samples, classes=tuple(sorted({*wells.classes, "torn"})))
    run = cytowell.train(data, tmp_path / "run", quick)
    assert run.metrics["absent"] == ["torn"]
    assert run.metrics["n"] == len(data) - len(third)
    assert "torn" in load(run.bundle).classes
    lead = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))["lead"]
    assert any("torn belong to one group: no figure across groups exists" in s for s in lead)
    one = replace(data, samples=tuple(replace(s, group="p") for s in data.samples))
    with pytest.raises(SplitError, match="--by-image"):
        cytowell.train(one, tmp_path / "one", quick)


def test_a_run_that_an_earlier_version_began_keeps_its_split(
    wells: Dataset, quick: Recipe, four: Run, tmp_path: Path
) -> None:
    given = np.array([{"plate 0": "test", "plate 1": "validation"}.get(str(g), "train")
                      for g in wells.groups])  # fmt: skip
    first = cytowell.train(wells, tmp_path / "run", quick, split=Split(given, wells.paths))
    again = cytowell.train(wells, tmp_path / "run", quick, resume=True)
    assert again.metrics == first.metrics
    kept = splits.load(tmp_path / "run" / "split.csv", wells)
    assert kept.parts.tolist() == given.tolist()
    html = first.report.read_text(encoding="utf-8")
    assert "no figure across groups" in html
    assert "One group alone calibrated" in html
    assert first.metrics["accuracy"]["low"] is None


def test_figures_across_kinds_come_first(wells: Dataset, quick: Recipe, tmp_path: Path) -> None:
    """Half of the pictures lie under a haze, nobody named groups."""
    samples = []
    for i, s in enumerate(wells.samples):
        path = tmp_path / f"{(i * 37) % 100:02}-{s.label}.png"
        with Image.open(s.path) as image:
            shown = image.convert("RGB")
            (shown.point(lambda v: 170 + v // 4) if i % 2 else shown).save(path)
        samples.append(Sample(str(path), s.label))
    data = Dataset(tuple(samples), wells.classes)
    run = cytowell.train(data, tmp_path / "run", quick)
    record = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    assert record["lead"][0].startswith("Across kinds of photographs")
    found = record["by_kind"]["kinds"]
    assert sum(k["n"] for k in found) == len(data)
    assert all(k["within"]["low"] is not None for k in found)
    assert run.metrics["n"] == len(data)
