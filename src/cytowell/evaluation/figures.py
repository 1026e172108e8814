"""The pictures of a report, as data URIs that need no network: drawn without pyplot's globals.

Colours are Okabe and Ito's, told apart by colour-blind eyes; lines also differ in their strokes.
"""

from __future__ import annotations

import base64
import io
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cytowell.evaluation.intervals import wilson
from cytowell.types import FloatArray

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
PART_COLOURS = {
    "train": BLUE,
    "validation": "#E69F00",
    "test": GREEN,
    "excluded": "#999999",
}

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    # The reader's fonts draw the text, so that class names in any script can be read.
    "svg.fonttype": "none",
    "svg.hashsalt": "cytowell",
    # A class name may hold a dollar sign.
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
}

_STYLING = threading.Lock()


def learning_curves(curve: Sequence[Mapping[str, Any]]) -> str:
    """Draw loss and accuracy of training and validation over the steps; "" without any.

    Parameters
    ----------
    curve
        One object per answer of the validation part: `step`, `size` (image side in pixels),
        `train_loss`, `train_accuracy`, `validation_loss`, `validation_accuracy`.
    """
    if not curve:
        return ""

    def draw() -> Figure:
        figure = Figure(figsize=(7.2, 2.7))
        steps = [float(point["step"]) for point in curve]
        for at, (name, factor, label) in enumerate(
            (("loss", 1.0, "Loss"), ("accuracy", 100.0, "Right, %"))
        ):
            axes = figure.add_subplot(1, 2, at + 1)
            for part, colour, stroke in (("train", BLUE, "--"), ("validation", ORANGE, "-")):
                values = [_number(point.get(f"{part}_{name}")) * factor for point in curve]
                shown = "training" if part == "train" else part
                axes.plot(
                    steps, values, stroke, color=colour, marker="o", ms=2.5, lw=1.3, label=shown
                )
            _mark_sizes(axes, curve)
            axes.set_xlabel("Step")
            axes.set_ylabel(label)
            axes.margins(y=0.12)
            axes.legend(loc="best")
        return figure

    return draw_svg(draw)


def confusion_matrix(
    classes: Sequence[str], counts: Sequence[Sequence[int]], counted: str = "images"
) -> str:
    """Draw a confusion matrix: counts, with row shares as shade and, up to 10 classes, as text.

    Parameters
    ----------
    counts
        Truth down, calls across.
    counted
        What was counted.
    """
    table = np.asarray(counts, dtype=np.float64)
    many = len(classes)

    def draw() -> Figure:
        side = min(6.8, 1.9 + 0.55 * many)
        figure = Figure(figsize=(max(3.6, side), max(2.3, 0.72 * side)))
        axes = figure.add_subplot()
        rows = table.sum(axis=1, keepdims=True)
        share = np.divide(table, rows, out=np.zeros_like(table), where=rows > 0)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        _cells(axes, table, share)
        names = _distinct(classes, 24)
        true = [f"{name} ({int(n)})" for name, n in zip(names, rows[:, 0], strict=True)]
        steep = any(len(name) > 5 for name in names) and many > 2
        axes.set_xticks(
            range(many),
            names,
            rotation=45 if steep else 0,
            ha="right" if steep else "center",
            rotation_mode="anchor" if steep else None,
        )
        axes.set_yticks(range(many), true)
        axes.set_xlabel("Called")
        axes.set_ylabel(f"Truth ({counted})")
        axes.tick_params(length=0, labelsize=8.5 if many <= 12 else 7)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(many + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(many + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.2)
        axes.tick_params(which="minor", length=0)
        return figure

    return draw_svg(draw)


def _cells(axes: Axes, table: FloatArray, share: FloatArray) -> None:
    many = len(table)
    size = 8.5 if many <= 6 else 7.0 if many <= 10 else 6.5 if many <= 14 else 5.5
    for i, j in np.ndindex(*table.shape):
        count = int(table[i, j])
        if not count and i != j:
            axes.text(j, i, "·", ha="center", va="center", color="#aaaaaa", fontsize=size)
            continue
        colour = "white" if share[i, j] > 0.55 else "#111111"
        text = f"{count}\n{percent_short(float(share[i, j]))}" if many <= 10 else f"{count}"
        axes.text(
            j, i, text, ha="center", va="center", color=colour, fontsize=size, linespacing=1.15
        )


def percent_short(share: float) -> str:
    """Write a share in few characters, never 100 % or 0 % unless it is."""
    value = 100 * share
    if 0 < value < 1 or 99 < value < 100:
        return f"{min(max(value, 0.1), 99.9):.1f} %"
    return f"{value:.0f} %"


def reliability_plot(table: Sequence[Mapping[str, Any]]) -> str:
    """Draw what was promised against what was kept, with 95 % intervals and the counts per bin.

    Parameters
    ----------
    table
        What `calibration.reliability` gives.
    """

    def draw() -> Figure:
        figure = Figure(figsize=(4.6, 4.3))
        grid = figure.add_gridspec(2, 1, height_ratios=(3, 1.15))
        upper = figure.add_subplot(grid[0])
        lower = figure.add_subplot(grid[1], sharex=upper)
        filled = [row for row in table if row["n"]]
        promised = np.array([row["confidence"] for row in filled], dtype=np.float64)
        kept = np.array([row["accuracy"] for row in filled], dtype=np.float64)
        ends = np.array(
            [wilson(round(row["accuracy"] * row["n"]), row["n"]) for row in filled],
            dtype=np.float64,
        ).reshape(-1, 2)
        upper.plot([0, 1], [0, 1], ":", color=GREY, lw=1, label="as promised")
        reach = np.clip(np.stack([kept - ends[:, 0], ends[:, 1] - kept]), 0, None)
        upper.errorbar(
            promised,
            kept,
            yerr=reach,
            fmt="o",
            color=BLUE,
            ms=4,
            lw=1,
            capsize=2,
            label="observed, 95 % interval",
        )
        upper.set_ylabel("Share right")
        upper.set_ylim(-0.03, 1.03)
        upper.set_xlim(-0.02, 1.02)
        upper.tick_params(labelbottom=False)
        figure.legend(loc="outside upper left", ncols=2)
        _histogram(lower, table)
        return figure

    return draw_svg(draw)


def _histogram(axes: Axes, table: Sequence[Mapping[str, Any]]) -> None:
    counts = [row["n"] for row in table]
    places = [(row["low"] + row["high"]) / 2 for row in table]
    axes.bar(places, counts, width=0.9 / len(counts), color="#9ecae1")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, max([*counts, 1]) * 12)
    axes.set_yticks([])
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)
    for place, count in zip(places, counts, strict=True):
        if count:
            axes.text(place, count * 1.25, f"{count}", ha="center", va="bottom", fontsize=6.5)
    axes.set_xlabel("Confidence (probability of the call)")
    axes.set_ylabel("Images")


def class_balance(balance: Mapping[str, Mapping[str, int]]) -> str:
    """Draw how many images of each class lie in each part; "" without any.

    Parameters
    ----------
    balance
        Part to class to count.
    """
    parts = [part for part, counts in balance.items() if sum(counts.values())]
    classes = list(dict.fromkeys(name for part in parts for name in balance[part]))
    if not classes:
        return ""

    def draw() -> Figure:
        bar = 0.8 / len(parts)
        height = 0.9 + max(0.24, 0.11 * len(parts)) * len(classes)
        figure = Figure(figsize=(7.2, height))
        axes = figure.add_subplot()
        for at, part in enumerate(parts):
            counts = [balance[part].get(name, 0) for name in classes]
            places = np.arange(len(classes)) + (at + 0.5) * bar - 0.4
            bars = axes.barh(
                places, counts, bar * 0.92, color=PART_COLOURS.get(part, GREY), label=part
            )
            axes.bar_label(bars, padding=2, fontsize=6.5)
        axes.set_yticks(range(len(classes)), _distinct(classes, 28))
        axes.invert_yaxis()
        axes.margins(x=0.08)
        axes.set_xlabel("Images")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=len(parts))
        return figure

    return draw_svg(draw)


def shorten(text: str, most: int) -> str:
    """Cut a long name in its middle, where names differ least."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:]}"


def _distinct(names: Sequence[str], most: int) -> list[str]:
    """Shorten names, but not so far that two of them look alike."""
    for length in (most, 40, 70):
        short = [shorten(name, length) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def _mark_sizes(axes: Axes, curve: Sequence[Mapping[str, Any]]) -> None:
    """Show where the images grew during training."""
    sizes = [point.get("size") for point in curve]
    if len(set(sizes)) < 2:
        return
    for before, here, size in zip([None, *curve[:-1]], curve, sizes, strict=True):
        if before is not None and before.get("size") == size:
            continue
        place = float(here["step"]) if before is None else (before["step"] + here["step"]) / 2
        if before is not None:
            axes.axvline(place, color=GREY, lw=0.6, ls=":")
        axes.annotate(
            f"{size} px",
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2),
            textcoords="offset points",
            fontsize=6.5,
            color=GREY,
        )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def draw_svg(draw: Callable[[], Figure]) -> str:
    """Draw in the house style and give the picture as a data URI."""
    stream = io.BytesIO()
    # Styles and warning filters belong to the process; a server draws from several threads.
    with _STYLING, mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The measuring font lacks some scripts; the font that draws is the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        draw().savefig(
            stream, format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None}
        )
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"
