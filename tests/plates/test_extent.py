"""What a window of wells is: a whole plate, a part of one, or nothing that can be named."""

from __future__ import annotations

import numpy as np
import pytest

from cytowell.plates.extent import (
    EMPTY,
    FORMATS,
    MORE,
    PERHAPS,
    UNKNOWN,
    WALL,
    Extent,
    extent,
    judge,
)
from cytowell.plates.rims import CIRCLE, Rim
from cytowell.plates.window import doubted

APART, TOUCHING = Rim(0.4, CIRCLE), Rim(0.5, CIRCLE)


def window(
    rows: int, columns: int, sides: tuple[str, str, str, str] = (EMPTY, EMPTY, EMPTY, EMPTY)
) -> Extent:
    return Extent(0, 0, rows, columns, sides)


@pytest.mark.parametrize("wells", FORMATS)
def test_a_format_with_nothing_beyond_any_side_is_a_whole_plate(wells: int) -> None:
    rows, columns = FORMATS[wells]
    verdict = judge(window(rows, columns), APART)
    assert (verdict.wells, verdict.origin, verdict.reason) == (wells, (0, 0), "")
    upright = judge(window(columns, rows), APART)
    assert upright.upright
    assert upright.shape == (columns, rows)


@pytest.mark.parametrize("wells", [6, 12, 24, 48])
@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("beyond", [MORE, PERHAPS, UNKNOWN])
def test_one_side_that_goes_on_or_is_out_of_sight_takes_the_names_away(
    wells: int, side: int, beyond: str
) -> None:
    sides = [EMPTY] * 4
    sides[side] = beyond
    verdict = judge(window(*FORMATS[wells], (sides[0], sides[1], sides[2], sides[3])), TOUCHING)
    assert verdict.origin is None
    assert ("left", "top", "right", "bottom")[side] in verdict.reason


def test_the_format_that_was_said_stands_where_an_edge_is_out_of_sight_and_says_so() -> None:
    hidden = window(4, 6, (UNKNOWN, EMPTY, EMPTY, EMPTY))
    verdict = judge(hidden, APART, 24)
    assert verdict.origin == (0, 0)
    assert "as was said" in verdict.reason
    assert judge(window(4, 6, (MORE, EMPTY, EMPTY, EMPTY)), APART, 24).origin is None
    other = judge(window(4, 6), APART, 96)
    assert other.wells == 24
    assert "not one of 96" in other.reason
    assert judge(hidden, APART, 96).origin is None


def test_96_wells_that_fill_the_photograph_are_a_plate() -> None:
    unseen = (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    touching = judge(window(8, 12, unseen), TOUCHING)
    assert (touching.origin, touching.reason) == ((0, 0), "")
    apart = judge(window(8, 12, unseen), APART)
    assert apart.origin == (0, 0)
    assert "384" in apart.reason
    assert judge(window(8, 12, (MORE, MORE, MORE, MORE)), APART).origin is None


@pytest.mark.parametrize(("rows", "columns"), [(8, 11), (7, 12), (8, 10), (2, 2), (3, 3), (5, 6)])
def test_a_covered_row_or_column_takes_the_names_away(rows: int, columns: int) -> None:
    verdict = judge(window(rows, columns), APART)
    assert verdict.origin is None
    assert f"{rows} x {columns}" in verdict.reason


def test_a_part_is_named_only_where_the_plate_ends_on_one_side_and_goes_on_at_the_other() -> None:
    right = judge(window(8, 7, (MORE, EMPTY, EMPTY, EMPTY)), APART)
    assert (right.wells, right.origin) == (96, (0, 5))
    assert right.reason
    left = judge(window(8, 7, (WALL, EMPTY, MORE, EMPTY)), APART)
    assert left.origin == (0, 0)
    assert judge(window(8, 7, (UNKNOWN, EMPTY, EMPTY, EMPTY)), APART).origin is None
    assert judge(window(8, 7, (MORE, UNKNOWN, EMPTY, EMPTY)), APART).origin is None
    # A little of what may be wells beyond one side, tape over the other: 88 of 96 wells.
    assert judge(window(8, 11, (EMPTY, EMPTY, PERHAPS, EMPTY)), TOUCHING).origin is None
    # Half of a plate of 96 or the whole of an upright one of 48, cut: nothing tells.
    assert judge(window(8, 5, (MORE, EMPTY, EMPTY, EMPTY)), APART).origin is None


def test_rows_are_counted_where_half_of_their_wells_are_seen() -> None:
    grid = np.full((10, 14), 0.1)
    grid[1:9, 1:13] = 0.9
    start = Extent(2, 2, 3, 3)
    assert extent(grid, start).shape == (8, 12)
    grid[1, 1:7] = 0.1
    assert extent(grid, start).shape == (8, 12)
    grid[1, 1:11] = 0.1
    assert extent(grid, start).shape == (7, 12)
    grid[0, 5] = 1.0
    grid[1:9, 1] = np.nan
    assert extent(grid, start).shape == (7, 11)


def test_a_covered_row_inside_is_bridged_if_a_format_is_as_long() -> None:
    grid = np.full((10, 14), 0.1)
    grid[1:9, 1:13] = 0.9
    grid[4, :] = 0.0
    found = extent(grid, Extent(5, 2, 3, 3))
    assert (found.row, found.rows) == (1, 8)
    grid[8, :] = 0.0
    assert extent(grid, Extent(5, 2, 3, 3)).rows < 7


def test_a_plate_beside_another_is_counted_alone() -> None:
    grid = np.full((20, 10), 0.1)
    grid[1:5, 2:8] = 1.0
    grid[6:10, 2:8] = 0.9
    grid[11:15, 2:8] = 1.0
    for row in (1, 6, 11):
        found = extent(grid, Extent(row, 2, 4, 6))
        assert (found.row, found.shape) == (row, (4, 6))


def test_faint_rims_of_a_smaller_plate_take_its_names_away() -> None:
    six = judge(window(2, 3), APART)
    assert doubted(six, 0.5, 0).origin is None
    assert "too faint" in doubted(six, 0.5, 0).reason
    assert doubted(six, 0.6, 0) == six
    assert doubted(six, 0.5, 6) == six
    whole = judge(window(8, 12), APART)
    assert doubted(whole, 0.45, 0) == whole
