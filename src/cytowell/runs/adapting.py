"""The parts of an adaptation: what photographs give, norms measured anew, a head refitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom
from sklearn.metrics import f1_score

from cytowell.errors import CytowellError
from cytowell.evaluation.intervals import FEW, resample_weights, unseen
from cytowell.images import ahead, load_seen
from cytowell.learners.contract import Ticked
from cytowell.runs.adaptation import Part
from cytowell.runtime import norms
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.head import Head, Statistics
from cytowell.runtime.session import Session
from cytowell.types import FloatArray, IntArray, Pixels, Sample

SHARE = 0.3
"""How far statistics of normalisation go towards those of the new photographs."""

LEAST, MOST = 16, 128
"""Photographs without which nothing is measured, and that are measured."""

ONE_CLASS = 0.95
"""Share of the photographs in one class beyond which the old head sees them as one class."""

RARE = 0.02
"""Share of the probability below which a class counts as not there."""


LEVEL = 0.001
"""Of the test that left-out labels are met by more than chance."""


@dataclass(frozen=True)
class Photographs:
    """Photographs that could be read: samples, their pixels (N, size, size, 3) and doubts."""

    samples: tuple[Sample, ...]
    pixels: Pixels
    doubts: tuple[str, ...]
    unreadable: tuple[str, ...]


def read(bundle: Bundle, samples: Sequence[Sample], ticked: Ticked, what: str) -> Photographs:
    """Read photographs as the bundle sees them; one that cannot be read is named."""
    record = bundle.facts.preprocessing
    kept: list[Sample] = []
    pixels: list[Pixels] = []
    doubts: list[str] = []
    failed: list[str] = []

    def one(sample: Sample) -> Any:
        try:
            return load_seen(sample, record)
        except CytowellError as error:
            return error

    for done, (sample, seen) in enumerate(zip(samples, ahead(one, samples), strict=True), 1):
        ticked(done, len(samples), what)
        if isinstance(seen, CytowellError):
            failed.append(str(seen))
            continue
        kept.append(sample)
        pixels.append(seen.pixels)
        doubts.append(seen.measured.doubt if seen.measured is not None else "")
    size = record.size
    stacked = np.stack(pixels) if pixels else np.zeros((0, size, size, 3), dtype=np.uint8)
    return Photographs(tuple(kept), stacked, tuple(doubts), tuple(failed))


def features(model: bytes, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Give the features (N, D) of pixels by a network."""
    session = Session(model, "backbone.onnx")
    pieces = np.array_split(np.arange(len(pixels)), max(1, len(pixels) // 4))
    found = ahead(lambda rows: session.features(pixels[rows]), pieces)
    return np.concatenate(list(found))


def evened(probabilities: FloatArray, count: int, seed: int) -> IntArray:
    """Draw photographs so that every class that is seen among them has the same share.

    Statistics of normalisation move with the mix of classes as with the stain. Of cells of which
    seven in ten were neutrophils, statistics as they came cost up to 8 points of accuracy over
    eight classes and gained 1 of five; with even shares they gained 7 to 10, and 9 to 16.
    """
    share = probabilities.mean(axis=0)
    there = share > RARE
    weight = (probabilities[:, there] / share[there]).sum(axis=1)
    order = np.random.default_rng(seed).permutation(len(weight))
    ends = np.cumsum(weight[order]) / weight.sum()
    places = (np.arange(count) + 0.5) / count
    drawn: IntArray = order[np.minimum(np.searchsorted(ends, places), len(order) - 1)]
    return drawn


def renormed(bundle: Bundle, pixels: Pixels, seed: int, threads: int) -> tuple[Part, bytes]:
    """Measure the statistics of normalisation anew; keep them if others come nearer by it.

    Half of the photographs is measured, and the distance of the other half to the training images
    judged: it falls where a laboratory differs in what normalisation carries, and rises where the
    photographs are like the training images or differ otherwise. No label is needed; where there
    are labels they decide, and the network is given too where the distance does not fall.
    """
    name = "normalisation"
    why = _refused(bundle, pixels)
    if why:
        return Part(name, False, why), bundle.model
    assert bundle.statistics is not None, "a bundle without them was refused"
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pixels))[: 2 * MOST]
    before = features(bundle.model, pixels[order])
    probabilities = bundle.probabilities(before)
    commonest = np.bincount(probabilities.argmax(axis=1)).max() / len(order)
    if commonest > ONE_CLASS:
        return Part(name, False, "the bundle sees nearly all of them as one class"), bundle.model
    change = np.zeros(len(order))
    half = np.arange(len(order)) % 2 == 0
    for measured in (half, ~half):
        model = _measured(bundle, pixels[order[measured]], probabilities[measured], seed, threads)
        after = features(model, pixels[order[~measured]])
        old = bundle.statistics.distance(before[~measured])
        change[~measured] = bundle.statistics.distance(after) / np.maximum(old, 1e-9) - 1
    draws = rng.integers(len(change), size=(1000, len(change)))
    found = float(np.median(change))
    low, high = around(found, np.median(change[draws], axis=1))
    kept = high < 0
    why = "left-out photographs come nearer to the training images"
    if not kept:
        why = "left-out photographs do not come nearer to the training images"
    part = Part(name, kept, why, "distance (median, share)", found, low, high)
    return part, _measured(bundle, pixels[order], probabilities, seed, threads)


def _refused(bundle: Bundle, pixels: Pixels) -> str:
    if len(pixels) < LEAST:
        return f"{len(pixels)} photographs are too few: it takes {LEAST} to measure"
    if not norms.norm_layers(bundle.model):
        return "the network has no batch normalisation whose statistics stand in its file"
    if bundle.statistics is None:
        return "the bundle does not say what its training images look like"
    return ""


def _measured(
    bundle: Bundle, pixels: Pixels, probabilities: FloatArray, seed: int, threads: int
) -> bytes:
    drawn = evened(probabilities, min(MOST, max(len(pixels), LEAST)), seed)
    found = norms.remeasured(bundle.model, pixels[drawn], SHARE, threads)
    return norms.rewritten(bundle.model, found)


def macro_f1(truth: IntArray, scores: FloatArray) -> float:
    """Give the mean F1 over the classes that are there."""
    there = np.unique(truth)
    called = scores.argmax(axis=1)
    return float(f1_score(truth, called, labels=there, average="macro", zero_division=0))


@dataclass(frozen=True)
class Gain:
    """A gain with its 95 % interval, and whether it is above 0 at 95 % confidence."""

    value: float
    low: float
    high: float
    shown: bool


def gain_of(
    truth: IntArray, before: FloatArray, after: FloatArray, groups: npt.NDArray[np.str_]
) -> Gain:
    """Give the gain of macro-F1 from one set of scores (N, C) to another.

    Whole groups are drawn; of fewer than `FEW` their photographs are.
    """
    there, y = np.unique(truth, return_inverse=True)
    units = np.unique(groups, return_inverse=True)[1]
    if units.max() + 1 < FEW:
        units = np.arange(len(truth))
    called = [scored.argmax(axis=1) for scored in (before, after)]
    hot = np.eye(len(there))[y]
    calls = [(c[:, None] == there).astype(np.float64) for c in called]
    values = []
    for block in resample_weights(int(units.max()) + 1, 1000, 0):
        weight = block[:, units]
        f1 = [2 * weight @ (hot * c) / np.maximum(weight @ (hot + c), 1e-9) for c in calls]
        values.append((f1[1] - f1[0]).mean(axis=1))
    drawn = np.concatenate(values)
    found = macro_f1(truth, after) - macro_f1(truth, before)
    low, high = around(found, drawn)
    if low == high:
        low, high = unseen(found, int(units.max()) + 1, (-1.0, 1.0))
    return Gain(found, float(low), float(high), bool(np.percentile(drawn, 5) > 0 and found > 0))


def around(value: float, drawn: FloatArray) -> tuple[float, float]:
    """Give the limits of 95 % of a bootstrap's draws, widened to hold the value itself."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return min(float(low), value), max(float(high), value)


def beyond_chance(truth: IntArray, logits: FloatArray) -> bool:
    """Whether left-out labels are met more often than by naming the commonest class.

    Permuted labels are met by chance, and a bundle that is wrong throughout makes chance look like
    a gain. The level of the binomial test is one in a thousand.
    """
    chance = float(np.bincount(truth).max() / len(truth))
    met = int((logits.argmax(axis=1) == truth).sum())
    return bool(binom.sf(met - 1, len(truth), chance) < LEVEL)


def statistics_with(
    old: Statistics | None, points: npt.NDArray[np.float32], labels: IntArray, classes: int
) -> Statistics | None:
    """Give the old statistics with the means of the newly labelled images, which come first."""
    if old is None:
        return None
    projected = old.project(points)
    means = np.full((classes, projected.shape[1]), np.nan, dtype=np.float32)
    means[: len(old.means)] = old.means
    for c in np.unique(labels):
        means[c] = projected[labels == c].mean(axis=0)
    own = np.clip(projected, -60_000, 60_000).astype(np.float16)
    most = max(len(old.stored), len(own))
    return replace(
        old,
        means=means,
        stored=np.concatenate([own, old.stored])[:most],
        stored_labels=np.concatenate([labels.astype(np.int16), old.stored_labels])[:most],
    )


def scores(head: Head, points: npt.NDArray[np.float32], classes: int) -> FloatArray:
    """Give logits (N, classes) by a head that may know fewer: the others are never called."""
    found = head.logits(points)
    return np.pad(found, ((0, 0), (0, classes - found.shape[1])), constant_values=-1e3)
