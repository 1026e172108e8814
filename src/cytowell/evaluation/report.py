"""The page that a laboratory head signs: one HTML file, nothing fetched, nothing left out.

The verdict in plain words comes first and the table of every image last.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from cytowell.errors import CytowellError
from cytowell.evaluation import figures
from cytowell.evaluation.pages import environment, jpeg_uri
from cytowell.evaluation.verdict import (
    CAUTION,
    number_range,
    percent,
    percent_range,
    promised,
    verdict,
)
from cytowell.images import Preprocessing, open_upright
from cytowell.storage import write_text
from cytowell.types import Findings, IntArray, Predictions, Sample, file_of

MOST_ROWS = 2000
"""Rows of the per-image table; the file of all calls holds the rest."""

MOST_FINDINGS = 50
MOST_IMAGES = 12

SHARES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Precision, mean of classes",
    "macro_recall": "Recall, mean of classes",
    "macro_f1": "F1, mean of classes",
    "weighted_precision": "Precision, weighted by class size",
    "weighted_recall": "Recall, weighted by class size",
    "weighted_f1": "F1, weighted by class size",
    "coverage": "Share decided",
    "accuracy_decided": "Accuracy of the calls made",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "ppv_at_prevalence": "Positive predictive value at the stated prevalence",
    "npv_at_prevalence": "Negative predictive value at the stated prevalence",
}
NUMBERS = {
    "roc_auc": "ROC-AUC, one against the rest, mean of classes",
    "average_precision": "Average precision, mean of classes",
    "mcc": "Matthews correlation",
    "lr_positive": "Positive likelihood ratio",
    "lr_negative": "Negative likelihood ratio",
    "ece": "Expected calibration error, 15 bins",
    "brier": "Brier score, sum over classes",
    "log_loss": "Log-loss, nats",
}
SIGNED = ("Laboratory", "Specimen", "Operator", "Reviewer", "Date", "Signature")


@dataclass(frozen=True)
class Story:
    """Everything that a report shows; what is empty is not spoken of.

    Attributes
    ----------
    metrics, predictions
        Of the part that judges: `metrics.evaluate` and the calls that it was given.
    verdict
        Sentences; written from the figures where none are given.
    lead
        Sentences before all others: between what the figures were measured, and for what none are.
    by_kind
        Figures across kinds of photographs and of each, which `lead` says in words.
    notes
        Sentences directly under the verdict: whose figures these are.
    no_test
        Why the figures are no test, such as that the images taught the network; "" where they are.
    caveats
        Sentences on what the figures cannot show (no donor ids, one instrument).
    synthetic
        Whether the images were generated; shown as a banner.
    balance
        Part to class to number of images.
    split_how, leakage
        A sentence each: how the split was made, and whether anything lies on both sides.
    curve
        Objects with `step, size, train_loss, train_accuracy, validation_loss,
        validation_accuracy`.
    train_metrics
        The same figures of the part that was learnt from.
    before, after
        `ece`, `brier`, `log_loss`, `accuracy` before and after temperature scaling; numbers, or
        objects with `value`, `low`, `high`.
    promise
        What was promised of the calls made: `promise.Promise.to_json`; None where it is not known.
    by_column
        Column to `metrics.evaluate_by`.
    made
        (name, value) in the order to show: recipe, seed, command, versions, licences, hashes of
        bundle and of input.
    signed
        What is known already of the sign-off block; the rest are lines to write on.
    when
        With a time zone; now, in the machine's zone, where it is not given.
    calls_file
        Name of the file that holds every call.
    reading
        Channels, window and plane that pictures are shown with; `images.Preprocessing.to_json`.
    """

    title: str
    metrics: Mapping[str, Any]
    predictions: Predictions
    verdict: Sequence[str] = ()
    lead: Sequence[str] = ()
    by_kind: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    caveats: Sequence[str] = ()
    no_test: str = ""
    synthetic: bool = False
    findings: Findings | None = None
    balance: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    split_how: str = ""
    leakage: str = ""
    curve: Sequence[Mapping[str, Any]] = ()
    train_metrics: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    temperature: float | None = None
    threshold: float | None = None
    promise: Mapping[str, Any] | None = None
    by_column: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    made: Sequence[tuple[str, str]] = ()
    signed: Mapping[str, str] = field(default_factory=dict)
    when: datetime | None = None
    calls_file: str = "predictions.csv"
    reading: Mapping[str, Any] = field(default_factory=dict)


def write_report(path: Path | str, story: Story) -> None:
    """Write the report as one self-contained HTML file, whole or not at all.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    templates = environment()
    # Digits that the number of images can carry.
    digits = 2 if story.metrics["n"] >= 1000 else 1
    templates.filters["share"] = lambda entry: percent_range(entry, digits)
    templates.filters["number"] = lambda entry: number_range(entry)
    templates.filters["rough"] = lambda entry: percent_range(entry)
    templates.filters["sure"] = lambda value: percent(value)
    page = templates.get_template("report.html.j2").render(**_context(story))
    write_text(path, page)


def thumbnail(sample: Sample, side: int = 96, record: Preprocessing | None = None) -> str:
    """Give a small JPEG of a sample as a data URI, from pixels alone: no EXIF, place or comment.

    Parameters
    ----------
    side
        Longest side in pixels; a sample with a box gives its cut-out.
    record
        Channels, window and plane that it is read with.

    Returns
    -------
    str
        "" where the image cannot be read.
    """
    try:
        image = open_upright(sample.path, record)
    except CytowellError:
        return ""
    if sample.box is not None:
        box = sample.box
        left, top = max(0, int(box.x)), max(0, int(box.y))
        right = min(image.width, round(box.x + box.width))
        bottom = min(image.height, round(box.y + box.height))
        if right <= left or bottom <= top:
            return ""
        image = image.crop((left, top, right, bottom))
    return jpeg_uri(image, side)


def _context(story: Story) -> dict[str, Any]:
    metrics, predictions = story.metrics, story.predictions
    said = list(story.verdict) or verdict(metrics, predictions)
    kept = promised(story.promise, metrics)
    said = [*said, kept] if kept else said
    when = (story.when or datetime.now()).astimezone()
    names, folder = _names([sample.path for sample in predictions.samples])
    return {
        "story": story,
        "metrics": metrics,
        "said": [s for s in said if not s.startswith(CAUTION)],
        "cautions": [
            *filter(None, [story.no_test]),
            *(_begin(s.removeprefix(CAUTION)) for s in said if s.startswith(CAUTION)),
        ],
        "when": f"{when:%d %B %Y, %H:%M} {when.tzname()} (UTC{when.isoformat()[-6:]})",
        "findings": _findings(story.findings),
        "classes": _classes(story.balance),
        "parts": [part for part, counts in story.balance.items() if sum(counts.values())],
        "shares": {k: v for k, v in SHARES.items() if k in metrics},
        "numbers": {k: v for k, v in NUMBERS.items() if k in metrics},
        "balance_plot": figures.class_balance(story.balance),
        "curves_plot": figures.learning_curves(story.curve),
        "confusion_plot": figures.confusion_matrix(**metrics["confusion"]),
        "reliability_plot": figures.reliability_plot(metrics["reliability"]),
        "scaling": _scaling(story),
        "worst": _pictures(predictions, names, _worst(predictions), story.reading),
        "unsure": _pictures(predictions, names, _unsure(predictions), story.reading),
        "rows": _rows(predictions, names),
        "folder": folder,
        "most_rows": MOST_ROWS,
        "signed": [(name, story.signed.get(name, "")) for name in SIGNED],
    }


def _begin(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _names(paths: list[str]) -> tuple[list[str], str]:
    """Give paths as they are shown, without the folder that all share, and that folder."""
    parents = {str(Path(file_of(path)).parent) for path in paths}
    try:
        folder = os.path.commonpath(parents) if parents else ""
    except ValueError:  # absolute beside relative, or two drives
        folder = ""
    if folder in ("", ".", os.sep):
        return paths, ""
    cut = len(folder) + 1
    return [p[cut:] if p.startswith(folder + os.sep) else p for p in paths], folder


def _classes(balance: Mapping[str, Mapping[str, int]]) -> list[str]:
    return list(dict.fromkeys(name for counts in balance.values() for name in counts))


def _findings(found: Findings | None) -> dict[str, Any] | None:
    """Count the issues, and choose the rows to show: the most affected, in the data's order."""
    if found is None:
        return None
    table, issues = found.table, found.issues
    shown = []
    names, folder = _names([str(path) for path in table["path"]])
    flags = table[[f"is_{issue}" for issue in issues]].to_numpy(dtype=bool)
    affected = np.flatnonzero(flags.any(axis=1))
    for row in affected[:MOST_FINDINGS]:
        named = [spell(issue) for issue, flag in zip(issues, flags[row], strict=True) if flag]
        shown.append({"path": names[row], "issues": ", ".join(named)})
    return {
        "blocking": found.blocking,
        "remarks": found.remarks,
        "counts": {spell(issue): count for issue, count in found.counts().items()},
        "images": len(table),
        "affected": len(affected),
        "excluded": int(found.excluded.sum()),
        "rows": shown,
        "folder": folder,
    }


def spell(name: str) -> str:
    """Write a column's name as words."""
    return name.replace("_", " ")


def _scaling(story: Story) -> list[tuple[str, Any, Any, bool]]:
    """Line up figures before and after the temperature: name, before, after, whether a share."""
    if story.before is None or story.after is None:
        return []
    both = [
        k
        for k in ("accuracy", "ece", "brier", "log_loss")
        if k in story.before and k in story.after
    ]
    named = SHARES | NUMBERS
    return [
        (named[k], _as_entry(story.before[k]), _as_entry(story.after[k]), k in SHARES) for k in both
    ]


def _as_entry(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    return {"value": value, "low": None, "high": None}


def _top(predictions: Predictions) -> Any:
    return np.nan_to_num(predictions.probabilities, nan=0.0).max(axis=1, initial=0.0)


def _worst(predictions: Predictions) -> IntArray:
    """Give the positions of wrong calls, the surest first."""
    missed = (predictions.truth >= 0) & predictions.readable
    missed &= predictions.called != predictions.truth
    where = np.flatnonzero(missed)
    order = np.argsort(-_top(predictions)[where], kind="stable")
    return where[order].astype(np.int64)


def _unsure(predictions: Predictions) -> IntArray:
    """Give the positions of readable images, the least sure call first."""
    where = np.flatnonzero(predictions.readable)
    order = np.argsort(_top(predictions)[where], kind="stable")
    return where[order].astype(np.int64)


def _pictures(
    predictions: Predictions, names: Sequence[str], where: IntArray, reading: Mapping[str, Any]
) -> list[dict[str, Any]]:
    record = Preprocessing().read_as(Preprocessing.from_json(dict(reading)))
    top, labels = _top(predictions), predictions.labels
    return [
        {
            "picture": thumbnail(predictions.samples[i], record=record),
            "name": names[i],
            "truth": predictions.samples[i].label or "",
            "call": labels[i],
            "probability": float(top[i]),
        }
        for i in (int(k) for k in where[:MOST_IMAGES])
    ]


def _rows(predictions: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    """Give the per-image table: unreadable, wrong and undecided rows first, `MOST_ROWS` at most."""
    top, labels, truth = _top(predictions), predictions.labels, predictions.truth
    bad = ~predictions.readable
    wrong = ~bad & (truth >= 0) & (predictions.called != truth)
    rank = np.select([bad, wrong, ~predictions.decided], [0, 1, 2], 3)
    order = np.argsort(rank, kind="stable")[:MOST_ROWS]
    return [
        {
            "path": names[i],
            "truth": predictions.samples[i].label or "",
            "call": labels[i],
            "probability": float(top[i]),
            "decided": bool(predictions.decided[i]),
            "reason": predictions.reasons[i],
            "error": predictions.errors[i],
            "wrong": bool(wrong[i]),
        }
        for i in (int(k) for k in order)
    ]
