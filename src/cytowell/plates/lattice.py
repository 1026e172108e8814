"""From circle centres to rows and columns: a lattice seen by a camera.

Neighbours of neighbours are numbered outwards from one good circle, so that a tilt may change the
pitch across the photograph; then one homography is fitted to all of them, circles that it does not
explain are dropped, and those that were not seen are where it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from skimage.transform import AffineTransform

from cytowell.types import FloatArray, IntArray

PITCHES = (1.9, 3.4)
"""Distance of two neighbours in radii: touching wells, and wells far apart."""

NEAR = 0.22
"""How far in pitches a circle may lie from where its neighbour expects it."""

JUMP = 0.09
"""How far in pitches the step from one row to the next may differ from the steps beside it."""

MOST = 4
"""Lattices of circles of one radius that are looked for."""


@dataclass(frozen=True)
class Lattice:
    """Numbered circles and the camera that sees them.

    Attributes
    ----------
    matrix
        Homography (3, 3) from (column, row) to pixels.
    places, numbers, scores
        Circles that belong to it: pixels (K, 2), whole numbers (column, row) (K, 2), scores (K,).
    """

    matrix: FloatArray
    places: FloatArray
    numbers: IntArray
    scores: FloatArray

    def at(self, numbers: FloatArray | IntArray) -> FloatArray:
        """Give pixels (N, 2) of places (column, row) (N, 2)."""
        return seen(self.matrix, np.asarray(numbers, dtype=np.float64))

    @property
    def pitch(self) -> float:
        """Usual distance of two neighbours in pixels."""
        here = self.numbers.astype(np.float64)
        right = self.at(here + np.array([1.0, 0.0])) - self.at(here)
        return float(np.median(np.hypot(right[:, 0], right[:, 1])))


def seen(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Apply a homography (3, 3) to points (N, 2)."""
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    flat: FloatArray = lifted[:, :2] / lifted[:, 2:]
    return flat


def lattices(places: FloatArray, scores: FloatArray, radius: float) -> list[Lattice]:
    """Give lattices of circles of one radius, the fullest first; a circle belongs to one at most.

    Parameters
    ----------
    places, scores
        Centres in pixels (M, 2), and how sure each is (M,).
    """
    found: list[Lattice] = []
    free = np.ones(len(places), dtype=np.bool_)
    while free.sum() >= 4 and len(found) < MOST:
        rows = np.flatnonzero(free)
        options = [
            grown
            for basis in _bases(places[rows], scores[rows], radius)
            if (grown := _grow(places[rows], scores[rows], basis)) is not None
        ]
        if not options:
            break
        best = max(options, key=lambda o: _worth(scores[rows][o[0]]))
        members, numbers = _one_side(places[rows], *best)
        free[rows[members]] = False
        fitted = fit(places[rows][members], numbers, scores[rows][members])
        if fitted is not None:
            found.append(fitted)
    return found


def _one_side(
    places: FloatArray, members: IntArray, numbers: IntArray
) -> tuple[IntArray, IntArray]:
    """Give the larger side of a lattice that jumps: two plates never stand a pitch apart.

    A camera that is tilted changes the pitch by a little from row to row, and by about as much
    from the next to the one after.
    """
    at = {(int(c), int(r)): places[m] for m, (c, r) in zip(members, numbers, strict=True)}
    for axis in (0, 1):
        other = np.array([0, 1]) if axis == 0 else np.array([1, 0])
        step = 1 - other
        jumps = {}
        first, last = int(numbers[:, axis].min()), int(numbers[:, axis].max())
        moved = {
            k: np.array([
                at[c + step[0], r + step[1]] - at[c, r]
                for c, r in at
                if (c, r)[axis] == k and (c + step[0], r + step[1]) in at
            ]).reshape(-1, 2)
            for k in range(first, last)
        }  # fmt: skip
        steps = np.concatenate([np.zeros((0, 2)), *moved.values()])
        if not len(steps):
            continue
        usual = np.median(steps, axis=0)
        for k in range(first, last):
            beside = [moved[j] for j in (k - 1, k + 1) if first <= j < last and len(moved[j])]
            if len(moved[k]) < 2 or not beside:
                continue
            expected = np.median(np.concatenate(beside), axis=0)
            jump = np.hypot(*(np.median(moved[k], axis=0) - expected))
            jumps[k] = float(jump / np.hypot(*usual))
        if jumps and max(jumps.values()) > JUMP:
            k = max(jumps, key=lambda j: jumps[j])
            low = numbers[:, axis] <= k
            kept = low if low.sum() * 2 >= len(low) else ~low
            if kept.sum() >= 4:
                return _one_side(places, members[kept], numbers[kept])
    return members, numbers


def _worth(scores: FloatArray) -> float:
    """Rate a lattice: faint circles between strong ones are no wells, and speak against it."""
    return float((scores - 0.5 * np.quantile(scores, 0.75)).sum())


def fit(places: FloatArray, numbers: IntArray, scores: FloatArray) -> Lattice | None:
    """Fit a homography, an affine map where the circles do not tell one; drop what disagrees."""
    kept = np.ones(len(places), dtype=np.bool_)
    matrix = None
    for _ in range(4):
        chosen = numbers[kept]
        if kept.sum() < 4 or len(np.unique(chosen[:, 0])) < 2 or len(np.unique(chosen[:, 1])) < 2:
            return None
        matrix = _camera(chosen.astype(np.float64), places[kept])
        if matrix is None:
            return None
        error = places - seen(matrix, numbers.astype(np.float64))
        pitch = np.sqrt(abs(np.linalg.det(matrix[:2, :2] / matrix[2, 2])))
        good = np.hypot(error[:, 0], error[:, 1]) < 0.12 * pitch
        if np.array_equal(good, kept):
            break
        kept = good
    if matrix is None or kept.sum() < 4:
        return None
    return Lattice(matrix, places[kept], numbers[kept], scores[kept])


def _camera(numbers: FloatArray, places: FloatArray) -> FloatArray | None:
    wide = len(np.unique(numbers[:, 0])) >= 3 and len(np.unique(numbers[:, 1])) >= 3
    if wide and len(numbers) >= 8:
        matrix = _homography(numbers, places)
    else:
        made = AffineTransform.from_estimate(numbers, places)
        matrix = np.asarray(made.params, dtype=np.float64) if made else None
    return matrix if matrix is not None and np.isfinite(matrix).all() else None


def _homography(numbers: FloatArray, places: FloatArray) -> FloatArray | None:
    """Give the homography (3, 3) of least algebraic error.

    Normalised direct linear transform (Hartley 1997, doi 10.1109/34.601246). scikit-image's takes
    a full decomposition of all equations, half of the time of a photograph with hundreds of wells;
    the nine by nine matrix of their products has the same answer.
    """
    (a, A), (b, B) = _normalised(numbers), _normalised(places)
    none, one = np.zeros_like(a), np.ones((len(a), 1))
    lifted = np.concatenate([a, one], axis=1)
    pad = np.concatenate([none, none[:, :1]], axis=1)
    rows = np.concatenate(
        [
            np.concatenate([lifted, pad, -b[:, :1] * lifted], axis=1),
            np.concatenate([pad, lifted, -b[:, 1:] * lifted], axis=1),
        ]
    )
    solved = np.linalg.eigh(rows.T @ rows)[1][:, 0].reshape(3, 3)
    matrix: FloatArray = np.linalg.inv(B) @ solved @ A
    return None if abs(matrix[2, 2]) < 1e-12 else np.asarray(matrix / matrix[2, 2])


def _normalised(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give points about 0 at a mean distance of the root of 2, and the matrix that does it."""
    middle = points.mean(axis=0)
    size = np.sqrt(2) / max(float(np.hypot(*(points - middle).T).mean()), 1e-12)
    matrix = np.array([[size, 0, -size * middle[0]], [0, size, -size * middle[1]], [0, 0, 1.0]])
    return (points - middle) * size, matrix


def _bases(places: FloatArray, scores: FloatArray, radius: float) -> list[tuple[float, float]]:
    """Give the likeliest (pitch, angle in radians) of a square lattice among these circles."""
    pairs = cKDTree(places).query_pairs(PITCHES[1] * radius, output_type="ndarray")
    if not len(pairs):
        return []
    steps = places[pairs[:, 1]] - places[pairs[:, 0]]
    length = np.hypot(steps[:, 0], steps[:, 1])
    far = length > PITCHES[0] * radius
    steps, length, pairs = steps[far], length[far], pairs[far]
    if not len(steps):
        return []
    # A lattice looks the same after a quarter turn: the angle is known up to that.
    angle = np.arctan2(steps[:, 1], steps[:, 0]) % (np.pi / 2)
    weight = np.sqrt(scores[pairs[:, 0]] * scores[pairs[:, 1]])
    turns = np.exp(4j * angle)
    found: list[tuple[float, float]] = []
    free = np.ones(len(steps), dtype=np.bool_)
    for _ in range(3):
        if not free.any():
            break
        # Every step is asked how many others are nearly the same step.
        some = np.flatnonzero(free)[np.argsort(-weight[free], kind="stable")[:150]]
        alike = (np.abs(np.log(length[some, None] / length[None])) < 0.1) & (
            np.abs(turns[some, None] - turns[None]) < 0.55
        )
        votes = alike @ (weight * free)
        winner = alike[int(np.argmax(votes))] & free
        turn = float(np.angle((turns * weight)[winner].sum()) / 4)
        found.append((float(np.median(length[winner])), turn))
        free &= ~winner
    return found


def _grow(
    places: FloatArray, scores: FloatArray, basis: tuple[float, float]
) -> tuple[IntArray, IntArray] | None:
    """Give members (K,) and (column, row) (K, 2), counted outwards from the best circle."""
    pitch, angle = basis
    tree = cKDTree(places)
    right = pitch * np.array([np.cos(angle), np.sin(angle)])
    down = np.array([-right[1], right[0]])
    best: tuple[IntArray, IntArray] | None = None
    tried = np.zeros(len(places), dtype=np.bool_)
    for start in np.argsort(-scores, kind="stable")[:6]:
        if tried[start]:
            continue
        taken = _reached(places, tree, int(start), right, down)
        members = np.array(list(taken.values()), dtype=np.int64)
        tried[members] = True
        if best is None or len(members) > len(best[0]):
            best = members, np.array(list(taken.keys()), dtype=np.int64)
    return best if best is not None and len(best[0]) >= 4 else None


Node = tuple[int, int, FloatArray, FloatArray]
"""Column, row, and the steps to the next column and row in pixels there."""


def _reached(
    places: FloatArray, tree: cKDTree, start: int, right: FloatArray, down: FloatArray
) -> dict[tuple[int, int], int]:
    """Give the circle at every (column, row) that is reached from one, neighbour by neighbour."""
    taken: dict[tuple[int, int], int] = {(0, 0): start}
    owned = {start}
    frontier: list[Node] = [(0, 0, right, down)]
    while frontier:
        asked = [
            (node, dc, dr)
            for node in frontier
            for dc, dr in ((1, 0), (-1, 0), (0, 1), (0, -1))
            if (node[0] + dc, node[1] + dr) not in taken
        ]
        if not asked:
            break
        steps = np.array([dc * u + dr * v for (_, _, u, v), dc, dr in asked])
        here = places[[taken[node[0], node[1]] for node, _, _ in asked]]
        # One question for all that stand at the edge: thousands of single ones take seconds.
        distances, indices = tree.query(here + steps)
        near = distances <= NEAR * np.hypot(steps[:, 0], steps[:, 1])
        frontier = []
        for k in np.flatnonzero(near):
            (column, row, u, v), dc, dr = asked[k]
            there, index = (column + dc, row + dr), int(indices[k])
            if there in taken or index in owned:
                continue
            taken[there] = index
            owned.add(index)
            moved = (places[index] - here[k]) * (dc + dr)
            mixed = 0.5 * moved + 0.5 * (u if dc else v)
            frontier.append((*there, mixed if dc else u, v if dc else mixed))
    return taken
