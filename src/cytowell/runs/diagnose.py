"""Why classical learners overfit on few images: curves over the number of images and the knob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cytowell.evaluation.intervals import wilson
from cytowell.learners.classical import KNOBS, class_scores, fit_model, inputs
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
            images = round(float(np.mean([s.learnt for s in scores])))
            rows.append(_point(candidate.name, "learning", "images", images, scores))
        for value in knob.along:
            turned = replace(settings, strength=float(value))
            scores = [_scores(name, X, dataset.labels, c, turned, seed, 1.0) for c in cuts]
            rows.append(_point(candidate.name, "validation", knob.name, value, scores))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Scores:
    """Accuracy on what was learnt and on the fold held out, and how many images each was."""

    train: float
    validation: float
    learnt: int
    tested: int


def _scores(
    name: str,
    X: Any,
    labels: IntArray,
    cut: tuple[IntArray, IntArray],
    settings: Any,
    seed: int,
    share: float,
) -> _Scores:
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
    classes = int(labels.max()) + 1

    def right(rows: IntArray) -> float:
        return float(np.mean(class_scores(model, X[rows], classes).argmax(axis=1) == labels[rows]))

    return _Scores(right(learn), right(judge), len(learn), len(judge))


def _point(
    candidate: str, curve: str, knob: str, x: float, scores: Sequence[_Scores]
) -> dict[str, Any]:
    row: dict[str, Any] = {"candidate": candidate, "curve": curve, "knob": knob, "x": x}
    ratio = float(np.mean([s.tested / s.learnt for s in scores]))
    for name, images in (
        ("train", float(np.mean([s.learnt for s in scores]))),
        ("validation", float(np.sum([s.tested for s in scores]))),
    ):
        values = np.array([getattr(s, name) for s in scores])
        low, high = interval(values, ratio, images)
        row |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return row


def interval(values: FloatArray, ratio: float, images: float) -> tuple[float, float]:
    """Give the 95 % interval of the mean of accuracies over folds, (K,).

    Parameters
    ----------
    ratio
        Images tested to images that were in fact learnt from, at this point of a curve: the fewer
        are learnt from, the more one choice of them differs from the next (Nadeau & Bengio 2003).
    images
        Separate images behind the mean. Folds that happen to agree are no proof: the interval is
        never narrower than Wilson's of as many.
    """
    k, mean = len(values), float(values.mean())
    reach = float(stats.t.ppf(0.975, k - 1) * np.sqrt((1 / k + ratio) * values.var(ddof=1)))
    low, high = wilson(mean * images, images) or (0.0, 1.0)
    return max(0.0, min(low, mean - reach)), min(1.0, max(high, mean + reach))
