"""From a lattice to a plate: every place is looked at, and what is seen is compared to formats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cytowell.plates.extent import FORMATS, Extent, Verdict, extent, judge, look_beyond
from cytowell.plates.lattice import Lattice, fit
from cytowell.plates.placing import placed
from cytowell.plates.rims import CIRCLE, SQUARE, Rim, fitted_rim, looked_at, rims, strength
from cytowell.plates.rings import Edges
from cytowell.plates.seams import split, uneven
from cytowell.types import BoolArray, Box, FloatArray, IntArray

__all__ = ["FORMATS", "Plate", "plate_of"]

REACH = 24
"""Places around the circles that are looked at: the longest side of a format."""

FILLED = 0.75
FAINT, MANY = 0.28, 24
PLAINER = ((12, 0.4), (6, 0.45), (0, 0.6))
"""What makes a plate believable: the share of its wells that are seen, how plain their rims are,
and how many there are. Plates measure 0.46 to 0.99 plain, lattices found in blood smears 0.1 to
0.36; half a dozen cells that happen to lie in rows are no plate."""

SURE = 0.55
"""How plain rims are, at least, for fewer than 96 wells to have names: four to forty-eight of
something fall into rows by chance, and into the corners and gaps of other wells."""

THIN = 0.33
"""Radius of a well in pitches, at least: every second well of a plate is no plate."""

FULL = 0.9
"""Share of a format's places at which circles are found, for a lattice to be as large as that."""

SQUARE_PLAIN = 0.6
"""How plain the rims of square wells are, at least: half of any grid's lines make half a square."""


@dataclass(frozen=True)
class Plate:
    """A plate or what is seen of one, in pixels of what was searched.

    Attributes
    ----------
    lattice, rim
        The camera, and a well's rim in pitches.
    first
        Column and row of the lattice at the window's upper left.
    scores
        Of each place of the window as a share of a well that is well seen; NaN where it is not in
        sight; shape (rows, columns).
    strength
        Share of a usual rim that is an edge.
    verdict
        Which plate it is, and which part of it.
    squarish
        Whether squares explain wells better that were taken for round ones.
    """

    lattice: Lattice
    rim: Rim
    first: tuple[int, int]
    scores: FloatArray
    strength: float
    verdict: Verdict
    squarish: bool = False

    @property
    def believable(self) -> bool:
        """Whether this is a plate and not chance, which finds circles in any smear of cells."""
        inside = self.inside
        if not inside.any() or float((self.scores[inside] > 0.5).mean()) < FILLED:
            return False
        if self.rim.radius < THIN:
            return False
        if max(self.scores.shape) > max(FORMATS[384]) or min(self.scores.shape) < 2:
            return False
        if self.rim.square:
            return self.strength >= SQUARE_PLAIN
        count = int(inside.sum())
        if self.verdict.wells > 0 and count >= MANY:
            return self.strength >= FAINT
        return self.strength >= next(least for few, least in PLAINER if count >= few)

    @property
    def evidence(self) -> float:
        """Length of edge in pixels that its wells explain."""
        length = 2 * np.pi * self.rim.radius * self.lattice.pitch
        return float(np.nansum(np.clip(self.scores, 0, 1)) * self.strength * length)

    @property
    def inside(self) -> BoolArray:
        """Which places of the window lie in the photograph; (rows, columns)."""
        return np.isfinite(self.scores)

    @property
    def numbers(self) -> IntArray:
        """Lattice places (column, row) of the window, row by row; (rows * columns, 2)."""
        rows, columns = np.mgrid[: self.scores.shape[0], : self.scores.shape[1]]
        return np.stack([columns.ravel() + self.first[0], rows.ravel() + self.first[1]], axis=1)

    @property
    def centres(self) -> FloatArray:
        """Pixels (K, 2) of the wells inside the photograph, row by row."""
        return self.lattice.at(self.numbers[self.inside.ravel()])

    def boxes(self) -> list[Box]:
        """Give the rectangles around the rims of the wells inside the photograph."""
        here = self.numbers[self.inside.ravel()].astype(np.float64)
        curves = rims(self.lattice, here, self.rim)
        low, high = curves.min(axis=1), curves.max(axis=1)
        return [
            Box(float(a), float(b), float(c - a), float(d - b))
            for (a, b), (c, d) in zip(low, high, strict=True)
        ]

    def placed(self, edges: Edges) -> Plate:
        """Give the same plate with its wells placed to the pixel."""
        lattice, rim = placed(edges, self.lattice, self.rim, self.numbers[self.inside.ravel()])
        return replace(self, lattice=lattice, rim=rim)

    def covers(self, places: FloatArray) -> bool:
        """Whether some of these places (K, 2) lie where its wells do."""
        apart = places[:, None] - self.centres[None]
        nearest = np.hypot(apart[:, :, 0], apart[:, :, 1]).min(axis=1)
        return bool((nearest < 0.8 * self.lattice.pitch).mean() > 0.1)


def plate_of(
    edges: Edges,
    lattice: Lattice,
    radius: float,
    curve: FloatArray = CIRCLE,
    expected: tuple[int, int] = (0, 0),
) -> list[Plate]:
    """Complete a lattice of circles of about this radius to plates; none if nothing explains it.

    Parameters
    ----------
    expected
        The format that plates are said to have, and how many plates there are; 0 for any.
    """
    if _full(lattice):
        # Grown beyond a whole plate, a lattice bends towards the plate that stands beside it.
        whole = _completed(edges, lattice, Rim(radius / lattice.pitch, curve), 0, expected)
        if any(plate.verdict.origin is not None for plate in whole):
            return whole
    return _completed(edges, lattice, Rim(radius / lattice.pitch, curve), 2, expected)


def _completed(
    edges: Edges, lattice: Lattice, rim: Rim, reach: int, expected: tuple[int, int]
) -> list[Plate]:
    """Fit a lattice to wells up to so many places beyond its circles, and give its plates."""
    low, high = lattice.numbers.min(axis=0), lattice.numbers.max(axis=0)
    for _ in range(3):
        numbers = _around(lattice, reach)
        scores, places = looked_at(edges, lattice, numbers, rim)
        good = scores > 0.5 * _usual(scores, len(lattice.scores))
        refined = fit(places[good], numbers[good], scores[good])
        if refined is None:
            return []
        lattice = refined
        rim = fitted_rim(edges, lattice, rim)
    numbers = _around(lattice, REACH)
    scores, _ = looked_at(edges, lattice, numbers, rim)
    usual = _usual(scores, len(lattice.scores))
    width = int(np.ptp(numbers[:, 0])) + 1
    grid = (scores / usual).reshape(-1, width)
    first = int(numbers[0, 0]), int(numbers[0, 1])
    # What the lattice grew from: a plate beside it may have been taken in since.
    start = Extent(
        int(low[1]) - first[1], int(low[0]) - first[0],
        int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1,
    )  # fmt: skip
    plates = []
    squarish = not rim.square and strength(edges, lattice, Rim(rim.radius, SQUARE)) > usual
    whole = extent(grid, start)
    whole = replace(whole, sides=look_beyond(edges, lattice, rim, whole, first, usual))
    for part in split(edges, lattice, whole, first, *expected):
        plate = Plate(
            lattice,
            rim,
            (first[0] + part.column, first[1] + part.row),
            grid[part.row : part.row + part.rows, part.column : part.column + part.columns],
            usual,
            doubted(_judged(edges, lattice, rim, part, first, expected[0]), usual, expected[0]),
            squarish,
        )  # fmt: skip
        if plate.believable:
            plates.append(plate)
    return plates


def _judged(
    edges: Edges, lattice: Lattice, rim: Rim, part: Extent, first: tuple[int, int], expected: int
) -> Verdict:
    """Say which plate a window is; one that may be covered on one side is no whole one."""
    verdict = judge(part, rim, expected)
    whole = 0 < verdict.wells < 96 and verdict.shape == part.shape
    if whole and not expected and uneven(edges, lattice, part, first, rim.radius):
        return Verdict(0, reason=UNEVEN)
    return verdict


def doubted(verdict: Verdict, strength: float, expected: int) -> Verdict:
    """Take the names of a smaller plate away where its rims are so faint that it may be chance."""
    if not expected and 0 < verdict.wells < 96 and verdict.origin is not None and strength < SURE:
        said = f"rims of {verdict.wells} wells are too faint to be sure of, so they have no names"
        return Verdict(0, reason=said + " (--format says what the plate is)")
    return verdict


UNEVEN = (
    "what lies beyond opposite sides of the wells differs: rows or columns may be covered, so they "
    "have no names (--format says what the plate is)"
)


def _full(lattice: Lattice) -> bool:
    """Whether circles were found at the places of a whole format."""
    wide, tall = (np.ptp(lattice.numbers, axis=0) + 1).tolist()
    whole = any(sorted((wide, tall)) == sorted(shape) for shape in FORMATS.values())
    return whole and len(lattice.numbers) >= FULL * wide * tall


def _usual(scores: FloatArray, count: int) -> float:
    """Give the score of a well that is well seen: the median of as many best ones."""
    known = np.sort(scores[np.isfinite(scores)])
    return max(1e-6, float(np.median(known[-count:])))


def _around(lattice: Lattice, reach: int) -> IntArray:
    """Give the places (column, row) of the lattice's rectangle and `reach` more on every side."""
    low, high = lattice.numbers.min(axis=0) - reach, lattice.numbers.max(axis=0) + reach
    rows, columns = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int64)
