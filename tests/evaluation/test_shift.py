from __future__ import annotations

import numpy as np
import pytest

from cytowell.evaluation.shift import Measured, shift

CENTRES = np.array([0.0, 3.0, -2.0])


def drawn(
    rng: np.random.Generator, strata: np.ndarray, move: float = 0.0, per_group: int = 1,
    between: float = 0.0,
) -> Measured:  # fmt: skip
    groups = np.arange(len(strata)) // per_group
    of_group = rng.normal(0, between, groups.max() + 1) if between else np.zeros(groups.max() + 1)
    values = CENTRES[strata] + move + rng.normal(0, 1, len(strata)) + of_group[groups]
    return Measured(values, strata, groups)


def rate(move: float, least: float = 0.01, per_group: int = 1, between: float = 0.0) -> float:
    rng = np.random.default_rng(1)
    below = 0
    for _ in range(150):
        known = drawn(rng, rng.integers(0, 3, 300), 0.0, per_group, between)
        mix = rng.dirichlet([0.3, 0.3, 0.3])
        new = drawn(rng, rng.choice(3, 100, p=mix), move, per_group, between)
        below += shift(new, known, least).p < 0.05
    return below / 150


def test_chance_alone_is_rarely_a_shift_whatever_the_mix_of_classes() -> None:
    assert 0.01 <= rate(0.0) <= 0.1


def test_a_shift_of_half_a_deviation_is_found() -> None:
    assert rate(0.5) > 0.9


def test_wells_of_one_plate_are_one_observation_of_its_light() -> None:
    assert rate(0.0, per_group=20, between=2.0) <= 0.11


def test_the_effect_is_in_the_measures_own_unit() -> None:
    rng = np.random.default_rng(0)
    known = drawn(rng, rng.integers(0, 3, 3000))
    found = shift(drawn(rng, np.full(500, 1), move=0.7), known, 0.01)
    assert found.effect == pytest.approx(0.7, abs=0.12)
    assert (found.images, found.groups) == (500, 500)


def test_a_single_odd_photograph_is_no_shift_of_all_but_is_far() -> None:
    rng = np.random.default_rng(3)
    known = drawn(rng, np.zeros(300, dtype=np.int64))
    new = drawn(rng, np.zeros(100, dtype=np.int64))
    new.values[0] = 500.0
    found = shift(new, known, 0.01)
    assert found.p > 0.01
    assert found.deviations[0] > 100


def test_what_cannot_be_compared_is_nothing_not_a_number_out_of_the_air() -> None:
    rng = np.random.default_rng(3)
    known = drawn(rng, np.zeros(50, dtype=np.int64))
    other = drawn(rng, np.ones(10, dtype=np.int64))
    assert shift(other, known, 0.01).images == 0
    one_plate = Measured(known.values, known.strata, np.zeros(50, dtype=np.int64))
    assert np.isnan(shift(known, one_plate, 0.01).p)
    unknown = Measured(np.full(5, np.nan), np.zeros(5, dtype=np.int64), np.arange(5))
    assert shift(unknown, known, 0.01).images == 0
