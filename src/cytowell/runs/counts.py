"""From a table of calls to differential counts, a slide at a time: table, JSON and page."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cytowell
from cytowell.errors import BadTable, CountError, RunError
from cytowell.evaluation.cell_kinds import TAKEN_FOR
from cytowell.evaluation.differential import Differential, Line, differential
from cytowell.evaluation.misclassification import KnownErrors
from cytowell.evaluation.pages import environment
from cytowell.registry import did_you_mean
from cytowell.runtime.bundle import Bundle
from cytowell.sources.table import read_texts
from cytowell.storage import replacing_folder, sha256, write_text, write_with

ALL = "all"
KINDS = tuple(kind for kind in TAKEN_FOR if kind != "unknown")
"""What somebody may say that a class is."""


@dataclass(frozen=True)
class Counted:
    """Differential counts of a table.

    Attributes
    ----------
    slides
        In the order of the table.
    by
        The column that tells slides apart; "" for one count of all.
    interval
        Which multinomial interval.
    bundle
        Digest of the bundle whose confusion matrix corrected; "" for none.
    source
        The table's name and its SHA-256.
    """

    slides: tuple[Differential, ...]
    by: str
    interval: str
    bundle: str
    source: tuple[str, str]

    def frame(self) -> pd.DataFrame:
        """Give a row per slide and class."""
        return pd.DataFrame([_row(slide, line) for slide in self.slides for line in slide.lines])

    def to_json(self) -> dict[str, Any]:
        """Give everything, as ``results.json`` holds it."""
        return {
            "by": self.by,
            "interval": self.interval,
            "corrected_by": self.bundle,
            "source": {"file": self.source[0], "sha256": self.source[1]},
            "made": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
            "version": cytowell.__version__,
            "slides": [asdict(slide) for slide in self.slides],
        }


def count_calls(
    table: str | Path,
    by: str = "",
    bundle: Bundle | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    interval: str = "goodman",
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Counted:
    """Count the calls of a table.

    Parameters
    ----------
    table
        What `cytowell predict` writes: ``label``, ``decided``, ``p_<class>``; a person's ``truth``
        (with ``who``) stands above the label.
    by
        The column that tells slides apart.
    bundle
        Its confusion matrix corrects the counts.

    Raises
    ------
    BadTable, CountError
        Naming the table and what does not fit.
    """
    path = Path(table)
    try:
        found = count_of(
            read_texts(path), by, bundle, kinds=kinds, interval=interval, ranges=ranges
        )
    except (BadTable, CountError) as error:
        said = error.problem if str(path) in error.problem else f"{path}: {error.problem}"
        raise type(error)(said, error.remedy) from error
    return replace(found, source=(path.name, sha256(path)))


def count_of(
    frame: pd.DataFrame,
    by: str = "",
    bundle: Bundle | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    interval: str = "goodman",
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Counted:
    """Count the calls of a table in memory, all of it texts; see `count_calls`."""
    if "label" not in frame.columns:
        raise BadTable("There is no column label.", "Call the cells first: cytowell predict.")
    if by and by not in frame.columns:
        raise BadTable(
            f"There is no column {by!r}.", did_you_mean(by, [str(c) for c in frame.columns])
        )
    classes = [str(c)[2:] for c in frame.columns if str(c).startswith("p_")]
    calls, decided, reviewed = _calls(frame)
    if not classes:
        classes = sorted({c for c in calls if c})
    if not classes:
        raise BadTable("There is no call.", "Call the cells first: cytowell predict.")
    errors = None if bundle is None else _errors(bundle, classes)
    for name in kinds or {}:
        if name not in classes:
            raise CountError(f"There is no class {name!r}.", did_you_mean(name, classes))
    names = frame[by].tolist() if by else [ALL] * len(frame)
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        rows.setdefault(name or "(none)", []).append(i)
    slides = [
        differential(
            name,
            [calls[i] for i in where],
            [decided[i] for i in where],
            classes,
            kinds=kinds,
            errors=errors,
            reviewed=[reviewed[i] for i in where],
            interval=interval,
            ranges=ranges,
        )
        for name, where in rows.items()
    ]
    digest = "" if bundle is None else bundle.digest
    return Counted(tuple(slides), by, interval, digest, ("", ""))


def _calls(frame: pd.DataFrame) -> tuple[list[str], list[bool], list[str]]:
    """Give each image's call, whether it was decided, and what a person found it to be before."""
    labels = frame["label"].tolist()
    blank = [""] * len(frame)
    columns = {c: frame[c].tolist() if c in frame else blank for c in ("truth", "who", "error")}
    sure = frame["decided"].tolist() if "decided" in frame else ["true"] * len(frame)
    calls, decided, reviewed = [], [], []
    for i, label in enumerate(labels):
        by_hand = bool(columns["truth"][i] and columns["who"][i])
        failed = bool(columns["error"][i]) and not by_hand
        calls.append(columns["truth"][i] if by_hand else "" if failed else label)
        certain = str(sure[i]).strip().lower() not in ("false", "0")
        # A person who names no class says that nobody can decide.
        decided.append(by_hand or (certain and not columns["who"][i]))
        reviewed.append(("decided" if certain else "undecided") if by_hand else "")
    return calls, decided, reviewed


def _errors(bundle: Bundle, classes: list[str]) -> KnownErrors:
    """Give the bundle's known errors in the order of the table's classes."""
    facts = bundle.facts
    if sorted(facts.classes) != sorted(classes):
        raise CountError(
            f"The classes of the table ({', '.join(classes)}) are not those of the bundle "
            f"({', '.join(facts.classes)}).",
            "Give the bundle that called these cells, or none.",
        )
    if not facts.confusion:
        raise CountError("The bundle holds no confusion matrix.", "Count without --bundle.")
    order = [facts.classes.index(c) for c in classes]
    every = np.array(facts.confusion)[np.ix_(order, order)]
    if not facts.confusion_decided:
        return KnownErrors(every)
    decided = np.array(facts.confusion_decided)[np.ix_(order, order)]
    return KnownErrors(decided, every.sum(axis=1) - decided.sum(axis=1))


def read_ranges(path: str | Path) -> dict[str, tuple[float, float]]:
    """Read reference ranges: TOML, ``class = [low, high]`` in 100 white cells.

    Raises
    ------
    CountError
        If it is none.
    """
    try:
        told = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CountError(
            f"{path} cannot be read as ranges ({error}).", "Write neutrophil = [40, 75]."
        ) from error
    found = {}
    for name, pair in told.items():
        fits = isinstance(pair, list) and len(pair) == 2
        if not fits or not all(isinstance(v, int | float) for v in pair) or not pair[0] <= pair[1]:
            raise CountError(f"{path}: {name} = {pair!r} is no range.", f"Write {name} = [40, 75].")
        found[name] = (float(pair[0]), float(pair[1]))
    return found


def _row(slide: Differential, line: Line) -> dict[str, Any]:
    return {
        "slide": slide.name,
        "class": line.name,
        "kind": line.kind,
        "taken_for": TAKEN_FOR[line.kind],
        "count": line.count,
        "percent": line.share,
        "low": line.low,
        "high": line.high,
        "corrected": line.corrected,
        "corrected_low": line.corrected_low,
        "corrected_high": line.corrected_high,
        "white_cells": slide.white,
        "undecided": slide.undecided,
        "unread": slide.unread,
        "review": line.review,
    }


def write_counts(out: str | Path, counted: Counted, trail: str = "") -> Path:
    """Write ``results.csv``, ``results.json`` and ``report.html`` into a new folder.

    Parameters
    ----------
    trail
        Last hash of a server's trail, which the page prints.
    """
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "results.json").is_file():
        raise RunError(f"{folder} holds something else.", "Choose another --out.")
    with replacing_folder(folder) as beside:
        frame = counted.frame()
        write_with(
            beside / "results.csv", lambda f: frame.to_csv(f, index=False, lineterminator="\n")
        )
        told = {**counted.to_json(), "trail": trail}
        write_text(beside / "results.json", json.dumps(told, indent=1) + "\n")
        page = (
            environment()
            .get_template("count.html.j2")
            .render(told=told, slides=[_shown(s) for s in counted.slides])
        )
        write_text(beside / "report.html", page)
    return folder


def _shown(slide: Differential) -> dict[str, Any]:
    def span(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{low:.1f} to {high:.1f}"

    return {
        "name": slide.name,
        "notes": slide.notes,
        "white": slide.white,
        "undecided": slide.undecided,
        "immature": slide.immature,
        "corrected": any(line.corrected is not None for line in slide.lines),
        "lines": [
            {
                "name": line.name,
                "kind": line.kind,
                "taken_for": TAKEN_FOR[line.kind],
                "count": line.count,
                "share": "" if line.share is None else f"{line.share:.1f}",
                "interval": span(line.low, line.high),
                "corrected": "" if line.corrected is None else f"{line.corrected:.1f}",
                "corrected_interval": span(line.corrected_low, line.corrected_high),
                "review": line.review,
            }
            for line in slide.lines
        ],
    }
