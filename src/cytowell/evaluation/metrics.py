"""Every figure of a set of calls, each with its 95 % interval, ready for JSON.

Accuracy is never alone (Metrics Reloaded, Maier-Hein et al. 2024, doi 10.1038/s41592-023-02151-z):
balanced, macro, per-class, rank and calibration figures stand beside it.

`roc_auc` and `average_precision` are means over classes, one against the rest. `brier` is the mean
over rows of the sum over classes of (p - truth)^2: Brier's own form (1950, *Monthly Weather Review*
78:1-3), 0 to 2, twice the usual figure of two classes. `ece` has 15 equal bins on the confidence
(Guo et al. 2017, arXiv 1706.04599). `log_loss` is in nats. The others are defined in `scores`.

Means of classes (`macro_`) go over the classes that are there or are called, as scikit-learn's: one
that is called without an image of it counts 0.

Intervals are Wilson's for shares of rows where every row is its own group; else percentiles of
`resamples` bootstrap draws of whole groups, further ones where groups are few. ROC-AUC and average
precision use fewer draws on large data, so that rows x classes x draws stays near 60 million, but
never fewer than 200. Where nothing went wrong, or everything, no draw can vary, and Wilson bounds
of as many groups stand in. A single group gives no bootstrap interval. A resampled ECE is biased
upwards; its interval is widened to hold the value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cytowell.errors import RecipeError, UnknownName
from cytowell.evaluation.calibration import by_class, reliability
from cytowell.evaluation.intervals import Interval
from cytowell.evaluation.judged import Judged, Key, judge
from cytowell.evaluation.spread import draw, interval
from cytowell.types import Predictions, Sample

Metrics = dict[str, Any]
"""What `evaluate` gives: numbers, null, text, lists and objects only."""

_OF_SAMPLES = ("group", "subclass", "split")


def evaluate(
    predictions: Predictions,
    positive: str | None = None,
    prevalence: float | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Metrics:
    """Compute every figure of calls whose truth is known.

    A row is judged by its likeliest class, decided or not; `coverage` is the share decided and
    `accuracy_decided` the share right among these. Rows with an error (`unreadable`), without a
    label (`unlabelled`) or with a label that is no class of the bundle (`unknown_labels`) are left
    out and counted. Undefined figures are null.

    Parameters
    ----------
    positive
        With two classes, the one that counts as positive; adds sensitivity, specificity,
        predictive values and likelihood ratios. Without effect on more classes.
    prevalence
        Share of positives where the test will be used; adds predictive values `_at_prevalence`.

    Returns
    -------
    dict
        Counts, one object `{"value", "low", "high"}` per figure, `per_class`, `calibration` of each
        class (`calibration.by_class`), `absent` classes (without an image), `confusion` (truth
        down, calls across) and `reliability`.

    Raises
    ------
    UnknownName
        If `positive` is not a class.
    RecipeError
        If `prevalence` is not between 0 and 1.
    """
    _demand(predictions, positive, prevalence)
    judged, counts = judge(predictions, positive, prevalence)
    entries = _entries(judged, resamples, seed)
    out: Metrics = counts | {"groups": judged.groups, "intervals": _how(judged, resamples, seed)}
    if judged.positive is not None:
        out |= {"positive": positive, "prevalence": prevalence}
    out |= {key: entry for key, entry in entries.items() if isinstance(key, str)}
    names = ("precision", "recall", "f1", "roc_auc", "average_precision")
    out["per_class"] = [
        {"class": label, "n": int(judged.confusion[c].sum())} | {n: entries[n, c] for n in names}
        for c, label in enumerate(judged.classes)
    ]
    held = by_class(judged.probabilities, judged.truth, judged.called)
    out["calibration"] = [{"class": k} | row for k, row in zip(judged.classes, held, strict=True)]
    out["absent"] = [row["class"] for row in out["per_class"] if not row["n"]]
    out["confusion"] = {"classes": list(judged.classes), "counts": judged.confusion.tolist()}
    out["reliability"] = reliability(judged.top, judged.right)
    return out


def evaluate_by(
    predictions: Predictions,
    column: str,
    positive: str | None = None,
    prevalence: float | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Metrics]:
    """Repeat `evaluate` for every value of a column: institution, instrument, plate.

    Parameters
    ----------
    column
        A further column of the samples, or `group`, `subclass`, `split`. Rows without a value come
        under "(none)".

    Raises
    ------
    UnknownName
        If no sample has a value there.
    """
    values = [_value(sample, column) for sample in predictions.samples]
    if all(value is None for value in values):
        further = dict.fromkeys(name for s in predictions.samples for name in s.extra)
        held = [n for n in _OF_SAMPLES if any(getattr(s, n) for s in predictions.samples)]
        known = ", ".join([*held, *further]) or "none"
        raise UnknownName(
            f"No image has a value in the column {column!r}.", f"Columns to choose from: {known}."
        )
    names = np.array(["(none)" if value is None else str(value) for value in values])
    return {
        str(name): evaluate(predictions.take(names == name), positive, prevalence, seed, resamples)
        for name in np.unique(names)
    }


def _value(sample: Sample, column: str) -> Any:
    value = sample.extra.get(column)
    if value is None and column in _OF_SAMPLES:
        value = getattr(sample, column)
    # A table's empty cell arrives as NaN, which differs from itself, or as "".
    return None if value is None or value == "" or value != value else value


def _demand(predictions: Predictions, positive: str | None, prevalence: float | None) -> None:
    if positive is not None and positive not in predictions.classes:
        raise UnknownName(
            f"The positive class {positive!r} is no class of these calls.",
            f"Classes: {', '.join(predictions.classes)}.",
        )
    if prevalence is not None and not 0 < prevalence < 1:
        raise RecipeError(
            f"prevalence = {prevalence} is no share.",
            "Give a number between 0 and 1, such as 0.05.",
        )


def _entries(judged: Judged, resamples: int, seed: int) -> dict[Key, Metrics]:
    once = np.ones((1, judged.groups))
    point = judged.figures(once) | judged.rank_figures(once)
    drawn = draw(judged, resamples, seed)
    out = {}
    for key, values in point.items():
        value = float(values[0])
        out[key] = _entry(value, interval(judged, key, value, drawn))
    return out


def _entry(value: float, ends: Interval | None) -> Metrics:
    low, high = ends or (np.nan, np.nan)
    return {"value": _finite(value), "low": _finite(low), "high": _finite(high)}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _how(judged: Judged, resamples: int, seed: int) -> str:
    drawn = f"bootstrap percentiles of {resamples} draws, seed {seed}"
    if judged.alone:
        return f"95 %; Wilson for shares of images, else {drawn}"
    return f"95 %; {drawn}, of the {judged.groups} groups that the {len(judged)} images come from"
