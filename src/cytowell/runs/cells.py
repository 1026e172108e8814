"""One cell of a comparison: a candidate, who learns, who calibrates, who judges; and its answer.

A cell is computed anywhere (this process, another, another machine), gives back a value, and is
kept by what it was computed from, so that a second comparison on the same data reads it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell import registry
from cytowell.errors import CytowellError
from cytowell.evaluation.calibration import fit_calibration
from cytowell.learners.contract import Makings, Pointed, Task, unpointed
from cytowell.runs.assemble import assemble, gather
from cytowell.runs.candidates import Candidate, Fit, essence, fitted
from cytowell.runs.run import PROVEN, _pixels
from cytowell.runtime.outside import parameters
from cytowell.storage import replacing, write_text
from cytowell.types import Dataset, FloatArray, IntArray

FAULTS = (
    MemoryError, RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError,
    ArithmeticError,
)  # fmt: skip
"""What a network's own libraries raise for a size, a batch or an operation that it cannot take. Not
every exception: one that ends a hopeless search comes through here."""

TIMED = 64
"""Images that a learner that ships nothing is timed on."""


@dataclass(frozen=True)
class Cell:
    """What is computed.

    Attributes
    ----------
    protocol, fold, seed
        Where it stands in the grid.
    train, validation, test
        Positions in the data set.
    permuted
        Whether labels were shuffled between units: the control that must fall to chance.
    keeps_bundle
        Whether its bundle stays in its folder, to teach another.
    """

    candidate: Candidate
    protocol: str
    fold: int
    seed: int
    train: IntArray
    validation: IntArray
    test: IntArray
    fit: Fit
    permuted: bool = False
    keeps_bundle: bool = False

    def key(self, dataset: Dataset, rows: Sequence[str] | None = None) -> str:
        """Hash all that decides the answer.

        Parameters
        ----------
        rows
            The data set's `row_keys`, where they are known already. Positions alone would give the
            answers of other images where a table names them in another order.
        """
        if rows is None:
            rows = dataset.row_keys()
        # Whether whole photographs are asked about too, and views, are the candidate's matter.
        fit = asdict(replace(self.fit, raw_and_cropped=False, views=None))
        said = [dataset.classes, essence(self.candidate), fit, self.seed, self.permuted]
        mark = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for part in (self.train, self.validation, self.test):
            for i in part:
                mark.update(rows[int(i)].encode() + b"\n")
            mark.update(b"|")
        return mark.hexdigest()[:32]


@dataclass(frozen=True)
class Answer:
    """What a cell found; NaN where there is nothing, `error` where it failed.

    `probabilities` (N, C) are calibrated, of the test part's samples in their order;
    `validation_right` says which of the validation part's, in theirs, were called right.
    """

    probabilities: FloatArray
    train_accuracy: float = float("nan")
    validation_accuracy: float = float("nan")
    validation_right: tuple[bool, ...] = ()
    fit_seconds: float = float("nan")
    images_per_second: float = float("nan")
    parameters: float = float("nan")
    bundle_megabytes: float = float("nan")
    weights: str = ""
    ships: bool = False
    error: str = ""
    remarks: tuple[str, ...] = field(default=())


def compute(
    dataset: Dataset, cell: Cell, folder: Path | None = None, pointed: Pointed = unpointed
) -> Answer:
    """Learn and judge; whatever goes wrong becomes the answer's error.

    Parameters
    ----------
    dataset
        With the unit that may not be torn apart as each sample's group.
    folder
        Where checkpoints and TensorBoard files go; a temporary folder without it.
    pointed
        Hears each answer of the validation part while a network learns.
    """
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            return _compute(dataset, cell, folder, pointed)
        with tempfile.TemporaryDirectory(prefix="cytowell-") as name:
            return _compute(dataset, cell, Path(name), pointed)
    except CytowellError as error:
        return failed(dataset, cell, str(error))
    except FAULTS as error:
        said = next(iter(str(error).splitlines()), "")
        return failed(dataset, cell, f"{type(error).__name__}: {said}")


def keep(folder: Path, key: str, answer: Answer) -> None:
    """Keep an answer by its key, whole or not at all."""
    record = asdict(replace(answer, probabilities=np.zeros(0)))
    del record["probabilities"]
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{key}.npy") as beside, beside.open("wb") as out:
        np.save(out, answer.probabilities.astype(np.float32), allow_pickle=False)
    write_text(folder / f"{key}.json", json.dumps(record, indent=1) + "\n")


def kept(folder: Path, key: str) -> Answer | None:
    """Give a kept answer; None where there is none, or it had failed."""
    try:
        record = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        probabilities = np.load(folder / f"{key}.npy", allow_pickle=False).astype(np.float64)
    except (OSError, ValueError):
        return None
    for name in ("remarks", "validation_right"):
        record[name] = tuple(record.get(name, ()))
    try:
        answer = Answer(probabilities, **record)
    except TypeError:
        return None  # kept by another version
    return None if answer.error else answer


def permute(dataset: Dataset, units: IntArray, copies: IntArray, seed: int) -> Dataset:
    """Shuffle labels: what can still be called rightly after that was not learnt from the classes.

    Copies keep one label between them, and so does a unit whose images all had the same one; the
    images of a unit with several classes (a slide of cells) are shuffled singly.

    Parameters
    ----------
    units, copies
        Unit and set of copies of each sample.
    """
    labels = dataset.labels
    frame = pd.DataFrame({"unit": units, "label": labels})
    pure = (frame.groupby("unit")["label"].transform("nunique") == 1).to_numpy()
    keys = np.where(pure, units, copies + units.max() + 1)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    dealt = labels[first][order][inverse]
    pairs = zip(dataset.samples, dealt.tolist(), strict=True)
    shuffled = (
        replace(s, label=dataset.classes[c] if c >= 0 else None, subclass=None) for s, c in pairs
    )
    return replace(dataset, samples=tuple(shuffled))


def _compute(dataset: Dataset, cell: Cell, folder: Path, pointed: Pointed) -> Answer:
    recipe = cell.candidate.recipe
    settings = recipe.settings
    if cell.candidate.network:
        settings = fitted(settings, cell.fit, len(cell.train))
    task = Task(
        dataset=dataset,
        train=cell.train,
        validation=cell.validation,
        settings=settings,
        seed=cell.seed,
        folder=folder,
        reading=recipe.reading,
        resume=True,
        pointed=pointed,
    )
    learner = registry.load("learners", recipe.learner)
    start = time.perf_counter()
    learned = learner.fit(task)
    seconds = time.perf_counter() - start
    if not learner.exports:
        return _scored(dataset, cell, learned, seconds)
    makings = learned
    if not isinstance(learned, Makings):
        some = [dataset.samples[int(i)] for i in cell.validation[:PROVEN]]
        makings = registry.load("exporters", recipe.learner)(learned, _pixels(some, learned.record))
    return _shipped(dataset, cell, makings, folder, seconds)


def _shipped(
    dataset: Dataset, cell: Cell, makings: Makings, folder: Path, seconds: float
) -> Answer:
    """Judge the bundle itself, as the main job does."""
    wrong = cell.candidate.recipe.wrong

    def unheard(done: int, total: int, what: str) -> None:
        return

    done = assemble(makings, dataset, cell.train, cell.validation, wrong, cell.seed, unheard)
    start = time.perf_counter()
    calls = done.bundle.call(gather(done.bundle, dataset, cell.test, unheard, "test part"))
    took = time.perf_counter() - start
    if cell.keeps_bundle:
        done.bundle.save(folder / "bundle", f"Fold {cell.fold} of a comparison; not for use.\n")
    learnt = done.bundle.call(done.learnt)
    calibrating = done.bundle.call(done.calibrating) if done.calibrating is not None else learnt
    size = len(makings.model) + done.bundle.head.weight.nbytes
    return Answer(
        calls.probabilities,
        train_accuracy=float(np.mean(learnt.called == learnt.truth)),
        validation_accuracy=float(np.mean(calibrating.called == calibrating.truth)),
        validation_right=_answered(calibrating.called == calibrating.truth),
        fit_seconds=seconds,
        images_per_second=len(cell.test) / took,
        parameters=float(parameters(makings.model) + done.bundle.head.weight.size),
        bundle_megabytes=size / 1e6,
        weights=makings.weights,
        ships=True,
        remarks=makings.remarks,
    )


def _scored(dataset: Dataset, cell: Cell, learned: Any, seconds: float) -> Answer:
    """Judge a learner that ships nothing: its scores, calibrated as a bundle is."""
    learn, test = dataset.take(cell.train), dataset.take(cell.test)
    validation = dataset.take(cell.validation)
    shift = np.zeros(len(dataset.classes))
    if getattr(cell.candidate.recipe.settings, "balance", "none") != "none":
        counts = np.bincount(learn.labels, minlength=len(shift))
        shift = np.log(np.maximum(counts, 0.5) / max(1, len(learn)))
    held = learned.scores(validation)
    fitted = fit_calibration(held, validation.labels, shift=shift)
    held = fitted.probabilities(held)
    probabilities = fitted.probabilities(learned.scores(test))
    known = fitted.probabilities(learned.scores(learn)).argmax(axis=1)
    some = test.take(range(min(TIMED, len(test))))
    start = time.perf_counter()
    learned.call(some)
    took = time.perf_counter() - start
    return Answer(
        probabilities,
        train_accuracy=float(np.mean(known == learn.labels)),
        validation_accuracy=float(np.mean(held.argmax(axis=1) == validation.labels)),
        validation_right=_answered(held.argmax(axis=1) == validation.labels),
        fit_seconds=seconds,
        images_per_second=len(some) / took,
        parameters=float(learned.parameters),
        weights="",
    )


def _answered(right: npt.NDArray[np.bool_]) -> tuple[bool, ...]:
    return tuple(bool(r) for r in right)


def failed(dataset: Dataset, cell: Cell, error: str) -> Answer:
    """Give the answer of a cell that could not be computed."""
    none = np.full((len(cell.test), len(dataset.classes)), np.nan)
    return Answer(none, error=error)
