"""The page of a comparison: the verdict first, then the table, the tests, the curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cytowell.evaluation.figures import BLUE, GREEN, GREY, ORANGE, draw_svg
from cytowell.evaluation.pages import environment
from cytowell.storage import write_text

MOST_PAIRS = 21
"""Pairs that the page lists; of more, those with the best candidate."""

LONGEST = 38
"""Letters of a name in the picture of ranks."""

HEADS = {
    "learner": "Candidate",
    "train_accuracy": "Train",
    "test_accuracy": "Test (95 %)",
    "macro_f1": "Macro-F1",
    "balanced_accuracy": "Balanced",
    "ece": "ECE",
    "gap": "Gap",
    "fit_seconds": "Fit, s",
    "images_per_second": "Images/s",
    "parameters": "Kept",
    "bundle_megabytes": "MB",
}


def write_page(path: Path, told: Any) -> None:
    """Write ``report.html`` of a comparison (`runs.table.Told`), whole or not at all."""
    pairs: pd.DataFrame = listed(told.pairs, told.table)
    divided = bool(told.spread["cells"].max() > 1)
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            told=told,
            heads=HEADS,
            rows=[_shown(row) for row in told.table.to_dict("records")],
            pairs=[_pair(dict(row)) for _, row in pairs.iterrows()],
            left_out=len(told.pairs) - len(pairs),
            tests=sorted(set(told.pairs["test"])),
            spread=[_spread(row) for row in told.spread.to_dict("records")],
            accuracies=accuracy_plot(told.table),
            ranks=rank_plot(told.ranks, told.cliques),
            spreads=divided or told.spread["protocol"].nunique() > 1,
            divisions=spread_plot(told.cells) if divided else "",
            curves=[(name, curve_plot(part)) for name, part in _by_candidate(told.curves)],
            origin=told.dataset.origin,
            images=len(told.dataset),
        )
    )
    write_text(path, page)


def accuracy_plot(table: pd.DataFrame) -> str:
    """Draw train and test accuracy of every candidate, with the test score's interval."""
    known = table[table["error"] == ""].iloc[::-1]
    if not len(known):
        return ""

    def draw() -> Figure:
        figure = Figure(figsize=(7.0, 0.7 + 0.34 * len(known)))
        axes = figure.subplots()
        y = np.arange(len(known))
        test = known["test_accuracy"].to_numpy()
        ends = np.abs(known[["test_low", "test_high"]].to_numpy().T - test)
        axes.errorbar(test, y, xerr=ends, fmt="o", color=GREEN, capsize=3, label="test, 95 %")
        axes.plot(known["train_accuracy"], y, "|", color=BLUE, ms=11, mew=2, label="train")
        axes.set_yticks(y, known["learner"].tolist())
        axes.set_xlabel("accuracy")
        axes.grid(axis="x", color="#dddddd", lw=0.6)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        axes.set_ylim(-0.6, len(known) + 0.1)
        return figure

    return draw_svg(draw)


def rank_plot(ranks: dict[str, float], cliques: Sequence[Sequence[str]]) -> str:
    """Draw a critical-difference picture: mean ranks, a bar over those that cannot be told apart.

    As Demsar 2006 (*JMLR* 7:1-30) draws it, with Holm-adjusted paired tests in place of Nemenyi's,
    as Benavoli et al. 2016 (*JMLR* 17:1-10) recommend.
    """
    if len(ranks) < 2:
        return ""
    order = sorted(ranks, key=lambda n: ranks[n])
    bars = [c for c in cliques if len(c) > 1]

    def draw() -> Figure:
        half = (len(order) + 1) // 2
        figure = Figure(figsize=(7.0, 0.8 + 0.26 * half + 0.16 * len(bars)))
        axes = figure.subplots()
        top = half + 0.6
        for i, name in enumerate(order):
            # The better half is written on the left from the top, the other on the right upwards.
            first = i < half
            y = half - i - 0.5 if first else half - len(order) + i + 0.5
            side = 0.5 if first else len(order) + 0.5
            axes.plot([ranks[name]] * 2 + [side], [top, y, y], color=GREY, lw=0.8)
            axes.plot(ranks[name], top, "o", color=BLUE, ms=4, clip_on=False)
            axes.annotate(
                f"{_short(name)}  {ranks[name]:.2f}", (side, y), xytext=(-4 if first else 4, 0),
                textcoords="offset points", va="center", ha="right" if first else "left",
                annotation_clip=False,
            )  # fmt: skip
        for i, clique in enumerate(bars):
            ends = [ranks[n] for n in clique]
            y = top + 0.55 + 0.5 * i
            axes.plot([min(ends) - 0.04, max(ends) + 0.04], [y, y], color=ORANGE, lw=3.5)
        axes.set_xlim(0.5, len(order) + 0.5)
        axes.set_xticks(range(1, len(order) + 1, 1 + len(order) // 12))
        axes.set_ylim(0, top + 0.9 + 0.5 * len(bars))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("mean rank (1 is best); a bar joins candidates that cannot be told apart")
        return figure

    return draw_svg(draw)


def _short(name: str) -> str:
    """Leave out the middle of a name that a picture has no room for."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"


def spread_plot(cells: pd.DataFrame) -> str:
    """Draw each division's accuracy for every candidate and protocol."""
    known = cells[(cells["error"] == "") & ~cells["permuted"]]
    names = list(dict.fromkeys(known["learner"]))[::-1]
    protocols = list(dict.fromkeys(known["protocol"]))

    def draw() -> Figure:
        figure = Figure(figsize=(7.0, 0.8 + 0.3 * len(names) * max(1, len(protocols)) * 0.6))
        axes = figure.subplots()
        for place, (protocol, colour, mark) in enumerate(
            zip(protocols, (GREEN, BLUE, ORANGE), "os^", strict=False)
        ):
            part = known[known["protocol"] == protocol]
            y = [
                names.index(n) + 0.22 * (place - (len(protocols) - 1) / 2) for n in part["learner"]
            ]
            axes.plot(part["test_accuracy"], y, mark, color=colour, ms=4, alpha=0.7, label=protocol)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("test accuracy of each division")
        axes.grid(axis="x", color="#dddddd", lw=0.6)
        axes.legend()
        return figure

    return draw_svg(draw)


def curve_plot(part: pd.DataFrame) -> str:
    """Draw one candidate's learning and validation curve side by side."""

    def draw() -> Figure:
        figure = Figure(figsize=(7.0, 2.4))
        for axes, curve in zip(figure.subplots(1, 2), ("learning", "validation"), strict=True):
            rows = part[part["curve"] == curve]
            for name, colour, line in (("train", BLUE, "--"), ("validation", GREEN, "-")):
                axes.plot(rows["x"], rows[name], line, color=colour, marker="o", ms=3, label=name)
                axes.fill_between(
                    rows["x"], rows[f"{name}_low"], rows[f"{name}_high"], color=colour, alpha=0.15,
                    lw=0,
                )  # fmt: skip
            knob = rows["knob"].iloc[0] if len(rows) else ""
            axes.set_xlabel("images learnt from" if curve == "learning" else str(knob))
            if curve == "validation":
                axes.set_xscale("log")
            axes.set_ylabel("accuracy")
            axes.grid(color="#eeeeee", lw=0.6)
            axes.legend()
        return figure

    return draw_svg(draw)


def _by_candidate(curves: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if not len(curves):
        return []
    return [(str(n), part) for n, part in curves.groupby("candidate", sort=False)]


def _shown(row: dict[str, Any]) -> dict[str, str]:
    if row["error"]:
        return {"learner": row["learner"], "error": row["error"]}
    shares = {n: f"{row[n]:.3f}" for n in ("train_accuracy", "macro_f1", "balanced_accuracy")}
    interval = f"{row['test_accuracy']:.3f} ({row['test_low']:.3f}-{row['test_high']:.3f})"
    weights = str(row["weights"])
    seen = f"{row['sees']}, from {weights}" if weights else str(row["sees"])
    return {
        "learner": row["learner"],
        "sees": seen,
        **shares,
        "test_accuracy": interval,
        "ece": f"{row['ece']:.3f}",
        "gap": f"{row['gap']:.3f}",
        "diagnosis": row["diagnosis"],
        "fit_seconds": f"{row['fit_seconds']:.1f}",
        "images_per_second": f"{row['images_per_second']:.0f}",
        "parameters": many(row["parameters"]),
        "bundle_megabytes": _number(row["bundle_megabytes"], 1),
        "error": "",
    }


def listed(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Give the pairs that a page has room for: all, or those with the most accurate candidate."""
    if len(pairs) <= MOST_PAIRS:
        return pairs
    known = table[table["error"] == ""]
    best = known["learner"].iloc[int(known["test_accuracy"].to_numpy().argmax())]
    some: pd.DataFrame = pairs[(pairs["first"] == best) | (pairs["second"] == best)]
    return some


def many(count: float) -> str:
    """Write how many numbers are kept: 436,898 as 437 k."""
    for size, mark in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{mark}"
    return _number(count, 0)


def _pair(row: dict[str, Any]) -> dict[str, str]:
    return {
        "first": row["first"],
        "second": row["second"],
        "difference": f"{100 * row['difference']:+.2f}",
        "p": _number(row["p"], 4),
        "holm": _number(row["holm"], 4),
        "over": _number(row["corrected_t_p"], 4),
        "apart": "yes" if row["holm"] < 0.05 else "no",
    }


def _spread(row: dict[str, Any]) -> dict[str, str]:
    numbers = {n: _number(row[n], 4) for n in ("mean", "std", "min", "max")}
    return {"learner": row["learner"], "protocol": row["protocol"], "cells": str(row["cells"])} | (
        numbers
    )


def _number(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"
