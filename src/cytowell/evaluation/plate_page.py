"""The page of titres: the verdict of each run first, then results, controls, the plates drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cytowell.evaluation.figures import BLUE, GREY, ORANGE, draw_svg
from cytowell.evaluation.pages import environment
from cytowell.plates.counting import Plates, Well
from cytowell.plates.layout import SHAPES, Layout
from cytowell.plates.units import number, span
from cytowell.plates.validity import CHARTED, WIDTH
from cytowell.storage import write_text

PITCH = 30
"""Pixels between two wells of a drawn plate."""

WORDS = {
    "not_bracketed": "not bracketed by the dilutions",
    "not_monotone": "wells do not become steadily fewer",
    "unequal_steps": "unequal steps",
    "unequal_wells": "unequal numbers of wells",
    "none_affected": "no well affected",
    "all_affected": "every well affected",
    "no_partial_response": "no dilution partly affected, so the rule has no interval",
    "over_dispersed": "wells scatter more than chance allows",
    "slope_uncertain": "the slope may be none",
    "padded": "a dilution was assumed",
    "missing": "wells missing",
    "undecided": "wells on which the classifier declined",
    "overridden": "wells that a person decided otherwise",
    "by_several_fields": "wells positive by several fields together, none of them called so",
    "outside_curve": "the interval was widened to hold the rule's value",
    "misread_no_end_point": "with some well misread the rule would give no end point",
}


@dataclass(frozen=True)
class Spot:
    """A drawn well: its centre, what it is called and how it looks (`state`, a style's name)."""

    x: int
    y: int
    well: str
    sign: str
    state: str
    said: str


@dataclass(frozen=True)
class Frame:
    """A line around the wells of one specimen, with its name."""

    x: int
    y: int
    width: int
    height: int
    name: str


@dataclass(frozen=True)
class Drawing:
    """A plate: its size in pixels, letters, numbers, wells and specimens."""

    name: str
    width: int
    height: int
    rows: tuple[tuple[int, str], ...]
    columns: tuple[tuple[int, str], ...]
    spots: tuple[Spot, ...]
    frames: tuple[Frame, ...]


def write_plate_page(
    path: Path,
    told: Mapping[str, Any],
    drawn: Sequence[tuple[Plates, Layout]],
    history: Sequence[tuple[str, float]],
) -> None:
    """Write ``report.html``, whole or not at all.

    Parameters
    ----------
    told
        What ``results.json`` holds.
    drawn
        The wells of each run that is shown, in order, and its layout.
    history
        Date and log10 D50 of the reference serum in past runs.
    """
    runs = [
        {
            "run": run,
            "title": " and ".join(run["plates"]),
            "results": [
                _shown(r, told["threshold_iu_per_ml"])
                for r in sorted(run["results"], key=lambda r: r["role"] != "test")
            ],
            "plates": [draw_plate(name, wells, layout) for name, wells in plates.items()],
        }
        for run, (plates, layout) in zip(told["runs"], drawn, strict=False)
    ]
    now = [
        r["log10_d50"]
        for run in told["runs"]
        for r in run["results"]
        if r["role"] == "reference" and r["log10_d50"] is not None
    ]
    page = (
        environment()
        .get_template("plate.html.j2")
        .render(
            told=told,
            runs=runs,
            chart=control_chart(history, now) if history else "",
            valid=sum(run["valid"] for run in told["runs"]),
            charted=len(history) >= CHARTED,
            left=len(told["runs"]) - len(runs),
        )
    )
    write_text(path, page)


def in_words(flag: str) -> str:
    """Give a flag as people say it."""
    name, _, count = flag.partition(":")
    prefix = ""
    if name.startswith("reference_"):
        prefix, name = "reference: ", name.removeprefix("reference_")
    words = WORDS.get(name, name.replace("_", " "))
    return f"{prefix}{count} {words}" if count else f"{prefix}{words}"


def _shown(result: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    unit = result["unit"]
    misread = [number(v, unit) for v in (result["misread_low"], result["misread_high"]) if v]
    counts = [f"{k}/{n}" for k, n in zip(result["positives"], result["replicates"], strict=True)]
    by_definition = (
        result["role"] == "reference" and unit == "IU/mL" and result["value"] is not None
    )
    return {
        "sample": result["sample"],
        "role": result["role"],
        "plate": result["plate"],
        "reported": result["reported"],
        "unit": unit if result["value"] is not None else "",
        "interval": "by definition"
        if by_definition
        else span(result["low"], result["high"], unit, threshold) or "none",
        "misread": " to ".join(misread) or "none",
        "verdict": result["verdict"],
        "counts": " ".join(counts),
        "flags": "; ".join(
            [*(in_words(f) for f in result["flags"]), *result.get("contradicting", ())]
        ),
        "error": result["error"],
    }


def draw_plate(name: str, wells: Mapping[str, Well], layout: Layout) -> Drawing:
    """Draw a plate: signs and colours of its wells, a frame around each specimen."""
    rows, columns = SHAPES[layout.wells]
    centre = {
        f"{chr(ord('A') + r)}{c + 1}": (PITCH * (c + 1) + 8, PITCH * (r + 1) + 6)
        for r in range(rows)
        for c in range(columns)
    }
    spots, frames = [], []
    owned = {w: s.name for s in layout.on(name) for w in s.wells}
    for well, (x, y) in centre.items():
        seen = wells.get(well)
        sign, state, said = _look(seen, well in owned, layout)
        spots.append(
            Spot(x, y, well, sign, state, f"{well}, {owned.get(well, 'no specimen')}: {said}")
        )
    for specimen in layout.on(name):
        at = np.array([centre[w] for w in specimen.wells])
        low, high = at.min(axis=0) - PITCH // 2 + 1, at.max(axis=0) + PITCH // 2 - 1
        x, y, width, height = (int(v) for v in (*low, *(high - low)))
        frames.append(Frame(x, y, width, height, specimen.name))
    return Drawing(
        name,
        PITCH * columns + PITCH + 8,
        PITCH * rows + PITCH + 6,
        tuple((centre[f"{chr(ord('A') + r)}1"][1], chr(ord("A") + r)) for r in range(rows)),
        tuple((centre[f"A{c + 1}"][0], str(c + 1)) for c in range(columns)),
        tuple(spots),
        tuple(frames),
    )


def _look(seen: Well | None, owned: bool, layout: Layout) -> tuple[str, str, str]:
    if seen is None or (not seen.fields and not seen.toxic):
        return "", "missing" if owned else "unused", "not seen" if owned else "not in use"
    if seen.toxic:
        return "T", "toxic", "toxic"
    if layout.combine == "count" and len(seen.fields) > 1:
        state = "positive" if 2 * seen.positives >= len(seen.fields) else "negative"
        return str(seen.positives), state, f"{seen.positives} of {len(seen.fields)} fields positive"
    state = "positive" if seen.positive else "negative"
    said = [state]
    if seen.by_several:
        said.append("by several fields together, none of them called so")
    if seen.undecided:
        said.append("the classifier declined")
    if seen.overridden:
        said.append("decided by a person")
    sign = "?" if seen.undecided else "+" if seen.positive else "\u2212"
    return sign, state, ", ".join(said)


def control_chart(history: Sequence[tuple[str, float]], now: Sequence[float]) -> str:
    """Draw the reference serum over past runs and this one: Levey & Jennings 1950."""

    def draw() -> Figure:
        figure = Figure(figsize=(7.2, 2.2))
        axes = figure.subplots()
        values = [v for _, v in history]
        axes.plot(range(len(values)), values, "o-", color=BLUE, ms=3.5, lw=1, label="past runs")
        if len(values) > 1:
            centre, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
            for k, stroke in ((0.0, "-"), (2.0, "--"), (WIDTH, ":")):
                for sign in (-1, 1) if k else (1,):
                    axes.axhline(centre + sign * k * deviation, color=GREY, lw=0.8, ls=stroke)
        axes.plot(
            range(len(values), len(values) + len(now)), now, "D", color=ORANGE, ms=5, label="here"
        )
        axes.set_ylabel("log10 D50, reference")
        axes.set_xlabel("run")
        axes.legend(loc="upper left", ncols=2)
        return figure

    return draw_svg(draw)
