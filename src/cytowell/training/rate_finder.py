"""A learning rate by a range test: the rate grows at every step until the loss flies apart.

Smith 2017 (arXiv 1506.01186), section 3.3; rates, smoothing and the end of the test are those of
Lightning's finder. Lightning's own drives its Trainer and one rate for all layers, where this loop
gives each depth its share. The steps are a copy's: the network that is trained has not taken them.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric

from cytowell.models.classifier import Classifier
from cytowell.storage import write_frame, write_text
from cytowell.training.draws import draw
from cytowell.training.loop import Job
from cytowell.training.objective import Objective
from cytowell.training.schedule import optimizer_of
from cytowell.types import FloatArray

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100
"""Rates that are tried, at equal ratios."""

SMOOTHING = 0.98
"""Share of the past in the mean of losses, corrected for its start."""

APART = 4.0
"""Times its best at which the loss has flown apart."""

BELOW = 10.0
"""How far below the rate of the least loss the suggestion lies: there the loss still falls, and a
mean of past losses is late by some steps."""

LEAST = 10
"""Rates without which nothing can be suggested."""


@dataclass(frozen=True)
class RateTest:
    """Rates in their order, each step's loss and its smoothed one; and the rate they suggest."""

    rates: FloatArray
    losses: FloatArray
    smoothed: FloatArray

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is least; None where it never falls."""
        if len(self.rates) < LEAST:
            return None
        best = int(np.argmin(self.smoothed))
        if best < LEAST:
            return None
        return float(f"{self.rates[best] / BELOW:.2g}")


def found(job: Job, network: Classifier, folder: Path) -> tuple[float | None, str]:
    """Give the rate that a test suggests, None where it suggests none, and what to say of it.

    A test of this very job that is kept in the folder is read; one that is made leaves
    ``rate.csv`` (rate, loss, smoothed) and ``rate.json`` there.
    """
    kept = folder / "rate.json"
    try:
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record["fingerprint"] == job.fingerprint:
            return record["rate"], str(record["sentence"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    test = tried(job, network)
    rate, usual = test.suggestion, job.settings.rate
    over = f"over {len(test.rates)} steps from {LOWEST:g} to {test.rates[-1]:.2g}"
    if rate is None:
        said = f"The rate finder ({over}) saw no loss that falls: the rate stays {usual:g}."
    else:
        said = (
            f"Rate: {rate:g}, by the rate finder ({over}): a tenth of that at which the loss was "
            f"least. Without it the rate would have been {usual:g}."
        )
    frame = pd.DataFrame({"rate": test.rates, "loss": test.losses, "smoothed": test.smoothed})
    write_frame(frame, folder / "rate.csv")
    record = {"fingerprint": job.fingerprint, "rate": rate, "sentence": said}
    write_text(kept, json.dumps(record) + "\n")
    return rate, said


def tried(job: Job, network: Classifier) -> RateTest:
    """Run the test on a copy of the network, at the size of the first phase."""
    s = job.settings
    fabric: Any = Fabric(accelerator=s.accelerator, devices=1, precision=s.precision)
    size = s.phases[0][0]
    material = job.material(size)
    torch.manual_seed(job.seed)
    own = copy.deepcopy(network).to(memory_format=torch.channels_last)
    moving, optimizer = fabric.setup(own, optimizer_of(own, s))
    objective = Objective(
        s, job.labels, job.second_labels, len(job.classes), fabric.device, job.soft
    )
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean, best = 0.0, math.inf
    moving.train()
    for step in range(STEPS):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        images, rows = draw(job, material, size, step, fabric)
        if s.objective == "contrastive":
            again, _ = draw(job, material, size, step, fabric, view=1)
            images, rows = torch.cat([images, again]), np.concatenate([rows, rows])
        loss = objective(moving(images), rows, step)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        rates.append(rate)
        losses.append(value)
        smoothed.append(mean / (1 - SMOOTHING ** (step + 1)))
        job.ticked(step + 1, STEPS, f"rate finder, loss {value:.3f}")
        if step > 1 and smoothed[-1] > APART * best:
            break
        best = min(best, smoothed[-1])
    return RateTest(np.array(rates), np.array(losses), np.array(smoothed))
