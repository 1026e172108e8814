"""Paired tests against hand-made cases and against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cytowell.evaluation.comparison import (
    Pair,
    accuracy_interval,
    corrected_t_p,
    groups_needed,
    in_words,
    inseparable,
    mcnemar_p,
    pairs,
    sign_flip_p,
)
from cytowell.evaluation.diagnosis import diagnosis
from cytowell.evaluation.intervals import wilson


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_of_the_images_that_one_alone_got_right(a: int, b: int) -> None:
    first = np.array([True] * a + [False] * b + [True] * 7, dtype=np.bool_)
    second = np.array([False] * a + [True] * b + [True] * 7, dtype=np.bool_)
    wanted = stats.binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar_p(first, second) == pytest.approx(wanted, abs=1e-9)
    assert mcnemar_p(first, second) == pytest.approx(mcnemar_p(second, first))


def test_a_difference_within_one_group_is_no_difference() -> None:
    difference = np.zeros(100)
    difference[:10] = 1.0
    alone = np.arange(100).astype(str)
    one = np.array(["a"] * 10 + [f"b{i}" for i in range(90)])
    none = np.zeros(100)
    assert pairs([difference, none], alone)[0].p < 0.01
    assert pairs([difference, none], one)[0].p > 0.5
    assert pairs([none, none], one)[0].p == 1.0


def test_of_many_candidates_the_worse_are_still_told_apart() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 2).astype(str)
    right = [(rng.random(400) < share).astype(float) for share in [0.97] * 10 + [0.6, 0.8]]
    found = pairs(right, groups)
    worse = [p for p in found if p.second >= 10 and p.first < 10]
    assert {p.test for p in found} == {"sign-flip permutation by group"}
    assert len(found) == 66
    assert all(p.adjusted < 0.05 for p in worse)
    assert sum(p.adjusted < 0.05 for p in found if p.second < 10) == 0


def test_the_corrected_t_test_is_the_papers() -> None:
    """Nadeau & Bengio's equation written out, and its plain t-test where nothing is shared."""
    d = np.array([0.02, 0.01, 0.03, 0.0, 0.02])
    t = d.mean() / np.sqrt((1 / 5 + 30 / 70) * d.var(ddof=1))
    assert corrected_t_p(d, 30, 70) == pytest.approx(2 * stats.t.sf(t, 4))
    assert corrected_t_p(d, 0, 70) == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    assert corrected_t_p(d, 30, 70) > corrected_t_p(d, 0, 70)
    assert np.isnan(corrected_t_p(d[:1], 30, 70))
    assert corrected_t_p(np.zeros(4), 30, 70) == 1.0


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_that_happen_to_agree_are_no_proof(folds: int) -> None:
    """Ten images a fold, each fold one image apart: no spread was seen, and there is one."""
    agreeing = np.full(folds, 0.1)
    p = corrected_t_p(agreeing, 10, 10 * (folds - 1))
    assert p > 0.001
    assert p == pytest.approx(
        corrected_t_p(agreeing + 1e-9 * np.arange(folds), 10, 10 * (folds - 1))
    )
    assert np.isnan(corrected_t_p(agreeing, 0, 40))
    assert corrected_t_p(np.array([0.1, 0.1]), 10, 10) > 0.1


@pytest.mark.parametrize(("groups", "least"), [(1, None), (2, 0.5), (3, 0.25), (5, 0.0625)])
def test_few_groups_give_no_small_p_value(groups: int, least: float | None) -> None:
    """Ten images a group, one of them right for one candidate alone; a bootstrap said .001."""
    first = np.ones(10 * groups)
    second = first.copy()
    second[::10] = 0.0
    (found,) = pairs([first, second], np.repeat(np.arange(groups), 10).astype(str))
    if least is None:
        assert np.isnan(found.p)
        assert np.isnan(found.adjusted)
        assert inseparable(2, [found]) == [(0, 1)]
    else:
        assert found.p == least
    said = in_words(["a", "b"], [1.0, 0.9], [found])
    assert "better" not in said
    assert f"of {'one group' if groups == 1 else f'{groups} groups'}, too few" in said
    assert "6 slides" in said


def test_enough_groups_can_say_which_is_best() -> None:
    for candidates in (2, 3, 6):
        for groups in (groups_needed(candidates) - 1, groups_needed(candidates)):
            right = [np.zeros(groups * 2) + (c == 0) for c in range(candidates)]
            found = pairs(right, np.repeat(np.arange(groups), 2).astype(str))
            said = in_words([*"abcdef"[:candidates]], [1.0] + [0.0] * 5, found)
            enough = groups == groups_needed(candidates)
            assert ("a is better than every other" in said) == enough
            assert ("too few to tell" in said) != enough


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9))
def test_the_flips_are_scipys_permutations(sums: list[int]) -> None:
    values = np.array(sums, dtype=np.float64)
    wanted = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(values) == pytest.approx(wanted)
    assert sign_flip_p(values) >= 2 / 2 ** len(values)


@pytest.mark.parametrize("groups", [2, 3, 5, 7, 10, 20])
def test_candidates_that_are_alike_are_rarely_told_apart(groups: int) -> None:
    """Type I error at .05 of 300 pairs whose slides err together: a bootstrap's was 41 % of two."""
    rng = np.random.default_rng(groups)
    told_apart = 0
    for seed in range(300):
        suits = rng.normal(0, 1.0, groups)
        counts = rng.integers(5, 16, groups)
        right = [rng.binomial(counts, stats.norm.cdf(1 + s * suits)) for s in (0.5, -0.5)]
        p = sign_flip_p((right[0] - right[1]).astype(np.float64), draws=499, seed=seed)
        told_apart += p < 0.05
    assert told_apart / 300 <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 300)
    assert groups >= 6 or not told_apart


def test_drawn_flips_come_near_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(4).normal(0.5, 1.0, 12)
    exact = sign_flip_p(sums)
    monkeypatch.setattr("cytowell.evaluation.comparison.EXACT", 3)
    assert sign_flip_p(sums, draws=20_000) == pytest.approx(exact, abs=0.012)
    assert sign_flip_p(np.ones(40), draws=99) == 0.01


def test_holm_makes_no_p_value_smaller_and_the_test_fits_the_images() -> None:
    rng = np.random.default_rng(0)
    right = [(rng.random(300) < share).astype(float) for share in (0.95, 0.94, 0.6)]
    alone = np.arange(300).astype(str)
    found = pairs(right, alone)
    assert [(p.first, p.second) for p in found] == [(0, 1), (0, 2), (1, 2)]
    assert all(p.adjusted >= p.p for p in found)
    assert {p.test for p in found} == {"McNemar, exact"}
    assert found[0].adjusted > 0.05 > found[1].adjusted
    grouped = pairs(right, np.repeat(np.arange(30), 10).astype(str))
    assert {p.test for p in grouped} == {"sign-flip permutation by group"}
    assert pairs(right[:1], alone) == []


def pair(a: int, b: int, apart: bool) -> Pair:
    return Pair(a, b, 0.0, 0.0, 0.01 if apart else 0.5, "")


def test_sets_of_candidates_that_cannot_be_told_apart_may_overlap() -> None:
    compared = [pair(0, 1, False), pair(0, 2, True), pair(1, 2, False)]
    assert inseparable(3, compared) == [(0, 1), (1, 2)]
    assert inseparable(1, []) == [(0,)]
    assert inseparable(3, [pair(0, 1, True), pair(0, 2, True), pair(1, 2, True)]) == [
        (0,), (1,), (2,),
    ]  # fmt: skip


def test_the_words_follow_the_tests() -> None:
    names, scores = ["a", "b", "c"], [0.9, 0.91, 0.5]
    compared = [pair(0, 1, False), pair(0, 2, True), pair(1, 2, True)]
    said = in_words(names, scores, compared)
    assert said.startswith("These two cannot be told apart: b, a.")
    assert "worse than b" in said
    apart = [pair(0, 1, True), pair(0, 2, True), pair(1, 2, True)]
    assert in_words(names, scores, apart).startswith("b is better than every other")
    same = [pair(0, 1, False), pair(0, 2, False), pair(1, 2, False)]
    assert "all three may be equally good" in in_words(names, scores, same)
    two = [p for p in same if {p.first, p.second} == {0, 1}]
    assert "both may be equally good" in in_words(names[:2], scores[:2], two)
    assert "alone" in in_words(["a"], [1.0], [])


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((1.0, 0.71, 0.8, 0.62, 0.3), "strong overfitting: 1.00 against 0.71"),
        ((0.98, 0.90, 0.95, 0.85, 0.3), "overfitting: 0.98 against 0.90"),
        ((0.98, 0.90, 0.99, 0.75, 0.3), "fits: 0.98 against 0.90"),
        ((0.70, 0.69, 0.75, 0.6, 0.3), "underfitting: 0.70 against 0.69"),
        ((0.31, 0.30, 0.35, 0.25, 0.3), "learnt nothing: 0.31 against 0.30"),
        (
            (1.0, 0.30, 0.35, 0.25, 0.3),
            "strong overfitting, nothing carries over: 1.00 against 0.30",
        ),
        ((0.95, 0.96, 0.99, 0.92, 0.3), "fits: 0.95 against 0.96"),
    ],
)  # fmt: skip
def test_the_rule_that_turns_scores_into_words(scores: tuple[float, ...], said: str) -> None:
    assert diagnosis(*scores) == said


def test_the_interval_of_folds_is_wider_than_that_of_as_many_separate_images() -> None:
    """Two folds of 50, learnt from 50: 1/2 + 1 in place of 1/2, three times the variance."""
    right = np.repeat([1.0, 0.0], [80, 20])
    rows, alone = np.arange(100), np.arange(100).astype(str)
    once = accuracy_interval(right, rows, alone, 1, 50)
    assert once == pytest.approx(wilson(80, 100))
    assert accuracy_interval(right, rows, alone, 2, 50) == pytest.approx(wilson(80 / 3, 100 / 3))
    assert accuracy_interval(right, rows, alone, 10, 90) == pytest.approx(
        wilson(80 * 9 / 19, 100 * 9 / 19)
    )
    pairs_of = np.repeat(np.arange(50), 2).astype(str)
    drawn, wider = (accuracy_interval(right, rows, pairs_of, k, 50) for k in (1, 2))
    assert wider[1] - wider[0] == pytest.approx(np.sqrt(3) * (drawn[1] - drawn[0]))


@pytest.mark.parametrize("divisions", [1, 5])
@pytest.mark.parametrize("groups", [1, 2, 30])
def test_an_interval_is_never_of_width_nought(divisions: int, groups: int) -> None:
    names = (np.arange(60) % groups).astype(str)
    for value in (0.0, 1.0):
        low, high = accuracy_interval(np.full(60, value), np.arange(60), names, divisions, 40)
        assert 0 <= low <= value <= high <= 1
        assert high - low > 0.1
