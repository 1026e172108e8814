"""The ruler of a smear: which red cells are whole, and how large they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytowell.runtime.ruler import RED_CELL, ruler_of, whole_cells
from cytowell.types import Box

SIZE = (640, 480)


def diameters(boxes: list[Box], labels: list[int] | None = None) -> list[float]:
    """Give the diameters of whole cells of class 0 on a photograph of 640x480."""
    kinds = np.array([0] * len(boxes) if labels is None else labels, dtype=np.int64)
    return [float(v) for v in whole_cells(boxes, kinds, 0, SIZE)]


def test_a_whole_cell_is_as_wide_as_the_mean_of_its_sides() -> None:
    assert diameters([Box(100, 100, 80, 80)]) == [80]
    assert diameters([Box(100, 100, 72, 90)]) == [pytest.approx(math.sqrt(72 * 90))]


def test_cut_covered_and_long_cells_are_not_measured() -> None:
    whole = Box(300, 200, 80, 80)
    at_the_border = [Box(0, 100, 60, 80), Box(580, 100, 60, 80), Box(100, 400, 80, 80)]
    covering = [Box(100, 100, 80, 80), Box(130, 100, 80, 80)]
    assert diameters([whole, *at_the_border]) == [80]
    assert diameters([whole, *covering]) == [80]
    assert diameters([whole, Box(100, 100, 50, 100)]) == [80]


def test_what_covers_a_red_cell_need_not_be_one() -> None:
    assert diameters([Box(300, 200, 80, 80), Box(320, 220, 120, 120)], [0, 1]) == []


def test_corners_of_round_neighbours_may_overlap() -> None:
    assert len(diameters([Box(100, 100, 80, 80), Box(160, 160, 80, 80)])) == 2


def test_nothing_found_measures_nothing() -> None:
    assert diameters([]) == []
    assert diameters([Box(100, 100, 80, 80)], [1]) == []
    none = ruler_of([np.zeros(0)])
    assert (none.diameter, none.spread, none.pixel_size()) == (None, None, None)
    few = ruler_of([np.array([80.0]), np.array([81.0])])
    assert (few.diameter, few.cells, few.photographs) == (None, 2, 2)


def test_photographs_of_a_slide_are_pooled_by_cells() -> None:
    ruler = ruler_of([np.array([70.0, 75.0]), np.zeros(0), np.array([75.0, 80.0, 200.0])])
    assert (ruler.diameter, ruler.cells, ruler.photographs) == (75.0, 5, 2)
    assert ruler.spread == pytest.approx(1.4826 * 5 / 75)
    assert ruler.pixel_size() == pytest.approx(RED_CELL / 75)
    assert ruler.pixel_size(6.0) == pytest.approx(0.08)


@given(st.floats(1.2, 4.0), st.lists(st.floats(40, 100), min_size=3, max_size=30))
def test_a_picture_at_another_size_has_a_ruler_at_that_size(
    scale: float, sides: list[float]
) -> None:
    def measured(factor: float) -> float:
        parts = []
        for side in sides:
            box = Box(200 * factor, 150 * factor, side * factor, side * factor)
            size = (round(640 * factor), round(480 * factor))
            parts.append(whole_cells([box], np.zeros(1, dtype=np.int64), 0, size))
        diameter = ruler_of(parts).diameter
        assert diameter is not None
        return diameter

    assert measured(scale) == pytest.approx(scale * measured(1.0))
