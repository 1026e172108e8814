from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from cytowell.evaluation.calibration import (
    Expected,
    by_class,
    expected_calibration_error,
    fit_calibration,
    fit_farthest,
    fit_temperature,
    reliability,
)
from cytowell.learners.linear import fit_head
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


def _rare(n: int, seed: int) -> tuple[FloatArray, IntArray]:
    """Give two overlapping classes, one of 5 %, in twenty dimensions."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.05).astype(np.int64)
    X = random.normal(size=(n, 20))
    X[:, 0] += 1.5 * labels
    return X.astype(np.float32), labels


@pytest.mark.parametrize("balance", ["balanced", "smote"])
def test_a_rare_class_is_called_as_often_right_as_it_says(balance: str) -> None:
    X, y = _rare(600, 1)
    head = fit_head(X, y, 2, 0.03, balance)
    held, truth = _rare(4000, 2)
    fresh, real = _rare(40_000, 3)
    shift = np.log(np.bincount(y) / len(y))
    fitted = fit_calibration(head.logits(held), truth, shift=shift)
    rare = fitted.probabilities(head.logits(fresh))[:, 1]
    alone = fit_temperature(head.logits(held), truth)
    before = softmax(head.logits(fresh) / alone, axis=1)[:, 1]
    assert before.mean() > 0.15, "one temperature does not undo the balance"
    assert rare.mean() == pytest.approx(0.05, abs=0.015)
    for low, high in ((0.05, 0.15), (0.15, 0.4), (0.4, 1.0)):
        here = (rare >= low) & (rare < high)
        assert here.sum() > 100
        assert real[here].mean() == pytest.approx(rare[here].mean(), abs=0.3 * rare[here].mean())


def test_a_bias_is_undone_by_calibrating() -> None:
    logits, labels = _drawn(6000, 1.5)
    moved = logits + np.array([2.0, 0.0, -1.0, 0.0, 0.0])
    found = fit_calibration(moved, labels)
    assert found.temperature == pytest.approx(1.5, rel=0.05)
    bias = found.bias - found.bias.mean()
    wanted = -np.array([2.0, 0.0, -1.0, 0.0, 0.0]) / 1.5
    assert bias == pytest.approx(wanted - wanted.mean(), abs=0.15)


def test_few_images_leave_the_bias_where_it_was_expected() -> None:
    none = fit_calibration(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    assert (none.temperature, none.bias.tolist()) == (1.0, [0.0, 0.0, 0.0])
    right = np.tile([[6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]], (3, 1))
    found = fit_calibration(right, np.tile(np.arange(3), 3))
    assert np.abs(found.bias).max() < 0.05
    shift = np.log([0.8, 0.15, 0.05])
    found = fit_calibration(right, np.tile(np.arange(3), 3), shift=shift)
    assert found.bias[0] > found.bias[1] > found.bias[2]


def test_by_class_shows_what_the_whole_hides() -> None:
    random = np.random.default_rng(0)
    truth = (random.random(4000) < 0.05).astype(np.int64)
    rare = np.where(random.random(4000) < 0.07, 0.7, 0.03)
    p = np.stack([1 - rare, rare], axis=1)
    row = by_class(p, truth, p.argmax(axis=1))[1]
    assert row["confidence"] == pytest.approx(0.7)
    assert row["right"] < 0.1
    assert row["share"] == pytest.approx(truth.mean())
    assert row["probability"] == pytest.approx(rare.mean())
    by_hand = (
        (rare > 0.5).mean() * abs(truth[rare > 0.5].mean() - 0.7)
        + (rare < 0.5).mean() * abs(truth[rare < 0.5].mean() - 0.03)
    )  # fmt: skip
    assert row["ece"] == pytest.approx(by_hand)
    empty = by_class(np.zeros((0, 2)), np.zeros(0, dtype=int), np.zeros(0, dtype=int))
    assert empty[0]["confidence"] is None
