"""The training loop of a detector, top to bottom; resumed, it draws what it would have drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch.optim.swa_utils import AveragedModel

from cytowell.errors import RecipeError
from cytowell.evaluation.detection import Seen, evaluate_boxes
from cytowell.images import open_upright
from cytowell.images.boxes import letterbox
from cytowell.learners.contract import Said, Ticked, silent, unticked
from cytowell.registry import load
from cytowell.runtime.detector import FAINTEST, kept, likely
from cytowell.training.averaging import Averaging
from cytowell.training.checkpoint import load_checkpoint, save_checkpoint
from cytowell.training.detection_recipe import Detection
from cytowell.training.loop import SAVE_EVERY
from cytowell.training.processes import keep_memory, whole
from cytowell.training.scenes import Annotated, Shown, batch, show
from cytowell.training.schedule import one_cycle
from cytowell.training.tracking import Board
from cytowell.types import IntArray

OVERLAP = 0.6
"""Of two boxes of a class that overlap by more than this, the surer one is kept."""

CLIPPED = 10.0
"""Norm of all gradients together, at most: a scene of tiny boxes cannot throw the weights away."""

UNFOLDED = 6
"""Batches that give folded norms their statistics back."""


@dataclass(frozen=True)
class Point:
    """One answer of the validation part."""

    step: int
    side: int
    rate: float
    loss: float
    map50: float
    map50_95: float
    seconds: float


@dataclass
class Progress:
    """What a checkpoint holds beside tensors."""

    step: int = 0
    best: float = -1.0
    best_step: int = -1
    stale: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    over: bool = False
    curve: list[Point] = field(default_factory=list)

    @staticmethod
    def from_record(record: dict[str, Any]) -> Progress:
        """Read the state of a checkpoint."""
        return Progress(**record | {"curve": [Point(**point) for point in record["curve"]]})


@dataclass(frozen=True)
class Job:
    """All that the loop needs."""

    settings: Detection
    seed: int
    classes: tuple[str, ...]
    learn: Sequence[Annotated]
    judge: Sequence[Annotated]
    folder: Path
    fingerprint: str
    resume: bool = False
    said: Said = silent
    ticked: Ticked = unticked


@dataclass(frozen=True)
class Learnt:
    """A detector that has learnt: its network, and how it came to be."""

    network: Any
    curve: tuple[Point, ...]
    origin: str


def learn(job: Job) -> Learnt:
    """Train; give the averaged network where the validation part found it best.

    On Ctrl-C a checkpoint is written before the interrupt goes on its way.

    Raises
    ------
    RecipeError
        If the training diverged.
    """
    s = job.settings
    keep_memory()
    torch.manual_seed(job.seed)
    fabric: Any = Fabric(accelerator=s.accelerator, devices=1)
    network = load("detectors", s.network)(len(job.classes))
    state = Progress()
    stored = load_checkpoint(job.folder / "last.pt", job.fingerprint) if job.resume else None
    origin = str(network.origin)
    if stored is not None:
        origin = stored["origin"]
    elif s.weights:
        origin = network.start_from(s.weights, _looked_at(job))
    job.said(f"the network begins at {origin}")
    network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=Averaging(s.ema), use_buffers=True)
    groups = [
        {"params": [p for p in network.parameters() if (p.ndim > 1) == decays], "weight_decay": w}
        for decays, w in ((True, s.weight_decay), (False, 0.0))
    ]
    optimizer: Any = torch.optim.AdamW(groups, lr=s.rate)
    network.to(fabric.device)
    average.to(fabric.device)
    if stored is not None:
        network.load_state_dict(stored["network"])
        average.load_state_dict(stored["running"])
        optimizer.load_state_dict(stored["optimizer"])
        state = Progress.from_record(stored["state"])
        job.said(f"going on from step {state.step}")
    # What was written at an answered step stays: it will not be asked a second time.
    lost = state.step + int(0 < state.step <= _asked(state))
    board = Board(job.folder.parent / "tensorboard", lost)
    gear = _Gear(fabric, network, average, optimizer, state, board, origin)
    try:
        _phases(job, gear)
    except KeyboardInterrupt:
        _save(job, gear, "last.pt")
        raise
    finally:
        board.close()
        for file in job.folder.glob("scenes-*.npy"):
            file.unlink(missing_ok=True)
    best = load_checkpoint(job.folder / "best.pt", job.fingerprint)
    assert best is not None, "the last phase is asked at its end, and the first answer is the best"
    network.load_state_dict(best["average"])
    return Learnt(network.cpu().eval(), tuple(state.curve), origin)


@dataclass(frozen=True)
class _Gear:
    """What moves while the loop runs."""

    fabric: Any
    network: Any
    average: Any
    optimizer: Any
    state: Progress
    board: Board
    origin: str


def _phases(job: Job, gear: _Gear) -> None:
    s, state = job.settings, gear.state
    every = max(1, s.steps // s.evaluations)
    start, saved_at = 0, time.monotonic()
    for side, steps in s.phases:
        begin, end = start, start + steps
        start = end
        if state.step > end or state.over or (state.step == end and _asked(state) == end):
            continue
        if state.step == begin and begin:
            # An average that remembers another size fits neither, and a score at one is no race
            # against a score at another.
            gear.average.n_averaged.zero_()
            state.best, state.stale = -1.0, 0
        file = job.folder / f"scenes-{side}.npy"
        shown = show(job.learn, side, file)
        since = time.monotonic()
        while not state.over:
            if _asked(state) < state.step and (state.step % every == 0 or state.step == end):
                state.seconds += time.monotonic() - since
                _ask(job, gear, side, last=end == s.steps)
                since = time.monotonic()
                state.over = state.stale >= s.patience and end == s.steps
            if state.step >= end:
                break
            _step(job, gear, shown, side)
            job.ticked(state.step, s.steps, f"{side} px, loss {state.loss:.2f}")
            if time.monotonic() - saved_at > SAVE_EVERY:
                _save(job, gear, "last.pt")
                saved_at = time.monotonic()
        _save(job, gear, "last.pt")
        file.unlink(missing_ok=True)


def _asked(state: Progress) -> int:
    return state.curve[-1].step if state.curve else 0


def _step(job: Job, gear: _Gear, shown: Shown, side: int) -> None:
    s, state = job.settings, gear.state
    rate = one_cycle(state.step / s.steps, s)
    for group in gear.optimizer.param_groups:
        group["lr"] = rate
    plain = state.step >= (1 - s.plain) * s.steps
    mark = job.seed * 1_000_003 + state.step
    torch.manual_seed(mark)
    rows = _rows(job, state.step)
    images, targets = batch(shown, rows, side, s, 0.0 if plain else s.mosaic, mark)
    if state.step % max(1, s.steps // 4) == 0:
        gear.board.scenes(images[:8].permute(0, 2, 3, 1).numpy(), targets[:8].numpy(), state.step)
    gear.network.train()
    device = gear.fabric.device
    loss = gear.network.losses(images.to(device), targets.to(device), plain)
    value = float(loss.detach())
    if not np.isfinite(value):
        raise RecipeError(
            f"The training diverged: its loss is not a number at step {state.step}.",
            f"Lower the rate (it was {s.rate:g}).",
        )
    gear.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(gear.network.parameters(), CLIPPED)
    with whole():
        gear.optimizer.step()
        gear.average.update_parameters(gear.network)
        state.step += 1
        state.loss = 0.98 * state.loss + 0.02 * value if state.loss else value


def _rows(job: Job, step: int) -> IntArray:
    """Give the photographs that stand at this step of the endless row of epochs."""
    count, size = len(job.learn), job.settings.batch
    wanted = np.arange(step * size, (step + 1) * size)
    rows = np.empty(size, dtype=np.int64)
    for epoch in np.unique(wanted // count):
        here = wanted // count == epoch
        order = np.random.default_rng([job.seed, int(epoch)]).permutation(count)
        rows[here] = order[wanted[here] % count]
    return rows


def _ask(job: Job, gear: _Gear, side: int, last: bool) -> None:
    state = gear.state
    seen = find_all(gear.average.module.eval(), job.judge, side, gear.fabric.device)
    metrics = evaluate_boxes(seen, job.classes, 0.5, resamples=0)
    rate = one_cycle((state.step - 1) / job.settings.steps, job.settings)
    half, strict = (float(metrics[k]["value"] or 0.0) for k in ("map50", "map50_95"))
    point = Point(state.step, side, rate, state.loss, half, strict, state.seconds)
    gear.board.found(point, metrics)
    job.said(
        f"step {point.step}, {side} px: mAP50 {100 * point.map50:.1f} %, "
        f"mAP50-95 {100 * point.map50_95:.1f} % of the validation part"
    )
    better = point.map50_95 > state.best
    if better and last:
        _save(job, gear, "best.pt")
    # In one piece, after the weights are safe: an interrupt before asks again.
    with whole():
        state.curve.append(point)
        state.stale = 0 if better else state.stale + 1
        if better:
            state.best, state.best_step = point.map50_95, point.step


def _save(job: Job, gear: _Gear, name: str) -> None:
    tensors: dict[str, Any] = {"average": gear.average.module.state_dict(), "origin": gear.origin}
    if name == "last.pt":
        tensors["network"] = gear.network.state_dict()
        tensors["running"] = gear.average.state_dict()
        tensors["optimizer"] = gear.optimizer.state_dict()
    save_checkpoint(job.folder / name, job.fingerprint, gear.state, tensors)


def _looked_at(job: Job) -> list[torch.Tensor]:
    """Give batches of photographs as service will see them."""
    few = list(job.learn[: UNFOLDED * job.settings.batch])
    size = job.settings.batch
    return [
        torch.from_numpy(
            np.stack(
                [letterbox(open_upright(p.path), job.settings.side, False).pixels for p in part]
            )
        )
        .permute(0, 3, 1, 2)
        .float()
        for part in (few[i : i + size] for i in range(0, len(few), size))
    ]


@torch.no_grad()
def find_all(
    network: Any, photographs: Sequence[Annotated], side: int, device: Any = "cpu"
) -> list[Seen]:
    """Find objects in whole photographs, down to next to no certainty."""
    seen = []
    for photograph in photographs:
        image = open_upright(photograph.path)
        boxed = letterbox(image, side, False)
        corners, scores = network(torch.from_numpy(boxed.pixels[None]).to(device))
        back = boxed.back(corners[0].cpu().double().numpy())
        found = kept(*likely(back, scores[0].cpu().double().numpy(), FAINTEST), image.size, OVERLAP)
        seen.append(
            Seen(photograph.boxes, photograph.labels, found.boxes, found.labels, found.scores)
        )
    return seen
