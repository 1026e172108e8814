"""Figures across kinds of photographs (two stains, two cameras) where nobody named groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cytowell.evaluation.metrics import evaluate
from cytowell.evaluation.verdict import percent, percent_range
from cytowell.learners.contract import Makings, Ticked
from cytowell.learners.linear import spanning
from cytowell.runs.assemble import assemble
from cytowell.runs.recipe import Recipe
from cytowell.types import Dataset, Findings, Predictions, Split

MOST = 2_000
"""Images up to which a head is fitted once more without each kind: above, minutes would be lost."""


def across_kinds(
    fit: Callable[[Dataset, Split], Makings],
    grouped: Dataset,
    findings: Findings,
    made: Split,
    recipe: Recipe,
    ticked: Ticked,
) -> Predictions | None:
    """Give calls of each kind by a head that was fitted on the others, kinds as groups.

    None where there are no kinds, no two classes come from two of them, or the learner takes
    minutes for each.
    """
    if not findings.kinds or recipe.learner != "frozen":
        return None
    kinds = np.array(findings.kinds)
    rows = np.flatnonzero((made.parts != "excluded") & (kinds != ""))
    if len(rows) > MOST or len(spanning(grouped.labels[rows], kinds[rows])) < 2:
        return None
    samples = tuple(replace(grouped.samples[i], group=str(kinds[i])) for i in rows)
    data = replace(grouped, samples=samples)
    every = Split(np.full(len(rows), "train"), data.paths, how="kinds", seed=recipe.seed)
    makings = fit(data, every)
    none = np.zeros(0, dtype=np.int64)
    done = assemble(makings, data, every.train, none, recipe.wrong, recipe.seed, ticked)
    return done.tested[0] if done.tested else None


def by_kind(across: Predictions, calls: Predictions, findings: Findings) -> dict[str, Any]:
    """Give figures across kinds, and of each kind: by others, and among its own.

    No figure of a single kind across kinds has an interval: it is one group.
    """
    own = dict(zip(findings.table["path"], findings.kinds, strict=True))
    kinds = np.array([own.get(s.path, "") for s in calls.samples])
    whole = evaluate(across)
    rows = []
    for kind in np.unique(across.groups):
        within = evaluate(calls.take(kinds == kind), resamples=200)
        away = evaluate(across.take(across.groups == kind), resamples=1)
        rows.append(
            {
                "kind": str(kind),
                "n": away["n"],
                "across": away["accuracy"]["value"],
                "within": within["accuracy"] if within["n"] else None,
            }
        )
    return {"accuracy": whole["accuracy"], "macro_f1": whole["macro_f1"], "kinds": rows}


def said_of(found: Mapping[str, Any]) -> list[str]:
    """Say the figures in a sentence each, the one across kinds first."""
    parts = ", ".join(f"{r['kind']}: {percent(r['across'])} of {r['n']}" for r in found["kinds"])
    inside = ", ".join(
        f"{r['kind']}: {percent_range(r['within'])}" for r in found["kinds"] if r["within"]
    )
    return [
        f"Across kinds of photographs, each called by a head that was fitted on the others: "
        f"accuracy {percent_range(found['accuracy'])} ({parts}).",
        f"Where images of the same kind taught: {inside}. Expect the figures across kinds on "
        "photographs of a further kind.",
    ]
