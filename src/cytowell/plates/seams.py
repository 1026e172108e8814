"""Straight lines between and beyond rows of wells: where one plate ends, and where tape begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cytowell.plates.extent import BOTTOM, FORMATS, LEFT, RIGHT, TOP, WALL, Extent
from cytowell.plates.lattice import Lattice
from cytowell.plates.rings import Edges, along
from cytowell.types import FloatArray

SEAM = 0.4
PLAINER = 0.2
"""How much of a line between two rows is an edge where plates meet, and how much more than usual
between rows of one plate."""

WALLS = np.arange(0.02, 0.53, 0.02)
"""Distances from the rims of the outer wells at which a plate's wall is looked for, in pitches."""

PLAIN = 0.5
EVEN = 0.1
"""How much of a wall is an edge, and how far in pitches walls on opposite sides may differ."""

DEPTHS = np.linspace(0.3, 0.7, 17)
"""Where between two rows a seam is looked for, in pitches."""


def split(
    edges: Edges, lattice: Lattice, window: Extent, first: tuple[int, int], wells: int, plates: int
) -> list[Extent]:
    """Give the windows of the plates in a window; the window itself where it is one.

    Parameters
    ----------
    first
        Column and row of the lattice at the grid's upper left.
    wells, plates
        The format that plates are said to have, and how many there are; 0 for any.
    """
    if plates == 1:
        return [window]
    for wanted in (wells,) if wells else (96, 48, 24, 12, 6):
        short, long = FORMATS[wanted]
        for tall, wide in ((short, long), (long, short)):
            down, across = window.rows / tall, window.columns / wide
            count = down * across
            if count not in (2, 3, 4, 6) or down % 1 or across % 1:
                continue
            if plates and count > plates:
                continue
            if not plates and tall > wide:
                continue
            tiles = _tiles(window, (int(down), int(across)), (tall, wide))
            if (wells and plates) or _seamed(edges, lattice, window, first, tiles[0].shape):
                return tiles
    return [window]


def _tiles(window: Extent, count: tuple[int, int], shape: tuple[int, int]) -> list[Extent]:
    tiles = []
    for i in range(count[0]):
        for j in range(count[1]):
            sides = list(window.sides)
            for side, inner in (
                (LEFT, j > 0), (TOP, i > 0), (RIGHT, j < count[1] - 1), (BOTTOM, i < count[0] - 1)
            ):  # fmt: skip
                if inner:
                    sides[side] = WALL
            tiles.append(
                replace(
                    window, row=window.row + i * shape[0], column=window.column + j * shape[1],
                    rows=shape[0], columns=shape[1],
                    sides=(sides[0], sides[1], sides[2], sides[3]),
                )
            )  # fmt: skip
    return tiles


def _seamed(
    edges: Edges, lattice: Lattice, window: Extent, first: tuple[int, int], tile: Sequence[int]
) -> bool:
    """Whether a line runs between tiles all along, and none between other rows."""
    for axis, long, short in ((0, window.rows, tile[0]), (1, window.columns, tile[1])):
        if long == short:
            continue
        scores = np.array([_line(edges, lattice, window, first, axis, k) for k in range(long - 1)])
        cuts = np.zeros(long - 1, dtype=np.bool_)
        cuts[short - 1 :: short] = True
        usual = float(np.median(scores[~cuts])) if (~cuts).any() else 0.0
        if not (scores[cuts] > max(SEAM, usual + PLAINER)).all():
            return False
    return True


def _line(
    edges: Edges, lattice: Lattice, window: Extent, first: tuple[int, int], axis: int, k: int
) -> float:
    """Give how much of the best line between rows (axis 0) or columns k and k + 1 is an edge."""
    length = window.columns if axis == 0 else window.rows
    start = np.array([window.column + first[0], window.row + first[1]], dtype=np.float64)
    run = np.linspace(-0.4, length - 0.6, 12 * length)
    best = 0.0
    for depth in DEPTHS:
        across = np.full_like(run, k + depth)
        places = np.stack([run, across] if axis == 0 else [across, run], axis=1) + start
        best = max(best, _agreed(edges, lattice.at(places)))
    return best


def _agreed(edges: Edges, points: FloatArray) -> float:
    """Give how much of a curve (N, 2) in pixels is an edge that runs along it."""
    step = np.gradient(points, axis=0)
    return float(np.median(along(edges, points, step)))


def uneven(
    edges: Edges, lattice: Lattice, window: Extent, first: tuple[int, int], rim: float
) -> bool:
    """Whether straight lines lie beyond opposite sides, none of them equally far.

    A plate's walls do; where tape covers an outer row, its edge lies on one side and the wall on
    the other.
    """
    low = np.array([window.column + first[0], window.row + first[1]], dtype=np.float64)
    high = low + np.array([window.columns - 1, window.rows - 1])
    for axis in (0, 1):
        run = np.linspace(low[1 - axis] - 0.3, high[1 - axis] + 0.3, 96)
        lines = []
        for outer, sign in ((low[axis], -1.0), (high[axis], 1.0)):
            there = []
            for distance in rim + WALLS:
                across = np.full_like(run, outer + sign * distance)
                places = np.stack([across, run] if axis == 0 else [run, across], axis=1)
                if _agreed(edges, lattice.at(places)) > PLAIN:
                    there.append(distance)
            lines.append(np.array(there))
        left, right = lines
        if len(left) and len(right) and np.abs(left[:, None] - right[None]).min() > EVEN:
            return True
    return False
