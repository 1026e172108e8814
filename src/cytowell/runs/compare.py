"""Many candidates, one question: which is best, and is the difference more than chance.

The grid is candidates x protocols x folds; every cell is kept, so a comparison that was interrupted
goes on, and one that grew computes only what is new.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cytowell.errors import RecipeError, RunError
from cytowell.runs import table as tables
from cytowell.runs.candidates import Fit, candidates, fitted
from cytowell.runs.cells import Answer, Cell, keep, kept
from cytowell.runs.choose import Choice, choose
from cytowell.runs.diagnose import curves
from cytowell.runs.distill import require_distillable, taught_by, together
from cytowell.runs.engines import engine
from cytowell.runs.grid import Done, Grid, cells, prepared, shuffled, tuned
from cytowell.runs.lock import LOCK, held
from cytowell.runs.protocols import Division, Protocol
from cytowell.runs.run import Run, Voice, train
from cytowell.storage import explaining, write_text, write_with
from cytowell.types import Dataset

CURVES = 1
"""Version of the curves: raised when the same images give others."""


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
        Trials of a search for each candidate's settings inside each division, judged by its own
        validation part; 0 for none. A search before the divisions would know the test images of
        all but one (Varma & Simon 2006, *BMC Bioinformatics* 7:91).
    distill
        Let the networks that the chosen candidate trained on its folds teach the one that is
        refitted; asks for `choose` and for folds. What is compared then sees neither the test part
        of the choice nor the images that calibrate it.
    new_split
        Divide the images anew, whatever split the data brings.
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
    distill: bool = False
    new_split: bool = False
    engine: str = "local"
    jobs: int = 1
    address: str = ""


@dataclass(frozen=True)
class Comparison:
    """What came out: the folder, the table, every cell, and the choice if one was asked for."""

    folder: Path
    table: pd.DataFrame
    cells: pd.DataFrame
    words: tuple[str, ...]
    choice: Choice | None = None
    run: Run | None = None


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

    Examples
    --------
    >>> import cytowell
    >>> from cytowell.runs.candidates import Fit
    >>> from cytowell.runs.compare import Question
    >>> from cytowell.runs.protocols import Protocol
    >>> folder = cytowell.write_samples("demo", "wells", per_class=24)["wells"]
    >>> asked = Question(
    ...     ("knn", "logistic-regression"), (Protocol("folds", 2),), fit=Fit(by_image=True)
    ... )
    >>> found = cytowell.compare(cytowell.read(folder), "comparison", asked)
    >>> len(found.table)
    2
    """
    heard = voice or Voice()
    folder = Path(out)
    dataset = dataset.in_order()
    if question.distill:
        require_distillable(question)
    chosen = candidates(question.words, question.fit, question.optimisers)
    if question.fit.raw_and_cropped and (why := no_wholes(dataset)):
        raise RecipeError(
            why, "Give photographs of one label each, with boxes or with --find wells."
        )
    with explaining(folder), held(folder):
        _claim(folder, dataset)
        grid = prepared(dataset, folder, question, chosen, heard)
        work = cells(grid, folder, heard)
        control = shuffled(grid) if question.permutation_control else None
        _compute(grid, work, control, folder, heard)
        story = tables.tell(grid.dataset, question, grid.candidates, grid.done, grid.units)
        story = replace(story, words=(*story.words, *grid.remarks))
        if question.diagnose:
            story = replace(story, curves=_curves(grid, folder, heard))
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
    if any(f.name != LOCK for f in folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no comparison.", "Choose another --out.")
    write_text(mark, json.dumps({"data": digest, "origin": dataset.origin}, indent=1) + "\n")


def _compute(
    grid: Grid,
    work_on: Sequence[Cell],
    control: tuple[Dataset, list[Cell]] | None,
    folder: Path,
    heard: Voice,
) -> None:
    """Compute what is not kept yet, and keep it."""
    store = folder / "cells"
    work: list[tuple[int, Dataset, Cell, Path]] = []
    everything = [(grid.dataset, c) for c in work_on]
    if control is not None:
        everything += [(control[0], c) for c in control[1]]
    rows = {id(d): d.row_keys() for d in {id(d): d for d, _ in everything}.values()}
    keys = [c.key(d, rows[id(d)]) for d, c in everything]
    found: dict[int, Answer] = {}
    for number, (data, cell) in enumerate(everything):
        known = kept(store, keys[number])
        place = store / _name(cell, keys[number])
        if known is not None and (not cell.keeps_bundle or (place / "bundle").is_dir()):
            found[number] = known
        else:
            work.append((number, data, cell, place))
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
    for number, (_, cell) in enumerate(everything):
        if cell.keeps_bundle and not found[number].error:
            place = store / _name(cell, keys[number]) / "bundle"
            grid.bundles.setdefault(cell.candidate.name, []).append(place)
    grid.done = [Done(c, found[i], d.labels[c.test]) for i, (d, c) in enumerate(everything)]


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _came(cell: Cell, answer: Answer) -> str:
    """Say what has come of a cell; how right it was is the table's to say, with its interval."""
    if answer.error:
        return answer.error
    seconds = answer.fit_seconds
    if seconds < 1:
        return f"trained on {len(cell.train)} images"
    took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
    return f"trained on {len(cell.train)} images in {took}"


def _name(cell: Cell, key: str) -> str:
    """Name a cell's folder so that TensorBoard's list of runs can be read."""
    plain = re.sub(r"[^A-Za-z0-9+.-]+", "-", Path(cell.candidate.name).name)
    mark = "-permuted" if cell.permuted else ""
    return f"{plain}-{cell.protocol}{cell.fold}{mark}-{key[:6]}"


def _curves(grid: Grid, folder: Path, heard: Voice) -> pd.DataFrame:
    """Draw curves on the first division's own images, of candidates as they learnt there.

    Each candidate's are kept by the hash of all that decides them, as the cells are.
    """
    mine = [d.cell for d in grid.done if not d.cell.permuted]
    first = mine[0]
    there = [c.candidate for c in mine if (c.protocol, c.fold) == (first.protocol, first.fold)]
    learn = np.sort(np.concatenate([first.train, first.validation]))
    data, seed = grid.dataset.take(learn), grid.question.fit.seed
    groups = "|".join(data.groups)
    parts = []
    for candidate in there:
        what = repr((CURVES, data.digest(), groups, candidate.name, candidate.recipe, seed))
        kept = folder / "curves" / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.csv"
        if not kept.is_file():
            drawn = curves(data, [candidate], seed, heard)
            kept.parent.mkdir(exist_ok=True)
            write_with(kept, lambda f, drawn=drawn: drawn.to_csv(f, index=False))  # type: ignore[misc]
        parts.append(pd.read_csv(kept, dtype={"candidate": str, "curve": str, "knob": str}))
    filled = [p for p in parts if len(p)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _choose(grid: Grid, folder: Path, heard: Voice) -> tuple[Choice, Run | None]:
    """Choose by the validation parts, refit on the training part, judge by the test part."""
    first = grid.question.protocols[0].name
    mine = [d for d in grid.done if d.cell.protocol == first and not d.cell.permuted]
    choice = choose(mine, grid.units)
    heard.said(choice.sentence)
    if choice.candidate is None or grid.outer is None:
        return choice, None
    o, seed = grid.outer, grid.question.fit.seed
    usual = next(c for c in grid.candidates if c.name == choice.candidate.name)
    # Each division found settings of its own; these are of the images that the refit learns from.
    candidate = tuned(grid, usual, Division(0, seed, o.train, o.validation, o.test), folder, heard)
    recipe = candidate.recipe
    if candidate.network:
        settings = fitted(recipe.settings, grid.question.fit, len(o.train))
        recipe = replace(recipe, settings=settings)
    place = folder / "chosen"
    recipe, teachers = taught_by(grid.bundles.get(usual.name, ()), recipe, heard)
    run = train(grid.given, place, recipe, o, resume=place.exists(), voice=heard)
    if teachers:
        told = together(teachers, grid.given.take(o.test), run)
        heard.said(told)
        choice = replace(choice, sentence=f"{choice.sentence} {told}")
    return replace(choice, candidate=candidate), run
