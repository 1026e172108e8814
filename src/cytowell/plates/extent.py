"""Which places of a lattice are wells, and what lies beyond them: a whole plate, or a part of one.

Names are a claim about a whole plate. They are given where as many rows and columns are seen as a
format has and what lies beyond every side was looked at and is no well; where a side is out of
sight, covered or goes on, there is a reason in place of names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cytowell.plates.lattice import Lattice
from cytowell.plates.rims import Rim, agreement, in_sight, rims
from cytowell.plates.rings import Edges
from cytowell.types import FloatArray, IntArray

FORMATS: dict[int, tuple[int, int]] = {
    6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)
}  # fmt: skip
"""Rows and columns of the plates that are sold."""

EMPTY, MORE, UNKNOWN, WALL, PERHAPS = "empty", "more", "unknown", "wall", "perhaps"
"""What lies beyond an outer row or column: no well, wells, out of sight, a plate's edge, or so
little of what may be wells that they do not tell."""

LEFT, TOP, RIGHT, BOTTOM = range(4)
SIDES = ("left", "top", "right", "bottom")

PRESENT = 0.5
"""Share of a row's places that must be seen wells for it to be a row of the plate."""

ARC = 0.15
"""Share of the rims beyond a side that must be in sight to say what is there."""

PLENTY = 0.3
"""The same for wells that are there to tell which part of a plate is seen."""

ABSENT = 0.55
"""Score, as a share of a good well's, below which a rim beyond a side is not there."""

GAPS = 2
"""Rows or columns inside a plate that may be covered."""

TOUCHING = 0.45
"""Radius in pitches from which wells are no wells of a 384 plate: its walls are thicker."""


@dataclass(frozen=True)
class Extent:
    """A window of a lattice's places: first row and column, and how many; what lies beyond it."""

    row: int
    column: int
    rows: int
    columns: int
    sides: tuple[str, str, str, str] = (UNKNOWN,) * 4

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns


@dataclass(frozen=True)
class Verdict:
    """What a window is.

    Attributes
    ----------
    wells
        Format of the plate, 0 where it is not known.
    upright
        Whether the format's rows are the photograph's columns.
    origin
        Row and column of the window's first place in the format as it lies in the photograph;
        None where it is not known, so that wells have no names.
    reason
        What must be said of it.
    """

    wells: int
    upright: bool = False
    origin: tuple[int, int] | None = None
    reason: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole plate as it lies in the photograph."""
        short, long = FORMATS[self.wells]
        return (long, short) if self.upright else (short, long)


def extent(grid: FloatArray, start: Extent) -> Extent:
    """Give the window of rows and columns that are seen.

    Parameters
    ----------
    grid
        Score of every place as a share of a good well's; NaN outside the photograph.
    start
        Window of the circles that the lattice was made from.
    """
    window = _grown(grid, start, 0)
    shapes = {shape for pair in FORMATS.values() for shape in (pair, pair[::-1])}
    if window.shape not in shapes:
        # Covered rows inside: what lies on both sides of them is one plate if that is a format.
        bridged = _grown(grid, start, GAPS)
        if bridged.shape in shapes:
            return bridged
    return window


def _grown(grid: FloatArray, window: Extent, gaps: int) -> Extent:
    for _ in range(3):
        lines = grid[:, window.column : window.column + window.columns]
        row, rows = _run(lines, (window.row, window.rows), gaps)
        window = replace(window, row=row, rows=rows)
        lines = grid[window.row : window.row + window.rows].T
        column, columns = _run(lines, (window.column, window.columns), gaps)
        window = replace(window, column=column, columns=columns)
    return window


def _run(lines: FloatArray, near: tuple[int, int], gaps: int) -> tuple[int, int]:
    """Give first and number of the lines (N, places) that are seen, where most are near.

    Parameters
    ----------
    near
        First and number of the lines that are known; another plate may stand beside them.
    gaps
        Lines that may be missing between two.
    """
    known = np.isfinite(lines)
    strong = (np.nan_to_num(lines) > 0.5).sum(axis=1)
    count = known.sum(axis=1)
    there = (strong >= np.maximum(1, PRESENT * count)) & (count > 0)
    listed = np.flatnonzero(there)
    if not len(listed):
        return near[0], 1
    runs = np.split(listed, np.flatnonzero(np.diff(listed) > 1 + gaps) + 1)
    first, last = near[0], near[0] + near[1]
    best = max(runs, key=lambda r: int(strong[r[(r >= first) & (r < last)]].sum()))
    return int(best[0]), int(best[-1] - best[0] + 1)


def look_beyond(
    edges: Edges, lattice: Lattice, rim: Rim, window: Extent, first: tuple[int, int], usual: float
) -> tuple[str, str, str, str]:
    """Say what lies beyond each side of a window.

    Parameters
    ----------
    first
        Column and row of the lattice at the grid's upper left.
    usual
        Score of a well that is well seen.
    """
    columns = np.arange(window.columns) + window.column + first[0]
    rows = np.arange(window.rows) + window.row + first[1]
    said = []
    for side in range(4):
        if side in (LEFT, RIGHT):
            at = columns[0] - 1 if side == LEFT else columns[-1] + 1
            places = np.stack([np.full(len(rows), at), rows], axis=1)
            outward = np.array([-1.0 if side == LEFT else 1.0, 0.0])
        else:
            at = rows[0] - 1 if side == TOP else rows[-1] + 1
            places = np.stack([columns, np.full(len(columns), at)], axis=1)
            outward = np.array([0.0, -1.0 if side == TOP else 1.0])
        said.append(_beyond(edges, lattice, rim, places, outward, usual))
    return said[0], said[1], said[2], said[3]


def arcs(
    edges: Edges, lattice: Lattice, rim: Rim, places: IntArray, outward: FloatArray
) -> tuple[float, float]:
    """Give how much of the rims at places (N, 2) is an edge, where in sight, and how much is.

    Rims may stand up to a tenth of a pitch elsewhere, all alike.
    """
    here = places.astype(np.float64)
    depth = in_sight(edges, lattice, here, beyond=1.2 * lattice.pitch)
    if not depth.any():
        return 0.0, 0.0
    weights = rim.across(outward)
    best, share = -1.0, 0.0
    for step in (-0.08, -0.04, 0.0, 0.04, 0.08):
        agreed, sight = agreement(edges, rims(lattice, here[depth] + step * outward, rim), weights)
        if step == 0.0:
            share = float(sight.sum() / len(here))
        if sight.sum() > 0:
            best = max(best, float((agreed * sight).sum() / sight.sum()))
    return best, share


def _beyond(
    edges: Edges,
    lattice: Lattice,
    rim: Rim,
    places: IntArray,
    outward: FloatArray,
    usual: float,
) -> str:
    score, share = arcs(edges, lattice, rim, places, outward)
    if share < ARC:
        return UNKNOWN
    if score < ABSENT * usual:
        return EMPTY
    return MORE if share >= PLENTY else PERHAPS


def judge(window: Extent, rim: Rim, expected: int = 0) -> Verdict:
    """Say which plate a window is, and whether it can be named.

    Parameters
    ----------
    expected
        The format that the plate is said to have, 0 for any.
    """
    rows, columns = window.shape
    for wells, shape in FORMATS.items():
        if expected not in (0, wells) or {shape, shape[::-1]}.isdisjoint({window.shape}):
            continue
        return _whole(Verdict(wells, rows > columns, (0, 0)), window, rim, expected)
    if expected and (other := judge(window, rim)).origin is not None and not other.reason:
        said = f"a whole plate of {other.wells} wells is seen, not one of {expected} as was said"
        return replace(other, reason=said)
    return _part(window, expected)


def _whole(verdict: Verdict, window: Extent, rim: Rim, expected: int) -> Verdict:
    """Say whether a window with as many rows and columns as a format has is a whole plate."""
    wells = verdict.wells
    more = [SIDES[k] for k in range(4) if window.sides[k] in (MORE, PERHAPS)]
    hidden = [SIDES[k] for k in range(4) if window.sides[k] == UNKNOWN]
    if wells >= 96 and (rim.radius >= TOUCHING or len(more) + len(hidden) == 0 or wells == 384):
        return verdict
    if wells == 96 and len(more) < 3:
        # Of plates that are sold only 384 wells are more, and few photographs show a quarter.
        said = "96 wells fill the photograph: taken for a whole plate, not for a part of one of 384"
        return replace(verdict, reason=said)
    if more:
        why = f"{wells} wells are a part of a larger plate: it goes on at the "
        return Verdict(0, reason=why + " and ".join(more) + NO_NAMES)
    if hidden and expected:
        why = f"taken for a whole plate of {wells}, as was said: no edge is in sight at the "
        return replace(verdict, reason=why + " and ".join(hidden))
    if hidden:
        why = (
            f"the {wells} wells may be a part of a larger plate: no edge of it is in sight at the "
        )
        return Verdict(0, reason=why + " and ".join(hidden) + NO_NAMES)
    return verdict


NO_NAMES = ", so they have no names (--format says what the plate is)"


def _part(window: Extent, expected: int) -> Verdict:
    """Say which part of which plate a window is that is no whole one."""
    rows, columns = window.shape
    found = []
    for wells, (short, long) in FORMATS.items():
        for upright, (tall, wide) in ((False, (short, long)), (True, (long, short))):
            if expected not in (0, wells) or tall < rows or wide < columns:
                continue
            column = _placed(wide - columns, window.sides[LEFT], window.sides[RIGHT])
            row = _placed(tall - rows, window.sides[TOP], window.sides[BOTTOM])
            found.append((wells, upright, row, column))
    count = rows * columns
    seen = f"{rows} x {columns} wells are in sight"
    if not found:
        what = f"no part of a plate of {expected}" if expected else "no plate that is sold"
        return Verdict(0, reason=f"{seen}, which are {what}, so they have no names")
    fitting = [f for f in found if f[2] is not None and f[3] is not None]
    if len(fitting) == 1 and (expected or len({f[0] for f in found}) <= 2):
        wells, upright, row, column = fitting[0]
        assert row is not None
        assert column is not None
        said = f"{count} wells of a plate of {wells} are in sight; its edges tell which"
        return Verdict(wells, upright, (row, column), said)
    return Verdict(
        0, reason=f"{seen}, a part of a plate or one with covered wells: nothing tells which, "
        "so they have no names",
    )  # fmt: skip


def _placed(missing: int, before: str, after: str) -> int | None:
    """Give how many rows or columns are out of sight before the first; None if it is not known."""
    if missing == 0:
        return 0 if {before, after} <= {EMPTY, WALL} else None
    if before in (EMPTY, WALL) and after == MORE:
        return 0
    if after in (EMPTY, WALL) and before == MORE:
        return missing
    return None
