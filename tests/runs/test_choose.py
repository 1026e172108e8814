"""The choice among candidates, and curves, from hand-made answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cytowell.runs.candidates import Fit, candidates
from cytowell.runs.cells import Answer, Cell
from cytowell.runs.choose import choose, paired_error
from cytowell.runs.diagnose import interval


@dataclass(frozen=True)
class Computed:
    cell: Cell
    answer: Answer


def computed(name: str, right: list[int], speed: float) -> Computed:
    """Give a cell whose validation part was called so."""
    none = np.zeros(0, dtype=np.int64)
    made = candidates([name], Fit())[0]
    cell = Cell(made, "holdout", 0, 7, none, np.arange(len(right)), none, Fit())
    said = tuple(bool(r) for r in right)
    answer = Answer(np.zeros((0, 2)), validation_right=said, images_per_second=speed, ships=True)
    return Computed(cell, answer)


def chosen(done: list[Any], units: list[int] | None = None) -> str:
    choice = choose(done, None if units is None else np.array(units))
    assert choice.candidate is not None
    return choice.candidate.name


def test_candidates_are_compared_on_the_images_that_they_share() -> None:
    """One is wrong where the other is, and on four more of a hundred: no chance of theirs."""
    best = [0] * 10 + [1] * 90
    behind = [0] * 14 + [1] * 86
    done = [computed("frozen", best, 1.0), computed("knn", behind, 99.0)]
    assert chosen(done) == "frozen", "unpaired, within .030 of .90 is .86 not, nor is it paired"
    near = [computed("frozen", best, 1.0), computed("knn", [0] * 9 + [1] * 89 + [0] * 2, 99.0)]
    assert chosen(near) == "knn"
    # Twelve of four hundred: unpaired .97 is within an error of .982, paired it is far outside.
    sure = [computed("frozen", [0] * 8 + [1] * 392, 1.0),
            computed("knn", [0] * 10 + [1] * 390, 99.0)]  # fmt: skip
    assert chosen(sure) == "frozen"


def test_images_of_one_slide_err_together() -> None:
    """Ten images of one slide are one slide: the difference is within an error of slides."""
    best = [1] * 100
    behind = [0] * 10 + [1] * 90
    done = [computed("frozen", best, 1.0), computed("knn", behind, 99.0)]
    assert chosen(done) == "frozen"
    assert chosen(done, [i // 10 for i in range(100)]) == "knn"
    assert chosen(done, [0] * 100) == "frozen", "one slide says nothing of others"


def test_the_paired_error_is_that_of_means_of_groups() -> None:
    rng = np.random.default_rng(0)
    d = rng.integers(-1, 2, 60).astype(float)
    assert paired_error(d, np.arange(60)) == pytest.approx(stats.sem(d))
    assert paired_error(d, np.arange(60) // 6) == pytest.approx(
        stats.sem(d.reshape(10, 6).mean(axis=1))
    )


def test_a_learning_curve_is_least_certain_where_least_is_learnt() -> None:
    """Five folds, a tenth of four fifths: the ratio is 2.5 and not a quarter."""
    values = np.array([0.5, 0.55, 0.6, 0.52, 0.58])
    low, high = interval(values, 0.2 / 0.08, 10_000)
    t = stats.t.ppf(0.975, 4) * values.std(ddof=1)
    assert (high - low) / 2 == pytest.approx(t * np.sqrt(1 / 5 + 2.5))
    full = interval(values, 0.2 / 0.8, 10_000)
    assert (high - low) / (full[1] - full[0]) == pytest.approx(np.sqrt(2.7 / 0.45))


def test_folds_that_agree_still_have_an_interval() -> None:
    low, high = interval(np.ones(5), 0.25, 40)
    assert high == 1
    assert low == pytest.approx(0.912, abs=0.001)
