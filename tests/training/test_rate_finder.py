"""A learning rate by a range test: what it suggests; the training has not taken its steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import cytowell
from cytowell.learners.contract import Task
from cytowell.training import rate_finder
from cytowell.training.finetune import LEARNER
from cytowell.training.rate_finder import HIGHEST, LOWEST, STEPS, RateTest
from cytowell.training.recipe import Finetune

pytestmark = pytest.mark.torch

RATES = np.geomspace(LOWEST, HIGHEST, STEPS)


def test_the_suggestion_lies_a_tenth_below_the_least_loss() -> None:
    losses = np.abs(np.log10(RATES) + 2) + 0.1  # least at a hundredth
    suggested = RateTest(RATES, losses, losses).suggestion
    assert suggested is not None
    assert suggested == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize("few", [3, STEPS])
def test_a_loss_that_never_falls_suggests_nothing(few: int) -> None:
    losses = np.linspace(1, 2, few)
    assert RateTest(RATES[:few], losses, losses).suggestion is None


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0])
def test_it_knows_where_steps_on_a_parabola_fly_apart(
    curvature: float,
) -> None:
    """Noisy descent on c x^2 / 2 diverges beyond a rate of 2 / c: the suggestion is below."""
    noise = np.random.default_rng(0).normal(0, curvature, STEPS)
    x, best, mean = 10.0, np.inf, 0.0
    rates, smoothed = [], []
    for step, rate in enumerate(np.geomspace(1e-4, 100, STEPS)):
        loss = curvature * x**2 / 2
        x -= rate * (curvature * x + noise[step])
        mean = rate_finder.SMOOTHING * mean + (1 - rate_finder.SMOOTHING) * loss
        rates.append(rate)
        smoothed.append(mean / (1 - rate_finder.SMOOTHING ** (step + 1)))
        if smoothed[-1] > rate_finder.APART * best:
            break
        best = min(best, smoothed[-1])
    suggested = RateTest(np.array(rates), np.array(smoothed), np.array(smoothed)).suggestion
    assert suggested is not None
    assert 0.005 / curvature < suggested < 2 / curvature


@pytest.fixture
def task(cells: Path, tiny: dict[str, Any], tmp_path: Path) -> Task:
    dataset = cytowell.read(cells)
    order = np.random.default_rng(0).permutation(len(dataset)).astype(np.int64)
    settings = {"phases": ((32, 4),), "small_batch": 8, "evaluations": 2, "crop": 1.0}
    return Task(
        dataset=dataset,
        train=np.sort(order[10:]),
        validation=np.sort(order[:10]),
        settings=Finetune(**tiny | settings, find_rate=True),
        seed=7,
        folder=tmp_path,
    )


def test_the_training_takes_the_rate_and_none_of_the_steps(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    found = LEARNER.fit(replace(task, said=said.append, folder=tmp_path / "a"))
    table = pd.read_csv(tmp_path / "a" / "rate.csv")
    assert [*table.columns] == ["rate", "loss", "smoothed"]
    assert np.diff(table.rate).min() > 0
    usual = task.settings.rate
    assert found.settings.rate == RateTest(*table.to_numpy().T).suggestion or usual
    sentence = next(s for s in said if "rate finder" in s)
    assert f"{found.settings.rate:g}" in sentence
    assert sentence in found.remarks
    plain = replace(task.settings, find_rate=False, rate=found.settings.rate)
    other = LEARNER.fit(replace(task, settings=plain, folder=tmp_path / "b"))
    for ours, theirs in zip(
        found.network.state_dict().values(), other.network.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    monkeypatch.setattr(rate_finder, "tried", lambda *given: pytest.fail("it was tested again"))
    again = LEARNER.fit(replace(task, resume=True, folder=tmp_path / "a"))
    assert again.settings.rate == found.settings.rate
