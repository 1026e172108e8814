"""The page of a detector: the verdict first, then classes, curves, the photographs it errs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from cytowell.evaluation.figures import BLUE, GREEN, ORANGE, confusion_matrix, draw_svg
from cytowell.evaluation.pages import environment, jpeg_uri
from cytowell.evaluation.verdict import number_range, percent_range
from cytowell.storage import write_text

PICTURE = 900
"""Longer side in pixels of a photograph on the page."""

STROKES = ("-", "--", ":", "-.")


def write_page(
    path: Path, told: Mapping[str, Any], pictures: Sequence[tuple[str, str, Image.Image]]
) -> None:
    """Write ``report.html`` of a detector's run, whole or not at all.

    Parameters
    ----------
    told
        What ``report.json`` holds.
    pictures
        File name, what is wrong on it, and the drawn photograph.
    """
    metrics = told["metrics"]
    present = [row for row in metrics["per_class"] if row["ap50"] is not None]
    counts = metrics["confusion"]
    page = (
        environment()
        .get_template("detection.html.j2")
        .render(
            told=told,
            metrics=metrics,
            origin=told["origin"],
            rows=[_shown(row) for row in present],
            map50=percent_range(metrics["map50"]),
            map50_95=percent_range(metrics["map50_95"]),
            recall_plot=_precision_plot(present),
            confusion=confusion_matrix([*told["classes"], "nothing"], counts, "objects"),
            learning=_learning_plot(told["curve"]),
            pictures=[
                (name, wrong, jpeg_uri(picture, PICTURE)) for name, wrong, picture in pictures
            ],
        )
    )
    write_text(path, page)


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    shares = {k: "" if row[k] is None else f"{100 * row[k]:.1f} %" for k in ("precision", "recall")}
    return shares | {
        "class": row["class"],
        "n": str(row["n"]),
        "ap50": percent_range(row["ap50"]),
        "ap50_95": percent_range(row["ap50_95"]),
        "count_error": number_range(row["count_error"]),
    }


def _precision_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw precision over recall of every class, at an overlap of a half."""

    def draw() -> Figure:
        figure = Figure(figsize=(3.6, 2.9))
        axes = figure.subplots()
        for i, row in enumerate(rows):
            colour = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00")[i % 6]
            x = [j / 100 for j in range(len(row["curve"]))]
            axes.plot(x, row["curve"], STROKES[i % 4], color=colour, label=row["class"], lw=1.4)
            if row["precision"] is not None:
                axes.plot(row["recall"], row["precision"], "o", color=colour, ms=5)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.04)
        axes.grid(color="#eeeeee", lw=0.6)
        axes.legend(loc="lower left")
        return figure

    return draw_svg(draw)


def _learning_plot(curve: Sequence[Mapping[str, Any]]) -> str:
    """Draw the loss, and what the validation part said, over the steps."""

    def draw() -> Figure:
        figure = Figure(figsize=(7.2, 2.4))
        first, second = figure.subplots(1, 2)
        steps = [point["step"] for point in curve]
        first.plot(steps, [p["loss"] for p in curve], "o-", color=BLUE, ms=3)
        first.set_ylabel("loss, training")
        for name, label, colour, stroke in (
            ("map50", "mAP50", GREEN, "-"),
            ("map50_95", "mAP50-95", ORANGE, "--"),
        ):
            values = [p[name] for p in curve]
            second.plot(steps, values, stroke, color=colour, marker="o", ms=3, label=label)
        second.set_ylabel("validation")
        second.set_ylim(0, 1)
        second.legend(loc="lower right")
        for axes in (first, second):
            axes.set_xlabel("step")
            axes.grid(color="#eeeeee", lw=0.6)
        return figure

    return draw_svg(draw)
