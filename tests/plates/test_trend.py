"""Whether counts fall with dilution: exact tests by enumeration, stray wells, open ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import Table

from cytowell.plates.trend import contradicting, open_ends, rising


def enumerated(k: list[int], n: list[int]) -> float:
    """Give the share of all ways to choose the affected wells that rise as much or more."""
    found = sum(i * v for i, v in enumerate(k))
    every = more = 0
    for other in itertools.product(*(range(v + 1) for v in n)):
        if sum(other) == sum(k):
            ways = math.prod(math.comb(a, b) for a, b in zip(n, other, strict=True))
            every += ways
            more += ways * (sum(i * v for i, v in enumerate(other)) >= found)
    return more / every


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=2, max_size=5))
def test_the_trend_test_is_exact(drawn: list[tuple[int, int]]) -> None:
    n = [b for _, b in drawn]
    k = [min(a, b) for a, b in drawn]
    total = sum(i * v for i, v in enumerate(k)) * sum(n)
    if total <= sum(i * v for i, v in enumerate(n)) * sum(k):
        assert rising(k, n) == 1
    else:
        assert rising(k, n) == pytest.approx(enumerated(k, n))


def test_many_wells_are_tested_as_statsmodels_does() -> None:
    k, n = [90, 100, 116], [200, 200, 200]
    table = Table(np.array([k, [b - a for a, b in zip(k, n, strict=True)]]).T, shift_zeros=False)
    other = table.test_ordinal_association(np.arange(3), np.array([1, 0]))
    # statsmodels conditions on both margins: its variance has N - 1 where Armitage's has N.
    assert rising(k, n) == pytest.approx(float(other.pvalue) / 2, rel=0.02)


def test_one_stray_well_is_no_rising_trend() -> None:
    assert rising([0, 0, 0, 0, 0, 1], [4] * 6) == pytest.approx(1 / 6)
    assert rising([0, 0, 1, 8, 8], [8] * 5) < 1e-6
    assert rising([0, 4], [4, 4]) == pytest.approx(1 / 70)


@pytest.mark.parametrize(
    ("k", "said"),
    [
        ((4, 4, 2, 0, 0), ()),
        ((0, 0, 0, 0, 0, 1), ((5, 1),)),
        ((4, 4, 4, 4, 0, 1), ((5, 1),)),
        ((3, 4, 4, 0, 0), ((0, -1),)),
        ((0, 4, 4, 4, 0, 0), ((0, -4),)),
        ((4, 1, 4, 0, 1), ((2, 3), (4, 1))),
        ((4, 3, 4, 2, 0), ((2, 1),)),
    ],
)
def test_the_wells_that_contradict_are_named(
    k: tuple[int, ...], said: tuple[tuple[int, int], ...]
) -> None:
    assert contradicting(k, [4] * len(k)) == said


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=6))
def test_without_the_wells_that_contradict_the_counts_fall(k: list[int]) -> None:
    mended = list(k)
    for i, off in contradicting(k, [4] * len(k)):
        mended[i] -= off
    assert mended == sorted(mended, reverse=True)
    assert (mended == k) == (k == sorted(k, reverse=True))


@pytest.mark.parametrize(
    ("k", "ends"),
    [
        ((4, 2, 0), (False, False)),
        ((4, 4, 4, 4, 0, 1), (False, False)),
        ((3, 4, 4, 0, 0, 0), (False, False)),
        ((0, 0, 0, 0, 0, 1), (True, False)),
        ((0, 0, 0), (True, False)),
        ((4, 4, 4), (False, True)),
        ((4, 4, 4, 4, 4, 3), (False, True)),
        ((4, 4, 4, 4, 4, 1), (False, True)),
        ((3, 2, 2, 2, 2, 1), (True, True)),
        ((4, 4, 0, 4, 4, 4), (False, True)),
    ],
)
def test_an_end_is_open_where_half_of_the_outermost_wells_may_be_affected(
    k: tuple[int, ...], ends: tuple[bool, bool]
) -> None:
    assert open_ends(k, [4] * len(k)) == ends


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(1, 20))
def test_closing_an_end_is_the_binomial_test(few: int, of: int) -> None:
    few = min(few, of)
    _, above = open_ends([of, few], [of, of])
    assert above == (few > 0 and bool(binom.cdf(few, of, 0.5) > 0.05))


def test_wells_that_are_not_independent_close_less() -> None:
    assert open_ends([20, 4], [20, 20]) == (False, False)
    assert open_ends([20, 4], [20, 20], effective=0.3) == (False, True)
