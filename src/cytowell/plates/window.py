"""From a lattice to a plate: every place is looked at, then the format that explains them is laid.

A format is a window of rows and columns. It gains where it covers wells that are seen, loses where
it covers none, and loses little where it reaches out of the photograph. So a dark well inside is
counted, a reflection outside is not, and a plate that is cut off is still told by what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cytowell.plates.lattice import Lattice, fit
from cytowell.plates.rings import Edges, along
from cytowell.types import BoolArray, Box, FloatArray, IntArray

FORMATS: dict[int, tuple[int, int]] = {
    6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)
}  # fmt: skip
"""Rows and columns of the plates that are sold."""

REACH = 24
"""Places around the circles that are looked at: the longest side of a format."""

OUTSIDE = 0.1
UPRIGHT = 0.15
"""What a place outside the photograph costs, and one of a plate that stands upright, in wells."""

SEEN = 0.34
"""Share of a format that must be in the photograph for it to be an explanation."""

OUTER = 0.6
"""Of the circles around a well (floor, wall, rim) the outermost that is as strong as this share."""

EDGE = 0.6
"""Pitches between an outer well's centre and the plate's edge, at least."""

WIDEST = 0.56
"""Largest radius in pitches: walls that neighbours share."""

FILLED = 0.75
FAINT, PLAIN = 0.28, 0.4
SOME, MANY = 12, 24
"""What makes a plate believable: the share of its wells that are seen, how plain their rims are,
and how many there are. Plates measure 0.46 to 0.99 plain, lattices found in blood smears 0.1 to
0.36; half a dozen cells that happen to lie in rows are no plate."""

ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)


@dataclass(frozen=True)
class Plate:
    """A plate, in pixels of what was searched.

    Attributes
    ----------
    lattice, rim
        The camera, and a well's radius in pitches.
    wells
        Its format, 6 to 384.
    first
        Column and row of the lattice at the window's upper left.
    scores
        Of each place of the window as a share of a well that is well seen; NaN outside the
        photograph; shape (rows, columns).
    strength
        Share of a usual rim that is an edge.
    certain
        Whether no other window explains the circles as well: whether A1 is known.
    """

    lattice: Lattice
    rim: float
    wells: int
    first: tuple[int, int]
    scores: FloatArray
    strength: float
    certain: bool

    @property
    def believable(self) -> bool:
        """Whether this is a plate and not chance, which finds circles in any smear of cells."""
        inside = self.inside
        count = int(inside.sum())
        filled = float((self.scores[inside] > 0.5).mean())
        if filled < FILLED or self.strength < FAINT:
            return False
        few = self.strength >= PLAIN and (count >= SOME or bool(inside.all()))
        return bool(count >= MANY or few)

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
        rims = _rims(self.lattice, self.numbers[self.inside.ravel()].astype(np.float64), self.rim)
        low, high = rims.min(axis=1), rims.max(axis=1)
        return [
            Box(float(a), float(b), float(c - a), float(d - b))
            for (a, b), (c, d) in zip(low, high, strict=True)
        ]

    def covers(self, places: FloatArray) -> bool:
        """Whether some of these places (K, 2) lie where its wells do."""
        apart = places[:, None] - self.centres[None]
        nearest = np.hypot(apart[:, :, 0], apart[:, :, 1]).min(axis=1)
        return bool((nearest < 0.8 * self.lattice.pitch).mean() > 0.1)


def plate_of(edges: Edges, lattice: Lattice, radius: float) -> Plate | None:
    """Complete a lattice of circles of about this radius; None if no format explains it."""
    rim = radius / lattice.pitch
    for _ in range(3):
        numbers = _around(lattice, 2)
        scores, places = _looked_at(edges, lattice, numbers, rim)
        good = scores > 0.5 * _usual(scores, len(lattice.scores))
        refined = fit(places[good], numbers[good], scores[good])
        if refined is None:
            return None
        lattice = refined
        rim = _rim(edges, lattice, rim)
    numbers = _around(lattice, REACH)
    scores, _ = _looked_at(edges, lattice, numbers, rim)
    shares = scores / _usual(scores, len(lattice.scores))
    width = int(np.ptp(numbers[:, 0])) + 1
    grid = shares.reshape(-1, width)
    laid = _lay(grid)
    if laid is None:
        return None
    wells, (row, column, rows, columns), certain = laid
    plate = Plate(
        lattice,
        rim,
        wells,
        (int(numbers[0, 0]) + column, int(numbers[0, 1]) + row),
        grid[row : row + rows, column : column + columns],
        _usual(scores, len(lattice.scores)),
        certain,
    )
    if not plate.believable:
        return None
    whole = bool(plate.inside.all()) and _margin(plate, edges.shape) > EDGE
    return replace(plate, certain=certain or whole)


def _margin(plate: Plate, shape: tuple[int, int]) -> float:
    """Give how many pitches of the photograph lie beyond the outermost wells."""
    low, high = plate.centres.min(axis=0), plate.centres.max(axis=0)
    room = [*low, shape[1] - high[0], shape[0] - high[1]]
    return float(min(room)) / plate.lattice.pitch


def _usual(scores: FloatArray, count: int) -> float:
    """Give the score of a well that is well seen: the median of as many best ones."""
    known = np.sort(scores[np.isfinite(scores)])
    return max(1e-6, float(np.median(known[-count:])))


def _around(lattice: Lattice, reach: int) -> IntArray:
    """Give the places (column, row) of the lattice's rectangle and `reach` more on every side."""
    low, high = lattice.numbers.min(axis=0) - reach, lattice.numbers.max(axis=0) + reach
    rows, columns = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int64)


def _rims(lattice: Lattice, centres: FloatArray, rim: float) -> FloatArray:
    """Give the rims (N, A, 2) in pixels of circles at lattice places (N, 2)."""
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1) * rim
    points = centres[:, None, :] + circle[None]
    return lattice.at(points.reshape(-1, 2)).reshape(len(centres), len(ANGLES), 2)


def _agreement(edges: Edges, rims: FloatArray) -> FloatArray:
    """Give how much of each rim (N, A, 2) is an edge, NaN where half of it is not in sight."""
    following = np.roll(rims, -1, axis=1) - np.roll(rims, 1, axis=1)
    normal = np.arctan2(following[..., 1], following[..., 0]) + np.pi / 2
    x, y = rims[..., 0], rims[..., 1]
    height, width = edges.shape
    known = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    agreed = along(edges, x.ravel(), y.ravel(), normal.ravel()).reshape(x.shape)
    count = known.sum(axis=1)
    total = np.where(known, agreed, 0.0).sum(axis=1)
    return np.where(count * 2 > x.shape[1], total / np.maximum(count, 1), np.nan)


def _looked_at(
    edges: Edges, lattice: Lattice, numbers: IntArray, rim: float
) -> tuple[FloatArray, FloatArray]:
    """Give the best score near each place and where it is; NaN outside the photograph."""
    height, width = edges.shape
    here = numbers.astype(np.float64)
    centres = lattice.at(here)
    depth = (np.concatenate([here, np.ones((len(here), 1))], axis=1) @ lattice.matrix[2]) > 0
    inside = depth & (centres >= 0).all(axis=1) & (centres <= [width - 1, height - 1]).all(axis=1)
    # Beyond the horizon of a tilted plate its rows crowd together: nothing of it is there.
    half = np.array([0.5, 0.5])
    step = lattice.at(here + half) - lattice.at(here - half)
    inside &= np.hypot(step[:, 0], step[:, 1]) > 0.6 * lattice.pitch
    scores = np.full(len(numbers), np.nan)
    places = centres.copy()
    rows = np.flatnonzero(inside)
    for dx in (-0.06, 0.0, 0.06):
        for dy in (-0.06, 0.0, 0.06):
            moved = here[rows] + [dx, dy]
            found = _agreement(edges, _rims(lattice, moved, rim))
            better = ~(found <= np.nan_to_num(scores[rows], nan=-9.0)) & np.isfinite(found)
            scores[rows[better]] = found[better]
            places[rows[better]] = lattice.at(moved[better])
    return scores, places


def _rim(edges: Edges, lattice: Lattice, near: float) -> float:
    """Give the wells' radius in pitches: of several circles around a well, the outer strong one."""
    tried = np.linspace(max(0.2, 0.75 * near), min(WIDEST, 1.35 * near), 28)
    centres = lattice.numbers.astype(np.float64)
    found = np.array([_middle(_agreement(edges, _rims(lattice, centres, r))) for r in tried])
    if not np.isfinite(found).all():
        return near
    left, right = np.append(-np.inf, found[:-1]), np.append(found[1:], -np.inf)
    tops = np.flatnonzero((found >= left) & (found >= right) & (found >= OUTER * found.max()))
    return float(tried[int(tops[-1])])


def _middle(scores: FloatArray) -> float:
    """Give the median of what is known, NaN if nothing is."""
    known = scores[np.isfinite(scores)]
    return float(np.median(known)) if len(known) else float("nan")


def _lay(grid: FloatArray) -> tuple[int, tuple[int, int, int, int], bool] | None:
    """Give format, window (row, column, rows, columns) and whether no other explains as much.

    Parameters
    ----------
    grid
        Score of every place as a share of a good well's; NaN outside the photograph.
    """
    inside = np.isfinite(grid)
    gain = np.where(inside, np.clip(np.nan_to_num(grid), 0.0, 1.0) - 0.5, 0.0)
    options = []
    for wells, (short, long) in FORMATS.items():
        for rows, columns in ((short, long), (long, short)):
            if rows > grid.shape[0] or columns > grid.shape[1]:
                continue
            seen_wells = _windows(inside.astype(np.float64), rows, columns)
            gained = _windows(gain, rows, columns)
            value = gained - 0.5 * OUTSIDE * (wells - seen_wells)
            if rows > columns:
                value = value - 0.5 * UPRIGHT * wells
            enough = seen_wells >= SEEN * wells
            for row, column in zip(*np.nonzero(enough & (gained > 1.0)), strict=True):
                place = (int(row), int(column), rows, columns)
                worth, won = float(value[row, column]), float(gained[row, column])
                options.append((worth, won, wells, place))
    if not options:
        return None
    # Of windows that are as good, the one whose first well is seen: numbering begins there.
    most = max(o[0] for o in options)
    rows_seen, columns_seen = np.nonzero(gain > 0)
    corner = (int(rows_seen.min()), int(columns_seen.min()))
    best = max(
        (o for o in options if o[0] > most - 0.25),
        key=lambda o: (-abs(o[3][0] - corner[0]) - abs(o[3][1] - corner[1]), o[0]),
    )
    others = [o for o in options if o[1] > best[1] - 1.0 and (o[2], o[3]) != (best[2], best[3])]
    return best[2], best[3], not others


def _windows(values: FloatArray, rows: int, columns: int) -> FloatArray:
    """Give the sum of every window of so many rows and columns."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    total[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    sums: FloatArray = (
        total[rows:, columns:]
        - total[:-rows, columns:]
        - total[rows:, :-columns]
        + total[:-rows, :-columns]
    )
    return sums
