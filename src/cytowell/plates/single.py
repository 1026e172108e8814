"""One well that fills the photograph: round or square, on any background, its rim cut or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cytowell.plates.rims import ANGLES, CIRCLE, SQUARE, agreement
from cytowell.plates.rings import Edges, edges_of
from cytowell.types import BoolArray, Box, FloatArray, Pixels

SIDE = 200
"""Longer side in pixels at which a single well is looked for."""

SMALLEST, LARGEST = 0.3, 0.72
"""Radius of a single well as a share of the photograph's shorter side."""

AWAY = 0.2
"""How far its centre may lie from the photograph's, as a share of the shorter side."""

RIM = 0.5
"""Share of its rim that is an edge, at least."""

EVERY_SIDE = 0.2
"""The same of each of its four sides that is in the photograph."""

SIGHT = 0.55
"""Share of its rim that is in the photograph, at least."""

OUTER = 0.8
"""Of several circles the outermost that is as strong as this share of the strongest is the rim."""


@dataclass(frozen=True)
class Single:
    """A single well.

    Attributes
    ----------
    box
        In pixels of what was searched.
    confidence
        Share of its rim that was seen.
    scale
        Longer side in pixels of what was searched.
    """

    box: Box
    confidence: float
    scale: float


def find_single(pixels: Pixels) -> Single | None:
    """Find the one well that fills pixels (H, W, 3); None where there is none."""
    scale = max(pixels.shape[:2]) / SIDE
    size = (max(1, round(pixels.shape[1] / scale)), max(1, round(pixels.shape[0] / scale)))
    if min(size) < 40 or min(pixels.shape[:2]) < 24:
        return None
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    edges = edges_of(small, 2.0)
    shorter = min(size)
    best = max(
        ((*_searched(edges, curve, size, shorter), curve) for curve in (CIRCLE, SQUARE)),
        key=lambda found: found[0],
    )
    score, x, y, radius, curve = best
    if score < RIM or not _all_round(edges, np.array([x, y]) + radius * curve):
        return None
    left, top = max(0.0, x - radius), max(0.0, y - radius)
    right, bottom = min(float(size[0]), x + radius), min(float(size[1]), y + radius)
    across, down = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    box = Box(left * across, top * down, (right - left) * across, (bottom - top) * down)
    return Single(box, min(1.0, score), float(max(pixels.shape[:2])))


def _all_round(edges: Edges, curve: FloatArray) -> bool:
    """Whether an edge runs along every side of a curve (A, 2) that is in sight: stripes do not."""
    side = ((ANGLES + np.pi / 4) // (np.pi / 2)) % 4
    height, width = edges.shape
    inside: BoolArray = (curve >= 0) & (curve <= np.array([width - 1, height - 1]))
    known = np.asarray(inside.all(axis=1))
    seen = 0
    for k in range(4):
        mine = side == k
        if known[mine].mean() < 0.4:
            continue
        agreed, _ = agreement(edges, curve[None], mine.astype(np.float64))
        if agreed[0] < EVERY_SIDE:
            return False
        seen += 1
    return seen >= 3


def _searched(
    edges: Edges, curve: FloatArray, size: tuple[int, int], shorter: int
) -> tuple[float, float, float, float]:
    """Give score, centre and radius in pixels of the best curve."""
    radii = shorter * np.arange(SMALLEST, LARGEST, 0.015)
    steps = shorter * np.linspace(-AWAY, AWAY, 11)
    middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    centres = middle + np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    scores = np.stack([_scores(edges, curve, centres, r) for r in radii])
    k, c = np.unravel_index(int(np.argmax(scores)), scores.shape)
    # The rim is the outermost of the circles about the same centre.
    fine = 0.1 * (steps[1] - steps[0]) * np.arange(-6, 7)
    around = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2) + centres[c]
    near = np.stack([_scores(edges, curve, around, r) for r in radii[k:]])
    tops = near.max(axis=1)
    before, after = np.append(-1.0, tops[:-1]), np.append(tops[1:], -1.0)
    outer = np.flatnonzero((tops >= OUTER * tops.max()) & (tops >= before) & (tops >= after))
    radius = float(radii[k:][outer[-1]])
    last = np.linspace(radius - 0.015 * shorter, radius + 0.015 * shorter, 9)
    final = np.stack([_scores(edges, curve, around, float(r)) for r in last])
    i, j = np.unravel_index(int(np.argmax(final)), final.shape)
    return float(final[i, j]), float(around[j, 0]), float(around[j, 1]), float(last[i])


def _scores(edges: Edges, curve: FloatArray, centres: FloatArray, radius: float) -> FloatArray:
    """Give how much of curves about centres (N, 2) is an edge; 0 where little is in sight."""
    curves = centres[:, None, :] + (curve * radius)[None]
    agreed, sight = agreement(edges, curves)
    return np.where(sight >= SIGHT, agreed * np.minimum(1.0, 0.7 + 0.4 * sight), 0.0)
