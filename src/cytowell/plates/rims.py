"""How much of a well's rim is seen: round or square curves about the places of a lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytowell.plates.lattice import Lattice
from cytowell.plates.rings import Edges, along
from cytowell.types import BoolArray, FloatArray, IntArray

OUTER = 0.6
"""Of the circles around a well (floor, wall, rim) the outermost that is as strong as this share."""

PLAIN = 0.85
"""The same of squares: the sides of a neighbour run along a well's own."""

WIDEST = 0.56
"""Largest radius in pitches: walls that neighbours share."""

STEP = 0.06
"""How far in pitches a well is looked for about its place."""

ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)

CIRCLE: FloatArray = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
_FLAT = np.abs(CIRCLE) ** 8
SQUARE: FloatArray = CIRCLE / (_FLAT.sum(axis=1, keepdims=True) ** (1 / 8))
"""Rims of radius 1: a circle, and a square of side 2 with rounded corners."""


@dataclass(frozen=True)
class Rim:
    """What a well's rim looks like in lattice places: its radius or half side, and its curve."""

    radius: float
    curve: FloatArray

    def across(self, outward: FloatArray) -> FloatArray:
        """Give how much of each point of the curve (A,) runs across a plate's wall there.

        A wall is as straight as a square well's side and touches a round one: what runs along it
        does not tell the two apart.
        """
        following = np.roll(self.curve, -1, axis=0) - np.roll(self.curve, 1, axis=0)
        along_wall: FloatArray = np.abs(following @ outward)
        return along_wall / np.maximum(np.hypot(following[:, 0], following[:, 1]), 1e-9)

    @property
    def square(self) -> bool:
        """Whether wells are square."""
        return self.curve is SQUARE


def rims(lattice: Lattice, centres: FloatArray, rim: Rim) -> FloatArray:
    """Give the rims (N, A, 2) in pixels of wells at lattice places (N, 2)."""
    points = centres[:, None, :] + (rim.curve * rim.radius)[None]
    return lattice.at(points.reshape(-1, 2)).reshape(len(centres), len(rim.curve), 2)


def agreement(
    edges: Edges, curves: FloatArray, weights: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Give how much of what is in sight of each curve (N, A, 2) is an edge, and how much is.

    Parameters
    ----------
    weights
        Of the points of a curve (A,), where they do not count alike.
    """
    following = np.roll(curves, -1, axis=1) - np.roll(curves, 1, axis=1)
    x, y = curves[..., 0], curves[..., 1]
    height, width = edges.shape
    known = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    agreed = along(edges, curves.reshape(-1, 2), following.reshape(-1, 2)).reshape(x.shape)
    weighed = known * (np.ones(x.shape[1]) if weights is None else weights)
    total = (agreed * weighed).sum(axis=1)
    return total / np.maximum(weighed.sum(axis=1), 1e-9), known.mean(axis=1)


def halves(edges: Edges, curves: FloatArray) -> FloatArray:
    """Give how much of each curve (N, A, 2) is an edge, NaN where half of it is not in sight."""
    agreed, sight = agreement(edges, curves)
    return np.where(sight > 0.5, agreed, np.nan)


def looked_at(
    edges: Edges, lattice: Lattice, numbers: IntArray, rim: Rim
) -> tuple[FloatArray, FloatArray]:
    """Give the best score near each place and where it is; NaN outside the photograph."""
    here = numbers.astype(np.float64)
    centres = lattice.at(here)
    inside = in_sight(edges, lattice, here)
    scores = np.full(len(numbers), np.nan)
    places = centres.copy()
    rows = np.flatnonzero(inside)
    for dx in (-STEP, 0.0, STEP):
        for dy in (-STEP, 0.0, STEP):
            moved = here[rows] + [dx, dy]
            found = halves(edges, rims(lattice, moved, rim))
            better = ~(found <= np.nan_to_num(scores[rows], nan=-9.0)) & np.isfinite(found)
            scores[rows[better]] = found[better]
            places[rows[better]] = lattice.at(moved[better])
    return scores, places


def in_sight(edges: Edges, lattice: Lattice, here: FloatArray, beyond: float = 0.0) -> BoolArray:
    """Give which places (N, 2) lie in the photograph, or so many pixels beyond it."""
    height, width = edges.shape
    centres = lattice.at(here)
    depth = (np.concatenate([here, np.ones((len(here), 1))], axis=1) @ lattice.matrix[2]) > 0
    inside = depth & (centres >= -beyond).all(axis=1)
    inside &= (centres <= [width - 1 + beyond, height - 1 + beyond]).all(axis=1)
    # Beyond the horizon of a tilted plate its rows crowd together: nothing of it is there.
    half = np.array([0.5, 0.5])
    step = lattice.at(here + half) - lattice.at(here - half)
    near: BoolArray = inside & (np.hypot(step[:, 0], step[:, 1]) > 0.6 * lattice.pitch)
    return near


def fitted_rim(edges: Edges, lattice: Lattice, near: Rim) -> Rim:
    """Give the wells' radius in pitches: of several circles around a well, the outer strong one."""
    tried = np.linspace(max(0.2, 0.75 * near.radius), min(WIDEST, 1.35 * near.radius), 28)
    centres = lattice.numbers.astype(np.float64)
    found = np.array([_middle(halves(edges, rims(lattice, centres, Rim(r, near.curve))))
                      for r in tried])  # fmt: skip
    if not np.isfinite(found).all() or found.max() <= 0:
        return near
    outer = PLAIN if near.square else OUTER
    left, right = np.append(-np.inf, found[:-1]), np.append(found[1:], -np.inf)
    tops = np.flatnonzero((found >= left) & (found >= right) & (found >= outer * found.max()))
    return Rim(float(tried[int(tops[-1])]), near.curve)


def strength(edges: Edges, lattice: Lattice, near: Rim) -> float:
    """Give how much of a usual rim of about this radius is an edge."""
    centres = lattice.numbers.astype(np.float64)
    return max(
        _middle(halves(edges, rims(lattice, centres, Rim(r, near.curve))))
        for r in np.linspace(0.9 * near.radius, min(WIDEST, 1.15 * near.radius), 9)
    )


def _middle(scores: FloatArray) -> float:
    """Give the median of what is known, NaN if nothing is."""
    known = scores[np.isfinite(scores)]
    return float(np.median(known)) if len(known) else float("nan")
