from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from cytowell.evaluation.intervals import (
    bootstrap,
    percentile_interval,
    resample_weights,
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
