"""What can be known to fail is refused before a photograph is looked at, and quickly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Runner

import cytowell
from cytowell.errors import CytowellError, RecipeError, UnknownName, WeightsUnavailable
from cytowell.learners.classical import LEARNERS
from cytowell.learners.contract import Task
from cytowell.learners.features import cached_features
from cytowell.learners.frozen import open_backbones
from cytowell.learners.settings import CLASSICAL
from cytowell.registry import names
from cytowell.runs.ready import require_names
from cytowell.runs.recipe import make
from cytowell.runs.run import Voice
from cytowell.types import Dataset

SLOWEST = 3.0
"""Seconds of a processor within which a bad name is refused; idle waiting is the machine's."""


@pytest.mark.parametrize("learner", sorted(names("learners")))
def test_every_listed_learner_makes_a_bundle_or_says_at_once_why_not(learner: str) -> None:
    ships = learner in ("frozen", "finetune", "contrastive")
    if ships:
        require_names(make(learner)[0])
    else:
        with pytest.raises(RecipeError, match=f"{learner}.* makes no bundle.*(compare|features)"):
            require_names(make(learner)[0])


@pytest.mark.parametrize("learner", [n for n in CLASSICAL if n != "logistic-regression"])
def test_what_makes_no_bundle_is_refused_before_anything_is_checked(
    few: Dataset, tmp_path: Path, learner: str
) -> None:
    said: list[str] = []
    with pytest.raises(RecipeError, match=f"compare --learners {learner}"):
        cytowell.train(few, tmp_path / "run", make(learner)[0], voice=Voice(said.append))
    assert said == []
    assert not (tmp_path / "run").exists()


def test_a_logistic_regression_on_features_is_a_bundle(plenty: Dataset, tmp_path: Path) -> None:
    run = cytowell.train(plenty, tmp_path / "run", make("logistic-regression", input="features")[0])
    assert run.metrics["accuracy"]["value"] > 0.6
    assert cytowell.load(run.bundle).classes == plenty.classes
    assert "Logistic regression" in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_of_a_logistic_regression_is_itself(
    plenty: Dataset, tmp_path: Path, classes: int
) -> None:
    some = plenty.take(plenty.labels < classes)
    some = replace(some, classes=some.classes[:classes])
    recipe, _ = make("logistic-regression", input="features", balance="balanced")
    rows = np.arange(len(some))
    task = Task(some, rows, rows[:0], recipe.settings, recipe.seed, tmp_path)
    fitted = LEARNERS["logistic-regression"].fit(task)
    made = fitted.makings()
    network = open_backbones(["imagenet"])[0]
    X = cached_features(network.session, network.digest, made.record, some.samples)
    logits, scores = made.head.logits(X), fitted.model.decision_function(X)
    if classes == 2:
        assert logits[:, 1] - logits[:, 0] == pytest.approx(scores, abs=1e-4)
    else:
        assert logits == pytest.approx(scores, abs=1e-4)
    assert made.evened == 1


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"backbone": "mobilnet-v2"}, "Did you mean 'mobilenet-v2'?"),
        ({"backbone": "efficientnet-lite"}, "Did you mean 'efficientnet-lite"),
        ({"backbone": "resnet_18"}, "Did you mean 'resnet18'?"),
        ({"backbone": "cnn+nothing-of-the-kind"}, "'nothing-of-the-kind'"),
        ({"weights": "gone.pt"}, "gone.pt is not there"),
    ],
)
def test_a_wrong_name_gets_ours_before_timm_s(table: dict[str, str], words: str) -> None:
    with pytest.raises((UnknownName, WeightsUnavailable)) as refused:
        require_names(make("finetune", **table)[0])
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["resnet18", "resnet18.a1_in1k", "timm:resnet18", "cnn+resnet18",
                                  "hf-hub:lab/cells", "mobilenet-v2"])  # fmt: skip
def test_a_name_that_there_is_passes(name: str) -> None:
    require_names(make("finetune", backbone=name)[0])


def test_the_first_line_comes_at_once_and_a_bad_name_is_refused_soon(tmp_path: Path) -> None:
    """Both in seconds of the processor: the test's machine may be busy with others."""
    (tmp_path / "photographs").mkdir()
    before = os.times()
    arguments = [sys.executable, "-m", "cytowell.cli", "train", str(tmp_path / "photographs")]
    start = time.monotonic()
    with subprocess.Popen(
        [*arguments, "--learner", "finetune", "--backbone", "mobilnet-v2"],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        waited = time.monotonic() - start
        rest = process.stderr.read()
    after = os.times()
    assert first.startswith("training on")
    assert "Did you mean 'mobilenet-v2'?" in rest
    assert process.returncode == 2
    spent = after.children_user - before.children_user + after.children_system
    assert spent - before.children_system < SLOWEST
    assert waited < 20
    assert not (tmp_path / "run").exists()


def test_an_accelerator_that_is_not_there_is_named(few: Dataset, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    recipe, _ = make("finetune", accelerator="cuda")
    with pytest.raises(RecipeError, match='accelerator = "cuda", and PyTorch finds none'):
        cytowell.train(few, tmp_path / "run", recipe)
    assert not (tmp_path / "run").exists()


def test_weights_that_cannot_be_had_are_said_before_anything_is_checked(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("cytowell.models.hub.is_reachable", lambda: False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    said: list[str] = []
    recipe, _ = make("finetune", backbone="mobilenet-v2")
    start = time.process_time()
    with pytest.raises(CytowellError, match="could not be had"):
        cytowell.train(few, tmp_path / "run", recipe, voice=Voice(said.append))
    assert said == []
    assert time.process_time() - start < 30


def test_flags_of_train_reach_the_run(cli: Runner, cells: Path, tmp_path: Path) -> None:
    said = cli("train", cells, "--learner", "frozen", "--rate", 0.1, "--out", tmp_path / "run")
    assert said.status == 2
    assert "--rate is for networks" in said.err
    said = cli("train", cells, "--learner", "svm", "--out", tmp_path / "run")
    assert said.status == 2
    assert "svm makes no bundle" in said.err
    assert not (tmp_path / "run").exists()
