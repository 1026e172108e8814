"""From what a learner leaves to a bundle: temperature, thresholds, statistics, calls.

Everything here is computed by the exported network, in ONNX Runtime, with weights as stored: the
figures are those of the bundle, not of what it was exported from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from cytowell.errors import DatasetError
from cytowell.evaluation.calibration import fit_farthest, fit_temperature, fit_threshold
from cytowell.learners.contract import Makings, Ticked
from cytowell.learners.linear import fit_head, folds
from cytowell.learners.statistics import statistics_of
from cytowell.runtime.bundle import Bundle, Facts, MapSlice, decide
from cytowell.runtime.head import Statistics
from cytowell.runtime.pipeline import Batch
from cytowell.types import Dataset, FloatArray, IntArray, Predictions

MOST_LOOKED_AT = 4_000
"""Training images whose features make the statistics and the figures of the training part."""


@dataclass(frozen=True)
class Assembled:
    """A bundle, and its features of the images that calibrated it and of some it learnt from."""

    bundle: Bundle
    learnt: Batch
    calibrating: Batch | None
    unscaled: Bundle


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
    )


def labels_of(batch: Batch, classes: tuple[str, ...]) -> IntArray:
    """Give class indices of a batch's readable samples."""
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[batch.samples[i].label or ""] for i in batch.called], dtype=np.int64)


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
    train, validation
        Positions in `dataset`; without validation the makings' out-of-fold logits calibrate.
    wrong
        Share of the calls made on the calibrating images that may be wrong.
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
    used = np.any(makings.head.weight != 0, axis=0)
    head = makings.head
    if refit:
        part = fit_head(
            learnt.features[:, used], y, len(makings.classes), balance=makings.balance, seed=seed
        )
        weight = np.zeros_like(head.weight)
        weight[:, used] = part.weight
        head = replace(head, weight=weight, bias=part.bias)
    statistics = statistics_of(learnt.features, y, len(makings.classes), seed, makings.maps)
    calibrating = None
    if len(validation):
        calibrating = gather(draft, dataset, np.sort(validation), ticked, "calibration")
        truth = labels_of(calibrating, makings.classes)
        logits = head.logits(calibrating.features)
        distances = statistics.distance(calibrating.features)
    else:
        assert makings.logits is not None, "nothing was held back and nothing is out of fold"
        logits, truth = makings.logits, dataset.labels[train]
        groups = dataset.groups[looked_at][learnt.called]
        distances = out_of_fold_distances(
            learnt.features, y, groups, statistics, makings.maps, seed
        )
    temperature = fit_temperature(logits, truth, makings.expected)
    threshold = fit_threshold(softmax(logits / temperature, axis=1), truth, wrong)
    farthest = fit_farthest(distances)
    facts = replace(facts, temperature=temperature, threshold=threshold, farthest=farthest)
    plain = replace(facts, temperature=1.0, threshold=0.0, farthest=None)
    return Assembled(
        Bundle(facts, head, statistics, makings.model, subclasses=makings.subclasses),
        learnt,
        calibrating,
        Bundle(plain, head, statistics, makings.model),
    )


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
    is scaled to as many.
    """
    classes, components = whole.means.shape
    distances = np.zeros(len(labels))
    for learn, judge in folds(labels, groups, 5, seed):
        others = statistics_of(features[learn], labels[learn], classes, seed, maps)
        scale = np.sqrt(components / others.means.shape[1])
        distances[judge] = scale * others.distance(features[judge])
    return distances


def out_of_fold_calls(
    bundle: Bundle, dataset: Dataset, rows: IntArray, logits: FloatArray
) -> Predictions:
    """Turn out-of-fold logits into calls by the bundle's temperature and threshold."""
    probabilities = softmax(logits / bundle.facts.temperature, axis=1)
    decided, reasons = decide(bundle.facts, probabilities, None)
    return Predictions(
        tuple(dataset.samples[int(i)] for i in rows),
        bundle.classes,
        probabilities,
        decided,
        tuple(reasons),
        ("",) * len(rows),
    )
