"""What is fitted on images that calibrate is not reported on the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from cytowell.evaluation.calibration import fit_temperature
from cytowell.images import Preprocessing
from cytowell.learners.contract import Makings, TestFold
from cytowell.runs.assemble import Held, calibrate, cross_fitted
from cytowell.runtime.bundle import Facts
from cytowell.runtime.head import Head
from cytowell.types import Dataset, FloatArray, IntArray, Sample

CLASSES = ("a", "b", "c")
MAKINGS = Makings(
    b"", (), Preprocessing(), Head(np.zeros((3, 2)), np.zeros(3)), CLASSES, "none", "none", "none"
)
FACTS = Facts(CLASSES, Preprocessing())


def _drawn(n: int, random: np.random.Generator, noise: float = 1.0) -> tuple[FloatArray, IntArray]:
    labels = random.integers(3, size=n)
    logits = noise * random.normal(size=(n, 3))
    logits[np.arange(n), labels] += 2.5
    return logits, labels


def _held(logits: FloatArray, labels: IntArray) -> Held:
    names = np.array([f"{i}.png" for i in range(len(labels))])
    return Held(logits, labels, np.zeros(len(labels)), names)


def _dataset(labels: IntArray) -> Dataset:
    return Dataset(
        tuple(Sample(f"{i}.png", CLASSES[c]) for i, c in enumerate(labels)), CLASSES
    )  # fmt: skip


def test_what_is_reported_of_the_calls_made_is_what_is_true_of_them() -> None:
    random = np.random.default_rng(0)
    fresh, truth = _drawn(20_000, random)
    same, crossed, true = [], [], []
    for seed in range(60):
        logits, labels = _drawn(120, random)
        held = _held(logits, labels)
        fitted = calibrate(held, MAKINGS, labels, 0.1)

        def right(p: FloatArray, t: IntArray, least: float) -> float:
            made = p.max(axis=1) >= least
            return float((p.argmax(axis=1) == t)[made].mean())

        least = fitted.promise.threshold
        same.append(right(fitted.calibration.probabilities(logits), labels, least))
        true.append(right(fitted.calibration.probabilities(fresh), truth, least))
        dataset = _dataset(labels)
        calls, _ = cross_fitted(held, MAKINGS, FACTS, dataset, np.arange(120), 0.1, seed)
        made = calls.decided
        crossed.append(float((calls.called == labels)[made].mean()))
    gap = float(np.mean(same) - np.mean(true))
    assert gap > 0.005, "fitted on what is reported, the figure is too good"
    assert abs(np.mean(crossed) - np.mean(true)) < 0.6 * gap


def test_no_image_helps_to_calibrate_its_own_call() -> None:
    """An image's label decides the calls of other folds, never those of its own."""
    random = np.random.default_rng(1)
    logits, labels = _drawn(60, random)
    folds = np.arange(60) % 3
    makings = replace(
        MAKINGS,
        folds=tuple(
            TestFold(
                np.flatnonzero(folds != k), np.flatnonzero(folds == k),
                logits[folds != k], logits[folds == k],
            )
            for k in range(3)
        ),
    )  # fmt: skip
    first, before = cross_fitted(
        _held(logits, labels), makings, FACTS, _dataset(labels), np.arange(60), 0.01, 7
    )
    assert before.probabilities == pytest.approx(softmax(logits, axis=1))
    changed = np.where(folds == 0, (labels + 1) % 3, labels)
    again, _ = cross_fitted(
        _held(logits, changed), makings, FACTS, _dataset(labels), np.arange(60), 0.01, 7
    )
    own, others = folds == 0, folds != 0
    assert np.array_equal(first.probabilities[own], again.probabilities[own])
    assert np.array_equal(first.decided[own], again.decided[own])
    assert not np.allclose(first.probabilities[others], again.probabilities[others])


@pytest.mark.parametrize("evened", [1, 2])
def test_the_bundle_calls_a_rare_class_as_often_as_it_comes(evened: int) -> None:
    """A head that was taught all classes alike; one image in twenty is of the third."""
    random = np.random.default_rng(3)
    shares = np.array([0.6, 0.35, 0.05])
    labels = random.choice(3, p=shares, size=1500)
    logits = random.normal(size=(1500, 3))
    logits[np.arange(1500), labels] += 1.5
    logits = 1.5 * logits - (evened - 1) * np.log(shares)
    held, rest = np.arange(1500) < 500, np.arange(1500) >= 500
    fitted = calibrate(
        _held(logits[held], labels[held]), replace(MAKINGS, evened=evened), labels, 0.01
    )
    facts, head = fitted.on(FACTS, Head(np.eye(3), np.zeros(3)))
    p = softmax(head.logits(logits[rest]) / facts.temperature, axis=1)
    assert p == pytest.approx(fitted.calibration.probabilities(logits[rest]))
    assert p[:, 2].mean() == pytest.approx(0.05, abs=0.015)
    alone = fit_temperature(logits[held], labels[held])
    assert softmax(logits[rest] / alone, axis=1)[:, 2].mean() > 0.1
    assert facts.origin["promise"]["images"] == 500
    assert facts.threshold == fitted.promise.threshold


def test_the_promise_is_of_the_calls_that_are_near_enough() -> None:
    random = np.random.default_rng(5)
    logits, labels = _drawn(400, random, noise=0.1)
    distances = np.where(np.arange(400) < 3, 50.0, 1.0)
    labels[:3] = (labels[:3] + 1) % 3  # wrong, and unlike the others
    held = Held(logits, labels, distances, np.arange(400).astype(np.str_))
    fitted = calibrate(held, MAKINGS, labels, 0.01)
    assert fitted.farthest < 50
    assert fitted.promise.made
    assert fitted.promise.images == 397
