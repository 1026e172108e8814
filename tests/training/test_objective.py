"""What a network is punished for, who moves it and how fast: formulas against numbers by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import cytowell
from cytowell.learners.contract import Task
from cytowell.models.build import build
from cytowell.models.classifier import Answers, Classifier
from cytowell.training import finetune, loop
from cytowell.training.draws import drawn_rows
from cytowell.training.finetune import FinetuneLearner
from cytowell.training.loop import Job
from cytowell.training.objective import Contrast, Objective, focal
from cytowell.training.recipe import Finetune
from cytowell.training.schedule import optimizer_of, rate_at
from cytowell.types import Dataset

pytestmark = pytest.mark.torch

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.4, 0.0], [-1.0, 0.0, 3.0]])
TRUTH = torch.tensor([0, 1, 0])


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    assert float(focal(LOGITS, TRUTH, 0.0, None)) == pytest.approx(
        float(F.cross_entropy(LOGITS, TRUTH))
    )
    weights = torch.tensor([1.0, 3.0, 2.0])
    assert float(focal(LOGITS, TRUTH, 0.0, weights)) == pytest.approx(
        float(F.cross_entropy(LOGITS, TRUTH, weights))
    )


def test_focal_loss_is_equation_4_of_lin_2017() -> None:
    said = F.softmax(LOGITS, dim=1)[torch.arange(3), TRUTH].tolist()
    by_hand = sum(-((1 - p) ** 2) * math.log(p) for p in said) / 3
    assert float(focal(LOGITS, TRUTH, 2.0, None)) == pytest.approx(by_hand, rel=1e-5)


def objective(**changes: Any) -> Objective:
    second = np.array([0, -1, 1])
    return Objective(Finetune(**changes), TRUTH.numpy(), second, 3, torch.device("cpu"))


def test_the_parts_of_an_objective_add_up() -> None:
    rows = np.arange(3)
    plain = float(F.cross_entropy(LOGITS, TRUTH, label_smoothing=0.1))
    assert float(objective()(Answers(LOGITS), rows, 0)) == pytest.approx(plain)
    second = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 0.5]])
    known = F.cross_entropy(second[[0, 2]], torch.tensor([0, 1]), label_smoothing=0.1)
    both = objective(subclass_weight=0.3)(Answers(LOGITS, second), rows, 0)
    assert float(both) == pytest.approx(plain + 0.3 * float(known), rel=1e-5)
    none = objective()(Answers(LOGITS, second), np.array([1, 1, 1]), 0)
    assert float(none) == pytest.approx(
        float(F.cross_entropy(LOGITS, TRUTH[[1, 1, 1]], label_smoothing=0.1))
    )
    painted = objective(reconstruction=0.5)(Answers(LOGITS, repainted=torch.tensor(2.0)), rows, 0)
    assert float(painted) == pytest.approx(plain + 1.0)


def test_contrasts_are_equation_2_of_khosla_2020() -> None:
    torch.manual_seed(0)
    z = F.normalize(torch.randn(6, 4), dim=1)
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    tau, losses = 0.1, []
    for i in range(6):
        others = [a for a in range(6) if a != i]
        below = sum(math.exp(float(z[i] @ z[a]) / tau) for a in others)
        same = [p for p in others if y[p] == y[i]]
        losses.append(
            -sum(math.log(math.exp(float(z[i] @ z[p]) / tau) / below) for p in same) / len(same)
        )
    loss = Contrast(Finetune(objective="contrastive", memory=0))(z, y, 0)
    assert float(loss) == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_the_memory_of_contrasts_begins_after_the_warm_up() -> None:
    s = Finetune(phases=((32, 10),), warmup=0.5, objective="contrastive", projection=4, memory=16)
    contrast, plain = Contrast(s), Contrast(Finetune(objective="contrastive", memory=0))
    torch.manual_seed(1)
    batches = [F.normalize(torch.randn(4, 4), dim=1) for _ in range(3)]
    y = torch.tensor([0, 1, 0, 1])
    assert float(contrast(batches[0], y, 4)) == pytest.approx(float(plain(batches[0], y, 4)))
    contrast(batches[1], y, 5)
    remembering = float(contrast(batches[2], y, 6))
    assert remembering != pytest.approx(float(plain(batches[2], y, 6)), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", "Adam"), ("adamw", "AdamW"), ("rmsprop", "RMSprop"), ("sgd", "SGD")],
)
def test_each_optimiser_lowers_the_loss(name: str, kind: str, tiny: dict[str, Any]) -> None:
    rate = {"sgd": 0.02, "rmsprop": 2e-4}.get(name, 2e-3)
    s = Finetune(**tiny | {"optimizer": name}, rate=rate, dropout=0.0)
    torch.manual_seed(2)
    network = Classifier(build(s.backbone, s.weights), 256, 3).train()
    optimizer: Any = optimizer_of(network, s)
    assert type(optimizer).__name__ == kind
    if name in ("sgd", "rmsprop"):
        assert all(g["momentum"] == 0.9 for g in optimizer.param_groups)
    images = torch.rand(6, 3, 32, 32) * 255
    truth = torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for _ in range(12):
        loss: Any = F.cross_entropy(network(images).logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_schedules() -> None:
    cosine = Finetune(phases=((32, 100),), schedule="cosine", rate=1.0)
    rates = [rate_at(step, cosine, 1.0) for step in range(101)]
    assert rates[0] == pytest.approx(1.0)
    assert rates == sorted(rates, reverse=True)
    assert rates[100] == pytest.approx(0.002)
    plateau = Finetune(phases=((32, 100),), schedule="plateau", rate=1.0)
    assert {rate_at(step, plateau, 0.25) for step in (0, 50, 100)} == {0.25}


def test_balanced_sampling_shows_every_class_equally_often(tmp_path: Path) -> None:
    labels = np.array([0] * 95 + [1] * 5, dtype=np.int64)

    def shown(sampling: Any) -> float:
        job = Job(
            settings=Finetune(sampling=sampling),
            seed=3,
            classes=("a", "b"),
            labels=labels,
            second_labels=np.full(100, -1, dtype=np.int64),
            judge_labels=labels,
            folder=tmp_path,
            fingerprint="",
            material=lambda size: pytest.fail("no picture is needed"),
        )
        return float(labels[drawn_rows(job, np.arange(2000))].mean())

    assert shown("shuffled") == pytest.approx(0.05)
    assert shown("balanced") == pytest.approx(0.5, abs=0.05)


def test_out_of_memory_halves_the_batch_and_says_so(
    cells: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset: Dataset = finetune_data(cells)
    sizes: list[int] = []
    train = loop.train

    def short_of_memory(job: Job, network: Classifier, resume: bool) -> Any:
        sizes.append(job.batch)
        if job.batch > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return train(job, network, resume)

    monkeypatch.setattr(finetune, "train", short_of_memory)
    said: list[str] = []
    s = Finetune(**tiny, phases=((32, 2),), small_batch=16, evaluations=1, crop=1.0)
    rows = np.arange(len(dataset), dtype=np.int64)
    task = Task(dataset, rows[8:], rows[:8], s, 7, tmp_path, said=said.append)
    trained = FinetuneLearner().fit(task)
    assert sizes == [16, 8, 4]
    assert trained.curve[-1].step == 2
    assert [w for w in said if "Out of memory" in w] == [
        "Out of memory with 16 images a step: beginning again with 8.",
        "Out of memory with 8 images a step: beginning again with 4.",
    ]

    def other(job: Job, network: Classifier, resume: bool) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(finetune, "train", other)
    with pytest.raises(RuntimeError, match="shapes"):
        FinetuneLearner().fit(task)


def finetune_data(cells: Path) -> Dataset:
    read = cytowell.read(cells)
    return read.take(range(0, len(read), max(1, len(read) // 30)))
