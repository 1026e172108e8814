"""What training costs beside a plain timm loop: processor time and memory, in one run.

    python benchmarks/train.py [--images 640] [--side 64] [--epochs 2] [--repeats 1]

Three programs, each in a process of its own, on the same synthetic cells, the same network
(EfficientNet-Lite0 from ImageNet), batch, side and number of steps:

    plain    timm, AdamW, decoded once, random flips: a loop as it stands in a tutorial
    learning the product's own loop alone (probe, augmentation, average of weights, validation)
    train    `cytowell.train` as a whole, with checks, export, parity and report; by stage

Processor time is of all threads of the process, less what importing took; memory is the largest
resident set, both libraries included in all three. The target is `learning` within 1.3 of `plain`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

import cytowell
from cytowell import registry
from cytowell.learners.contract import Task
from cytowell.models.build import build
from cytowell.runs.recipe import make
from cytowell.runs.voice import Voice

BATCH, RATE = 64, 1e-3
TARGET = 1.3


def settings(side: int, steps: int) -> Any:
    made, _ = make("finetune", "quick")
    own = replace(
        made.settings, phases=((side, steps),), small_phases=(), batch=BATCH, small_batch=BATCH,
        rate=RATE, crop=1.0, evaluations=1,
    )  # fmt: skip
    return replace(made, settings=own)


def plain(data: Any, side: int, steps: int) -> dict[str, float]:
    body = build("efficientnet-lite0").body
    network = timm.create_model("tf_efficientnet_lite0", num_classes=len(data.classes))
    network.load_state_dict(body.state_dict(), strict=False)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    start = time.process_time()
    pixels = np.stack(
        [np.asarray(Image.open(s.path).convert("RGB").resize((side, side))) for s in data.samples]
    )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    labels = torch.from_numpy(data.labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))
    network.train()
    for step in range(steps):
        rows = order[(step * BATCH + torch.arange(BATCH)) % len(order)]
        batch = (images[rows].float() - 127) / 128
        if step % 2:
            batch = batch.flip(3)
        loss = torch.nn.functional.cross_entropy(
            network(batch.contiguous(memory_format=torch.channels_last)), labels[rows]
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {"learning": time.process_time() - start}


def learning(data: Any, side: int, steps: int) -> dict[str, float]:
    learner = registry.load("learners", "finetune")
    rows = np.random.default_rng(7).permutation(len(data))
    cut = len(rows) // 10
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        own = settings(side, steps).settings
        learner.fit(Task(data, rows[cut:], rows[:cut], own, 7, Path(folder)))
    return {"learning": time.process_time() - start}


def whole(data: Any, side: int, steps: int) -> dict[str, float]:
    stages: dict[str, float] = {}
    last: list[Any] = ["start", time.process_time()]

    def said(sentence: str) -> None:
        now = time.process_time()
        stages[str(last[0])] = stages.get(str(last[0]), 0.0) + now - float(last[1])
        last[:] = [sentence.split(":")[0][:48], now]

    with tempfile.TemporaryDirectory() as folder:
        recipe = settings(side, steps)
        cytowell.train(data, Path(folder) / "run", recipe, voice=Voice(said))
    said("end")
    return stages


ARMS = {"plain": plain, "learning": learning, "train": whole}


def one(arm: str, folder: Path, side: int, steps: int) -> None:
    torch.set_num_threads(1)
    data = cytowell.read(folder)
    seconds = ARMS[arm](data, side, steps)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--arm", choices=[*ARMS])
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    steps = max(1, given.epochs * given.images // BATCH)
    if given.arm:
        one(given.arm, given.folder, given.side, steps)
        return
    with tempfile.TemporaryDirectory() as name:
        made = cytowell.write_samples(name, "cells", per_class=given.images // 5)["cells"]
        found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
        for _ in range(given.repeats):
            for arm in ARMS:
                command = [sys.executable, __file__, "--arm", arm, "--folder", str(made)]
                command += ["--images", str(given.images), "--side", str(given.side)]
                command += ["--epochs", str(given.epochs)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[arm].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{given.images} images of {given.side} px, {steps} steps of {BATCH}")
    base = min(sum(f["seconds"].values()) for f in found["plain"])
    for arm, runs in found.items():
        best = min(runs, key=lambda f: sum(f["seconds"].values()))
        seconds = sum(best["seconds"].values())
        print(f"{arm:9s} {seconds:7.1f} s of processor time ({seconds / base:.2f} of plain), "
              f"{best['megabytes']:6.0f} MiB")  # fmt: skip
        if arm == "train":
            for stage, took in best["seconds"].items():
                print(f"          {took:7.1f} s  {stage}")
    ratio = min(sum(f["seconds"].values()) for f in found["learning"]) / base
    met = "met" if ratio <= TARGET else "missed"
    print(f"learning beside plain: {ratio:.2f}; target {TARGET}: {met}")


if __name__ == "__main__":
    main()
