"""From what a learner leaves to a bundle: calibration, thresholds, statistics, calls.

Everything here is computed by the exported network, in ONNX Runtime, with weights as stored: the
figures are those of the bundle, not of what it was exported from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from cytowell.errors import DatasetError
from cytowell.evaluation.calibration import Calibration, fit_calibration, fit_farthest
from cytowell.evaluation.promise import Promise, promise
from cytowell.learners.contract import Makings, TestFold, Ticked
from cytowell.learners.linear import fit_head, judging_folds
from cytowell.learners.statistics import statistics_of
from cytowell.runtime.bundle import Bundle, Facts, MapSlice, decide
from cytowell.runtime.head import Head, Statistics
from cytowell.runtime.pipeline import Batch
from cytowell.runtime.reference import Reference, reference_of
from cytowell.types import Dataset, FloatArray, IntArray, Predictions

MOST_LOOKED_AT = 4_000
"""Training images whose features make the statistics and the figures of the training part."""


@dataclass(frozen=True)
class Assembled:
    """A bundle, and its features of the images that calibrated it and of some it learnt from.

    Attributes
    ----------
    unscaled
        The same without calibration.
    tested
        Where nothing was held back, `cross_fitted` calls and the same without calibration.
    """

    bundle: Bundle
    learnt: Batch
    calibrating: Batch | None
    unscaled: Bundle
    tested: tuple[Predictions, ...] | None = None
    """A class that comes from one group alone has no such calls."""


def gather(bundle: Bundle, dataset: Dataset, rows: IntArray, ticked: Ticked, what: str) -> Batch:
    """Give features of the samples at these positions as one batch."""
    samples = [dataset.samples[int(i)] for i in rows]
    batches, done = [], 0
    for batch in bundle.features(samples):
        batches.append(batch)
        done += len(batch.samples)
        ticked(done, len(samples), what)
    kept = [b.features for b in batches if len(b.features)]
    if not kept:
        raise DatasetError(f"None of the images to be called ({what}) can be read.")
    return Batch(
        tuple(s for b in batches for s in b.samples),
        tuple(e for b in batches for e in b.errors),
        np.concatenate(kept),
        tuple(d for b in batches for d in b.doubts),
        np.concatenate([b.appearances for b in batches]),
    )


def labels_of(batch: Batch, classes: tuple[str, ...]) -> IntArray:
    """Give class indices of a batch's readable samples."""
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[batch.samples[i].label or ""] for i in batch.called], dtype=np.int64)


@dataclass(frozen=True)
class Calibrated:
    """What images that were not learnt from decide: probabilities, and which calls are made."""

    calibration: Calibration
    promise: Promise
    farthest: float

    def on(self, facts: Facts, head: Head) -> tuple[Facts, Head]:
        """Give the facts and the head of the bundle; its softmax divides the bias too."""
        temperature = self.calibration.temperature
        facts = replace(
            facts,
            temperature=temperature,
            threshold=self.promise.threshold,
            farthest=self.farthest,
            origin=facts.origin | {"promise": self.promise.to_json()},
        )
        return facts, replace(head, bias=head.bias + temperature * self.calibration.bias)


@dataclass(frozen=True)
class Held:
    """Images that were not learnt from: N rows of logits, class indices, distances and groups."""

    logits: FloatArray
    truth: IntArray
    distances: FloatArray
    groups: npt.NDArray[np.str_]

    def take(self, rows: IntArray, logits: FloatArray) -> Held:
        """Give these rows with other logits."""
        return Held(logits, self.truth[rows], self.distances[rows], self.groups[rows])


def calibrate(held: Held, makings: Makings, learnt: IntArray, wrong: float) -> Calibrated:
    """Fit temperature, bias, distance limit and threshold, in this order.

    Images whose logits or distance are NaN, which no fold could judge, have no say.

    Parameters
    ----------
    learnt
        Class indices of the images that the head learnt from: their shares are the class mix.
    """
    counts = np.bincount(learnt, minlength=len(makings.classes))
    shift = makings.evened * np.log(np.maximum(counts, 0.5) / max(1, len(learnt)))
    calibration = fit_calibration(held.logits, held.truth, makings.expected, shift)
    known = np.isfinite(held.distances)
    farthest = fit_farthest(held.distances[known]) if known.any() else float("inf")
    near = held.distances <= farthest
    sure = calibration.probabilities(held.logits[near])
    promised = promise(sure, held.truth[near], wrong, held.groups[near])
    return Calibrated(calibration, promised, farthest)


def assemble(
    makings: Makings,
    dataset: Dataset,
    train: IntArray,
    validation: IntArray,
    wrong: float,
    seed: int,
    ticked: Ticked,
) -> Assembled:
    """Make the bundle.

    Parameters
    ----------
    dataset
        With the unit that may not be torn apart as each sample's group.
    train, validation
        Positions in `dataset`; without validation the makings' out-of-fold logits calibrate.
    wrong
        Share of the calls made that may be wrong.
    """
    facts = Facts(makings.classes, makings.record, maps=makings.maps, synthetic=dataset.synthetic)
    draft = Bundle(facts, makings.head, None, makings.model)
    refit = bool(makings.balance)
    looked_at = train
    if len(train) > MOST_LOOKED_AT and not refit:
        looked_at = np.random.default_rng(seed).permutation(train)[:MOST_LOOKED_AT]
    looked_at = np.sort(looked_at)
    learnt = gather(draft, dataset, looked_at, ticked, "features of the training part")
    y = labels_of(learnt, makings.classes)
    head = _refitted(makings, learnt, y, seed) if refit else makings.head
    statistics = statistics_of(learnt.features, y, len(makings.classes), seed, makings.maps)
    calibrating, tested = None, None
    of_learnt = np.full(len(learnt.called), np.nan)
    mix = dataset.labels[train]
    if len(validation):
        calibrating = gather(draft, dataset, np.sort(validation), ticked, "calibration")
        held = Held(
            head.logits(calibrating.features),
            labels_of(calibrating, makings.classes),
            statistics.distance(calibrating.features),
            dataset.groups[np.sort(validation)][calibrating.called],
        )
    else:
        assert makings.logits is not None, "nothing was held back and nothing is out of fold"
        groups = dataset.groups[looked_at][learnt.called]
        found = out_of_fold_distances(learnt.features, y, groups, statistics, makings.maps, seed)
        of_learnt = found
        # Of very many images not all are looked at: the others count as near.
        distances = np.zeros(len(train))
        order = np.argsort(train)
        distances[order[np.searchsorted(train[order], looked_at[learnt.called])]] = found
        held = Held(makings.logits, mix, distances, dataset.groups[train])
        tested = tuple(cross_fitted(held, makings, facts, dataset, train, wrong, seed))
    done, final = calibrate(held, makings, mix, wrong).on(facts, head)
    plain = replace(done, temperature=1.0, threshold=0.0, farthest=None)
    made = Bundle(done, final, statistics, makings.model, subclasses=makings.subclasses)
    reference = reference_on(made, dataset, (learnt, of_learnt), calibrating, seed)
    return Assembled(
        made.with_reference(reference),
        learnt,
        calibrating,
        Bundle(plain, head, statistics, makings.model),
        tested,
    )


def logits_of(
    makings: Makings, dataset: Dataset, train: IntArray, rows: IntArray, seed: int, ticked: Ticked
) -> FloatArray:
    """Give logits of the samples at `rows` by the head as the bundle of these makings has it."""
    draft = Bundle(Facts(makings.classes, makings.record, maps=makings.maps), makings.head, None,
                   makings.model)  # fmt: skip
    head = makings.head
    if makings.balance:
        learnt = gather(draft, dataset, np.sort(train), ticked, "features of the training part")
        head = _refitted(makings, learnt, labels_of(learnt, makings.classes), seed)
    return head.logits(gather(draft, dataset, rows, ticked, "left-out groups").features)


def reference_on(
    bundle: Bundle,
    dataset: Dataset,
    trained: tuple[Batch, FloatArray],
    held_back: Batch | None,
    seed: int,
) -> Reference | None:
    """Give what new images are compared with, None where nothing was measured.

    Parameters
    ----------
    dataset
        With the unit that may not be torn apart as each sample's group.
    trained
        Features of training images and the distance of each to others; NaN where it is not known.
    held_back
        Features of images that were not trained on.
    """
    assert bundle.statistics is not None
    parts = [trained]
    if held_back is not None:
        parts.append((held_back, bundle.statistics.distance(held_back.features)))
    if any(len(batch.appearances) != len(batch.features) for batch, _ in parts):
        return None
    units = {(s.path, s.box): str(g) for s, g in zip(dataset.samples, dataset.groups, strict=True)}
    samples = [batch.samples[int(i)] for batch, _ in parts for i in batch.called]
    features = np.concatenate([batch.features for batch, _ in parts])
    return reference_of(
        np.concatenate([batch.appearances for batch, _ in parts]),
        np.concatenate([distances for _, distances in parts]),
        bundle.head.logits(features).argmax(axis=1),
        [units.get((s.path, s.box), s.path) for s in samples],
        seed,
    )


def _refitted(makings: Makings, learnt: Batch, y: IntArray, seed: int) -> Head:
    """Fit the head anew on the finished features that it uses."""
    used = np.any(makings.head.weight != 0, axis=0)
    part = fit_head(
        learnt.features[:, used], y, len(makings.classes), balance=makings.balance, seed=seed
    )
    weight = np.zeros_like(makings.head.weight)
    weight[:, used] = part.weight
    return replace(makings.head, weight=weight, bias=part.bias)


def cross_fitted(
    held: Held,
    makings: Makings,
    facts: Facts,
    dataset: Dataset,
    rows: IntArray,
    wrong: float,
    seed: int,
) -> Iterator[Predictions]:
    """Give the calls of every image as figures need them, then the same without calibration.

    What calls an image (head, temperature, bias, threshold, distance limit) was fitted without its
    fold. Fitted on the very images that are then reported, 99.99 % of the calls made were right
    where 98.5 to 99.0 was true.
    """
    tested = makings.folds or _folds_of(held, seed)
    probabilities = np.full(held.logits.shape, np.nan)
    before = np.zeros_like(held.logits)
    decided = np.zeros(len(rows), dtype=np.bool_)
    reasons = [""] * len(rows)
    for fold in tested:
        others = held.take(fold.train, fold.train_logits)
        fitted = calibrate(others, makings, others.truth, wrong)
        limits = replace(facts, threshold=fitted.promise.threshold, farthest=fitted.farthest)
        found = fitted.calibration.probabilities(fold.test_logits)
        probabilities[fold.test] = found
        before[fold.test] = softmax(fold.test_logits, axis=1)
        decided[fold.test], why = decide(limits, found, held.distances[fold.test])
        for row, reason in zip(fold.test, why, strict=True):
            reasons[row] = reason
    kept = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    samples = tuple(dataset.samples[int(rows[i])] for i in kept)
    none = ("",) * len(kept)
    whys = tuple(reasons[i] for i in kept)
    yield Predictions(samples, facts.classes, probabilities[kept], decided[kept], whys, none)
    every = np.ones(len(kept), dtype=np.bool_)
    yield Predictions(samples, facts.classes, before[kept], every, none, none)


def _folds_of(held: Held, seed: int) -> tuple[TestFold, ...]:
    """Cross-fit the calibration alone, where a learner leaves out-of-fold logits and no folds."""
    known = np.flatnonzero(np.isfinite(held.logits).all(axis=1))
    cuts = judging_folds(held.truth[known], held.groups[known], 5, seed)
    pairs = ((known[a], known[b]) for a, b in cuts)
    return tuple(TestFold(a, b, held.logits[a], held.logits[b]) for a, b in pairs)


def out_of_fold_distances(
    features: npt.NDArray[np.floating],
    labels: IntArray,
    groups: npt.NDArray[np.str_],
    whole: Statistics,
    maps: Sequence[MapSlice],
    seed: int,
) -> FloatArray:
    """Give the distance (N,) of each image to the images of other groups.

    A squared distance grows with the number of components, and a fold has fewer than `whole`: each
    is scaled to as many. NaN where no image of its class comes from another group.
    """
    classes, components = whole.means.shape
    distances = np.full(len(labels), np.nan)
    for learn, judge in judging_folds(labels, groups, 5, seed):
        others = statistics_of(features[learn], labels[learn], classes, seed, maps)
        scale = np.sqrt(components / others.means.shape[1])
        distances[judge] = scale * others.distance(features[judge])
    return distances
