"""Where wells lie to the pixel, once it is known which places of a lattice are wells."""

from __future__ import annotations

import numpy as np

from cytowell.plates.lattice import Lattice, fit
from cytowell.plates.rims import Rim, halves, rims
from cytowell.plates.rings import Edges
from cytowell.types import FloatArray, IntArray

RINGS = (0.7, 0.85, 1.0)
"""Radii, as shares of the rim's, at which a well's own rings are looked for: floor, wall and mouth
stand at different heights, so each alone is shifted by the camera."""

REACH = np.arange(-2, 3) * 0.025
"""Shifts in pitches at which wells are looked for about their places."""

SIDES = 0.97
"""The same as `RINGS` for square wells, whose sides run along their neighbours'."""

PLATEAU = 0.9
"""Share of the best score that radii about the best reach: blurred edges are as wide as that."""

LINE, FINEST = 0.8, 0.02
"""How far in pixels the outer flank of a drawn or moulded line lies outside of it, after edges were
smoothed, and the most of it in pitches."""


def placed(edges: Edges, lattice: Lattice, rim: Rim, numbers: IntArray) -> tuple[Lattice, Rim]:
    """Fit a lattice and a rim anew to the wells at some of its places (column, row) (N, 2)."""
    for _ in range(2):
        found, scores = _nearby(edges, lattice, rim, numbers.astype(np.float64))
        good = scores > 0.5 * float(np.median(scores))
        fitted = fit(found[good], numbers[good], scores[good])
        if fitted is None:
            break
        lattice = fitted
    radius = _radius(edges, lattice, rim, numbers.astype(np.float64))
    return lattice, Rim(radius - min(LINE / lattice.pitch, FINEST), rim.curve)


def _nearby(
    edges: Edges, lattice: Lattice, rim: Rim, here: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Give pixels (N, 2) at which wells are seen most plainly about their places, and how."""
    count = len(REACH)
    shifts = np.stack(np.meshgrid(REACH, REACH), axis=-1).reshape(-1, 1, 2)
    moved = (here[None] + shifts).reshape(-1, 2)
    total = np.zeros(len(moved))
    for share in (SIDES, 1.0) if rim.square else RINGS:
        # Half of a rim's points: hundreds of places are asked for each well.
        curves = rims(lattice, moved, Rim(share * rim.radius, rim.curve))[:, ::2]
        total += np.nan_to_num(halves(edges, curves))
    scores = total.reshape(count, count, len(here))
    row, column = np.unravel_index(scores.reshape(-1, len(here)).argmax(axis=0), scores.shape[:2])
    well = np.arange(len(here))
    y, x = np.clip(row, 1, count - 2), np.clip(column, 1, count - 2)
    step = REACH[1] - REACH[0]
    down = _top(scores[y - 1, x, well], scores[y, x, well], scores[y + 1, x, well])
    right = _top(scores[y, x - 1, well], scores[y, x, well], scores[y, x + 1, well])
    there = here + np.stack([REACH[x] + step * right, REACH[y] + step * down], axis=1)
    return lattice.at(there), scores[row, column, well]


def _top(before: FloatArray, at: FloatArray, after: FloatArray) -> FloatArray:
    """Give where the parabola through three scores is highest, in steps from the middle one."""
    bent = np.minimum(before - 2 * at + after, -1e-9)
    return np.clip(0.5 * (before - after) / bent, -1.0, 1.0)


def _radius(edges: Edges, lattice: Lattice, rim: Rim, here: FloatArray) -> float:
    """Give the middle of the radii in pitches at which the rim is as plain as it gets."""
    tried = rim.radius * np.linspace(0.9, 1.05, 16)
    found = np.array(
        [float(np.nanmedian(halves(edges, rims(lattice, here, Rim(r, rim.curve))))) for r in tried]
    )
    if not np.isfinite(found).all() or found.max() <= 0:
        return rim.radius
    best = int(found.argmax())
    low = high = best
    while low > 0 and found[low - 1] >= PLATEAU * found[best]:
        low -= 1
    while high < len(tried) - 1 and found[high + 1] >= PLATEAU * found[best]:
        high += 1
    weights = found[low : high + 1]
    return float((tried[low : high + 1] * weights).sum() / weights.sum())
