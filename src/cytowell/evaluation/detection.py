"""How well objects are found: average precision, counts, confusion, each by photograph.

Average precision is COCO's own program's (Lin et al. 2014, arXiv 1405.0312; pycocotools); intervals
are the bootstrap over photographs, its percentiles expanded where they are few.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import chi2

from cytowell.errors import BadTable
from cytowell.evaluation.intervals import percentile_interval, unseen
from cytowell.types import Box, FloatArray, IntArray

RESAMPLES = 200
MOST = 1000
"""Boxes of a class in one photograph that are looked at; COCO's usual hundred is less than a plate
or a smear holds."""

SCORES = np.round(np.arange(0.05, 0.96, 0.01), 2)
"""Certainties that are weighed against one another."""

HALF = 0.5
"""Overlap at which a box counts as the object, in precision, recall and confusion."""


@dataclass(frozen=True)
class Seen:
    """One photograph: what is there, and what was found, the surest first.

    Attributes
    ----------
    truth, found
        Boxes in pixels of the upright photograph.
    truth_labels, found_labels
        Class indices.
    scores
        Certainties 0..1 of what was found, from next to nothing upwards.
    """

    truth: tuple[Box, ...]
    truth_labels: IntArray
    found: tuple[Box, ...]
    found_labels: IntArray
    scores: FloatArray


def evaluate_boxes(
    photographs: Sequence[Seen],
    classes: Sequence[str],
    score: float,
    seed: int = 7,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Give every figure of found boxes.

    Parameters
    ----------
    score
        Certainty from which on a box counts, in precision, recall, counts and confusion; average
        precision looks at all of them.
    resamples
        Of the bootstrap; without any there are no intervals.

    Returns
    -------
    dict
        `n` photographs, `objects`, `map50_95`, `map50` as {value, low, high}, `per_class` with
        `n, ap50_95, ap50, precision, recall, count_error` (mean absolute difference of the counts
        of a photograph) and `curve` (precision at an overlap of a half where recall is 0, 0.01 ...
        1), `confusion` (truth down, found across, the last row and column stand for
        nothing there and nothing found), and `score`.

    Raises
    ------
    BadTable
        If no photograph holds an object.
    """
    objects = int(sum(len(p.truth) for p in photographs))
    if not objects:
        raise BadTable(
            "There is no object to judge by.", "Give annotated photographs: YOLO, COCO or VOC."
        )
    judge = _judged(photographs, len(classes))
    rng = np.random.default_rng(seed)
    count = len(photographs)
    drawn = [rng.integers(0, count, count) for _ in range(resamples)]
    # (resamples + 1, classes, 2): average precision over all overlaps, and at a half.
    found = np.stack([_precision(judge, rows) for rows in [np.arange(count), *drawn]])
    curves = _curves(judge)
    present = [
        k for k in range(len(classes)) if any((p.truth_labels == k).any() for p in photographs)
    ]
    counts = np.stack([_counts(p, len(classes), score) for p in photographs])
    errors = np.abs(counts[:, 0] - counts[:, 1])
    # A class is measured by the photographs that hold it.
    holding = (counts[:, 0] > 0).sum(axis=0).tolist()
    rows = []
    for k, name in enumerate(classes):
        there = int(counts[:, 0, k].sum())
        hit, called = _hits(judge, k, score)
        rows.append(
            {
                "class": name,
                "n": there,
                "ap50_95": _range(found[:, k, 0], holding[k]) if k in present else None,
                "ap50": _range(found[:, k, 1], holding[k]) if k in present else None,
                "precision": hit / called if called else None,
                "recall": hit / there if there else None,
                "count_error": _range(
                    np.array([errors[r, k].mean() for r in [np.arange(count), *drawn]]),
                    count,
                    most=np.inf,
                ),
                "curve": curves[:, k].tolist() if k in present else None,
            }
        )
    return {
        "n": count,
        "objects": objects,
        "score": score,
        "map50_95": _range(_mean(found[:, present, 0]), count),
        "map50": _range(_mean(found[:, present, 1]), count),
        "per_class": rows,
        "confusion": confusion(photographs, len(classes), score).tolist(),
    }


def choose_score(photographs: Sequence[Seen], classes: int) -> float:
    """Give the certainty at which what is found fits what is there best.

    It is where F1, the mean over the classes that are there, is largest; of equal ones the middle.
    """
    judge = _judged(photographs, classes)
    there = np.stack([_counts(p, classes, 1.1)[0] for p in photographs]).sum(axis=0)
    present = np.flatnonzero(there)
    worth = []
    for score in SCORES:
        hits = [(_hits(judge, int(k), float(score)), there[k]) for k in present]
        worth.append(np.mean([2 * hit / max(1, called + n) for (hit, called), n in hits]))
    best = np.flatnonzero(np.isclose(worth, max(worth)))
    return float(SCORES[best[len(best) // 2]])


def confusion(photographs: Sequence[Seen], classes: int, score: float) -> IntArray:
    """Count what was found as what; (classes + 1, classes + 1), the last for nothing.

    Every found box takes the object that it overlaps most, the surest box first, whatever the
    classes are.
    """
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for p in photographs:
        for there, found in matched(p, score):
            row = classes if there < 0 else p.truth_labels[there]
            column = classes if found < 0 else p.found_labels[found]
            counts[row, column] += 1
    return counts


def matched(p: Seen, score: float) -> list[tuple[int, int]]:
    """Give pairs of what is there and what was found; -1 for nothing there, or nothing found."""
    sure = [i for i in range(len(p.found)) if p.scores[i] >= score]
    shares = _shares([p.found[i] for i in sure], p.truth)
    free = np.ones(len(p.truth), dtype=np.bool_)
    pairs = []
    for row, i in enumerate(sure):
        best = int(np.argmax(shares[row] * free)) if free.any() else -1
        if best >= 0 and free[best] and shares[row, best] >= HALF:
            free[best] = False
            pairs.append((best, i))
        else:
            pairs.append((-1, i))
    return pairs + [(int(j), -1) for j in np.flatnonzero(free)]


def _shares(found: Sequence[Box], truth: Sequence[Box]) -> FloatArray:
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    shares: FloatArray = np.asarray(
        mask.iou(_plain(found), _plain(truth), [0] * len(truth)), dtype=np.float64
    )
    return shares


def _plain(boxes: Sequence[Box]) -> FloatArray:
    return np.array([[b.x, b.y, b.width, b.height] for b in boxes], dtype=np.float64)


def _judged(photographs: Sequence[Seen], classes: int) -> Any:
    """Let COCO's program match all photographs once."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, p in enumerate(photographs):
        for b, k in zip(p.truth, p.truth_labels, strict=True):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": int(k),
                    "bbox": [b.x, b.y, b.width, b.height],
                    "area": b.width * b.height,
                    "iscrowd": 0,
                }
            )
        for b, k, s in zip(p.found, p.found_labels, p.scores, strict=True):
            found.append(
                {
                    "image_id": number,
                    "category_id": int(k),
                    "bbox": [b.x, b.y, b.width, b.height],
                    "score": float(s),
                }
            )
    images = [{"id": i} for i in range(len(photographs))]
    # The program speaks to the terminal; nobody has asked it to.
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": images,
            "annotations": truth,
            "categories": [{"id": k, "name": str(k)} for k in range(classes)],
            "info": {},
        }
        known.createIndex()
        given = known.loadRes(found) if found else COCO()
        if not found:
            given.dataset = known.dataset | {"annotations": []}
            given.createIndex()
        judge = COCOeval(known, given, "bbox")
        judge.params.areaRng = [[0, 1e10]]
        judge.params.areaRngLbl = ["all"]
        judge.params.maxDets = [MOST]
        judge.evaluate()
    return judge


def _precision(judge: Any, rows: IntArray) -> FloatArray:
    """Give average precision (classes, 2) over these photographs, drawn as often as they stand."""
    p = judge.params
    count, classes = len(p.imgIds), len(p.catIds)
    kept, saved = judge.evalImgs, judge._paramsEval
    try:
        judge.evalImgs = [kept[k * count + int(i)] for k in range(classes) for i in rows]
        # Photographs that are drawn twice count twice: numbers of their own keep them apart.
        drawn = type(saved)(iouType="bbox")
        drawn.__dict__.update(saved.__dict__)
        drawn.imgIds = list(range(len(rows)))
        judge._paramsEval = drawn
        with contextlib.redirect_stdout(io.StringIO()):
            judge.accumulate(drawn)
        found = judge.eval["precision"][:, :, :, 0, 0]
    finally:
        judge.evalImgs, judge._paramsEval = kept, saved
    found = np.where(found < 0, np.nan, found)
    both: FloatArray = np.stack([found.mean(axis=(0, 1)), found[0].mean(axis=0)], axis=1)
    return both


def _curves(judge: Any) -> FloatArray:
    """Give precision (101, classes) at an overlap of a half, by recall in hundredths."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()
    found: FloatArray = np.maximum(judge.eval["precision"][0, :, :, 0, 0], 0.0)
    return found


def _mean(points: FloatArray) -> FloatArray:
    """Give the mean over classes (R, K) of what is known; NaN where nothing is."""
    known = np.isfinite(points)
    total = np.where(known, points, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    means: FloatArray = np.full(len(points), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _counts(p: Seen, classes: int, score: float) -> IntArray:
    """Give objects there and found by class; (2, classes)."""
    sure = p.found_labels[p.scores >= score]
    return np.stack(
        [np.bincount(p.truth_labels, minlength=classes), np.bincount(sure, minlength=classes)]
    ).astype(np.int64)


def _hits(judge: Any, label: int, score: float) -> tuple[int, int]:
    """Give how many found boxes of a class are objects of it, and how many were found."""
    count = len(judge.params.imgIds)
    hit = called = 0
    for one in judge.evalImgs[label * count : (label + 1) * count]:
        if one is None:
            continue
        sure = np.asarray(one["dtScores"]) >= score
        called += int(sure.sum())
        hit += int((np.asarray(one["dtMatches"])[0][sure] > 0).sum())
    return hit, called


def _range(values: FloatArray, photographs: int, most: float = 1.0) -> dict[str, float | None]:
    """Give the first value, and between which 95 % of the others lie.

    Where the photographs do not differ, or there is one, no draw varies and the percentiles would
    have no width: the bound is then that of what so few photographs may have missed.

    Parameters
    ----------
    most
        The largest value that the figure can have; infinite for a count.
    """
    value = float(values[0]) if np.isfinite(values[0]) else None
    others = values[1:][np.isfinite(values[1:])]
    if value is None or len(others) <= 10:
        return {"value": value, "low": None, "high": None}
    ends = percentile_interval(others, photographs, (0.0, most))
    assert ends is not None, "what is not finite was left out"
    low, high = min(ends[0], value), max(ends[1], value)
    if high - low < 1e-9:
        low, high = _poisson(value, photographs) if np.isinf(most) else unseen(value, photographs)
    return {"value": value, "low": low, "high": high}


def _poisson(mean: float, count: int) -> tuple[float, float]:
    """Give the exact interval of a mean count (Garwood 1936, doi 10.1093/biomet/28.3-4.437)."""
    total = mean * count
    low = chi2.ppf(0.025, 2 * total) / 2 if total > 0 else 0.0
    return float(low / count), float(chi2.ppf(0.975, 2 * total + 2) / 2 / count)
