"""What the figures mean, in sentences for the person who signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cytowell.evaluation.promise import CONFIDENCE
from cytowell.types import Predictions

CAUTION = "Caution: "
"""How a sentence begins that must not be overlooked."""

FEW = 30
"""Images of a class below which its figures are a rough hint."""

_TELLING = 10
"""Calls of a class below which their mean probability is not held against them."""

_CLOSE, _ROUGH = 0.02, 0.05
"""ECE up to which probabilities are taken at face value, and roughly so."""


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as "98.5 %"; "not defined" for null. 100 % is written only where it is so."""
    if share is None:
        return "not defined"
    while digits < 4 and share not in (0, 1) and round(100 * share, digits) in (0, 100):
        digits += 1
    return f"{100 * share:.{digits}f} %" if share not in (0, 1) else f"{100 * share:.0f} %"


def percent_range(entry: Mapping[str, Any] | None, digits: int = 1) -> str:
    """Write a figure with its interval as "98.5 % (98.1 to 98.8)"."""
    if not entry or entry["value"] is None:
        return "not defined"
    value = percent(entry["value"], digits)
    if entry["low"] is None or entry["high"] is None:
        return value
    low, high = (percent(entry[end], digits).removesuffix(" %") for end in ("low", "high"))
    return f"{value} ({low} to {high})"


def number_range(entry: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Write a figure that is no share as "0.012 (0.009 to 0.017)"."""
    if not entry:
        return "not defined"
    if entry["value"] is None:
        low = entry["low"]
        return "not defined" if low is None else f"not defined (at least {low:.3g})"
    while digits < 5 and entry["value"] != 1 and round(entry["value"], digits) == 1:
        digits += 1
    value = f"{entry['value']:.{digits}f}"
    if entry["low"] is None:
        return value
    if entry["high"] is None:
        return f"{value} (at least {entry['low']:.{digits}f})"
    return f"{value} ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"


def verdict(metrics: Mapping[str, Any], predictions: Predictions) -> list[str]:
    """Say in plain words how good the calls are; cautions last, each beginning with "Caution: ".

    Parameters
    ----------
    metrics
        What `metrics.evaluate` gives for `predictions`.
    """
    if not metrics["n"]:
        return [
            "Nothing can be said: no image could be judged.",
            *(CAUTION + sentence for sentence in _left_out(metrics, len(predictions))),
        ]
    spoken = [
        _rightness(metrics),
        *_positive(metrics),
        _weakest(metrics),
        *_confusions(metrics),
        _declines(metrics, predictions),
        _belief(metrics),
    ]
    warned = [
        *_classes_at_risk(metrics),
        *_too_sure(metrics),
        *_smallness(metrics),
        *_left_out(metrics, len(predictions)),
    ]
    return [*(s for s in spoken if s), *(CAUTION + sentence for sentence in warned)]


def _rightness(metrics: Mapping[str, Any]) -> str:
    entry, n = metrics["accuracy"], metrics["n"]
    right = 100 * entry["value"]
    about = "all" if right == 100 else f"about {right:.1f}" if right > 90 else f"about {right:.0f}"
    if right == 100:
        low = percent(entry["low"]) if entry["low"] is not None else None
        hint = f", and with so many images the true share may be as low as {low}" if low else ""
        return f"All {n:,} judged images are called rightly{hint}."
    spread = ""
    if entry["low"] is not None:
        spread = f" (95 % interval {100 * entry['low']:.1f} to {100 * entry['high']:.1f})"
    return f"Of 100 images {about} are called rightly{spread}, measured on {n:,} images."


def _positive(metrics: Mapping[str, Any]) -> list[str]:
    if "sensitivity" not in metrics:
        return []
    name = metrics["positive"]
    found, cleared = metrics["sensitivity"], metrics["specificity"]
    return [
        f"{name} is found where it is in {percent_range(found)} of images (sensitivity), and not "
        f"called where it is not in {percent_range(cleared)} (specificity)."
    ]


def _weakest(metrics: Mapping[str, Any]) -> str:
    known = [row for row in metrics["per_class"] if row["recall"]["value"] is not None]
    if len(known) < 2:
        return ""
    worst = min(known, key=lambda row: row["recall"]["value"])
    if worst["recall"]["value"] == 1:
        return "No class is weaker than another: every image of each is recognised."
    return (
        f"The weakest class is {worst['class']}: {percent_range(worst['recall'])} of its "
        f"{worst['n']:,} images are recognised."
    )


def _confusions(metrics: Mapping[str, Any]) -> list[str]:
    classes = metrics["confusion"]["classes"]
    counts = np.array(metrics["confusion"]["counts"])
    off = counts - np.diag(np.diag(counts))
    wrong = int(off.sum())
    if not wrong:
        return []
    pairs = (off + off.T)[np.triu_indices(len(classes), 1)]
    first, second = np.triu_indices(len(classes), 1)
    order = [int(k) for k in np.argsort(-pairs, kind="stable")[:3] if pairs[k]]
    if wrong == 1:
        truth, call = np.argwhere(off)[0]
        return [f"One call is wrong: {classes[truth]} called {classes[call]}."]
    named = [
        f"{classes[first[k]]} and {classes[second[k]]} ({int(off[first[k], second[k]]):,} "
        f"{classes[first[k]]} called {classes[second[k]]}, "
        f"{int(off[second[k], first[k]]):,} the other way)"
        for k in order
    ]
    return [f"{wrong:,} calls are wrong; most often confused are {', then '.join(named)}."]


def _declines(metrics: Mapping[str, Any], predictions: Predictions) -> str:
    coverage, decided = metrics["coverage"], metrics["accuracy_decided"]
    if coverage["value"] == 1:
        return "It decides every image; it never says that it cannot."
    if coverage["value"] == 0:
        return "It decides no image: none is sure enough."
    declined = 1 - coverage["value"]
    made = predictions.decided & predictions.readable & (predictions.truth >= 0)
    missed = int((made & (predictions.called != predictions.truth)).sum())
    return (
        f"It says “cannot decide” for {percent(declined)} of images; of the calls that it makes "
        f"{percent_range(decided)} are right ({missed:,} of {int(made.sum()):,} wrong)."
    )


def _belief(metrics: Mapping[str, Any]) -> str:
    gap = metrics["ece"]["value"]
    if gap is None:
        return ""
    filled = [row for row in metrics["reliability"] if row["n"]]
    mean = sum(row["n"] * row["confidence"] for row in filled) / metrics["n"]
    lean = mean - metrics["accuracy"]["value"]
    points = f"they miss the share that is right by {100 * gap:.1f} percentage points on average"
    if gap <= _CLOSE:
        return f"Its probabilities can be taken at face value: {points}."
    side = "too sure" if lean > 0 else "too cautious"
    if metrics["n"] < 200:
        return (
            f"Whether its probabilities can be believed is open: {points}, "
            f"but {metrics['n']:,} images are too few to tell."
        )
    if gap <= _ROUGH:
        return f"Its probabilities hold roughly: {points}; it is rather {side}."
    return f"Its probabilities must not be taken at face value: {points}; it is {side}."


def _classes_at_risk(metrics: Mapping[str, Any]) -> list[str]:
    out = []
    rows = metrics["per_class"]
    absent = [row["class"] for row in rows if not row["n"]]
    if absent:
        out.append(f"no image of {_listed(absent)} was judged; nothing is known of it.")
    called = [row["class"] for row in metrics.get("calibration", ()) if row["calls"]]
    strange = [name for name in absent if name in called]
    if strange:
        out.append(
            f"{_listed(strange)} was predicted without an image of it: it counts 0 in the means of "
            f"the classes, as in scikit-learn ({len(absent)} of {len(rows)} classes had no image)."
        )
    for row in rows:
        if row["n"] and row["recall"]["value"] == 0:
            out.append(f"not one of the {row['n']:,} images of {row['class']} is recognised.")
    few = [f"{row['class']} ({row['n']})" for row in rows if 0 < row["n"] < FEW]
    if few:
        out.append(f"fewer than {FEW} images judge {_listed(few)}; figures there are a rough hint.")
    return out


def _too_sure(metrics: Mapping[str, Any]) -> list[str]:
    """Name classes whose calls are right less often than they say."""
    out = []
    for row, held in zip(metrics["per_class"], metrics.get("calibration", ()), strict=False):
        said, high = held["confidence"], row["precision"]["high"]
        if said is None or high is None or held["calls"] < _TELLING:
            continue
        if said > high and said - held["right"] > _ROUGH:
            out.append(
                f"calls of {row['class']} have a mean probability of {percent(said)}, and "
                f"{percent_range(row['precision'])} of them are correct."
            )
    return out


def promised(promise: Mapping[str, Any] | None, metrics: Mapping[str, Any]) -> str:
    """Say what was promised of the calls that are made, and what was kept.

    Parameters
    ----------
    promise
        `promise.Promise.to_json`; "" is said of None, which bundles of earlier versions have.
    """
    if not promise:
        return ""
    share = percent(promise["wrong"])
    if promise["made"]:
        first = (
            f"Promised: of the calls made, at most {share} are wrong ({percent(CONFIDENCE)} "
            f"confidence, from {promise['images']:,} images that calibrated)."
        )
    else:
        # Rounded up: what is promised at best is never less than what can be.
        best = np.ceil(1000 * promise["least"]) / 10
        more = promise["needed"] - promise["groups"]
        first = (
            f"No promise is made that at most {share} of the calls are wrong: {promise['why']}. "
            f"So many can promise {best:.1f} % at best"
        ) + (f"; it takes at least {more:,} more." if more > 0 else ".")
    decided = metrics["accuracy_decided"]
    if not metrics["n"] or decided["value"] is None:
        return first
    ends = [None if decided[end] is None else 1 - decided[end] for end in ("high", "low")]
    kept = {"value": 1 - decided["value"], "low": ends[0], "high": ends[1]}
    said = f"{first} Kept: {percent_range(kept)} of the calls made here are wrong"
    if promise["made"] and ends[0] is not None and ends[0] > promise["wrong"]:
        return f"{CAUTION}{said}, which is more than was promised."
    return f"{said}."


def _smallness(metrics: Mapping[str, Any]) -> list[str]:
    out = []
    if metrics["n"] < 100:
        out.append(f"only {metrics['n']} images were judged; see how wide the intervals are.")
    if metrics["groups"] < metrics["n"] and metrics["groups"] < 10:
        out.append(
            f"the images come from only {metrics['groups']} groups; another may differ by more "
            "than the intervals say."
        )
    return out


def _left_out(metrics: Mapping[str, Any], rows: int) -> list[str]:
    out = []
    if metrics["unreadable"]:
        out.append(f"{metrics['unreadable']:,} of {rows:,} images could not be read.")
    if metrics["unlabelled"]:
        out.append(f"{metrics['unlabelled']:,} of {rows:,} images have no label and are left out.")
    if metrics["unknown_labels"]:
        total = sum(metrics["unknown_labels"].values())
        out.append(
            f"{total:,} images have a label that the bundle does not know and cannot be called "
            f"rightly: {_listed(list(metrics['unknown_labels']))}. They are left out."
        )
    return out


def _listed(names: list[str], most: int = 8) -> str:
    shown = names[:most]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    if len(shown) > 1 and not more:
        return f"{', '.join(shown[:-1])} and {shown[-1]}"
    return ", ".join(shown) + more
