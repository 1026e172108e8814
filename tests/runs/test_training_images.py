"""Images that taught a network are found before any figure of them is called a test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.checks.training_images import find
from cytowell.errors import RunError
from cytowell.learners.settings import Frozen
from cytowell.runs.compare import Question
from cytowell.runs.recipe import Recipe, make
from cytowell.runs.run import Run, check
from cytowell.runs.training_images import overlaps, record_of, without
from cytowell.runs.voice import Voice
from cytowell.runtime.bundle import load
from cytowell.types import Dataset


@pytest.fixture(scope="module")
def copies(plenty: Dataset, kept: Path) -> Dataset:
    """Give every picture of `plenty` again: mirrored, saved as JPEG, under another name."""
    samples = []
    for i, s in enumerate(plenty.samples):
        place = kept / "copies" / str(s.label) / f"copy-{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        mirrored = Image.open(s.path).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mirrored.save(place, quality=88)
        samples.append(replace(s, path=str(place)))
    return replace(plenty, samples=tuple(samples))


def with_backbones(recipe: Recipe, *backbones: object) -> Recipe:
    settings = replace(recipe.settings, backbones=tuple(map(str, backbones)))
    return replace(recipe, settings=settings)


def test_a_bundle_knows_what_trained_and_calibrated_it_and_nothing_else(plain: Run) -> None:
    known = load(plain.bundle).facts.training_images
    assert known is not None
    split = plain.split
    for part in ("train", "validation"):
        assert find(known, [split.paths[i] for i in split.where(part)]).exact.all()
    assert not find(known, [split.paths[i] for i in split.test]).either.any()
    assert record_of(str(plain.folder)) is not None
    assert record_of(str(plain.bundle / "backbone.onnx")) is not None
    assert record_of("imagenet") is None


def test_where_nothing_was_held_back_every_image_is_known(scarce: Run) -> None:
    known = load(scarce.bundle).facts.training_images
    assert known is not None
    assert find(known, scarce.split.paths).exact.all()


def test_evaluate_names_the_training_images_and_calls_their_figures_no_test(
    plain: Run, copies: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []
    bundle = load(plain.bundle)
    metrics = cytowell.evaluate(bundle, copies, out=tmp_path / "out", voice=Voice(said.append))
    learnt = len(plain.split.where("train", "validation"))
    assert metrics["no_test"].startswith("These figures are no test")
    assert f"{learnt} of {len(copies)} images" in metrics["no_test"]
    assert f"{learnt} of them near copies: copy-" in metrics["no_test"]
    assert metrics["no_test"] in said
    assert metrics["by"]["trained_on"]["yes"]["n"] == learnt
    assert metrics["by"]["trained_on"]["no"]["n"] == len(copies) - learnt
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "These figures are no test" in page
    table = pd.read_csv(tmp_path / "out/predictions.csv")
    assert (table["trained_on"] == "yes").sum() == learnt


def test_evaluate_says_nothing_of_images_that_taught_nothing(plain: Run, plenty: Dataset) -> None:
    split = plain.split
    metrics = cytowell.evaluate(load(plain.bundle), plenty.take(split.test))
    assert "no_test" not in metrics
    assert "by" not in metrics


def test_a_backbone_that_the_images_taught_is_no_candidate(
    plain: Run, copies: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    said: list[str] = []
    recipe = with_backbones(frozen, "imagenet", plain.folder)
    run = cytowell.train(copies, tmp_path / "run", recipe, voice=Voice(said.append))
    assert any(f"trained or calibrated {str(plain.folder)!r}" in s for s in said)
    origin = load(run.bundle).facts.origin
    assert any("It is no candidate" in remark for remark in origin["remarks"])
    assert "Frozen features of imagenet" in origin["remarks"][0]
    found = pd.read_csv(tmp_path / "run/findings.csv")
    assert found["is_training_image"].sum() == len(plain.split.where("train", "validation"))
    report = json.loads((tmp_path / "run/report.json").read_text(encoding="utf-8"))
    assert report["no_test"] == ""
    assert any("copy-" in remark for remark in report["findings"]["remarks"])


def test_a_backbone_that_was_asked_for_stays_and_its_figures_are_called_no_test(
    plain: Run, copies: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    said: list[str] = []
    recipe = with_backbones(frozen, plain.bundle)
    run = cytowell.train(copies, tmp_path / "run", recipe, voice=Voice(said.append))
    assert any(s.startswith("These figures are no test") for s in said)
    page = run.report.read_text(encoding="utf-8")
    assert "These figures are no test" in page
    assert "Train against test" not in page
    facts = load(run.bundle).facts
    assert "test" not in facts.confusion_of
    assert facts.training_images is not None
    # What taught the start taught what came of it.
    inside = [plain.split.paths[i] for i in plain.split.where("train")]
    assert find(facts.training_images, inside).exact.all()


def test_labels_are_not_doubted_by_a_network_that_they_taught(
    plain: Run, plenty: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def doubts(dataset: Dataset, seed: int, ticked: object, backbones: tuple[str, ...]) -> object:
        asked.append(backbones)
        return np.full((len(dataset), len(dataset.classes)), 1 / len(dataset.classes))

    own = Frozen(backbones=("imagenet", str(plain.folder)))
    monkeypatch.setattr("cytowell.runs.run.doubts", doubts)
    monkeypatch.setattr("cytowell.runs.run.Frozen", lambda: own)
    check(plenty, doubt=True)
    assert asked == [("imagenet",)]


def test_compare_leaves_out_what_the_images_taught(
    plain: Run, copies: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []
    words = (f"frozen:{plain.folder}", "knn")
    done = cytowell.compare(copies, tmp_path / "compare", Question(words), voice=Voice(said.append))
    assert done.table["learner"].tolist() == ["knn"]
    assert any("no candidate" in word and "copy-" in word for word in done.words)
    assert "no candidate" in (tmp_path / "compare/report.html").read_text(encoding="utf-8")
    with pytest.raises(RunError, match="Nothing is left to compare"):
        cytowell.compare(copies, tmp_path / "none", Question(words[:1]))


def test_the_shipped_network_is_no_candidate_on_images_that_it_learnt_from(data: Path) -> None:
    """PBC, as it is published and as BloodMNIST is cut from it, led into this."""
    whole = cytowell.read(data / "pbc")
    some = whole.take(np.arange(0, len(whole), 600))
    recipe, _ = make("frozen")
    known = overlaps(some, recipe)
    assert [k.name for k in known] == ["blood"]
    assert known[0].exact.all()
    left, still = without(recipe, known)
    assert left.settings.backbones == ("imagenet",)
    assert not still


def test_the_shipped_network_stays_a_candidate_on_images_of_another_laboratory(data: Path) -> None:
    whole = cytowell.read(data / "lisc")
    some = whole.take(np.arange(0, len(whole), 5))
    recipe, _ = make("frozen")
    assert overlaps(some, recipe) == ()
