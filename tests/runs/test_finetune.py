"""The whole way with PyTorch, on a network of 100,000 parameters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cytowell
from cytowell import splits
from cytowell.errors import TooFewImages
from cytowell.runs import recipe as recipes
from cytowell.runs.recipe import Recipe, make
from cytowell.runs.run import Voice
from cytowell.runtime.bundle import load
from cytowell.types import Dataset

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def finetune(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(5)
    body = timm.create_model("test_efficientnet", pretrained=False, num_classes=0)
    # As after a training: the exporter writes equal tensors once.
    for name, value in body.state_dict().items():
        if value.ndim == 1 and value.is_floating_point():
            value.add_(torch.rand_like(value) * (0.5 if "var" in name else 0.1))
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    safetensors.save_file(body.state_dict(), file)
    made, _ = make(
        "finetune",
        "quick",
        backbone="test_efficientnet",
        weights=str(file),
        phases=((32, 6), (48, 6)),
        small_batch=16,
        evaluations=4,
    )
    return made


def interrupting(step: int) -> Voice:
    def ticked(done: int, of: int, what: str) -> None:
        if what.startswith("48 px") and done == step:
            raise KeyboardInterrupt

    return Voice(ticked=ticked)


def test_final_and_resume_end_to_end(plenty: Dataset, finetune: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        cytowell.train(plenty, out, finetune, final=True, voice=interrupting(9))
    assert (out / "twin/checkpoints/last.pt").is_file()
    run = cytowell.train(
        plenty, out, finetune, final=True, resume=True, voice=Voice(said=said.append)
    )
    assert "going on from step 9" in said
    for folder in (out, out / "twin"):
        assert (folder / "checkpoints/best.pt").is_file()
        assert list((folder / "tensorboard").iterdir())
        assert (folder / "report.html").is_file()
    twin, final = load(out / "twin"), load(out)
    assert final.digest != twin.digest
    images = final.facts.origin["images"]
    assert images["train"] == len(plenty) - images["validation"]
    assert images["test"] == 0
    made = splits.load(out / "split.csv", plenty)
    assert (made.parts == "test").sum() == 0
    assert final.facts.preprocessing.size == 48
    assert final.facts.maps
    assert [m.name for m in final.facts.maps][-1] == "map_last"
    record = json.loads((out / "twin/report.json").read_text(encoding="utf-8"))
    assert [p["step"] for p in record["curve"]] == [3, 6, 9, 12]
    assert "PyTorch against ONNX Runtime" in json.dumps(record)
    assert "torch" in final.facts.origin["versions"]
    assert run.metrics["n"] == len(splits.load(out / "twin/split.csv", plenty).test)
    assert "belong to the twin" in (out / "report.html").read_text(encoding="utf-8")
    calls = final.predict(plenty.take(range(5)))
    assert calls.readable.all()
    again = replace(
        finetune,
        settings=replace(finetune.settings, backbone="test_efficientnet", weights=str(out)),
    )
    second = cytowell.train(plenty, tmp_path / "second", again)
    assert "backbone.onnx" in load(second.bundle).facts.origin["weights"]


def test_the_final_looks_at_the_centre_that_its_twin_weighed(
    plenty: Dataset, finetune: Recipe, tmp_path: Path
) -> None:
    said: list[str] = []
    weighing = replace(finetune, settings=replace(finetune.settings, crop="auto"))
    run = cytowell.train(plenty, tmp_path, weighing, final=True, voice=Voice(said=said.append))
    crops = [load(run.folder / name).facts.preprocessing.crop for name in ("twin", "")]
    assert crops[0] == crops[1]
    assert len([sentence for sentence in said if "linear probe" in sentence]) == 1
    assert recipes.read(run.folder / "recipe.toml").settings.crop == "auto"
    assert "chose for the twin" in str(load(run.folder).facts.origin["remarks"])
    assert "chose for the twin" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_an_interrupt_changes_no_call(plenty: Dataset, finetune: Recipe, tmp_path: Path) -> None:
    whole = cytowell.train(plenty, tmp_path / "whole", finetune)
    with pytest.raises(KeyboardInterrupt):
        cytowell.train(plenty, tmp_path / "cut", finetune, voice=interrupting(12))
    cut = cytowell.train(plenty, tmp_path / "cut", finetune, resume=True)
    a, b = (load(r.bundle).predict(plenty.take(r.split.test)) for r in (whole, cut))
    assert a.probabilities == pytest.approx(b.probabilities, abs=1e-3)
    assert recipes.read(whole.folder / "recipe.toml") == finetune


def test_smote_refits_the_head(plenty: Dataset, finetune: Recipe, tmp_path: Path) -> None:
    rare = np.flatnonzero(plenty.labels == 0)[::2]
    some = plenty.take(np.sort(np.concatenate([rare, np.flatnonzero(plenty.labels != 0)])))
    smote = replace(finetune, settings=replace(finetune.settings, smote=True))
    heads: list[Any] = []
    for name, recipe in (("plain", finetune), ("smote", smote)):
        run = cytowell.train(some, tmp_path / name, recipe)
        heads.append(load(run.bundle).head.weight)
    assert not np.allclose(heads[0], heads[1])
    assert np.array_equal(heads[0] != 0, heads[1] != 0)


def test_too_few_to_hold_back_is_said(few: Dataset, finetune: Recipe, tmp_path: Path) -> None:
    alone = replace(few, samples=tuple(replace(s, group=None) for s in few.samples))
    chosen = [int(i) for c in range(len(few.classes)) for i in np.flatnonzero(few.labels == c)[:2]]
    with pytest.raises(TooFewImages, match="--learner frozen"):
        cytowell.train(alone.take(chosen), tmp_path / "run", finetune)


def test_of_few_groups_five_folds_are_left_out_and_kept(
    plenty: Dataset, finetune: Recipe, tmp_path: Path
) -> None:
    """A fold that is finished is not trained again; the bundle is trained on every image."""
    groups = [f"plate {i % 6}" for i in range(len(plenty))]
    samples = tuple(replace(s, group=g) for s, g in zip(plenty.samples, groups, strict=True))
    data = replace(plenty, samples=samples)
    short = replace(finetune, settings=replace(finetune.settings, phases=((32, 4),)))
    heard: list[str] = []

    def interrupt(sentence: str) -> None:
        heard.append(sentence)
        if "without fold 3" in sentence:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cytowell.train(data, tmp_path, short, voice=Voice(said=interrupt))
    heard.clear()
    run = cytowell.train(data, tmp_path, short, resume=True, voice=Voice(said=heard.append))
    assert [s.split("fold ")[1] for s in heard if "without fold" in s] == [
        f"{k} of 5, for figures that hold" for k in (3, 4, 5)
    ]
    assert run.metrics["n"] == len(data)
    assert run.metrics["groups"] == 6
    facts = load(run.bundle).facts
    assert facts.origin["images"] == {"train": len(data), "validation": 0, "test": 0}
    assert "No image was held back" in " ".join(facts.origin["remarks"])
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert "5 folds of whole groups" in record["lead"][0]
    assert record["curve"] == []
