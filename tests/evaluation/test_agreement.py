"""Two readers: kappa against published figures, Bland-Altman by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from cytowell.errors import CountError
from cytowell.evaluation.agreement import (
    agree_on_calls,
    agree_on_titres,
    bland_altman,
    kappa_limits,
)


def test_kappa_by_hand() -> None:
    """Of 50: both yes 20, both no 15; observed 0.70, expected 0.50, kappa 0.40."""
    a = ["y"] * 25 + ["n"] * 25
    b = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    found = agree_on_calls(a, b)
    assert found.n == 50
    assert found.agreed == pytest.approx(0.70)
    assert found.kappa == pytest.approx(0.40)
    assert found.kappa_low is not None
    assert found.kappa_high is not None
    assert found.kappa_low < 0.40 < found.kappa_high
    assert found.counts == ((15, 10), (5, 20))


def test_kappa_of_one_and_the_same_call() -> None:
    found = agree_on_calls(["y"] * 5, ["y"] * 5)
    assert found.agreed == 1
    assert found.kappa is None


def test_bland_altman_by_hand() -> None:
    a, b = [1.0, 2.0, 4.0, 8.0], [0.5, 2.0, 2.0, 8.0]
    d = np.log10(a) - np.log10(b)
    found = agree_on_titres(a, b)
    assert found.bias == pytest.approx(d.mean())
    assert found.upper[0] == pytest.approx(d.mean() + 1.96 * d.std(ddof=1))
    assert found.within == 1
    assert found.bias_low is not None
    assert found.bias_high is not None
    assert found.bias_low < found.bias < found.bias_high
    assert bland_altman(found).startswith("data:image/svg+xml")


def test_one_step_is_one_step() -> None:
    a, b = [3.0, 9.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]
    assert agree_on_titres(a, b).within == 0.75
    assert agree_on_titres(a, b, fold=10).within == 1


def test_censored_titres_are_left_out_and_counted_apart_from_missing_ones() -> None:
    found = agree_on_titres([1.0, None, 2.0, 3.0, math.nan], [1.0, 1.0, 2.0, 3.0, 2.0])
    assert (found.n, found.censored, found.missing) == (3, 1, 1)
    assert found.to_json()["missing"] == 1


def test_pairs_that_all_differ_alike_have_no_interval_of_width_nought() -> None:
    found = agree_on_titres([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    assert found.bias == pytest.approx(math.log10(2))
    assert (found.bias_low, found.bias_high) == (None, None)
    assert found.lower[1:] == found.upper[1:] == (None, None)
    assert bland_altman(found).startswith("data:image/svg+xml")


def test_limits_cover_the_pairs_to_come() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0.1, 0.2, 4000)
    found = agree_on_titres((10**noise).tolist(), [1.0] * 4000)
    assert found.bias == pytest.approx(0.1, abs=0.02)
    assert found.upper[0] == pytest.approx(0.1 + 1.96 * 0.2, abs=0.02)
    inside = (noise > found.lower[0]) & (noise < found.upper[0])
    assert inside.mean() == pytest.approx(0.95, abs=0.01)
    assert found.upper[1] is not None
    assert math.isfinite(found.upper[1])


def test_what_cannot_be_compared() -> None:
    with pytest.raises(CountError, match="pairs say nothing"):
        agree_on_titres([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(CountError, match="no logarithm"):
        agree_on_titres([1.0, 0.0, 2.0], [1.0, 1.0, 2.0])
    with pytest.raises(CountError, match="step"):
        agree_on_titres([1.0, 1.0, 2.0], [1.0, 1.0, 2.0], fold=1)
    with pytest.raises(CountError, match="pairs say nothing"):
        agree_on_calls([], [])


def _called(counts: list[list[int]]) -> tuple[list[str], list[str]]:
    first, second = [], []
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            first += ["abc"[i]] * n
            second += ["abc"[j]] * n
    return first, second


@pytest.mark.parametrize(
    "counts",
    [
        [[2, 0], [0, 1]],  # three perfect readings
        [[5, 0], [1, 4]],  # nine of ten
        [[6, 4], [0, 0]],  # a reader who always says the same
        [[0, 3], [3, 0]],
        [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
    ],
)
def test_kappa_s_interval_lies_in_its_range_and_is_never_a_point(counts: list[list[int]]) -> None:
    found = agree_on_calls(*_called(counts))
    assert found.kappa is not None
    assert found.kappa_low is not None
    assert found.kappa_high is not None
    assert found.kappa == pytest.approx(cohen_kappa_score(*_called(counts)))
    assert -1 <= found.kappa_low <= found.kappa <= found.kappa_high <= 1
    assert found.kappa_high - found.kappa_low > 0.1


def test_kappa_s_interval_of_many_is_the_asymptotic_one() -> None:
    counts = np.array([[400, 30, 10], [25, 300, 20], [5, 30, 180]])
    known = cohens_kappa(counts)
    low, high = kappa_limits(counts)
    assert low == pytest.approx(known.kappa_low, abs=0.006)
    assert high == pytest.approx(known.kappa_upp, abs=0.006)


@pytest.mark.parametrize(("n", "same"), [(10, 0.9), (20, 0.8), (40, 0.95)])
def test_kappa_s_interval_holds_the_truth(n: int, same: float) -> None:
    random = np.random.default_rng(n)
    table = np.array([[same / 2, (1 - same) / 2], [(1 - same) / 2, same / 2]])
    kappa = 2 * same - 1
    held = []
    for drawn in random.multinomial(n, table.ravel(), 200):
        low, high = kappa_limits(drawn.reshape(2, 2))
        held.append(low <= kappa <= high)
    assert np.mean(held) > 0.9
