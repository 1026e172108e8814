"""Distillation: what teachers say is averaged, weighs as asked, and is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import cytowell
from cytowell.errors import BundleError, DatasetError, RecipeError
from cytowell.learners.contract import unticked
from cytowell.models.classifier import Answers
from cytowell.runtime.bundle import load
from cytowell.training.objective import Objective, distillation
from cytowell.training.recipe import Finetune
from cytowell.training.teachers import opened, taught
from cytowell.types import Dataset

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def dataset(cells: Path) -> Dataset:
    return cytowell.read(cells)


def test_probabilities_of_teachers_are_averaged_in_the_order_of_the_data(
    bundle: Path, dataset: Dataset
) -> None:
    (first,) = opened([str(bundle)], dataset.classes)
    turned = replace(dataset, classes=dataset.classes[::-1])
    alone = taught([first], turned, unticked)
    assert alone.sum(axis=1) == pytest.approx(np.ones(len(dataset)))
    own = load(bundle).predict(dataset).probabilities
    assert alone == pytest.approx(own[:, ::-1])
    other = load(bundle)
    other.facts = replace(other.facts, temperature=5 * other.facts.temperature)
    both = taught([first, other], dataset, unticked)
    assert both == pytest.approx((own + other.predict(dataset).probabilities) / 2)


def test_a_teacher_of_other_classes_is_refused(bundle: Path, dataset: Dataset) -> None:
    with pytest.raises(RecipeError, match=r"other classes apart \(.*platelet"):
        opened([str(bundle)], (*dataset.classes[:-1], "giant platelet"))
    with pytest.raises(BundleError, match="nowhere"):
        opened(["nowhere/bundle"], dataset.classes)


def test_an_image_that_no_teacher_can_read_is_named(
    bundle: Path, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    first = replace(dataset.samples[0], path=str(tmp_path / "broken.png"))
    broken = replace(dataset, samples=(first, *dataset.samples[1:3]))
    with pytest.raises(DatasetError, match=r"broken\.png"):
        taught(opened([str(bundle)], dataset.classes), broken, unticked)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_distance_to_teachers_is_that_of_kullback_and_leibler(temperature: float) -> None:
    random = np.random.default_rng(0)
    logits, teachers = random.normal(size=(2, 5, 4))
    told = softmax(teachers, axis=1)
    p, q = softmax(teachers / temperature, axis=1), softmax(logits / temperature, axis=1)
    wanted = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    found = distillation(torch.from_numpy(logits), torch.from_numpy(told), temperature)
    assert float(found) == pytest.approx(wanted, rel=1e-4)
    same = distillation(torch.from_numpy(teachers), torch.from_numpy(told), temperature)
    assert float(same) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(distillation(torch.zeros(1, 3), torch.eye(3)[:1], temperature))


def loss(weight: float, logits: torch.Tensor) -> float:
    s = Finetune(teacher_weight=weight, label_smoothing=0.0)
    labels = np.array([0, 1, 2], dtype=np.int64)
    told = np.full((3, 3), 1 / 3)
    objective = Objective(s, labels, labels - labels - 1, 3, "cpu", told)
    return float(objective(Answers(logits), labels, 0))


def test_teachers_weigh_as_much_as_asked() -> None:
    sure, unsure = 8 * torch.eye(3), torch.zeros(3, 3)
    assert loss(0.0, sure) < 0.01
    assert loss(1.0, unsure) == pytest.approx(0, abs=1e-6)
    assert loss(1.0, sure) > 1
    assert loss(0.3, sure) == pytest.approx(0.7 * loss(0, sure) + 0.3 * loss(1, sure), rel=1e-5)


def test_a_recipe_without_teachers_is_what_it_was() -> None:
    s: Any = Finetune()
    labels = np.array([0, 1, 2], dtype=np.int64)
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    plain = Objective(s, labels, labels - labels - 1, 3, "cpu")
    wanted = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(labels), label_smoothing=0.1
    )
    assert torch.equal(plain(Answers(logits), labels, 0), wanted)
