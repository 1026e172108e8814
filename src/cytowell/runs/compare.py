"""Many candidates, one question: which is best, and is the difference more than chance.

The grid is candidates x protocols x folds; every cell is kept, so a comparison that was interrupted
goes on, and one that grew computes only what is new.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cytowell import registry, splits
from cytowell.errors import Blocked, RecipeError, RunError, TooFewImages
from cytowell.runs import table as tables
from cytowell.runs.candidates import Candidate, Fit, candidates, fitted
from cytowell.runs.cells import Answer, Cell, keep, kept, permute
from cytowell.runs.choose import Choice, choose
from cytowell.runs.diagnose import curves
from cytowell.runs.engines import engine
from cytowell.runs.parts import by_unit
from cytowell.runs.protocols import Division, Protocol, divisions
from cytowell.runs.run import Run, Voice, check, train
from cytowell.storage import explaining, write_text, write_with
from cytowell.types import Dataset, Findings, IntArray, Split

QUICK_ONES = ("knn", "logistic-regression", "random-forest", "svm", "gradient-boosting", "frozen")
"""Learners of seconds: the control is run on them where there are any."""


@dataclass(frozen=True)
class Question:
    """What is compared and how.

    Attributes
    ----------
    words
        Candidates as `candidates` reads them.
    protocols
        The first gives the table; with several, the report compares what each of them says.
    diagnose, permutation_control, choose
        Draw learning and validation curves; run the control that must fall to chance; refit and
        export the cheapest of the best, which never saw the test part.
    tune
        Trials of a search for each candidate's settings, judged by the first division's
        validation part; 0 for none.
    engine, jobs, address
        Where cells are computed.
    """

    words: tuple[str, ...]
    protocols: tuple[Protocol, ...] = (Protocol("holdout"),)
    optimisers: tuple[str, ...] = ()
    fit: Fit = field(default_factory=Fit)
    diagnose: bool = False
    permutation_control: bool = False
    choose: bool = False
    tune: int = 0
    engine: str = "local"
    jobs: int = 1
    address: str = ""


@dataclass(frozen=True)
class Done:
    """A cell with its answer, and class indices of its test part; shape (M,)."""

    cell: Cell
    answer: Answer
    truth: IntArray


@dataclass(frozen=True)
class Comparison:
    """What came out: the folder, the table, every cell, and the choice if one was asked for."""

    folder: Path
    table: pd.DataFrame
    cells: pd.DataFrame
    words: tuple[str, ...]
    choice: Choice | None = None
    run: Run | None = None


@dataclass
class _Grid:
    """What the steps of a comparison hand on: the data as given, and with units for groups."""

    given: Dataset
    dataset: Dataset
    question: Question
    findings: Findings
    units: IntArray
    rows: IntArray
    candidates: tuple[Candidate, ...]
    outer: Split | None = None
    done: list[Done] = field(default_factory=list)


def compare(
    dataset: Dataset, out: str | Path, question: Question, voice: Voice | None = None
) -> Comparison:
    """Compare candidates; write ``table.csv``, ``cells.csv`` and ``report.html``.

    Parameters
    ----------
    out
        A folder of this data set; a comparison that was there already is continued or extended.

    Raises
    ------
    RunError
        If the folder belongs to another data set.
    TooFewImages
        If a class has fewer groups than there are folds.
    """
    heard = voice or Voice()
    folder = Path(out)
    dataset = dataset.in_order()
    chosen = candidates(question.words, question.fit, question.optimisers)
    if question.fit.raw_and_cropped and (why := no_wholes(dataset)):
        raise RecipeError(
            why, "Give photographs of one label each, with boxes or with --find wells."
        )
    with explaining(folder):
        _claim(folder, dataset)
        grid = _prepare(dataset, folder, question, chosen, heard)
        if question.tune:
            _tune(grid, folder, heard)
            chosen = grid.candidates
        work = _cells(grid)
        control = _control(grid) if question.permutation_control else None
        _compute(grid, work, control, folder, heard)
        story = tables.tell(grid.dataset, question, chosen, grid.done, grid.units)
        if question.diagnose:
            story = replace(story, curves=_curves(grid, heard))
        choice, run = None, None
        if question.choose:
            choice, run = _choose(grid, folder, heard)
            story = replace(story, choice=choice.sentence)
        tables.write(folder, story)
    return Comparison(folder, story.table, story.cells, story.words, choice, run)


def no_wholes(dataset: Dataset) -> str:
    """Say why whole photographs cannot be compared with the boxes in them; "" if they can."""
    if all(s.box is None for s in dataset.samples):
        return "There are no boxes to compare whole photographs with."
    shown: dict[str, str | None] = {}
    for s in dataset.samples:
        if shown.setdefault(s.path, s.label) != s.label:
            return (
                f"{s.path} holds boxes of {shown[s.path]!r} and of {s.label!r}: as a whole it is "
                "neither."
            )
    return ""


def _claim(folder: Path, dataset: Dataset) -> None:
    """Refuse a folder of another data set."""
    mark = folder / "compare.json"
    digest = dataset.digest()
    if mark.exists():
        try:
            known = json.loads(mark.read_text(encoding="utf-8"))["data"]
        except (OSError, ValueError, KeyError):
            known = ""
        if known != digest:
            raise RunError(
                f"{folder} holds a comparison of another data set.", "Choose another --out."
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no comparison.", "Choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, json.dumps({"data": digest, "origin": dataset.origin}, indent=1) + "\n")


def _prepare(
    dataset: Dataset,
    folder: Path,
    question: Question,
    chosen: tuple[Candidate, ...],
    heard: Voice,
) -> _Grid:
    heard.said(f"checking {len(dataset)} images")
    findings = check(dataset, heard)
    write_with(folder / "findings.csv", lambda f: findings.frame().to_csv(f, index=False))
    if findings.blocking:
        raise Blocked(
            " ".join(findings.blocking), f"See {folder / 'findings.csv'} for every image."
        )
    usable = (dataset.labels >= 0) & ~findings.excluded
    splits.require_classes(dataset, usable)
    units = splits.units_of(dataset, findings, question.fit.by_image)
    rows = np.flatnonzero(usable).astype(np.int64)
    if len(np.unique(units[rows])) < 2:
        raise TooFewImages(
            "All images belong to one group, or are copies of one another: nobody could judge.",
            "Add images of other slides, plates or donors, or ask for --by-image.",
        )
    grouped = by_unit(dataset, findings, question.fit.by_image)
    grid = _Grid(dataset, grouped, question, findings, units, rows, chosen)
    if question.choose:
        seed = question.fit.seed
        grid.outer = splits.split(dataset, findings, seed=seed, by_image=question.fit.by_image)
        splits.save(grid.outer, folder / "split.csv")
        if not _is_given(question):
            grid.rows = grid.outer.where("train", "validation")
            heard.said(
                f"{len(grid.outer.test)} images are set aside for what will be chosen; "
                f"candidates are compared on the other {len(grid.rows)}"
            )
    return grid


def _is_given(question: Question) -> bool:
    """Whether candidates are compared on the very test part that the chosen one reports."""
    return question.protocols[0].name == "holdout"


def _cells(grid: _Grid) -> list[Cell]:
    found = []
    for protocol in grid.question.protocols:
        parts = _divisions(grid, protocol)
        for candidate in grid.candidates:
            for d in parts:
                found.append(_cell(candidate, protocol.name, d, grid.question.fit))
    return found


def _tune(grid: _Grid, folder: Path, heard: Voice) -> None:
    """Put each candidate's best settings in its place."""
    tuned = registry.part("cytowell.runs.tune:tuned", "--tune")
    q = grid.question
    division = _divisions(grid, q.protocols[0])[0]
    grid.candidates = tuple(
        tuned(grid.dataset, c, division, q.fit, q.tune, folder, heard) for c in grid.candidates
    )


def _divisions(grid: _Grid, protocol: Protocol) -> list[Division]:
    seed, o = grid.question.fit.seed, grid.outer
    if protocol.name == "holdout" and o is not None and _is_given(grid.question):
        return [Division(0, seed, o.train, o.validation, o.test)]
    return list(divisions(protocol, grid.dataset, grid.rows, grid.units, seed))


def _cell(
    candidate: Candidate, protocol: str, d: Division, fit: Fit, permuted: bool = False
) -> Cell:
    return Cell(candidate, protocol, d.fold, d.seed, d.train, d.validation, d.test, fit, permuted)


def _control(grid: _Grid) -> tuple[Dataset, list[Cell]]:
    """Give the data set with labels shuffled between units, and the cells of the control.

    Units here are groups and copies even where single images were split: what then leaks from
    one side to the other shows.
    """
    seed = grid.question.fit.seed
    together = splits.units_of(grid.given, grid.findings)
    copies = splits.units_of(grid.given, grid.findings, by_image=True)
    shuffled = permute(grid.dataset, together, copies, seed)
    quick = [c for c in grid.candidates if c.recipe.learner in QUICK_ONES]
    some = quick or list(grid.candidates[:1])
    first = grid.question.protocols[0]
    parts = list(divisions(first, shuffled, grid.rows, grid.units, seed))
    fit = grid.question.fit
    return shuffled, [_cell(c, first.name, d, fit, permuted=True) for c in some for d in parts]


def _compute(
    grid: _Grid,
    cells: Sequence[Cell],
    control: tuple[Dataset, list[Cell]] | None,
    folder: Path,
    heard: Voice,
) -> None:
    """Compute what is not kept yet, and keep it."""
    store = folder / "cells"
    work: list[tuple[int, Dataset, Cell, Path]] = []
    everything = [(grid.dataset, c) for c in cells]
    if control is not None:
        everything += [(control[0], c) for c in control[1]]
    rows = {id(d): d.row_keys() for d in {id(d): d for d, _ in everything}.values()}
    keys = [c.key(d, rows[id(d)]) for d, c in everything]
    found: dict[int, Answer] = {}
    for number, (data, cell) in enumerate(everything):
        known = kept(store, keys[number])
        if known is not None:
            found[number] = known
        else:
            work.append((number, data, cell, store / _name(cell, keys[number])))
    if found:
        heard.said(f"{len(found)} of {len(everything)} cells are known already")
    if work:
        heard.said(f"{_number(len(work), 'cell')} to compute, {work[0][2].candidate.name} first")
    q = grid.question
    heard.ticked(len(found), len(everything), "cells")
    for number, answer in engine(q.engine, q.jobs, q.address)(work):
        keep(store, keys[number], answer)
        found[number] = answer
        cell = everything[number][1]
        if not answer.error:
            # What TensorBoard shows stays; what only a resumed training needs goes.
            shutil.rmtree(store / _name(cell, keys[number]) / "checkpoints", ignore_errors=True)
        what = f"{'control with ' if cell.permuted else ''}{cell.candidate.name}"
        heard.said(f"{what}, {cell.protocol} {cell.fold}: {_came(cell, answer)}")
        heard.ticked(len(found), len(everything), "cells")
    grid.done = [Done(c, found[i], d.labels[c.test]) for i, (d, c) in enumerate(everything)]


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _came(cell: Cell, answer: Answer) -> str:
    """Say what has come of a cell; how right it was is the table's to say, with its interval."""
    if answer.error:
        return answer.error
    return f"learnt {len(cell.train)} images in {answer.fit_seconds / 60:.1f} min"


def _name(cell: Cell, key: str) -> str:
    """Name a cell's folder so that TensorBoard's list of runs can be read."""
    plain = re.sub(r"[^A-Za-z0-9+.-]+", "-", Path(cell.candidate.name).name)
    mark = "-permuted" if cell.permuted else ""
    return f"{plain}-{cell.protocol}{cell.fold}{mark}-{key[:6]}"


def _curves(grid: _Grid, heard: Voice) -> pd.DataFrame:
    first = next(d.cell for d in grid.done if not d.cell.permuted)
    learn = np.sort(np.concatenate([first.train, first.validation]))
    return curves(grid.dataset.take(learn), grid.candidates, grid.question.fit.seed, heard)


def _choose(grid: _Grid, folder: Path, heard: Voice) -> tuple[Choice, Run | None]:
    """Choose by the validation parts, refit on the training part, judge by the test part."""
    first = grid.question.protocols[0].name
    choice = choose([d for d in grid.done if d.cell.protocol == first and not d.cell.permuted])
    heard.said(choice.sentence)
    if choice.candidate is None or grid.outer is None:
        return choice, None
    recipe = choice.candidate.recipe
    if choice.candidate.network:
        settings = fitted(recipe.settings, grid.question.fit, len(grid.outer.train))
        recipe = replace(recipe, settings=settings)
    place = folder / "chosen"
    run = train(grid.given, place, recipe, grid.outer, resume=place.exists(), voice=heard)
    return choice, run
