"""A bundle on labelled photographs: figures, calls and a page."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from cytowell.errors import BadTable
from cytowell.evaluation.metrics import evaluate, evaluate_by
from cytowell.registry import did_you_mean
from cytowell.runs import story
from cytowell.runs.run import Voice
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.calls import shape
from cytowell.storage import write_text, write_with
from cytowell.types import Dataset, Predictions


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
        If no image has a label, or a label is none of the bundle's classes.

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
    strange = sorted(set(dataset.classes) - set(bundle.classes))
    if not dataset.classes:
        raise BadTable(
            f"{dataset.origin} has no labels to judge by.",
            "Give class folders, or a table with a column truth or label.",
        )
    if strange:
        raise BadTable(
            f"{dataset.origin} has the label {strange[0]!r}, which the bundle does not know.",
            did_you_mean(strange[0], [*bundle.classes]),
        )
    labelled = dataset.take(dataset.labels >= 0)
    calls = _call(bundle, labelled, heard)
    chosen = positive or bundle.facts.positive
    metrics = evaluate(calls, positive=chosen, prevalence=prevalence)
    columns = {}
    if by:
        columns = {by: evaluate_by(calls, by, positive=chosen, prevalence=prevalence)}
    if out is not None:
        _write(out, bundle, labelled, calls, metrics, columns)
    return metrics | ({"by": columns} if by else {})


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
        "caveats": list(dataset.notes),
        "reading": bundle.facts.preprocessing.to_json(),
        "made": [*story.bundle_rows(bundle), ("Judged on", dataset.digest())],
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "findings": None,
    }
    write_text(out / "report.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    story.render(out)
