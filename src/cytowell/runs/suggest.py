"""From unlabelled photographs to a list of those to label next, best first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw

from cytowell.errors import BadTable, CytowellError, EmptyDataset, RecipeError
from cytowell.images import load as load_pixels
from cytowell.learners.contract import Ticked, unticked
from cytowell.learners.coverage import Choice, choose, space_of
from cytowell.learners.frozen import open_backbones
from cytowell.learners.linear import fit_head, folds
from cytowell.runtime.bundle import Bundle, load
from cytowell.runtime.pipeline import Batch
from cytowell.runtime.pipeline import features as features_of
from cytowell.sources.paths import named
from cytowell.sources.table import read_texts
from cytowell.storage import replacing_folder, write_with
from cytowell.types import FloatArray, IntArray, Sample

THUMBNAIL = 160
"""Side of a picture on the contact sheet, in pixels."""

ACROSS = 8

ENOUGH = 20
"""Labels below which nothing is said of whether more help."""

Features = Callable[[Sequence[Sample]], "tuple[Batch, FloatArray | None]"]


@dataclass(frozen=True)
class Round:
    """What labels were worth after one round.

    Attributes
    ----------
    labels
        How many there were in all.
    expected
        Accuracy by cross-validation on them; None of too few.
    measured
        Accuracy, on the labels of this round, of what the earlier ones teach; None of the first.
    """

    labels: int
    expected: float | None
    measured: float | None


@dataclass(frozen=True)
class Suggestions:
    """Photographs to label, those first that help most.

    Attributes
    ----------
    samples, choices
        The photographs, and why each was chosen.
    rounds
        What the labels so far were worth.
    remarks
        What to know beside.
    """

    samples: tuple[Sample, ...]
    choices: tuple[Choice, ...]
    rounds: tuple[Round, ...]
    remarks: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Give a row for each, with an empty column `label` to be filled in."""
        rows = []
        for rank, (s, c) in enumerate(zip(self.samples, self.choices, strict=True), 1):
            row: dict[str, Any] = {"path": s.path, "label": "", "rank": rank}
            row |= {"stands_for": c.stands_for, "why": c.why}
            if s.group is not None:
                row["group"] = s.group
            if s.box is not None:
                row |= {n: getattr(s.box, n) for n in ("x", "y", "width", "height")}
            rows.append(row)
        columns = ["path", "label", "rank", "stands_for", "why"]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)

    def sheet(self, record: Any) -> Image.Image:
        """Draw them side by side with their numbers, as a network sees them."""
        count = max(1, len(self.samples))
        down = -(-count // ACROSS)
        side = THUMBNAIL + 4
        sheet = Image.new("RGB", (min(count, ACROSS) * side, down * side), "white")
        pen = ImageDraw.Draw(sheet)
        for i, sample in enumerate(self.samples):
            at = (side * (i % ACROSS), side * (i // ACROSS))
            try:
                picture = Image.fromarray(load_pixels(sample, record))
            except CytowellError:
                continue
            sheet.paste(picture.resize((THUMBNAIL, THUMBNAIL)), at)
            pen.rectangle((*at, at[0] + 26, at[1] + 14), fill="white")
            pen.text((at[0] + 3, at[1] + 1), str(i + 1), fill="black")
        return sheet

    def save(self, out: str | Path, record: Any) -> Path:
        """Write ``suggest.csv`` and ``sheet.jpg`` into a folder."""
        folder = Path(out)
        ours = {"suggest.csv", "sheet.jpg"}
        if folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - ours):
            raise RecipeError(f"{folder} holds something else.", "Choose another --out.")
        frame = self.to_frame()
        with replacing_folder(folder) as beside:
            write_with(
                beside / "suggest.csv", lambda f: frame.to_csv(f, index=False, lineterminator="\n")
            )
            self.sheet(record).save(beside / "sheet.jpg", quality=88)
        return folder


def suggest(
    photographs: str | Path | Sequence[str | Path],
    n: int = 40,
    *,
    bundle: Bundle | str | Path | None = None,
    labelled: str | Path = "",
    seed: int = 0,
    ticked: Ticked = unticked,
) -> Suggestions:
    """Choose the photographs to label.

    Parameters
    ----------
    photographs
        Files, folders, globs, or a table with a column `path`; one or many.
    bundle
        Whose features compare photographs, and whose doubt counts; the shipped ImageNet network,
        and no doubt, without.
    labelled
        Table with the columns `path` and `label` of what is labelled already, and `round` where
        labels came in rounds; labelled photographs need not be among `photographs`.

    Raises
    ------
    EmptyDataset
        If no photograph can be read, or all have a label.
    RecipeError, BadTable
        If `n` is none, or the table has no labels.

    Examples
    --------
    >>> import cytowell
    >>> wells = cytowell.write_samples("demo", "wells", per_class=8)["wells"]
    >>> len(cytowell.suggest(wells, 5).samples)
    5
    """
    if n < 1:
        raise RecipeError(f"n = {n} is no number of photographs.", "Give 1 or more.")
    several = [photographs] if isinstance(photographs, str | Path) else list(photographs)
    samples = list(named([str(p) for p in several])[0])
    known, rounds = _labelled(labelled) if labelled else ([], [])
    loaded = load(bundle) if isinstance(bundle, str | Path) else bundle
    return suggest_of(samples, n, known, rounds, loaded, seed=seed, ticked=ticked)


def suggest_of(
    samples: Sequence[Sample],
    n: int,
    known: Sequence[Sample] = (),
    rounds: Sequence[int] = (),
    bundle: Bundle | None = None,
    *,
    seed: int = 0,
    ticked: Ticked = unticked,
) -> Suggestions:
    """Choose among samples; see `suggest`.

    Parameters
    ----------
    known, rounds
        Samples with a label, and the round in which each got it.
    """
    if not samples:
        raise EmptyDataset("No photograph was named.", "Give photographs or folders.")
    told = {_key(s) for s in known}
    free = [s for s in samples if _key(s) not in told]
    every = [*known, *free]
    batch = _gathered(bundle, every, ticked)
    rows = batch.called
    if not len(rows):
        first = next((e for e in batch.errors if e), "")
        raise EmptyDataset(f"None of the photographs can be read. {first}".strip(), "Check them.")
    has = rows < len(known)
    if has.all():
        raise EmptyDataset("Every photograph has a label already.", "Give more photographs.")
    doubts = None
    if bundle is not None:
        doubts = 1 - bundle.probabilities(batch.features).max(axis=1)
    groups = np.array([batch.samples[int(i)].group or "" for i in rows])
    space = space_of(batch.features, batch.appearances)
    several = groups if len(np.unique(groups)) > 1 else None
    chosen = choose(space, n, has, doubts, several, seed)
    worth, remarks = _worth(batch, has, known, rounds, seed)
    unread = sum(bool(e) for e in batch.errors)
    if unread:
        remarks.append(f"{unread} photographs could not be read and are not suggested.")
    if len(chosen) < n:
        remarks.append(f"Only {len(chosen)} photographs are without a label.")
    return Suggestions(
        tuple(batch.samples[int(rows[c.position])] for c in chosen),
        tuple(chosen),
        tuple(worth),
        tuple(remarks),
    )


def _key(sample: Sample) -> tuple[str, Any]:
    path = sample.path
    return (str(Path(path).resolve()), sample.box)


def _gathered(bundle: Bundle | None, samples: Sequence[Sample], ticked: Ticked) -> Batch:
    if bundle is not None:
        stream = bundle.features(samples)
    else:
        backbone = open_backbones(("imagenet",))[0]
        stream = features_of(backbone.session, backbone.record, samples)
    parts, done = [], 0
    for part in stream:
        parts.append(part)
        done += len(part.samples)
        ticked(done, len(samples), "features")
    kept = [p for p in parts if len(p.features)]
    if not kept:
        return Batch(
            tuple(s for p in parts for s in p.samples),
            tuple(e for p in parts for e in p.errors),
            np.zeros((0, 0), dtype=np.float32),
        )
    return Batch(
        tuple(s for p in parts for s in p.samples),
        tuple(e for p in parts for e in p.errors),
        np.concatenate([p.features for p in kept]),
        (),
        np.concatenate([p.appearances for p in kept]),
    )


def _labelled(file: str | Path) -> tuple[list[Sample], list[int]]:
    """Read what is labelled; rows without a label are still to be labelled."""
    table = read_texts(Path(file))
    if not {"path", "label"} <= set(table.columns):
        raise BadTable(
            f"{file} has no columns path and label.",
            "Fill in the column label of suggest.csv, or write a table with both.",
        )
    rows = table[table["label"].str.strip() != ""]
    sides = ("x", "y", "width", "height")
    here = Path(file).resolve().parent
    known, rounds = [], []
    for row in rows.to_dict("records"):
        place = Path(str(row["path"]))
        path = place if place.is_absolute() or place.exists() else here / place
        box = None
        if all(str(row.get(side) or "").strip() for side in sides):
            box = _box(file, row, sides)
        group = str(row.get("group") or "") or None
        known.append(Sample(str(path), str(row["label"]).strip(), group, box=box))
        number = str(row.get("round") or "1").strip()
        rounds.append(int(number) if number.isdigit() else 1)
    return known, rounds


def _box(file: str | Path, row: Any, sides: Sequence[str]) -> Any:
    from cytowell.types import Box  # noqa: PLC0415

    try:
        return Box(*(float(row[side]) for side in sides))
    except ValueError as error:
        raise BadTable(
            f"{file}: the box of {row['path']} is not four numbers.", "Correct its row."
        ) from error


def _worth(
    batch: Batch, has: npt.NDArray[np.bool_], known: Sequence[Sample], rounds: Sequence[int],
    seed: int,
) -> tuple[list[Round], list[str]]:  # fmt: skip
    """Say what the labels of each round were worth, and whether more would help."""
    rows = batch.called[has]
    if not len(rows):
        return [], []
    names = sorted({str(known[int(i)].label) for i in rows})
    y = np.array([names.index(str(known[int(i)].label)) for i in rows], dtype=np.int64)
    r = np.array([rounds[int(i)] if len(rounds) else 1 for i in rows], dtype=np.int64)
    X = batch.features[has]
    groups = np.array([known[int(i)].group or f"{known[int(i)].path}#{i}" for i in rows])
    out = []
    for number in np.unique(r):
        so_far, new = r <= number, r == number
        measured = None
        if (r < number).any() and len(np.unique(y[r < number])) > 1:
            head = fit_head(X[r < number], y[r < number], len(names), seed=seed)
            measured = float((head.logits(X[new]).argmax(axis=1) == y[new]).mean())
        out.append(
            Round(
                int(so_far.sum()),
                _expected(X[so_far], y[so_far], groups[so_far], len(names), seed),
                measured,
            )
        )
    remarks = []
    few = [name for i, name in enumerate(names) if (y == i).sum() < 2]
    if few:
        remarks.append(f"Fewer than two labels: {', '.join(few)}.")
    if len(names) < 2:
        remarks.append(f"All labels say {names[0]}: nothing can be told apart yet.")
    if len(out) > 1 and (word := _plateau(out[-2], out[-1])):
        remarks.append(word)
    return out, remarks


def _plateau(before: Round, last: Round) -> str:
    """Say that more labels no longer help: less was gained than one standard error."""
    if before.expected is None or last.expected is None or before.labels < ENOUGH:
        return ""
    error = np.sqrt(max(last.expected * (1 - last.expected), 1 / last.labels) / last.labels)
    gained = last.expected - before.expected
    if gained >= error:
        return ""
    return (
        f"More labels of these photographs hardly help: {last.labels - before.labels} more changed "
        f"the expected accuracy by {100 * gained:+.1f} points ({100 * last.expected:.0f} %)."
    )


def _expected(
    X: npt.NDArray[np.floating], y: IntArray, groups: npt.NDArray[np.str_], classes: int, seed: int
) -> float | None:
    counts = np.bincount(y, minlength=classes)
    if (counts >= 2).sum() < 2 or len(np.unique(groups)) < 5:
        return None
    right = np.zeros(len(y), dtype=np.bool_)
    for learn, test in folds(y, groups, 5, seed):
        if len(np.unique(y[learn])) < 2:
            return None
        head = fit_head(X[learn], y[learn], classes, seed=seed)
        right[test] = head.logits(X[test]).argmax(axis=1) == y[test]
    return float(right.mean())
