"""The one training loop, read from top to bottom.

Every random number of a step is drawn from a seed made of the run's seed and the step's number,
so that a run that was interrupted draws, after `--resume`, what it would have drawn.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from sklearn.metrics import confusion_matrix
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import AveragedModel

from cytowell.errors import RecipeError
from cytowell.learners.contract import (
    Curve,
    Pointed,
    Said,
    Ticked,
    silent,
    unpointed,
    unticked,
)
from cytowell.models.classifier import Classifier
from cytowell.training.averaging import Averaging, bare
from cytowell.training.callbacks import Callbacks
from cytowell.training.callbacks import made as callbacks_of
from cytowell.training.checkpoint import State, load_checkpoint, save_checkpoint
from cytowell.training.draws import draw
from cytowell.training.loggers import trackers
from cytowell.training.memory import halved
from cytowell.training.objective import Objective
from cytowell.training.processes import keep_memory, relayed, whole
from cytowell.training.recipe import Finetune
from cytowell.training.schedule import PLATEAU_FACTOR, PLATEAU_PATIENCE, optimizer_of, rate_at
from cytowell.training.tracking import Board
from cytowell.types import FloatArray, IntArray, Pixels

SAVE_EVERY = 60.0
"""Seconds between two checkpoints: what a kill can cost at most."""


SHOWN = 12
"""Validation images shown with their calls, wrong ones first."""


@dataclass(frozen=True)
class Material:
    """What a loop learns from and is asked about, for one phase; rows are samples.

    `learn` (N, S, S, 3) shows more than the network sees; `same` is what it sees of the first few
    of them, and `judge` (M, size, size, 3) what it sees of the validation part. `empty` is the
    intensity of what lies beyond an image, None for its reflection.
    """

    learn: Pixels
    same: Pixels
    judge: Pixels
    empty: float | None = None


@dataclass(frozen=True)
class Job:
    """All that a loop needs; goes to other processes as it is."""

    settings: Finetune
    seed: int
    classes: tuple[str, ...]
    labels: IntArray
    second_labels: IntArray
    judge_labels: IntArray
    folder: Path
    fingerprint: str
    material: Callable[[int], Material]
    said: Said = silent
    ticked: Ticked = unticked
    pointed: Pointed = unpointed
    soft: FloatArray | None = None
    loggers: tuple[str, ...] = ()

    @property
    def batch(self) -> int:
        """Images a step, all processes together."""
        s = self.settings
        return s.small_batch if len(self.labels) < s.small_below else s.batch


@dataclass(frozen=True)
class Gear:
    """What moves while a loop runs, in this process."""

    fabric: Any
    network: Any
    average: Any
    optimizer: Any
    objective: Objective
    state: State
    board: Board | None
    callbacks: Callbacks


def train(job: Job, network: Classifier, resume: bool) -> tuple[Classifier, list[Curve]]:
    """Run the phases; give the averaged network and the curve.

    It is the last that the validation part did not find worse than the best by more than the
    standard error of its answer.

    On Ctrl-C a checkpoint is written before the interrupt goes on its way.

    Raises
    ------
    RecipeError
        If no answer of the validation part was a number.
    """
    s = job.settings
    keep_memory()
    torch.manual_seed(job.seed)
    fabric: Any = Fabric(
        accelerator=s.accelerator,
        devices=s.devices,
        precision=s.precision,
        strategy="auto" if s.devices == 1 else "ddp_spawn",
    )
    if s.devices == 1:
        _work(fabric, job, network, resume)
    else:
        with relayed(job.said, job.ticked) as (said, ticked):
            spoken = replace(job, said=said, ticked=ticked)
            # Lightning looks into what it hands over, and refuses a frozen dataclass: it is bound.
            bound = functools.partial(_work, job=spoken, resume=resume)
            fabric.launch(bound, network=network)
    best = load_checkpoint(job.folder / "best.pt", job.fingerprint)
    last = load_checkpoint(job.folder / "last.pt", job.fingerprint)
    if best is None or last is None:
        raise RecipeError(
            "The training diverged: the loss on the validation part is not a number.",
            f"Lower the rate (it was {s.rate:g}).",
        )
    network.load_state_dict(best["average"])
    return network.cpu().eval(), State.from_record(last["state"]).curve


def _work(fabric: Any, job: Job, network: Classifier, resume: bool) -> None:
    s = job.settings
    if not fabric.is_global_zero:
        job = replace(job, said=silent, ticked=unticked)
    network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=Averaging(s.ema), use_buffers=True)
    optimizer: Any = optimizer_of(network, s)
    wrapped, optimizer = fabric.setup(network, optimizer)
    average.to(fabric.device)
    state = State()
    stored = load_checkpoint(job.folder / "last.pt", job.fingerprint) if resume else None
    if stored is not None:
        network.load_state_dict(stored["network"])
        average.load_state_dict(stored["running"])
        optimizer.load_state_dict(stored["optimizer"])
        state = State.from_record(stored["state"])
        job.said(f"going on from step {state.step}")
    board = None
    if fabric.is_global_zero:
        # What was written at an answered step stays: it will not be asked a second time.
        lost = state.step + int(0 < state.step <= state.asked)
        board = Board(job.folder.parent / "tensorboard", lost)
    classes = len(job.classes)
    objective = Objective(s, job.labels, job.second_labels, classes, fabric.device, job.soft)
    callbacks = Callbacks()
    if fabric.is_global_zero:
        logging = trackers(job.loggers, job.folder.parent, job.said)
        callbacks = Callbacks((*logging, *callbacks_of(s.callbacks)))
    gear = Gear(fabric, wrapped, average, optimizer, objective, state, board, callbacks)
    try:
        callbacks.call("on_train_start", settings=asdict(s), classes=job.classes, step=state.step)
        _phases(job, gear)
        callbacks.call("on_train_end", curve=tuple(state.curve))
    except KeyboardInterrupt:
        _save(job, gear, "last.pt")
        raise
    finally:
        callbacks.call("close")
        if board is not None:
            board.close()


def _save(job: Job, gear: Gear, name: str) -> None:
    if not gear.fabric.is_global_zero:
        return
    if gear.board is not None:
        gear.board.flush()
    tensors = {"average": gear.average.module.state_dict()}
    if name == "last.pt":
        tensors["network"] = bare(gear.network).state_dict()
        tensors["running"] = gear.average.state_dict()
        tensors["optimizer"] = gear.optimizer.state_dict()
    save_checkpoint(job.folder / name, job.fingerprint, gear.state, tensors)


def _phases(job: Job, gear: Gear) -> None:
    s, state, board = job.settings, gear.state, gear.board
    every = max(1, s.steps // s.evaluations)
    start, saved_at = 0, time.monotonic()
    for size, steps in s.phases:
        begin, end = start, start + steps
        start = end
        if min(state.step, state.asked) >= end:
            continue
        if state.step == begin:
            # Losses at two sizes are no race: each phase has its own best.
            state.best_loss, state.stale, state.lowered = math.inf, 0, 1.0
            # Nor are weights: an average that remembers another size fits neither. It starts anew.
            gear.average.n_averaged.zero_()
        material = job.material(size)
        seen, since = 0, time.monotonic()
        while True:
            # Asked here, not after the step, so that an interrupt between the two loses no answer.
            if state.asked < state.step and (state.step % every == 0 or state.step == end):
                took = time.monotonic() - since
                state.seconds += took
                if _ask(job, gear, material, size, seen / max(took, 1e-9)):
                    _end(job, gear)
                    break
                if state.stale >= s.patience and state.step < end:
                    job.said(f"no progress at {size} px since step {state.best_step}: going on")
                    state.step = state.skipped = end
                seen, since = 0, time.monotonic()
            if state.step >= end:
                break
            if board is not None and state.step == begin:
                images, _ = draw(job, material, size, state.step, gear.fabric)
                board.batch(_shown(images[:16]), state.step)
            loss = _step(job, gear, material, size)
            if board is not None:
                board.step(state.step - 1, loss, gear.optimizer.param_groups[-1]["lr"])
            seen += job.batch
            rate = rate_at(state.step - 1, s, state.lowered)
            gear.callbacks.call("on_train_batch_end", step=state.step, loss=loss, rate=rate)
            job.ticked(state.step, s.steps, f"{size} px, loss {loss:.3f}")
            if time.monotonic() - saved_at > SAVE_EVERY:
                _save(job, gear, "last.pt")
                saved_at = time.monotonic()
        if board is not None:
            _show(job, gear, board, material)
        _save(job, gear, "last.pt")


def _end(job: Job, gear: Gear) -> None:
    """End the training where a callback asked for it: what is learnt so far is kept."""
    state, s = gear.state, job.settings
    job.said(f"a callback ended the training at step {state.step} of {s.steps}")
    if state.step <= s.steps - s.phases[-1][1]:
        _save(job, gear, "best.pt")
    state.step = state.skipped = s.steps


def _show(job: Job, gear: Gear, board: Board, material: Material) -> None:
    """Leave in TensorBoard what a phase has come to."""
    state = gear.state
    calls = _calls(gear.average, material.judge, gear.fabric)[1]
    counts = confusion_matrix(job.judge_labels, calls, labels=range(len(job.classes)))
    board.confusion(counts, job.classes, state.step)
    some = np.argsort(calls == job.judge_labels, kind="stable")[:SHOWN]
    board.calls(
        np.array(material.judge[np.sort(some)]),
        [job.classes[i] for i in job.judge_labels[np.sort(some)]],
        [job.classes[i] for i in calls[np.sort(some)]],
        state.step,
    )
    if state.step >= job.settings.steps and state.curve:
        last = state.curve[-1]
        board.settings(
            asdict(job.settings),
            {
                "validation_accuracy": last.validation_accuracy,
                "validation_loss": last.validation_loss,
                "gap": last.train_accuracy - last.validation_accuracy,
            },
        )


def _step(job: Job, gear: Gear, material: Material, size: int) -> float:
    s, state = job.settings, gear.state
    rate = rate_at(state.step, s, state.lowered)
    for group in gear.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    images, rows = draw(job, material, size, state.step, gear.fabric)
    if s.objective == "contrastive":
        again, _ = draw(job, material, size, state.step, gear.fabric, view=1)
        images, rows = torch.cat([images, again]), np.concatenate([rows, rows])
    gear.network.train()
    loss = gear.objective(gear.network(images), rows, state.step)
    gear.optimizer.zero_grad()
    gear.fabric.backward(loss)
    with whole():
        gear.optimizer.step()
        gear.average.update_parameters(bare(gear.network))
        state.step += 1
    return float(loss.detach())


def _ask(job: Job, gear: Gear, material: Material, size: int, speed: float) -> bool:
    """Ask the validation part, once for all processes: they must agree on when a phase ends.

    It says whether a callback asked to end the training.
    """
    state, point, doubt = gear.state, None, 0.0
    if gear.fabric.is_global_zero:
        losses, calls = _calls(gear.average, material.judge, gear.fabric, job.judge_labels)
        known = job.labels[: len(material.same)]
        train_losses, same = _calls(gear.average, material.same, gear.fabric, known)
        point = Curve(
            step=state.step,
            size=size,
            rate=rate_at(state.step - 1, job.settings, state.lowered),
            train_loss=float(train_losses.mean()),
            train_accuracy=float(np.mean(same == known)),
            validation_loss=float(losses.mean()),
            validation_accuracy=float(np.mean(calls == job.judge_labels)),
            images_per_second=speed,
            seconds=state.seconds,
        )
        doubt = float(losses.std()) / math.sqrt(len(losses))
    point = gear.fabric.broadcast(point)
    # The rate falls to nothing, so the later is the better unless the validation part knows
    # otherwise: ten images do not, and choosing by them cost 1.7 points of accuracy.
    last_phase = state.step > job.settings.steps - job.settings.phases[-1][1]
    if last_phase and point.validation_loss <= state.best_loss + doubt:
        _save(job, gear, "best.pt")
    if point.validation_loss < state.best_loss:
        state.best_loss, state.best_step, state.stale = point.validation_loss, point.step, 0
    else:
        state.stale += 1
        if state.stale % PLATEAU_PATIENCE == 0:
            state.lowered *= PLATEAU_FACTOR
    state.curve.append(point)
    if gear.board is not None:
        gear.board.curve(point)
        job.said(f"step {point.step} of {job.settings.steps}, {figures(point)}")
        job.pointed(point)
    return bool(gear.fabric.broadcast(gear.callbacks.call("on_validation_end", point=point)))


def figures(point: Curve) -> str:
    """Give one line of what the validation part answered, beside what was learnt from."""
    return (
        f"{point.size} px: loss {point.train_loss:.3f}, accuracy {point.train_accuracy:.1%}; "
        f"validation loss {point.validation_loss:.3f}, accuracy {point.validation_accuracy:.1%}"
    )


@torch.no_grad()
def _calls(
    average: Any, pixels: Pixels, fabric: Any, truth: IntArray | None = None
) -> tuple[FloatArray, IntArray]:
    """Give each image's loss, none without truth, and its call."""
    average.eval()

    def asked(size: int) -> tuple[list[FloatArray], list[IntArray]]:
        losses, calls = [], []
        for i in range(0, len(pixels), size):
            block = torch.from_numpy(np.array(pixels[i : i + size])).to(fabric.device)
            logits = average.module(block.permute(0, 3, 1, 2)).logits.float()
            calls.append(logits.argmax(dim=1).cpu().numpy())
            if truth is not None:
                known = torch.from_numpy(truth[i : i + size]).to(fabric.device)
                lost = F.cross_entropy(logits, known, reduction="none")
                losses.append(lost.cpu().double().numpy())
        return losses, calls

    losses, calls = halved(asked, "asking the validation part")
    lost = np.concatenate(losses) if losses else np.zeros(0)
    return lost, np.concatenate(calls).astype(np.int64)


def _shown(images: Tensor) -> Pixels:
    shown: Pixels = images.permute(0, 2, 3, 1).clamp(0, 255).to(torch.uint8).cpu().numpy()
    return shown
