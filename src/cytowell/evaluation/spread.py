"""Which interval belongs to which figure: Wilson, bootstrap, or a bound where neither can tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cytowell.evaluation import scores
from cytowell.evaluation.intervals import (
    Interval,
    is_point,
    percentile_interval,
    resample_weights,
    wilson,
)
from cytowell.evaluation.judged import Judged, Key
from cytowell.types import BoolArray, FloatArray

_RANK_BUDGET = 60_000_000
"""Rows x classes x draws that are gone through for ROC-AUC and average precision."""

_RANK_DRAWS = 200
"""Never fewer draws than these, unless fewer are asked for."""

_BLOCK = 2_000_000
"""Rows x draws held in memory at once."""

_SHARES = ("macro_", "weighted_", "balanced_", "roc_auc", "average_precision")
_SPANS: dict[Key, Interval] = {
    "mcc": (-1.0, 1.0),
    "brier": (0.0, 2.0),
    "log_loss": (0.0, np.inf),
    "lr_positive": (0.0, np.inf),
    "lr_negative": (0.0, np.inf),
}
"""Range of figures that is not that of a share."""

_DERIVED = ("lr_positive", "lr_negative", "ppv_at_prevalence", "npv_at_prevalence")


def draw(judged: Judged, resamples: int, seed: int) -> dict[Key, FloatArray]:
    """Give every figure on resampled groups; each (R,), or fewer for the ranked ones."""
    if not len(judged):
        return {}
    work = len(judged) * len(judged.classes)
    ranked = min(resamples, max(_RANK_DRAWS, _RANK_BUDGET // work))
    step = max(1, _BLOCK // len(judged))
    drawn: dict[Key, list[FloatArray]] = {}
    done = 0
    for block in resample_weights(judged.groups, resamples, seed):
        for start in range(0, len(block), step):
            weights = block[start : start + step]
            found = judged.figures(weights)
            if done < ranked:
                found |= judged.rank_figures(weights[: ranked - done])
            done += len(weights)
            for key, values in found.items():
                drawn.setdefault(key, []).append(values)
    return {key: np.concatenate(values) for key, values in drawn.items()}


def interval(
    judged: Judged, key: Key, value: float, drawn: Mapping[Key, FloatArray]
) -> Interval | None:
    """Choose the 95 % interval of a figure; None where nothing can be said."""
    if np.isnan(value) or not len(judged):
        return None
    rows = judged.share(key)
    if _one_group(judged, key, rows):
        return None
    if rows is not None and (judged.alone or value in (0, 1)):
        count = judged.groups_where(rows)
        return wilson(value * count, count)
    if key in _DERIVED and (value in (0, np.inf) or (value == 1 and "prevalence" in key)):
        return _corners(judged, str(key))
    bounded = not isinstance(key, str) or key.startswith(_SHARES)
    if (bounded and value in (0, 1)) or (key == "mcc" and value == 1):
        return _stand_in(judged, key, value)
    count = judged.groups if rows is None else judged.groups_where(rows)
    ends = percentile_interval(drawn[key], count, _SPANS.get(key, (0.0, 1.0)))
    if ends is None or is_point(ends):
        return None
    return min(ends[0], value), max(ends[1], value)


def _one_group(judged: Judged, key: Key, rows: BoolArray | None) -> bool:
    """Whether all images that a figure is made of belong to one group: it says nothing of others.

    A figure of a class is made of its images, whatever others are called it; and of a single image
    that is no part of a group, as much is known as of any other.
    """
    made_of = [np.ones(len(judged), dtype=np.bool_)] if rows is None else [rows]
    if not isinstance(key, str) and key[0] != "precision":
        made_of.append(judged.truth == key[1])
    grouped = not judged.alone
    return any(grouped and judged.groups_where(mask) == 1 and mask.sum() > 1 for mask in made_of)


def _stand_in(judged: Judged, key: Key, value: float) -> Interval | None:
    """Bound a figure of 0 or 1, which no draw varies: Wilson of as many groups, all alike."""
    if not isinstance(key, str):
        inside = judged.groups_where(judged.truth == key[1])
        outside = judged.groups_where(judged.truth != key[1])
        count = min(inside, outside) if key[0] == "roc_auc" else inside
        return wilson(value * count, count)
    whole = wilson(value * judged.groups, judged.groups)
    if key.startswith("weighted_") or whole is None:
        return whole
    if key == "mcc":
        # What is right beyond guessing among C classes.
        many = len(judged.classes)
        return max(0.0, 1 - (1 - whole[0]) * many / max(many - 1, 1)), 1.0
    single = "recall" if key == "balanced_accuracy" else key.removeprefix("macro_")
    present = np.unique(judged.truth if single == "recall" else [judged.truth, judged.called])
    ends = [_stand_in(judged, (single, int(c)), value) for c in present]
    known = np.array([end for end in ends if end is not None])
    return float(known[:, 0].mean()), float(known[:, 1].mean())


def _corners(judged: Judged, key: str) -> Interval | None:
    """Bound what follows from sensitivity and specificity by their own Wilson bounds together."""
    ends = []
    for name in ("sensitivity", "specificity"):
        rows = judged.share(name)
        assert rows is not None
        right, count = judged.right[rows].mean(), judged.groups_where(rows)
        bound = wilson(float(right) * count, count)
        assert bound is not None
        ends.append(bound)
    sensitivity, specificity = np.array(ends)
    given = scores.ratios(sensitivity, specificity)
    if judged.prevalence is not None:
        given |= scores.predictive_values(sensitivity, specificity, judged.prevalence)
    found = given[key]
    return float(found.min()), float(found.max())
