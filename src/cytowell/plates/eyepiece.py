"""One round field with a black surround: what a phone sees through a microscope's eyepiece."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, gaussian_filter, label
from skimage.filters import threshold_otsu
from skimage.measure import CircleModel, EllipseModel, ransac

from cytowell.types import BoolArray, Box, FloatArray, Pixels

SIDE = 320
"""Longer side in pixels at which a field is looked for."""

DARK = 0.45
"""The surround's brightness as a share of the field's, at most."""

AGREES = 0.88
"""Overlap (intersection over union) of the bright area with the circle, at least."""

AGREES_OVAL, OVAL = 0.94, 0.75
"""The same for an ellipse, which fits more, and its shorter axis as a share of the longer, at
least: a camera that is held aslant by 40 degrees."""

SMALLEST = 0.22
"""Radius of a field as a share of the photograph's shorter side, at least."""

PLAIN = 0.006
"""How much a field varies, at least, for something to be seen in it; noise varies by less."""

BARE = "nothing is seen in the round field: it may be a bare disc"


@dataclass(frozen=True)
class Round:
    """A round field.

    Attributes
    ----------
    box
        In pixels of what was searched.
    confidence
        How well a circle explains it.
    reason
        What must be said of it.
    """

    box: Box
    confidence: float
    reason: str = ""


def find_field(pixels: Pixels) -> Round | None:
    """Find a round field with a dark surround in pixels (H, W, 3); None where there is none."""
    scale = max(1.0, max(pixels.shape[:2]) / SIDE)
    size = (round(pixels.shape[1] / scale), round(pixels.shape[0] / scale))
    if min(size) < 24:
        return None
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.float64)
    # A field may be of one colour only: the brightest channel shows it.
    light = gaussian_filter(small.max(axis=2), 1.5)
    best: Round | None = None
    for level in _levels(light):
        found = _circle_at(light, level)
        if found is not None and (best is None or found.confidence > best.confidence):
            best = found
    if best is None:
        return None
    across, down = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    box = best.box
    return Round(
        Box(box.x * across, box.y * down, box.width * across, box.height * down),
        best.confidence,
        BARE if _structure(light, box) < PLAIN else "",
    )


def _structure(light: FloatArray, box: Box) -> float:
    """Give how much the inner part of a field varies from place to place, as a share of it."""
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    x, y = box.x + box.width / 2, box.y + box.height / 2
    inner = np.hypot(columns - x, rows - y) < 0.4 * min(box.width, box.height)
    if not inner.any():
        return 0.0
    fine = (light - gaussian_filter(light, 8.0))[inner]
    return float(fine.std() / max(1.0, float(light[inner].mean())))


def _levels(light: FloatArray) -> list[float]:
    """Give brightnesses that may part field and surround, for bright and for dim fields."""
    if light.max() - light.min() < 8:
        return []
    rooted, logged = np.sqrt(light), np.log(light + 2.0)
    corners = np.concatenate(
        [light[:12, :12], light[:12, -12:], light[-12:, :12], light[-12:, -12:]]
    )
    floor = float(np.median(corners))
    found = [
        float(threshold_otsu(light)),
        float(threshold_otsu(rooted)) ** 2,
        float(np.exp(threshold_otsu(logged))) - 2.0,
        floor + 0.25 * (float(np.median(light[light > floor + 2], axis=0)) - floor)
        if (light > floor + 2).any()
        else floor + 4.0,
    ]
    return sorted(set(found))


def _circle_at(light: FloatArray, level: float) -> Round | None:
    inside = _largest(light > level)
    share = inside.mean()
    if not 0.05 < share < 0.97:
        return None
    bright, dark = float(np.median(light[inside])), float(np.median(light[~inside]))
    if dark > DARK * bright:
        return None
    points = _outline(inside)
    if len(points) < 40:
        return None
    shorter = min(light.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no circle fits is no news
        made, agree = ransac(
            points, CircleModel, 3, residual_threshold=0.012 * shorter, max_trials=120, rng=7
        )
    if not made or agree is None or agree.sum() < 20:
        return None
    made = CircleModel.from_estimate(points[agree])
    if not made:
        return None
    (x, y), radius = made.center, float(made.radius)
    if not SMALLEST * shorter < radius < 1.2 * max(light.shape):
        return None
    height, width = light.shape
    rows, columns = np.mgrid[:height, :width]
    disc = np.hypot(columns - x, rows - y) <= radius
    overlap = float((disc & inside).sum() / (disc | inside).sum())
    seen = _arc_seen(points[agree], (x, y), radius)
    if seen < 0.3 or disc.mean() > 0.95:
        return None
    if overlap < AGREES:
        return _oval_at(inside, points)
    x, y = float(x), float(y)
    left, top = max(0.0, x - radius + 0.5), max(0.0, y - radius + 0.5)
    right, bottom = min(float(width), x + radius + 0.5), min(float(height), y + radius + 0.5)
    return Round(Box(left, top, right - left, bottom - top), overlap * min(1.0, 0.5 + seen))


def _oval_at(inside: BoolArray, points: FloatArray) -> Round | None:
    """Give the field of a camera that is held aslant: a circle is seen as an ellipse."""
    made = EllipseModel.from_estimate(points)
    if not made:
        return None
    (x, y), (a, b), turn = made.center, made.axis_lengths, float(made.theta)
    if not min(a, b) / max(a, b) > OVAL or min(a, b) < SMALLEST * min(inside.shape):
        return None
    rows, columns = np.mgrid[: inside.shape[0], : inside.shape[1]]
    along = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    across = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
    disc = np.hypot(along / a, across / b) <= 1
    overlap = float((disc & inside).sum() / (disc | inside).sum())
    if overlap < AGREES_OVAL:
        return None
    wide = float(np.hypot(a * np.cos(turn), b * np.sin(turn)))
    tall = float(np.hypot(a * np.sin(turn), b * np.cos(turn)))
    left, top = max(0.0, float(x) - wide + 0.5), max(0.0, float(y) - tall + 0.5)
    right = min(float(inside.shape[1]), float(x) + wide + 0.5)
    bottom = min(float(inside.shape[0]), float(y) + tall + 0.5)
    return Round(Box(left, top, right - left, bottom - top), overlap)


def _largest(mask: BoolArray) -> BoolArray:
    parts, count = label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    biggest: BoolArray = binary_fill_holes(parts == int(np.argmax(sizes)))
    # Specks that hang on by a thread are no field.
    opened: BoolArray = binary_dilation(binary_erosion(biggest, iterations=3), iterations=3)
    return opened & biggest


def _outline(inside: BoolArray) -> FloatArray:
    """Give border points (K, 2) as x, y, without those that the photograph's own edge cuts."""
    edge = inside & ~binary_erosion(inside, border_value=1)
    edge[:2], edge[-2:], edge[:, :2], edge[:, -2:] = False, False, False, False
    y, x = np.nonzero(edge)
    return np.stack([x, y], axis=1).astype(np.float64)


def _arc_seen(points: FloatArray, centre: tuple[float, float], radius: float) -> float:
    """Give the share of the circle on which border points lie."""
    angle = np.arctan2(points[:, 1] - centre[1], points[:, 0] - centre[0])
    count = 72
    return len(np.unique(((angle + np.pi) / (2 * np.pi) * count).astype(int) % count)) / count
