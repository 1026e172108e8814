"""Why classical learners overfit on few images: curves over the number of images and the knob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cytowell.learners.classical import KNOBS, fit_model, inputs
from cytowell.learners.linear import folds
from cytowell.runs.candidates import Candidate
from cytowell.types import Dataset, FloatArray, IntArray

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
"""Shares of the images that a learning curve learns from."""

FOLDS = 5

COLUMNS = (
    "candidate", "curve", "knob", "x", "train", "train_low", "train_high",
    "validation", "validation_low", "validation_high",
)  # fmt: skip


def curves(
    dataset: Dataset, candidates: Sequence[Candidate], seed: int, voice: Any
) -> pd.DataFrame:
    """Draw learning and validation curves of the classical candidates.

    A learning curve learns from growing shares of the images of each fold; a validation curve
    turns the learner's knob. Scores are accuracies on what was learnt and on the fold held out.

    Returns
    -------
    DataFrame
        One row per point, with `COLUMNS`; intervals are 95 % over folds, corrected for the images
        that folds share (Nadeau & Bengio 2003).
    """
    rows: list[dict[str, Any]] = []
    classical = [c for c in candidates if c.recipe.learner in KNOBS]
    for number, candidate in enumerate(classical):
        voice.ticked(number, len(classical), "curves")
        settings = candidate.recipe.settings
        X = inputs(dataset, settings, candidate.recipe.reading)
        cuts = folds(dataset.labels, dataset.groups, FOLDS, seed)
        name, knob = candidate.recipe.learner, KNOBS[candidate.recipe.learner]
        for share in SHARES:
            scores = [_scores(name, X, dataset.labels, c, settings, seed, share) for c in cuts]
            images = round(share * float(np.mean([len(c[0]) for c in cuts])))
            rows.append(_point(candidate.name, "learning", "images", images, scores, cuts))
        for value in knob.along:
            turned = replace(settings, strength=float(value))
            scores = [_scores(name, X, dataset.labels, c, turned, seed, 1.0) for c in cuts]
            rows.append(_point(candidate.name, "validation", knob.name, value, scores, cuts))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(
    name: str,
    X: Any,
    labels: IntArray,
    cut: tuple[IntArray, IntArray],
    settings: Any,
    seed: int,
    share: float,
) -> tuple[float, float]:
    learn, judge = cut
    if share < 1:
        order = np.random.default_rng(seed).permutation(learn)
        # Of every class its share, at least two images, so that each curve is of all classes.
        kept = []
        for c in np.unique(labels):
            mine = order[labels[order] == c]
            kept.append(mine[: max(2, round(share * len(mine)))])
        learn = np.concatenate(kept)
    model = fit_model(name, X[learn], labels[learn], settings, seed)
    return (
        float(np.mean(model.predict(X[learn]) == labels[learn])),
        float(np.mean(model.predict(X[judge]) == labels[judge])),
    )


def _point(
    candidate: str,
    curve: str,
    knob: str,
    x: float,
    scores: Sequence[tuple[float, float]],
    cuts: Sequence[tuple[IntArray, IntArray]],
) -> dict[str, Any]:
    ratio = float(np.mean([len(judge) / len(learn) for learn, judge in cuts]))
    row: dict[str, Any] = {"candidate": candidate, "curve": curve, "knob": knob, "x": x}
    for place, name in enumerate(("train", "validation")):
        values = np.array([s[place] for s in scores])
        low, high = _interval(values, ratio)
        row |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return row


def _interval(values: FloatArray, ratio: float) -> tuple[float, float]:
    k, mean = len(values), float(values.mean())
    reach = float(stats.t.ppf(0.975, k - 1) * np.sqrt((1 / k + ratio) * values.var(ddof=1)))
    return max(0.0, mean - reach), min(1.0, mean + reach)
