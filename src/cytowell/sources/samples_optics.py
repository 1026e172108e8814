"""What every generated photograph goes through: soft shapes, stains in layers, light, lens, sensor.

Shapes are signed distances in pixels (negative inside), so that edges are antialiased without
drawing larger. Stains add up as optical density (Beer-Lambert): light that comes through is
``light * exp(-density)``, hence cells that overlap are darker, as on a slide.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

Field = npt.NDArray[np.float32]
Random = np.random.Generator


def grid(height: int, width: int, x: float, y: float) -> tuple[Field, Field]:
    """Give each pixel's offset (dx, dy) from the point (x, y); shapes (1, width), (height, 1)."""
    dx = np.arange(width, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(height, dtype=np.float32)[:, None] - np.float32(y)
    return dx, dy


def cloud(rng: Random, height: int, width: int, grain: float) -> Field:
    """Give smooth noise of mean 0 and deviation about 1 whose lumps are `grain` pixels wide."""
    small = (max(2, round(height / grain) + 1), max(2, round(width / grain) + 1))
    seeds = Image.fromarray(rng.standard_normal(small, dtype=np.float32))
    grown = np.asarray(seeds.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return grown / np.float32(grown.std() + 1e-6)


def cover(distance: Field, softness: float = 1.0) -> Field:
    """Turn a signed distance in pixels into coverage 0..1 with an edge of this softness."""
    covered: Field = np.clip(np.float32(0.5) - distance / np.float32(softness), 0, 1)
    return covered


def oval(dx: Field, dy: Field, radius: float, stretch: float, angle: float) -> Field:
    """Give the signed distance (approximate) to an ellipse of this mean radius."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = (dx * c + dy * s) / np.float32(stretch), (dy * c - dx * s) * np.float32(stretch)
    distance: Field = np.sqrt(along * along + across * across) - np.float32(radius)
    return distance


def lobes(dx: Field, dy: Field, points: Field, radii: Field, neck: float) -> Field:
    """Give the signed distance to round lobes joined in a row by necks of this half-width.

    Parameters
    ----------
    points
        Centres (n, 2) as x, y offsets.
    radii
        Radius of each lobe (n,), in pixels.
    """
    nearest = np.full(np.broadcast_shapes(dx.shape, dy.shape), 1e6, dtype=np.float32)
    for (x, y), radius in zip(points, radii, strict=True):
        np.minimum(nearest, np.sqrt((dx - x) ** 2 + (dy - y) ** 2) - radius, out=nearest)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        ex, ey = x1 - x0, y1 - y0
        length = np.float32(max(ex * ex + ey * ey, 1e-6))
        t = np.clip(((dx - x0) * ex + (dy - y0) * ey) / length, 0, 1)
        bridge = np.sqrt((dx - x0 - t * ex) ** 2 + (dy - y0 - t * ey) ** 2) - np.float32(neck)
        np.minimum(nearest, bridge, out=nearest)
    return nearest


def specks(rng: Random, where: Field, count: int, radius: float) -> Field:
    """Scatter `count` round specks over a coverage; heights 0..1, about 1 where a speck is."""
    field = np.zeros(where.shape, dtype=np.float32)
    places = np.flatnonzero(where > 0.5)
    if count <= 0 or not len(places):
        return field
    chosen = rng.choice(places, size=count)
    np.add.at(field.reshape(-1), chosen, rng.uniform(0.6, 1.0, count).astype(np.float32))
    spread: Field = gaussian_filter(field, radius, mode="constant", truncate=3.0)
    raised: Field = np.clip(spread * np.float32(2 * np.pi * radius * radius), 0, 1)
    return raised


def add_patch(canvas: Field, patch: Field, x: int, y: int) -> None:
    """Add a patch to a canvas with its upper left corner at (x, y), cut at the borders."""
    height, width = canvas.shape[:2]
    top, left = max(0, y), max(0, x)
    bottom, right = min(height, y + patch.shape[0]), min(width, x + patch.shape[1])
    if top < bottom and left < right:
        canvas[top:bottom, left:right] += patch[top - y : bottom - y, left - x : right - x]


def expose(scene: Field, rng: Random, blur: float, noise: float) -> Image.Image:
    """Photograph a scene (H, W, 3) in 0..255: lens blur, then shot and read noise, then 8 bits."""
    if blur > 0.15:
        scene = gaussian_filter(scene, (blur, blur, 0), mode="nearest", truncate=3.0)
    grain = rng.standard_normal(scene.shape, dtype=np.float32)
    level = np.float32(noise) * (np.float32(0.4) + np.sqrt(np.maximum(scene, 0)) * np.float32(0.05))
    return Image.fromarray(
        np.clip(scene + grain * level + np.float32(0.5), 0, 255).astype(np.uint8)
    )


def save(image: Image.Image, path: Path, quality: int, comment: str) -> None:
    """Write a JPEG that says in itself that it was generated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=quality, comment=comment.encode("ascii"))
