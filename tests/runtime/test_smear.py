"""The smear detector that comes along, and what is counted and not called."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.errors import BundleCorrupt, BundleError, RecipeError
from cytowell.images import open_upright
from cytowell.runtime.bundle import Bundle, Facts
from cytowell.runtime.detector import Detector, load_detector
from cytowell.runtime.detector_facts import DetectorFacts
from cytowell.runtime.finding import CellFinder, finder, objects
from cytowell.runtime.ruler import ruler_of, whole_cells
from cytowell.runtime.sealed import seal
from cytowell.types import COUNTED, Predictions, Sample

Runner = Callable[..., Any]

HELD = ("BloodImage_00014", "BloodImage_00005", "BloodImage_00010", "BloodImage_00001")
"""Photographs that stayed out of the training."""


@pytest.fixture(scope="module")
def smear(data: Path) -> Path:
    """Give a smear photograph of 640x480 that taught nothing."""
    return data / "bccd" / "JPEGImages" / f"{HELD[0]}.jpg"


@pytest.fixture(scope="module")
def white(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small bundle that is for white cells."""
    loaded = cytowell.load(bundle)
    facts = dataclasses.replace(loaded.facts, calls=("WBC",))
    out = tmp_path_factory.mktemp("white") / "bundle"
    made = Bundle(facts, loaded.head, loaded.statistics, loaded.model)
    made.save(out, "# Card\n")
    return out


def counts(samples: list[Sample]) -> dict[str, int]:
    """Count samples by what was found."""
    kinds = [str(s.extra["found"]) for s in samples]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_a_smear_needs_no_detector_to_be_named(smear: Path) -> None:
    look = finder("cells")
    assert isinstance(look, CellFinder)
    found = counts(look(str(smear), None))
    assert found["WBC"] == 1
    assert found["RBC"] > 10
    assert set(found) <= {"WBC", "RBC", "Platelets"}


def test_the_shipped_detector_is_small_and_says_where_it_came_from() -> None:
    folder = cytowell.runtime.sealed.find("smear")
    assert sum(f.stat().st_size for f in folder.iterdir()) < 8_000_000
    card = (folder / "MODEL_CARD.md").read_text()
    for word in ("MIT", "Apache-2.0", "TXL-PBC", "Not tried"):
        assert word in card
    assert load_detector("smear").classes == ("Platelets", "RBC", "WBC")
    with pytest.raises(BundleError, match="detector and no classifier"):
        cytowell.load("smear")


def test_a_folder_of_the_shipped_name_goes_before_it(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "smear").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="is no detector"):
        load_detector("smear")


@pytest.mark.parametrize("factor", [0.5, 2.0, 10.0])
def test_a_photograph_of_another_size_shows_the_same_cells(smear: Path, factor: float) -> None:
    detector = load_detector("smear")
    image = open_upright(str(smear))
    small = detector.find(image)
    size = (round(image.width * factor), round(image.height * factor))
    large = detector.find(image.resize(size, Image.Resampling.BICUBIC))
    white, red = (detector.classes.index(c) for c in ("WBC", "RBC"))
    assert (large.labels == white).sum() == (small.labels == white).sum() == 1
    assert abs((large.labels == red).sum() - (small.labels == red).sum()) <= 0.25 * len(small)
    here = next(b for b, k in zip(small.boxes, small.labels, strict=True) if k == white)
    there = next(b for b, k in zip(large.boxes, large.labels, strict=True) if k == white)
    assert there.x / factor == pytest.approx(here.x, abs=12)
    assert there.width / factor == pytest.approx(here.width, rel=0.15)


def test_a_field_of_many_small_cells_is_looked_at_in_tiles(smear: Path) -> None:
    """Sixteen photographs side by side hold sixteen white cells, each too small in the whole."""
    image = open_upright(str(smear))
    field = Image.new("RGB", (4 * image.width, 4 * image.height))
    for i in range(16):
        field.paste(image, (i % 4 * image.width, i // 4 * image.height))
    detector = load_detector("smear")
    white = detector.classes.index("WBC")
    assert (detector.find(field).labels == white).sum() == 16


def test_the_ruler_by_found_cells_is_that_of_the_annotators(data: Path) -> None:
    """On photographs of the first source that stayed out."""
    detector = load_detector("smear")
    red = detector.classes.index("RBC")
    parts = []
    for name in HELD:
        image = open_upright(str(data / "bccd" / "JPEGImages" / f"{name}.jpg"))
        found = detector.find(image)
        parts.append(whole_cells(found.boxes, found.labels, red, image.size))
    ruler = ruler_of(parts)
    assert ruler.diameter == pytest.approx(105, rel=0.1)
    assert ruler.cells >= 10


@pytest.mark.parametrize("picture", ["flat", "noise", "dark", "tiny"])
def test_a_picture_without_cells_is_said_to_have_none(tmp_path: Path, picture: str) -> None:
    rng = np.random.default_rng(1)
    made = {
        "flat": np.full((480, 640, 3), 210, np.uint8),
        "noise": rng.integers(190, 220, (480, 640, 3)).astype(np.uint8),
        "dark": np.zeros((480, 640, 3), np.uint8),
        "tiny": np.full((3, 5, 3), 128, np.uint8),
    }
    Image.fromarray(made[picture]).save(tmp_path / "a.png")
    look = finder("cells")
    assert look is not None
    samples = look(str(tmp_path / "a.png"), None)
    assert [s.nothing for s in samples] == ["the detector found nothing"]


def test_what_a_classifier_is_not_for_is_counted(smear: Path, white: Path) -> None:
    loaded = cytowell.load(white)
    calls = loaded.predict(
        list(objects([Sample(str(smear))], finder("cells"), calls=loaded.facts.calls))
    )
    kinds = np.array([s.extra["found"] for s in calls.samples])
    assert calls.counted.tolist() == (kinds != "WBC").tolist()
    assert [label != "" for label in calls.labels] == (kinds == "WBC").tolist()
    assert {calls.reasons[i] for i in np.flatnonzero(kinds != "WBC")} == {COUNTED}
    assert set(calls.errors) == {""}
    again = Predictions.from_frame(calls.frame())
    assert again.counted.tolist() == calls.counted.tolist()
    assert again.readable.tolist() == calls.readable.tolist()


def test_a_bundle_that_says_nothing_calls_everything(smear: Path, bundle: Path) -> None:
    """So do bundles made before it could be said, and classes that a person has chosen."""
    every = list(objects([Sample(str(smear))], finder("cells"), calls=()))
    assert not any(s.nothing for s in every)
    chosen = list(objects([Sample(str(smear))], finder("cells", only=["RBC"]), calls=["WBC"]))
    assert {s.extra["found"] for s in chosen} == {"RBC"}
    assert not any(s.nothing for s in chosen)
    assert cytowell.load(bundle).facts.calls == ()


def test_a_detector_of_other_classes_has_everything_called() -> None:
    shipped = load_detector("smear")
    facts = dataclasses.replace(shipped.facts, classes=("a", "b", "c"), ruler="")
    strange = CellFinder(Detector(facts, shipped.model))
    assert strange.calling(["WBC"]).calls == frozenset()
    assert CellFinder(shipped).calling(["wbc", "blast"]).calls == {"WBC"}


def test_what_a_bundle_is_for_comes_back_from_its_file(white: Path, bundle: Path) -> None:
    assert cytowell.load(white).facts.calls == ("WBC",)
    assert "calls" not in json.loads((bundle / "bundle.json").read_text())
    facts = cytowell.load(white).facts
    assert Facts.from_json(facts.to_json()).calls == ("WBC",)


def test_a_bundle_that_is_for_no_list_of_classes_is_refused(white: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(white, broken)
    record = json.loads((broken / "bundle.json").read_text()) | {"calls": "WBC"}
    (broken / "bundle.json").write_text(json.dumps(record))
    seal(broken, "classifier")
    with pytest.raises(BundleCorrupt, match="calls"):
        cytowell.load(broken)


def test_a_ruler_is_one_of_the_classes() -> None:
    facts = load_detector("smear").facts
    assert facts.ruler == "RBC"
    assert DetectorFacts.from_json(facts.to_json()) == facts
    with pytest.raises(RecipeError, match="ruler"):
        dataclasses.replace(facts, ruler="red")


def test_predict_and_count_a_smear(smear: Path, white: Path, cli: Runner, tmp_path: Path) -> None:
    out, drawn = tmp_path / "calls.csv", tmp_path / "drawn"
    said = cli(
        "predict", smear, "--find", "cells", "--bundle", white, "--out", out, "--overlay", drawn
    )
    assert said.status == 0
    calls = pd.read_csv(out, keep_default_na=False)
    kinds = calls["found"]
    assert (calls.loc[kinds != "WBC", "label"] == "").all()
    assert (calls.loc[kinds != "WBC", "reason"] == COUNTED).all()
    red = int((kinds == "RBC").sum())
    assert f"{red} RBC" in said.err
    assert "1 images:" in said.err
    assert "nothing in them" not in said.err
    assert len(list(drawn.iterdir())) == 1
    counted = cli("count", out, "--json")
    slide = json.loads(counted.out)["slides"][0]
    assert ["RBC", red] in slide["found"]
    assert slide["unread"] == 0
    assert slide["white"] + slide["undecided"] == 1
    assert "Counted and not called: " in " ".join(slide["notes"])
    assert "image" not in " ".join(slide["notes"])


def test_a_red_cell_that_a_person_names_is_a_call(cli: Runner, tmp_path: Path) -> None:
    rows = [
        {"path": "a", "found": "RBC", "label": "", "decided": "false", "reason": COUNTED,
         "error": "", "truth": truth, "who": who,
         "p_lymphocyte": "", "p_monocyte": ""}
        for truth, who in (("", ""), ("lymphocyte", "Ann"))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "calls.csv", index=False)
    slide = json.loads(cli("count", tmp_path / "calls.csv", "--json").out)["slides"][0]
    assert (slide["white"], slide["undecided"], slide["unread"]) == (1, 0, 0)
    assert slide["found"] == [["RBC", 1]]


def test_cells_are_cut_out_without_naming_a_detector(
    smear: Path, cli: Runner, tmp_path: Path
) -> None:
    said = cli("crop", smear, "--find", "cells", "--only", "WBC", "--out", tmp_path / "cut")
    assert said.status == 0
    table = pd.read_csv(tmp_path / "cut" / "samples.csv")
    assert table["found"].tolist() == ["WBC"]
