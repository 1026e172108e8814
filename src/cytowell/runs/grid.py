"""The grid of a comparison: which candidates learn from which images, and which stay set aside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cytowell import registry, splits
from cytowell.errors import Blocked, TooFewImages
from cytowell.runs.candidates import Candidate, Fit
from cytowell.runs.cells import Answer, Cell, permute
from cytowell.runs.parts import by_unit
from cytowell.runs.protocols import Division, Protocol, divisions
from cytowell.runs.run import Voice, check
from cytowell.runs.training_images import untaught, with_overlaps
from cytowell.storage import write_with
from cytowell.types import Dataset, Findings, IntArray, Split

if TYPE_CHECKING:
    from cytowell.runs.compare import Question

QUICK_ONES = ("knn", "logistic-regression", "random-forest", "svm", "gradient-boosting", "frozen")
"""Learners of seconds: the control is run on them where there are any."""


@dataclass(frozen=True)
class Done:
    """A cell with its answer, and class indices of its test part; shape (M,)."""

    cell: Cell
    answer: Answer
    truth: IntArray


@dataclass
class Grid:
    """What the steps of a comparison hand on: the data as given, and with units for groups.

    `outer` is the split that the data brings or that the choice keeps to; `brought` says which.
    `remarks` say what is no candidate, because images of the data taught it.
    """

    given: Dataset
    dataset: Dataset
    question: Question
    findings: Findings
    units: IntArray
    rows: IntArray
    candidates: tuple[Candidate, ...]
    outer: Split | None = None
    brought: bool = False
    remarks: tuple[str, ...] = ()
    done: list[Done] = field(default_factory=list)
    bundles: dict[str, list[Path]] = field(default_factory=dict)


def prepared(
    dataset: Dataset,
    folder: Path,
    question: Question,
    chosen: tuple[Candidate, ...],
    heard: Voice,
) -> Grid:
    """Check the data and say what is set aside; give the grid before anything is computed."""
    if question.new_split:
        dataset = replace(dataset, samples=tuple(replace(s, split=None) for s in dataset.samples))
    heard.said(f"checking {len(dataset)} images")
    findings = check(dataset, heard)
    chosen, known = untaught(chosen, dataset, heard)
    findings = with_overlaps(dataset, findings, known)
    write_with(folder / "findings.csv", lambda f: findings.frame().to_csv(f, index=False))
    if findings.blocking:
        raise Blocked(
            " ".join(findings.blocking), f"See {folder / 'findings.csv'} for every image."
        )
    usable = (dataset.labels >= 0) & ~findings.excluded
    splits.require_classes(dataset, usable)
    units = splits.units_of(dataset, findings, question.fit.by_image)
    given = np.where(usable, splits.given_parts(dataset), "excluded")
    rows = np.flatnonzero(given != "excluded").astype(np.int64)
    if len(np.unique(units[rows])) < 2:
        raise TooFewImages(
            "All images belong to one group, or are copies of one another: nobody could judge.",
            "Add images of other slides, plates or donors, or ask for --by-image.",
        )
    grouped = by_unit(dataset, findings, question.fit.by_image)
    remarks = tuple(f"{k} What starts from it is no candidate." for k in known)
    grid = Grid(dataset, grouped, question, findings, units, rows, chosen, remarks=remarks)
    _set_aside(grid, given, folder, heard)
    return grid


def _set_aside(grid: Grid, given: npt.NDArray[np.str_], folder: Path, heard: Voice) -> None:
    """Keep the split that the data brings, and set aside what judges the choice."""
    q, usable = grid.question, given != "excluded"
    grid.brought = bool((given[usable] != "").any())
    holdout = next((p for p in q.protocols if p.name == "holdout"), None)
    tests = bool((given[usable] == "test").any())
    if not (q.choose or tests or (grid.brought and holdout is not None)):
        return
    grid.outer = splits.split(
        grid.given,
        grid.findings,
        test=Protocol("holdout").test if holdout is None else holdout.test,
        seed=q.fit.seed,
        by_image=q.fit.by_image,
    )
    splits.save(grid.outer, folder / "split.csv")
    if grid.brought:
        heard.said(f"split: {grid.outer.how}")
    if tests or (q.choose and not _is_given(q)):
        # Teachers that knew the images that calibrate would make their student look surer.
        parts = ("train",) if q.distill else ("train", "validation")
        grid.rows = grid.outer.where(*parts)
    if len(grid.rows) < usable.sum() and any(p.name != "holdout" for p in q.protocols):
        what = "for what will be chosen" if q.choose else "as the data does"
        heard.said(
            f"{len(grid.outer.test)} images are set aside {what}; candidates are compared on the "
            f"other {len(grid.rows)}"
        )


def _is_given(question: Question) -> bool:
    """Whether candidates are compared on the very test part that the chosen one reports."""
    return question.protocols[0].name == "holdout"


def cells(grid: Grid, folder: Path, heard: Voice) -> list[Cell]:
    """Give every cell, its settings searched on its own images where that was asked for."""
    found = []
    for protocol in grid.question.protocols:
        parts = _divisions(grid, protocol)
        if grid.question.tune and len(parts) > 1:
            heard.said(f"the settings are searched inside each of {len(parts)} divisions")
        for candidate in grid.candidates:
            for d in parts:
                made = tuned(grid, candidate, d, folder, heard)
                keeps = grid.question.distill and candidate.network and protocol.name == "folds"
                found.append(_cell(made, protocol.name, d, grid.question.fit, keeps=keeps))
    return found


def tuned(
    grid: Grid, candidate: Candidate, division: Division, folder: Path, heard: Voice
) -> Candidate:
    """Give the candidate with the best settings on a division's own validation part."""
    q = grid.question
    if not q.tune:
        return candidate
    search = registry.part("cytowell.runs.tune:tuned", "--tune")
    made: Candidate = search(grid.dataset, candidate, division, q.fit, q.tune, folder, heard)
    return made


def _divisions(grid: Grid, protocol: Protocol, dataset: Dataset | None = None) -> list[Division]:
    """Give a protocol's divisions, of other labels where another `dataset` is given."""
    seed, o = grid.question.fit.seed, grid.outer
    whole = grid.brought or _is_given(grid.question)
    if protocol.name == "holdout" and o is not None and whole:
        return [Division(0, seed, o.train, o.validation, o.test)]
    return list(divisions(protocol, dataset or grid.dataset, grid.rows, grid.units, seed))


def _cell(
    candidate: Candidate,
    protocol: str,
    d: Division,
    fit: Fit,
    permuted: bool = False,
    keeps: bool = False,
) -> Cell:
    return Cell(
        candidate, protocol, d.fold, d.seed, d.train, d.validation, d.test, fit, permuted, keeps
    )


def shuffled(grid: Grid) -> tuple[Dataset, list[Cell]]:
    """Give the data set with labels shuffled between units, and the cells of the control.

    Units here are groups and copies even where single images were split: what then leaks from
    one side to the other shows.
    """
    seed, first = grid.question.fit.seed, grid.question.protocols[0]
    used = np.unique(
        np.concatenate(
            [r for d in _divisions(grid, first) for r in (d.train, d.validation, d.test)]
        )
    )
    together = splits.units_of(grid.given, grid.findings)
    copies = splits.units_of(grid.given, grid.findings, by_image=True)
    # Among those that are used, so that each class has as many images and groups as before.
    dealt = permute(grid.dataset.take(used), together[used], copies[used], seed)
    samples = list(grid.dataset.samples)
    for i, sample in zip(used.tolist(), dealt.samples, strict=True):
        samples[i] = sample
    dealt_anew = replace(grid.dataset, samples=tuple(samples))
    quick = [c for c in grid.candidates if c.recipe.learner in QUICK_ONES]
    some = quick or list(grid.candidates[:1])
    parts = _divisions(grid, first, dealt_anew)
    fit = grid.question.fit
    return dealt_anew, [_cell(c, first.name, d, fit, permuted=True) for c in some for d in parts]
