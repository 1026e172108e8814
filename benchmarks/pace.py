"""How long each preset's training takes on this machine, from its pace at every side.

    python benchmarks/pace.py [--preset quick] [--steps 24]

A preset counts steps, so its minutes follow from images/s at each of its sides: those are measured
here on real steps of the one training loop, a few at each side, and multiplied. Looking at the
validation part (as large as for PBC) is measured and added. Prints Lite0's bare forward images/s
of the machine beside them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import cytowell
from cytowell import registry
from cytowell.images import worker_count
from cytowell.learners.contract import Task
from cytowell.training.recipe import PRESETS, Finetune
from cytowell.types import Dataset
from machine import bare_speed, data_folder

JUDGED = 597
"""Images of PBC's validation part; as many of the training part are looked at beside them. Of a few
images hardly any."""


def measured(data: Dataset, s: Finetune, side: int, steps: int, batch: int) -> tuple[float, float]:
    """Give seconds a step, and seconds an image that is only looked at."""
    settings = replace(
        s, phases=((side, steps),), small_phases=(), crop=0.5, evaluations=1, batch=batch
    )
    judged = 64
    rows = np.arange(len(data))
    with tempfile.TemporaryDirectory() as folder:
        asked: list[float] = []
        task = Task(
            data,
            rows[judged:],
            rows[:judged],
            replace(settings, small_batch=batch),
            7,
            Path(folder),
            pointed=lambda point: asked.append(time.perf_counter()),
        )
        learned = registry.load("learners", "finetune").fit(task)
        trained = learned.curve[-1]
        network = learned.network
        network.backbone.views = 1
        pixels = torch.zeros(64, 3, side, side).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            network(pixels)
            start = time.perf_counter()
            network(pixels)
            looked = (time.perf_counter() - start) / 64
    return batch / trained.images_per_second, looked


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="", help="one of them; all without it")
    parser.add_argument("--steps", type=int, default=24)
    given = parser.parse_args()
    root = data_folder("pbc")
    whole = cytowell.read(root)
    data = whole.take(np.random.default_rng(7).permutation(len(whole))[:512])
    print(f"machine   {bare_speed():.0f} images/s, Lite0 at 224 px, {worker_count()} threads")
    known: dict[tuple[int, int], tuple[float, float]] = {}
    for name, s in PRESETS.items():
        if given.preset not in ("", name):
            continue
        for phases, batch, many in (
            (s.phases, s.batch, "many images"),
            (s.small_phases, s.small_batch, f"under {s.small_below}"),
        ):
            if not phases:
                continue
            minutes, said = 0.0, []
            seen = 2 * JUDGED if phases is s.phases else 32
            for side, steps in phases:
                if (side, batch) not in known:
                    known[side, batch] = measured(data, s, side, given.steps, batch)
                step, look = known[side, batch]
                asked = s.evaluations * steps / sum(n for _, n in phases)
                minutes += (steps * step + asked * seen * look) / 60
                said.append(f"{steps} at {side} px, {batch / step:.0f} images/s")
            print(f"{name:9s} {minutes:4.1f} min for {many}: {'; '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
