"""What is promised of the calls that are made is kept, in 95 of 100 bundles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest

from cytowell.evaluation.calibration import fit_calibration
from cytowell.evaluation.promise import fit_threshold, needed_images, promise
from cytowell.types import FloatArray, IntArray


def _two(top: list[float]) -> FloatArray:
    first = np.array(top)
    return np.stack([first, 1 - first], axis=1)


def test_threshold_is_the_last_at_which_the_promise_can_be_shown() -> None:
    random = np.random.default_rng(0)
    top = 0.5 + random.random(3000) / 2
    labels = (random.random(3000) < 0.3 * (1 - top) ** 2).astype(np.int64)
    found = promise(_two(list(top)), labels, wrong=0.01)
    assert found.made
    made = top >= found.threshold
    assert binomtest(int(labels[made].sum()), int(made.sum()), 0.01, "less").pvalue <= 0.05
    below = np.sort(top)[::-1][made.sum()]
    lower = top >= below
    assert binomtest(int(labels[lower].sum()), int(lower.sum()), 0.01, "less").pvalue > 0.05


def test_threshold_of_a_tiny_part() -> None:
    right = _two([0.99, 0.96, 0.8, 0.6])
    none = np.zeros(4, dtype=np.int64)
    assert fit_threshold(right, none) == pytest.approx(0.95), "four by luck are no proof"
    for count, least in ((298, 0.95), (299, 0.6)):  # the rule of three
        many = np.tile(right, (75, 1))[-count:]
        assert fit_threshold(many, np.zeros(count, dtype=np.int64)) == pytest.approx(least)
    assert fit_threshold(right, np.array([0, 1, 0, 1])) == pytest.approx(0.99)


def test_few_images_that_are_right_do_not_open_the_door() -> None:
    random = np.random.default_rng(5)
    share = []
    for _ in range(200):
        top = 0.4 + 0.6 * random.beta(3, 1, 600)
        labels = (random.random(600) > top).astype(np.int64)  # as sure as it says
        found = fit_threshold(_two(list(top[:8])), labels[:8])
        made = top[8:] >= found
        share.append((labels[8:][made] != 0).mean() if made.any() else 0.0)
    assert np.quantile(share, 0.9) < 0.05


def test_threshold_where_the_surest_call_is_wrong() -> None:
    found = fit_threshold(_two([0.99, 0.9]), np.array([1, 0]))
    assert 0.99 < found <= 1.0
    assert fit_threshold(_two([1.0, 0.9]), np.array([1, 0])) == 1.0


def test_one_sure_error_of_eight_does_not_stop_all_deciding() -> None:
    sure = _two([0.995, 0.99, 0.99, 0.98, 0.97, 0.9, 0.6, 0.5])
    labels = np.zeros(8, dtype=np.int64)
    labels[0] = 1
    assert fit_threshold(sure, labels) == pytest.approx(0.95)
    assert fit_threshold(sure, labels, wrong=0.05) == pytest.approx(0.9), "never below 0.9"
    labels[0] = 0
    assert fit_threshold(sure, labels) == pytest.approx(0.95)
    labels[0] = 1
    labels[:2] = 1  # two are no accident
    assert fit_threshold(sure, labels) > 0.995
    many = _two([0.995] * 20 + [0.99] * 100)
    wrong = np.zeros(120, dtype=np.int64)
    wrong[:3] = 1
    assert fit_threshold(many, wrong) > 0.99, "of a hundred images on the rule alone decides"


def test_threshold_decides_equal_confidences_together() -> None:
    found = fit_threshold(_two([0.96, 0.96, 0.97]), np.array([1, 1, 0]))
    assert found == pytest.approx(0.97)


def test_threshold_without_labels_decides_nothing() -> None:
    assert fit_threshold(np.zeros((0, 2)), np.zeros(0, dtype=np.int64)) == 1.0
    assert fit_threshold(_two([0.9]), np.array([-1])) == 1.0


def _cells(n: int, apart: float, random: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Give four classes whose softmax is their true probability."""
    labels = random.integers(4, size=n)
    X = random.normal(size=(n, 4))
    X[np.arange(n), labels] += apart
    return apart * X, labels


@pytest.mark.parametrize(
    ("n", "apart", "wrong"),
    [(50, 3.0, 0.01), (299, 3.0, 0.01), (600, 3.0, 0.01), (2000, 3.0, 0.01), (600, 3.0, 0.001)],
)
def test_a_promise_is_broken_in_one_of_twenty_at_most(n: int, apart: float, wrong: float) -> None:
    random = np.random.default_rng(n)
    fresh, _ = _cells(20_000, apart, random)
    true = softmax(fresh, axis=1)
    broken = made = 0
    for _ in range(100):
        logits, labels = _cells(n, apart, random)
        fitted = fit_calibration(1.7 * logits, labels)
        found = promise(fitted.probabilities(1.7 * logits), labels, wrong)
        p = fitted.probabilities(1.7 * fresh)
        sure = p.max(axis=1) >= found.threshold
        risk = 1 - true[np.arange(len(p)), p.argmax(axis=1)][sure]
        made += found.made
        broken += found.made and risk.mean() > wrong
    assert broken <= 10, "5 are expected at most, more than 10 in one of a hundred tests"
    assert (made > 90) == (n == 2000)


def test_of_six_hundred_at_99_2_percent_most_are_decided() -> None:
    """So many calibrate a set of twelve thousand images, and are so often called correctly."""
    random = np.random.default_rng(4)
    fresh, truth = _cells(20_000, 3.9, random)
    p = softmax(fresh, axis=1)
    assert (p.argmax(axis=1) == truth).mean() == pytest.approx(0.992, abs=0.002)
    share = []
    for _ in range(60):
        logits, labels = _cells(600, 3.9, random)
        found = promise(softmax(logits, axis=1), labels)
        assert found.images == 600
        share.append((p.max(axis=1) >= found.threshold).mean())
    assert np.median(share) > 0.96


def test_what_few_can_promise_is_said() -> None:
    right = _two([0.99] * 60)
    found = promise(right, np.zeros(60, dtype=np.int64))
    assert not found.made
    assert found.least == pytest.approx(1 - 0.05 ** (1 / 60))
    assert found.needed == needed_images(0.01) == 299
    assert "60 images calibrate, and it takes 299" in found.why
    assert promise(right, np.zeros(60, dtype=np.int64), wrong=0.05).made


def test_sure_errors_leave_no_promise() -> None:
    labels = np.zeros(600, dtype=np.int64)
    labels[::40] = 1
    found = promise(_two(list(np.linspace(0.999, 0.9, 600))), labels)
    assert not found.made
    assert "called wrongly" in found.why


def test_images_of_few_slides_promise_nothing() -> None:
    sure, right = _two([0.99] * 600), np.zeros(600, dtype=np.int64)
    assert promise(sure, right).made
    slides = np.repeat(np.arange(20), 30).astype(np.str_)
    found = promise(sure, right, groups=slides)
    assert (found.made, found.groups, found.images) == (False, 20, 600)
    assert "20 groups of images" in found.why
    pairs = np.repeat(np.arange(300), 2).astype(np.str_)
    assert promise(sure, right, groups=pairs).made


def test_errors_of_one_slide_count_as_one() -> None:
    """Of 400 slides one is wrong throughout."""
    labels = np.zeros(1200, dtype=np.int64)
    labels[1050:1053] = 1
    tops = _two(list(np.linspace(0.999, 0.95, 1200)))
    slides = np.repeat(np.arange(400), 3).astype(np.str_)
    found = promise(tops, labels, wrong=0.02, groups=slides)
    assert found.made
    assert found.threshold == pytest.approx(0.95, abs=0.002)
