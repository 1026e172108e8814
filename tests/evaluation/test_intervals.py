from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from cytowell.evaluation.intervals import (
    bootstrap,
    percentile_interval,
    resample_weights,
    unseen,
    wilson,
)
from cytowell.types import FloatArray, IntArray


@pytest.mark.parametrize(("right", "count"), [(0, 7), (7, 7), (3, 7), (4950, 5128), (1, 1)])
def test_wilson_is_that_of_statsmodels(right: int, count: int) -> None:
    found = wilson(right, count)
    assert found is not None
    assert found == pytest.approx(proportion_confint(right, count, method="wilson"), abs=1e-9)
    assert 0 <= found[0] <= right / count <= found[1] <= 1


def test_wilson_of_the_published_figure() -> None:
    found = wilson(round(0.9851 * 5128), 5128)
    assert found == pytest.approx((0.9815, 0.9881), abs=2e-4)


def test_wilson_of_nothing_is_none() -> None:
    assert wilson(0, 0) is None


def test_weights_draw_whole_groups_and_follow_the_seed() -> None:
    first = np.concatenate(list(resample_weights(50, 300, seed=3)))
    again = np.concatenate(list(resample_weights(50, 300, seed=3)))
    other = np.concatenate(list(resample_weights(50, 300, seed=4)))
    assert first.shape == (300, 50)
    assert (first.sum(axis=1) == 50).all()
    assert (first == again).all()
    assert (first != other).any()


def test_percentiles_leave_out_what_is_undefined() -> None:
    values = np.append(np.arange(101.0), [np.nan] * 20)
    assert percentile_interval(values) == (2.0, 98.0)
    assert percentile_interval(np.array([1.0, np.nan, np.nan])) is None
    assert percentile_interval(np.array([1.0] * 30 + [np.inf] * 10)) == (1.0, np.inf)


def _accuracy(truth: IntArray, probabilities: FloatArray) -> float:
    return float(accuracy_score(truth, probabilities.argmax(axis=1)))


def test_bootstrap_of_independent_rows_is_close_to_wilson() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros(500, dtype=np.int64)
    right = random.random(500) < 0.9
    probabilities = np.stack([right, ~right], axis=1).astype(np.float64)
    alone = np.arange(500).astype(np.str_)
    found = bootstrap(_accuracy, truth, probabilities, alone)
    assert found == pytest.approx(wilson(int(right.sum()), 500), abs=0.012)


def test_bootstrap_respects_groups() -> None:
    right = np.repeat(np.arange(50) % 5 != 0, 10)
    truth = np.zeros(500, dtype=np.int64)
    probabilities = np.stack([right, ~right], axis=1).astype(np.float64)
    alone = bootstrap(_accuracy, truth, probabilities, np.arange(500).astype(np.str_))
    together = bootstrap(_accuracy, truth, probabilities, np.repeat(np.arange(50), 10).astype(str))
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_bootstrap_leaves_out_resamples_without_a_class() -> None:
    def auc(truth: IntArray, probabilities: FloatArray) -> float:
        if len(np.unique(truth)) < 2:
            raise ValueError("one class only")
        return float(roc_auc_score(truth, probabilities[:, 1]))

    truth = np.array([0, 0, 0, 0, 1, 1])
    score = np.array([0.1, 0.2, 0.6, 0.3, 0.5, 0.9])
    probabilities = np.stack([1 - score, score], axis=1)
    found = bootstrap(auc, truth, probabilities, np.arange(6).astype(np.str_), resamples=200)
    assert found is not None
    assert 0 <= found[0] < found[1] <= 1


def test_percentiles_of_few_groups_reach_further() -> None:
    values = np.linspace(0, 1, 100_001)
    plain = percentile_interval(values)
    twelve, many = percentile_interval(values, 12), percentile_interval(values, 10_000)
    assert plain == pytest.approx((0.025, 0.975))
    assert twelve == pytest.approx((0.0108, 0.9892), abs=2e-4)  # t = 2.201, times sqrt(12 / 11)
    few = percentile_interval(0.8 + 0.1 * values, 3, (0.0, 1.0))
    assert few is not None
    assert few[0] < 0.75
    assert 0.95 < few[1] <= 1
    assert many == pytest.approx(plain, abs=2e-4)


@pytest.mark.parametrize("groups", [3, 5, 10, 20])
def test_the_bootstrap_of_few_groups_holds_the_truth(groups: int) -> None:
    random = np.random.default_rng(groups)
    held = []
    for _ in range(400):
        values = random.normal(size=groups)
        drawn = np.concatenate([*resample_weights(groups, 1000, 1)]) @ values / groups
        ends = percentile_interval(drawn, groups, (-np.inf, np.inf))
        assert ends is not None
        plain = percentile_interval(drawn)
        assert plain is not None
        held.append((ends[0] <= 0 <= ends[1], plain[0] <= 0 <= plain[1]))
    expanded, plainly = np.mean(held, axis=0)
    assert 0.9 < expanded < 0.99
    assert plainly < 0.87 or groups > 5


def test_what_no_draw_varies_is_bounded_or_said_to_be_unknown() -> None:
    truth, groups = np.zeros(12, dtype=np.int64), np.repeat(["a", "b", "c"], 4)
    right = np.tile([1.0, 0.0], (12, 1))
    assert bootstrap(_accuracy, truth, right, groups, 50) is None
    found = bootstrap(_accuracy, truth, right, groups, 50, span=(0.0, 1.0))
    assert found == pytest.approx((0.025 ** (1 / 3), 1.0))
    assert unseen(0.0, 3) == pytest.approx((0.0, 1 - 0.025 ** (1 / 3)))
    assert unseen(0.5, 1, (-1.0, 1.0)) == pytest.approx((0.5 - 0.975 * 1.5, 0.5 + 0.975 * 0.5))
