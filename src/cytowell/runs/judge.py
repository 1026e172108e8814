"""A bundle on labelled photographs: figures, calls and a page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from cytowell.errors import BadTable, UnknownName
from cytowell.evaluation.metrics import evaluate, evaluate_by
from cytowell.registry import did_you_mean
from cytowell.runs import story
from cytowell.runs.training_images import Overlap, overlap
from cytowell.runs.voice import Voice
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.calls import shape
from cytowell.storage import write_text, write_with
from cytowell.types import BoolArray, Dataset, Predictions

OTHERS = "other_classes"
"""Key of what the bundle called images of classes that it does not know."""

ALIKE = 0.8
"""Likeness of two names from which on one may be the other, misspelt."""

SEEN = "trained_on"
"""Column that says which images taught the bundle: `yes` or `no`."""


def relabelled(dataset: Dataset, ignored: Sequence[str], mapped: Mapping[str, str]) -> Dataset:
    """Give a data set without the images of some classes, and with others under another name.

    Parameters
    ----------
    ignored
        Classes whose images are left out.
    mapped
        Class of the data to the class that it counts as.

    Raises
    ------
    UnknownName
        If the data has no such class.
    """
    for name in (*ignored, *mapped):
        if name not in dataset.classes:
            raise UnknownName(
                f"{dataset.origin} has no class {name!r}.", did_you_mean(name, [*dataset.classes])
            )
    kept = [s for s in dataset.samples if s.label not in ignored]
    samples = tuple(replace(s, label=mapped.get(s.label or "", s.label)) for s in kept)
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    return replace(dataset, samples=samples, classes=classes)


def judge(
    bundle: Bundle,
    dataset: Dataset,
    by: str = "",
    positive: str = "",
    prevalence: float | None = None,
    out: Path | None = None,
    voice: Voice | None = None,
) -> dict[str, Any]:
    """Call a labelled data set and give every figure with its interval.

    Images of classes that the bundle does not know are called too: under `other_classes` stands how
    many of each there are, how many were decided, and as what. No call of them can be right, and
    the figures are of the others.

    Images that taught the bundle are found first. Where there are any, `no_test` says so, and
    `by` has figures of them and of the rest.

    Parameters
    ----------
    by
        A column whose values get figures of their own.
    positive
        The positive class; the bundle's own without it.
    out
        A folder for ``report.html``, ``report.json`` and ``predictions.csv``.

    Raises
    ------
    BadTable
        If no image has a label, or no label is one of the bundle's classes.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=8)["wells"]
    >>> data = cytowell.read(folder)
    >>> from cytowell.runs.recipe import make
    >>> quick, _ = make("frozen", backbones=("imagenet",), crops=(1.0,))
    >>> bundle = cytowell.load(cytowell.train(data, "run", quick).bundle)
    >>> cytowell.evaluate(bundle, data)["n"]
    16
    """
    heard = voice or Voice()
    _require_classes(bundle, dataset)
    known = overlap(
        bundle.name,
        bundle.facts.training_images,
        dataset.paths,
        bundle.facts.preprocessing,
        heard,
    )
    warned = _no_test(known, dataset)
    if warned:
        heard.said(warned)
    index = {name: i for i, name in enumerate(dataset.classes)}
    theirs = [index[c] for c in bundle.classes if c in index]
    labels = dataset.labels
    inside = np.isin(labels, theirs)
    labelled = dataset.take(inside)
    others = dataset.take((labels >= 0) & ~inside)
    calls = _call(bundle, labelled, heard)
    if warned:
        calls = _marked(calls, known.rows[inside])
    chosen = positive or bundle.facts.positive
    metrics = evaluate(calls, positive=chosen, prevalence=prevalence)
    if len(others):
        metrics[OTHERS] = _others(_call(bundle, others, heard))
    if warned:
        metrics["no_test"] = warned
    columns = {
        name: evaluate_by(calls, name, positive=chosen, prevalence=prevalence)
        for name in dict.fromkeys([*filter(None, [by]), *([SEEN] if warned else [])])
    }
    if out is not None:
        _write(out, bundle, labelled, calls, metrics, columns)
    return metrics | ({"by": columns} if columns else {})


def _require_classes(bundle: Bundle, dataset: Dataset) -> None:
    """Refuse a data set of which nothing could be judged."""
    if not dataset.classes:
        raise BadTable(
            f"{dataset.origin} has no labels to judge by.",
            "Give class folders, or a table with a column truth or label.",
        )
    if not set(dataset.classes) & set(bundle.classes):
        name = dataset.classes[0]
        raise BadTable(
            f"None of the classes of {dataset.origin} is one of the bundle's (such as {name!r}).",
            f"{did_you_mean(name, [*bundle.classes])} Say which class stands for which: "
            f"--map {name}=CLASS.",
        )


def _no_test(known: Overlap, dataset: Dataset) -> str:
    """Say why figures of a data set are no test of a bundle; "" where they are one."""
    if not known:
        return ""
    count = int(known.rows.sum())
    rest = "" if count == len(dataset) else " Figures of the others stand beside."
    return f"These figures are no test: {known}{rest}"


def _marked(calls: Predictions, known: BoolArray) -> Predictions:
    """Say of each call, in a column, whether its image taught the bundle."""
    pairs = zip(calls.samples, known, strict=True)
    samples = (replace(s, extra={**s.extra, SEEN: "yes" if k else "no"}) for s, k in pairs)
    return replace(calls, samples=tuple(samples))


def _others(calls: Predictions) -> list[dict[str, Any]]:
    """Count what images of unknown classes were called: a row for each class."""
    rows = []
    for name in sorted({s.label or "" for s in calls.samples}):
        mine = np.array([s.label == name for s in calls.samples])
        decided = mine & calls.decided & calls.readable
        called = Counter(calls.labels[i] for i in np.flatnonzero(decided))
        rows.append(
            {
                "class": name,
                "n": int(mine.sum()),
                "decided": int(decided.sum()),
                "nearest": next(iter(get_close_matches(name, calls.classes, 1, ALIKE)), ""),
                "called": dict(called.most_common()),
            }
        )
    return rows


def in_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what images of classes that a bundle does not know were called."""
    said = []
    for row in rows:
        called = ", ".join(f"{name} {count}" for name, count in row["called"].items())
        said.append(
            f"{row['n']} images are of {row['class']!r}, which the bundle does not know: "
            f"{row['decided']} of them were decided{f' ({called})' if called else ''}, none of "
            "which can be right. They are in none of the other figures. "
            + (
                f"If that is {row['nearest']!r}, say so: --map {row['class']}={row['nearest']}."
                if row["nearest"]
                else f"To leave them out: --ignore {row['class']}; to count them as one of the "
                f"bundle's classes: --map {row['class']}=CLASS."
            )
        )
    return said


def _call(bundle: Bundle, dataset: Dataset, heard: Voice) -> Predictions:
    parts, done = [], 0
    for part in bundle.stream(dataset.samples):
        parts.append(part)
        done += len(part)
        heard.ticked(done, len(dataset), "calling")
    return Predictions.join(parts)


def _write(
    out: Path,
    bundle: Bundle,
    dataset: Dataset,
    calls: Predictions,
    metrics: dict[str, Any],
    columns: dict[str, Any],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    known = frozenset({"truth"})
    write_with(
        out / "predictions.csv",
        lambda f: shape(calls.frame(known)).to_csv(f, index=False, lineterminator="\n"),
    )
    record = {
        "title": f"Evaluation on {Path(dataset.origin).name or 'photographs'}",
        "metrics": metrics,
        "synthetic": dataset.synthetic or bundle.facts.synthetic,
        "temperature": bundle.facts.temperature,
        "threshold": bundle.facts.threshold,
        "promise": bundle.facts.origin.get("promise"),
        "by_column": columns,
        "caveats": [*dataset.notes, *in_words(metrics.get(OTHERS, ()))],
        "no_test": metrics.get("no_test", ""),
        "reading": bundle.facts.preprocessing.to_json(),
        "made": [*story.bundle_rows(bundle), ("Judged on", dataset.digest())],
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "findings": None,
    }
    write_text(out / "report.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    story.render(out)
