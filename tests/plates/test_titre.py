"""Titre rules against published answers: the figures of the facts' papers and programs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytowell.errors import TitreError
from cytowell.plates import regression, titre
from cytowell.plates.dilutions import Series, factor_of

Counted = tuple[list[int], int, list[float]]

LEI: dict[int, tuple[Counted, float]] = {
    1: (([5, 3, 1, 0], 5, [-5, -6, -7, -8]), 0.1),
    2: (([8, 7, 5, 3, 1], 8, [-1, -2, -3, -4, -5]), 0.1),
    3: (([6, 6, 6, 5, 3, 1], 6, [-3, -4, -5, -6, -7, -8]), 0.05),
}
"""Lei et al. 2021, doi 10.1007/s12250-020-00230-5."""

MIDSIN: Counted = ([8, 8, 8, 8, 8, 7, 7, 5, 2, 0, 0], 8, [-2.0 - i for i in range(11)])
"""The example of midSIN (Cresta et al. 2021)."""


def infected(counts: list[int], wells: int, exponents: list[float]) -> Series:
    return Series.of(counts, wells, exponents, "infected")


def doses(counts: list[int], wells: int, x: list[float]) -> Series:
    """Bare doses at which the affected become more: as wells that are spared become fewer."""
    return Series(
        np.array(x, dtype=float), np.array([wells - c for c in counts]), np.full(len(x), wells)
    )


def per_ml(log10: float, volume: float) -> str:
    return f"{10**log10 / volume:.2e}"


@pytest.mark.parametrize(
    ("case", "karber", "muench"),
    [(1, "2.00e+07", "2.08e+07"), (2, "3.16e+04", "3.16e+04"), (3, "2.00e+08", "2.00e+08")],
)
def test_lei(case: int, karber: str, muench: str) -> None:
    counted, volume = LEI[case]
    series = infected(*counted)
    assert per_ml(titre.spearman_karber(series).log10_d50, volume) == karber
    assert per_ml(titre.reed_muench(series).log10_d50, volume) == muench


@pytest.mark.parametrize(
    ("case", "low", "high"),
    [(1, "5.57e+06", "7.15e+07"), (2, "8.42e+03", "1.19e+05"), (3, "5.24e+07", "7.63e+08")],
)
def test_lei_intervals_have_n_below(case: int, low: str, high: str) -> None:
    counted, volume = LEI[case]
    found = titre.spearman_karber(infected(*counted), denominator="n")
    assert found.low is not None
    assert found.high is not None
    assert per_ml(found.low, volume) == low
    assert per_ml(found.high, volume) == high


def test_lei_fitted_curves() -> None:
    counted, volume = LEI[1]
    series = infected(*counted)
    assert per_ml(regression.probit(series).log10_d50, volume) == "2.05e+07"
    assert per_ml(regression.logit(series).log10_d50, volume) == "1.98e+07"


@pytest.mark.parametrize(
    ("counts", "answer"),
    [([6, 6, 5, 5, 1], 251.189), ([5, 3, 2], 1.433), ([6, 6, 6, 5, 2], 432.876)],
)
def test_reedmuenchcalculator(counts: list[int], answer: float) -> None:
    series = infected(counts, 6, [-float(i) for i in range(len(counts))])
    found = 10 ** titre.reed_muench(series).log10_d50 / 10
    assert round(found, 3) == answer


def test_skrmdb() -> None:
    plain = titre.spearman_karber(doses([0, 1, 2, 3, 4], 4, [1, 2, 3, 4, 5]))
    assert plain.log10_d50 == pytest.approx(3.0)
    assert plain.se is not None
    assert round(plain.se**2, 7) == 0.2083333
    odd = doses([0, 1, 2, 1, 4], 4, [1, 2, 3, 4, 5])
    assert titre.spearman_karber(odd).log10_d50 == pytest.approx(3.5)
    assert "not_monotone" in titre.spearman_karber(odd).flags
    assert round(titre.dragstedt_behrens(odd).log10_d50, 7) == 3.6363636
    assert round(titre.reed_muench_counts(odd).log10_d50, 3) == 3.667
    open_end = titre.spearman_karber(doses([0, 1, 2, 3, 4], 8, [1, 2, 3, 4, 5]))
    assert open_end.log10_d50 == pytest.approx(4.25)
    assert "not_bracketed" in open_end.flags
    assert open_end.padded == ((6.0, 0.0),)
    uneven = titre.spearman_karber(doses([0, 2, 3, 4], 4, [1, 3, 4, 5]))
    assert uneven.log10_d50 == pytest.approx(3.0)
    assert uneven.se is not None
    assert uneven.se**2 == pytest.approx(0.25)
    assert "unequal_steps" in uneven.flags


def test_midsin() -> None:
    series = infected(*MIDSIN)
    assert round(titre.reed_muench(series).log10_d50 + 1, 3) == 10.194
    assert titre.spearman_karber(series).log10_d50 + 1 == pytest.approx(10.125)
    found = titre.single_hit(series)
    assert round(found.log10_d50 + 1, 3) == 8.983
    assert found.low is not None
    assert found.high is not None
    assert (round(found.low + 1, 3), round(found.high + 1, 3)) == (8.731, 9.197)
    assert round(found.log10_d50 + 1 - math.log10(math.log(2)), 3) == 9.142
    assert "over_dispersed" in found.flags


FAVN = {
    0: 0.24, 4: 0.72, 7: 1.07, 9: 1.31, 10: 1.43, 11: 1.55, 12: 1.67, 13: 1.79, 14: 1.91, 15: 2.03,
    16: 2.15, 17: 2.27, 18: 2.39, 19: 2.50,
}  # fmt: skip
"""log10 D50 by protected wells in all; four wells per three-fold dilution from 1:3."""


@pytest.mark.parametrize(("n", "answer"), FAVN.items())
def test_favn(n: int, answer: float) -> None:
    protected = [min(4, max(0, n - 4 * i)) for i in range(6)]
    exponents = [-(i + 1) * math.log10(3) for i in range(6)]
    found = titre.spearman_karber(Series.of(protected, 4, exponents, "protected"))
    assert round(found.log10_d50, 2) == answer
    assert found.log10_d50 == pytest.approx(math.log10(3) * (0.5 + n / 4))


def test_infected_wells_of_a_serum_are_the_unprotected_ones() -> None:
    exponents = [-1.0, -2.0, -3.0]
    protected = Series.of([4, 3, 0], 4, exponents, "protected")
    infected_ = Series.of([0, 1, 4], 4, exponents, "infected", "serum")
    assert (protected.affected == infected_.affected).all()
    assert protected.flags == infected_.flags == ()


def test_rows_may_come_in_any_order() -> None:
    first = infected([5, 3, 1, 0], 5, [-5, -6, -7, -8])
    second = infected([1, 5, 0, 3], 5, [-7, -5, -8, -6])
    assert titre.spearman_karber(first) == titre.spearman_karber(second)


SERIES = st.integers(2, 8).flatmap(
    lambda m: st.tuples(
        # A first well that is affected, a last that is not: every rule has an answer.
        st.lists(st.integers(0, 6), min_size=m - 2, max_size=m - 2).map(lambda c: [5, *c, 1]),
        st.just([-1.0 - i for i in range(m)]),
    )
)


@settings(deadline=None)
@given(SERIES, st.floats(0.1, 5))
def test_a_more_diluted_start_moves_every_rule_alike(
    drawn: tuple[list[int], list[float]], shift: float
) -> None:
    counts, exponents = drawn
    moved = [e - shift for e in exponents]
    for rule in (titre.spearman_karber, titre.single_hit):
        before = rule(infected(counts, 6, exponents)).log10_d50
        after = rule(infected(counts, 6, moved)).log10_d50
        assert after - before == pytest.approx(shift, abs=1e-5)


@settings(deadline=None)
@given(SERIES, st.data())
def test_one_more_affected_well_never_lowers_the_end_point(
    drawn: tuple[list[int], list[float]], data: st.DataObject
) -> None:
    counts, exponents = drawn
    i = data.draw(st.integers(0, len(counts) - 1))
    if counts[i] == 6:
        counts[i] = 5
    more = [c + (j == i) for j, c in enumerate(counts)]
    for rule in (titre.spearman_karber, titre.single_hit):
        before = rule(infected(counts, 6, exponents)).log10_d50
        assert rule(infected(more, 6, exponents)).log10_d50 >= before - 1e-6


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_rules_agree_on_symmetric_plates(half: list[int]) -> None:
    falling = sorted(half, reverse=True)
    upper = [8 - c for c in sorted(half)]
    counts = [8, *sorted(upper, reverse=True), *falling, 0]
    exponents = [-1.0 - i for i in range(len(counts))]
    series = infected(counts, 8, exponents)
    middle = (exponents[0] + exponents[-1]) / -2
    assert titre.spearman_karber(series).log10_d50 == pytest.approx(middle)
    assert titre.reed_muench(series).log10_d50 == pytest.approx(middle)
    assert titre.reed_muench_counts(series).log10_d50 == pytest.approx(middle)
    if sum(0 < c < 8 for c in counts) >= 2 and len(set(counts)) > 3:
        assert regression.logit(series).log10_d50 == pytest.approx(middle, abs=1e-4)


@pytest.mark.parametrize(
    ("counts", "wells", "exponents", "polarity", "said"),
    [
        ([5, 3], 4, [-1, -2], "infected", "5 of 4"),
        ([5, -3], 6, [-1, -2], "infected", "-3 cannot be"),
        ([5, 2.5], 6, [-1, -2], "infected", "2.5 cannot be"),
        ([5], 6, [-1], "infected", "nothing of an end point"),
        ([], 6, [], "infected", "nothing of an end point"),
        ([5, 1], 6, [-1], "infected", "2 counts and 1 dilutions"),
        ([5, 1], 6, [1, 2], "infected", "concentration"),
        ([5, 1], 6, [-1, -1], "infected", "given twice"),
        ([5, 1], 6, [-1, -2], "", "--counts is not given"),
        ([5, 1], 6, [-1, -2], "positive", "--counts positive"),
        ([5, float("nan")], 6, [-1, -2], "infected", "no number"),
        ([0, 0], 0, [-1, -2], "infected", "no wells"),
        ([1e30, 5], 1e30, [-1, -2], "infected", "wells cannot be"),
        ([1, 2], [8, 8, 8], [-1, -2], "infected", "3 numbers of wells"),
    ],
)
def test_what_cannot_be_is_said(
    counts: list[float], wells: Any, exponents: list[float], polarity: str, said: str
) -> None:
    with pytest.raises(TitreError, match=said):
        Series.of(counts, wells, exponents, polarity)


def test_dilutions_are_read_as_they_are_written() -> None:
    assert [factor_of(w) for w in ("1:9", "1/9", "9", " 1 : 9 ", 9)] == [9.0] * 5
    for wrong, said in (("1,5", "1.5|4.5"), ("0.1", "concentration"), ("nine", "no dilution")):
        with pytest.raises(TitreError) as error:
            factor_of(wrong)
        assert any(s in f"{error.value} {error.value.remedy}" for s in said.split("|"))


def test_a_curve_needs_a_slope_to_fit() -> None:
    with pytest.raises(TitreError, match="there is none"):
        regression.probit(infected([6, 6, 0, 0], 6, [-1, -2, -3, -4]))


def test_nothing_affected_is_flagged() -> None:
    found = titre.spearman_karber(infected([0, 0, 0], 6, [-1, -2, -3]))
    assert {"none_affected", "not_bracketed"} <= set(found.flags)
    assert found.log10_d50 == pytest.approx(0.5)
    assert found.low is None


@pytest.mark.parametrize("rule", [titre.spearman_karber, titre.reed_muench])
def test_all_or_nothing_wells_have_no_interval(rule: titre.Rule) -> None:
    found = rule(infected([8, 8, 0, 0], 8, [-1, -2, -3, -4]))
    assert found.log10_d50 == pytest.approx(2.5)
    assert (found.se, found.low, found.high) == (None, None, None)
    assert "no_partial_response" in found.flags


def test_wells_that_become_more_are_another_question() -> None:
    with pytest.raises(TitreError, match="more diluted") as error:
        Series.of([0, 0, 1, 8, 8], 8, [-1, -2, -3, -4, -5], "infected")
    assert "--titrates serum" in error.value.remedy
    series = Series.of([0, 0, 1, 8, 8], 8, [-1, -2, -3, -4, -5], "infected", "serum")
    assert titre.spearman_karber(series).log10_d50 == pytest.approx(3.375)
    with pytest.raises(TitreError, match="a serum has none"):
        titre.single_hit(series)


def test_a_slope_that_may_be_none_has_no_limits() -> None:
    found = regression.probit(infected([5, 5, 4], 8, [-1, -2, -3]))
    assert "slope_uncertain" in found.flags
    assert found.low is None
    shallow = Series(np.array([1.0, 1.1, 1.2]), np.array([30, 31, 29]), np.array([40, 40, 40]))
    with pytest.raises(TitreError, match="outside of what was counted"):
        regression.logit(shallow)


@pytest.mark.parametrize("counts", [[6, 6, 6], [0, 0, 0]])
def test_single_hit_needs_wells_of_both_kinds(counts: list[int]) -> None:
    with pytest.raises(TitreError, match="says no number"):
        titre.single_hit(infected(counts, 6, [-1, -2, -3]))
