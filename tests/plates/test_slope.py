"""Posteriors of logistic curves that are equally steep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from cytowell.plates.dilutions import Series
from cytowell.plates.slope import Parallel, bayesian_logit
from cytowell.plates.titre import spearman_karber

STEP = np.log10(3)


def serum(*protected: int, wells: int = 4) -> Series:
    exponents = [-STEP * (i + 1) for i in range(len(protected))]
    return Series.of(protected, wells, exponents, "protected")


def test_all_or_nothing_wells_have_an_interval() -> None:
    found = bayesian_logit(serum(4, 4, 4, 0, 0, 0))
    assert spearman_karber(serum(4, 4, 4, 0, 0, 0)).low is None
    assert found.low is not None
    assert found.high is not None
    assert found.log10_d50 == pytest.approx(3.5 * STEP, abs=0.01)
    assert 0.3 < found.high - found.low < 0.8


def test_symmetric_counts_agree_with_spearman_karber() -> None:
    for counts in ((4, 4, 3, 1, 0, 0), (4, 3, 2, 2, 1, 0), (4, 4, 4, 0, 0, 0)):
        series = serum(*counts)
        karber = spearman_karber(series).log10_d50
        assert bayesian_logit(series).log10_d50 == pytest.approx(karber, abs=0.01)


def test_many_wells_find_the_curve() -> None:
    x = STEP * np.arange(1, 9)
    n = 4000
    k = np.round(n * expit((2.0 - x) / 0.15)).astype(int)
    series = Series.of(k.tolist(), n, (-x).tolist(), "protected")
    both = Parallel([series])
    assert both.end_point(0).mean == pytest.approx(2.0, abs=0.01)
    assert both.steepness == pytest.approx(0.15, rel=0.15)


def test_steep_companions_make_the_interval_narrow() -> None:
    mine = serum(4, 4, 2, 0, 0, 0)
    steep = [serum(4, 4, 4, 0, 0, 0), serum(4, 4, 0, 0, 0, 0), serum(4, 0, 0, 0, 0, 0)]
    flat = [serum(4, 3, 2, 2, 1, 0), serum(3, 3, 2, 1, 1, 1), serum(4, 2, 3, 1, 2, 0)]
    among_steep = Parallel([mine, *steep]).end_point(0).interval()
    among_flat = Parallel([mine, *flat]).end_point(0).interval()
    assert None not in (*among_steep, *among_flat)
    widths = [np.ptp(np.array(pair, dtype=float)) for pair in (among_steep, among_flat)]
    assert widths[0] < widths[1] - 0.05


def test_a_difference_is_that_of_the_end_points() -> None:
    both = Parallel([serum(4, 4, 4, 2, 0, 0), serum(4, 3, 0, 0, 0, 0)])
    apart = both.difference(0, 1)
    assert apart.mass.sum() == pytest.approx(1)
    means = both.end_point(0).mean - both.end_point(1).mean
    assert apart.mean == pytest.approx(means, abs=0.02)
    assert apart.deviation > both.end_point(0).deviation
    back = both.difference(1, 0)
    assert back.mean == pytest.approx(-apart.mean, abs=1e-9)


def test_a_difference_of_different_dilutions() -> None:
    first = Series.of([4, 4, 1, 0], 4, [-1, -2, -3, -4], "protected")
    second = Series.of([8, 5, 1], 8, [-0.3, -0.6, -0.9], "protected")
    both = Parallel([first, second])
    means = both.end_point(0).mean - both.end_point(1).mean
    assert both.difference(0, 1).mean == pytest.approx(means, abs=0.02)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=3, max_size=6),
    st.floats(-1, 1),
)
def test_shifting_the_dilutions_shifts_the_posterior(counts: list[int], by: float) -> None:
    counts = sorted(counts, reverse=True)
    first = Series(STEP * np.arange(1, len(counts) + 1) + 2.0, np.array(counts),
                   np.full(len(counts), 4), "serum")  # fmt: skip
    moved = Series(first.dilutions + by, first.affected, first.wells, "serum")
    here, there = bayesian_logit(first), bayesian_logit(moved)
    assert there.log10_d50 - here.log10_d50 == pytest.approx(by, abs=0.011)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=4), st.integers(0, 3))
def test_one_well_more_of_a_bracketed_series_never_lowers_it(counts: list[int], where: int) -> None:
    fewer = [4, *sorted(counts, reverse=True), 0]
    more = list(fewer)
    more[1 + where % len(counts)] += 1
    assume(max(more) == 4 and sorted(more, reverse=True) == more)
    assert bayesian_logit(serum(*more)).log10_d50 >= bayesian_logit(serum(*fewer)).log10_d50
