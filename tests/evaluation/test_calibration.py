from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from cytowell.evaluation.calibration import (
    Expected,
    expected_calibration_error,
    fit_farthest,
    fit_temperature,
    fit_threshold,
    reliability,
)
from cytowell.types import FloatArray, IntArray


def _drawn(n: int, temperature: float, seed: int = 0) -> tuple[FloatArray, IntArray]:
    random = np.random.default_rng(seed)
    logits = 3 * random.normal(size=(n, 5))
    probabilities = softmax(logits, axis=1)
    labels = np.array([random.choice(5, p=row) for row in probabilities], dtype=np.int64)
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(temperature: float) -> None:
    logits, labels = _drawn(6000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_temperature_minimises_the_log_loss() -> None:
    logits, labels = _drawn(2000, 1.7, seed=1)

    def loss(t: FloatArray) -> float:
        return float(-log_softmax(logits / t[0], axis=1)[np.arange(2000), labels].mean())

    plain = minimize(loss, [1.0], method="Nelder-Mead").x[0]
    assert fit_temperature(logits, labels) == pytest.approx(plain, rel=0.01)


def test_temperature_of_next_to_nothing_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)) == 1.0
    assert fit_temperature(np.array([[9.0, 0.0]]), np.array([1])) == 1.0
    assert fit_temperature(np.array([[9.0, 0.0], [1.0, 2.0]]), np.array([1, -1])) == 1.0


def test_temperature_of_a_few_right_calls_is_not_certainty() -> None:
    logits = np.tile([3.0, 0.0, 0.0], (20, 1))
    found = fit_temperature(logits, np.zeros(20, dtype=np.int64))
    assert 0.3 < found < 1.0


def _two(top: list[float]) -> FloatArray:
    first = np.array(top)
    return np.stack([first, 1 - first], axis=1)


def test_threshold_is_the_lowest_that_keeps_the_promise() -> None:
    random = np.random.default_rng(0)
    top = 0.5 + random.random(3000) / 2
    labels = (random.random(3000) > top**0.3).astype(np.int64)
    probabilities = _two(list(top))
    found = fit_threshold(probabilities, labels, wrong=0.01)
    made = top >= found
    assert made.any()
    assert (labels[made] != 0).mean() <= 0.01
    lower = [t for t in np.unique(top) if t < found]
    assert all((labels[top >= t] != 0).mean() > 0.01 for t in lower)


def test_threshold_of_a_tiny_part() -> None:
    right = _two([0.99, 0.96, 0.8, 0.6])
    none = np.zeros(4, dtype=np.int64)
    assert fit_threshold(right, none) == pytest.approx(0.95), "four by luck are no proof"
    for count, least in ((299, 0.95), (300, 0.6)):  # the rule of three
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


def test_reliability_by_hand() -> None:
    confidence = np.array([0.35, 0.4, 0.95, 0.99, 1.0])
    correct = np.array([True, False, True, True, False])
    table = reliability(confidence, correct)
    assert len(table) == 15
    assert sum(row["n"] for row in table) == 5
    assert table[5] == pytest.approx(
        {"low": 5 / 15, "high": 6 / 15, "n": 2, "confidence": 0.375, "accuracy": 0.5}
    )
    assert table[14]["n"] == 3
    assert table[14]["accuracy"] == pytest.approx(2 / 3)
    assert table[0]["confidence"] is None
    by_hand = (2 * abs(0.5 - 0.375) + 3 * abs(2 / 3 - 0.98)) / 5
    assert expected_calibration_error(table) == pytest.approx(by_hand)


def test_reliability_of_nothing() -> None:
    table = reliability(np.zeros(0), np.zeros(0, dtype=np.bool_))
    assert [row["n"] for row in table] == [0] * 15
    assert expected_calibration_error(table) is None


def test_what_is_expected_counts_where_few_images_speak() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (4000, 4))
    truth = np.array([rng.choice(4, p=p) for p in softmax(logits / 0.8, axis=1)])
    known = Expected(0.5, 0.25)
    few, many = (fit_temperature(logits[:n], truth[:n], known) for n in (4, 4000))
    assert few == pytest.approx(0.5, abs=0.12)
    assert many == pytest.approx(0.8, abs=0.05)
    assert fit_temperature(logits[:1], truth[:1], known) == 0.5


def test_of_further_images_about_a_hundredth_lies_beyond_the_farthest() -> None:
    random = np.random.default_rng(0)
    beyond = [
        float((random.chisquare(5, 5000) > fit_farthest(random.chisquare(5, 300))).mean())
        for _ in range(200)
    ]
    assert 0.005 < float(np.mean(beyond)) <= 0.0105


def test_few_images_leave_some_slack_for_the_farthest() -> None:
    assert fit_farthest(np.array([1.0, 4.0, 2.0])) == pytest.approx(4.4)
    assert fit_farthest(np.arange(1.0, 100.0)) == 99.0
