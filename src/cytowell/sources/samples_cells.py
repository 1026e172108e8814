"""Draws blood-like cells: five kinds of Wright-Giemsa look among red cells, one in the middle.

The kinds overlap on purpose (large lymphocytes, band nuclei, pale granules, giant platelets), and
stain, light and focus change from slide to slide and a little from picture to picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cytowell.sources.samples_optics import (
    Field,
    Random,
    add_patch,
    cloud,
    cover,
    expose,
    grid,
    lobes,
    oval,
    specks,
)

SIDE = 200
"""Width and height of a picture in pixels; a red cell is about 40 across."""

_WINDOW = 144
"""Side of the square in which the cell of the middle is drawn."""


@dataclass(frozen=True)
class Stain:
    """How one slide was stained and lit: optical densities (3,) of its dyes, and its camera."""

    light: Field
    red: Field
    chromatin: Field
    blue: Field
    pink: Field
    orange: Field
    size: float
    crowding: float
    pallor: float
    blur: float
    noise: float


@dataclass(frozen=True)
class Body:
    """A cell drawn in its window: what it covers (H, W), its optical density (H, W, 3)."""

    mask: Field
    density: Field


def slide_stain(rng: Random) -> Stain:
    """Draw the look of one slide."""
    strength = rng.uniform(0.75, 1.2)
    shift = rng.normal(0, 0.06, 3)

    def dye(*density: float) -> Field:
        jitter = 1 + shift + rng.normal(0, 0.05, 3)
        return (np.array(density) * strength * jitter).astype(np.float32)

    warmth = rng.uniform(0, 1)
    light = np.array([250 + 3 * warmth, 240 - 10 * warmth, 234 - 32 * warmth]) * rng.uniform(0.9, 1)
    return Stain(
        light=light.astype(np.float32),
        red=dye(0.22, 0.37, 0.26),
        chromatin=dye(1.15, 1.8, 0.52),
        blue=dye(0.46, 0.40, 0.09),
        pink=dye(0.16, 0.30, 0.14),
        orange=dye(0.16, 0.62, 0.52),
        size=rng.uniform(0.92, 1.08),
        crowding=rng.uniform(0.5, 1.0),
        pallor=rng.uniform(0.35, 0.85),
        blur=rng.uniform(0.3, 0.9),
        noise=rng.uniform(2.0, 5.0),
    )


def draw_cell(kind: str, rng: Random, stain: Stain) -> Image.Image:
    """Draw one picture of a kind of `KINDS`: RGB, `SIDE` pixels square."""
    body = KINDS[kind](rng, stain)
    left, top = (int((SIDE - _WINDOW) / 2 + rng.normal(0, 4)) for _ in range(2))
    mask = np.zeros((SIDE, SIDE), dtype=np.float32)
    add_patch(mask, body.mask, left, top)
    density = _red_cells(rng, stain, mask)
    for _ in range(rng.poisson(0.6) if kind != "platelet-like" else rng.poisson(0.3)):
        small = _platelet(rng, stain, float(rng.uniform(5, 8)))
        x, y = rng.integers(-_WINDOW // 2, SIDE - _WINDOW // 2, 2)
        if np.hypot(x - left, y - top) > 55:
            add_patch(density, small.density, int(x), int(y))
    density *= (1 - 0.96 * mask)[:, :, None]
    add_patch(density, body.density, left, top)
    dirt = np.maximum(cloud(rng, SIDE, SIDE, 30) - 1, 0) * rng.uniform(0, 0.03)
    density += (dirt + rng.uniform(0, 0.02))[:, :, None]
    dx, dy = grid(SIDE, SIDE, SIDE / 2, SIDE / 2)
    slope = rng.normal(0, 0.05, 2) / SIDE
    fall = 1 + dx * slope[0] + dy * slope[1] - rng.uniform(0, 0.08) * (dx**2 + dy**2) / SIDE**2
    light = stain.light * rng.uniform(0.93, 1.03) * (1 + rng.normal(0, 0.012, 3))
    scene = (light * fall[:, :, None] * np.exp(-density)).astype(np.float32)
    blur = stain.blur * rng.uniform(0.7, 1.3) + (
        rng.uniform(0.4, 1.3) if rng.random() < 0.08 else 0
    )
    return expose(scene, rng, float(blur), stain.noise)


def _red_cells(rng: Random, stain: Stain, keep_out: Field) -> Field:
    """Lay red cells over the whole picture, seldom under the cell of the middle; (H, W, 3)."""
    count, side = int(rng.integers(30, 60) * stain.crowding), 64
    x, y = rng.uniform(-20, SIDE + 20, (2, count))
    inner = keep_out[
        np.clip(y, 0, SIDE - 1).astype(int)[:, None], np.clip(x, 0, SIDE - 1).astype(int)[:, None]
    ][:, 0]
    away = np.hypot(x - SIDE / 2, y - SIDE / 2) > 18 + np.sqrt(keep_out.sum() / np.pi)
    chosen = (inner < 0.5) & (away | (rng.random(count) < 0.08))
    layer = np.zeros((SIDE, SIDE), dtype=np.float32)
    placed = np.zeros((0, 2))
    for cx, cy in zip(x[chosen], y[chosen], strict=True):
        near = (np.hypot(*(placed - (cx, cy)).T) < 33 * stain.size).any()
        if near and rng.random() < 0.8:
            continue
        placed = np.vstack([placed, (cx, cy)])
        radius = 19.5 * stain.size * rng.normal(1, 0.07)
        dx, dy = grid(side, side, side / 2 + cx % 1, side / 2 + cy % 1)
        stretch = 1 + abs(rng.normal(0, 0.06))
        d = oval(dx, dy, radius, stretch, rng.uniform(0, np.pi))
        wave = np.arctan2(dy, dx) * rng.integers(2, 5) + rng.uniform(0, 6.3)
        d = d + np.cos(wave) * np.float32(rng.uniform(0, 1.1))
        hollow = stain.pallor * rng.uniform(0.2, 1.15)
        depth = np.clip(-d / np.float32(radius), 0, 1)
        dish = 1 - hollow / (1 + np.exp(-(depth - rng.uniform(0.5, 0.68)) * 14))
        patch = cover(d, 1.6) * dish * rng.uniform(0.85, 1.12)
        add_patch(layer, patch.astype(np.float32), int(cx) - side // 2, int(cy) - side // 2)
    layer *= 1 + 0.05 * cloud(rng, SIDE, SIDE, 9)
    # Red cells that overlap are darker, though less than twice as dark: the film is squeezed.
    squeezed: Field = np.minimum(layer, 1 + (layer - 1) * 0.6)[:, :, None] * stain.red
    return squeezed


def _outline(rng: Random, radius: float, rough: float) -> tuple[Field, Field, Field]:
    """Draw a cell's outline: (dx, dy, signed distance) in its window."""
    dx, dy = grid(_WINDOW, _WINDOW, _WINDOW / 2, _WINDOW / 2)
    d = oval(dx, dy, radius, 1 + abs(rng.normal(0, 0.06)), rng.uniform(0, np.pi))
    return dx, dy, d + cloud(rng, _WINDOW, _WINDOW, 0.7 * radius) * np.float32(rough)


def _nucleus(rng: Random, stain: Stain, distance: Field, coarse: float) -> Field:
    """Give the optical density (H, W, 3) of chromatin inside a signed distance."""
    clumps = 1 + coarse * cloud(rng, _WINDOW, _WINDOW, 3.5) + 0.1 * cloud(rng, _WINDOW, _WINDOW, 10)
    rim = 1 + 0.18 * np.exp(-((distance + 1.5) ** 2) / 5)
    weight = cover(distance, 1.5) * np.clip(clumps * rim, 0.3, 1.6) * rng.normal(1, 0.08)
    return (weight[:, :, None] * stain.chromatin).astype(np.float32)


def _arc(rng: Random, count: int, radius: float, spread: float) -> Field:
    """Place `count` centres on an arc of this radius and angle, turned at random; (count, 2)."""
    start = rng.uniform(0, 2 * np.pi)
    angles = start + np.linspace(-spread / 2, spread / 2, count)
    points = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    placed: Field = points - np.float32(0.5) * points.mean(axis=0)
    return placed


def _compose(rng: Random, outline: Field, plasm: Field, nucleus: Field, fill: float) -> Body:
    """Put nucleus into cytoplasm (3,) of this density, with a faint membrane."""
    mask = cover(outline, 1.6)
    mottle = 1 + 0.12 * cloud(rng, _WINDOW, _WINDOW, 6) + 0.1 * cloud(rng, _WINDOW, _WINDOW, 18)
    membrane = 0.25 * np.exp(-((outline + 1) ** 2) / 3)
    layer = (mask * (fill * mottle + membrane))[:, :, None] * plasm
    under = 1 - np.clip(nucleus[:, :, 1:2] * 0.5, 0, 0.6)
    density = layer * under + nucleus * np.clip(mask, 0, 1)[:, :, None]
    return Body(mask, density.astype(np.float32))


def _lymphocyte(rng: Random, stain: Stain) -> Body:
    large = rng.random() < 0.16
    radius = stain.size * (rng.uniform(34, 42) if large else rng.uniform(25, 34))
    dx, dy, outline = _outline(rng, radius, rng.uniform(0.5, 2.2 if large else 1.4))
    inner = radius * (rng.uniform(0.62, 0.78) if large else rng.uniform(0.76, 0.92))
    x, y = rng.normal(0, 0.35 * (radius - inner), 2)
    d = oval(dx - x, dy - y, inner, 1 + abs(rng.normal(0, 0.05)), rng.uniform(0, np.pi))
    if rng.random() < 0.35:
        # A notch, as many lymphocytes have: a small circle taken out of the border.
        turn = rng.uniform(0, 2 * np.pi)
        nx, ny = inner * np.cos(turn) * 1.15 + x, inner * np.sin(turn) * 1.15 + y
        d = np.maximum(d, 0.3 * inner - np.sqrt((dx - nx) ** 2 + (dy - ny) ** 2))
    d = d + cloud(rng, _WINDOW, _WINDOW, 12) * np.float32(0.8)
    nucleus = _nucleus(rng, stain, d.astype(np.float32), 0.14)
    plasm = stain.blue * rng.uniform(0.8, 1.2) + stain.pink * rng.uniform(0, 0.3)
    return _compose(rng, outline, plasm, nucleus, rng.uniform(0.6, 1.2))


def _monocyte(rng: Random, stain: Stain) -> Body:
    radius = stain.size * rng.uniform(35, 47)
    dx, dy, outline = _outline(rng, radius, rng.uniform(0.8, 3.0))
    bend = rng.uniform(0.9, 3.8)
    points = _arc(rng, 6, radius * rng.uniform(0.32, 0.46), bend)
    radii = radius * (rng.uniform(0.36, 0.47) + rng.normal(0, 0.03, 6))
    d = lobes(dx, dy, points, radii.astype(np.float32), float(radii.mean()))
    d = d + cloud(rng, _WINDOW, _WINDOW, 14) * np.float32(1.8)
    nucleus = _nucleus(rng, stain, d, 0.2) * np.float32(rng.uniform(0.72, 0.95))
    plasm = stain.blue * rng.uniform(0.55, 1.0) + stain.pink * rng.uniform(0.3, 0.9)
    body = _compose(rng, outline, plasm, nucleus, rng.uniform(0.6, 1.0))
    bare = body.mask * (1 - cover(d, 3))
    holes = specks(rng, bare, int(rng.poisson(3)) * (rng.random() < 0.6), rng.uniform(1.2, 2.4))
    dust = specks(rng, bare, int(rng.integers(0, 60)), 0.8)[:, :, None] * stain.chromatin * 0.22
    return Body(body.mask, body.density * (1 - 0.7 * holes)[:, :, None] + dust)


def _granulocyte(
    rng: Random, stain: Stain, radius: float, count: int
) -> tuple[Field, Field, Field]:
    """Draw outline, nucleus distance and nucleus of a cell with a lobed or band nucleus."""
    dx, dy, outline = _outline(rng, radius, rng.uniform(0.5, 1.8))
    band = count == 1
    steps = 7 if band else count
    spread = rng.uniform(2.2, 4.4) if band else rng.uniform(0.9, 1.35) * count
    points = _arc(rng, steps, radius * rng.uniform(0.38, 0.5), float(min(spread, 5.0)))
    points = points + rng.normal(0, 0.6 if band else 0.05 * radius, points.shape).astype(np.float32)
    width = rng.uniform(0.2, 0.29) if band else {2: 0.38, 3: 0.33, 4: 0.28}.get(count, 0.25)
    radii = radius * width * rng.normal(1, 0.04 if band else 0.12, steps)
    neck = float(radii.mean()) if band else radius * rng.uniform(0.05, 0.13)
    d = lobes(dx, dy, points, radii.astype(np.float32), neck)
    d = d + cloud(rng, _WINDOW, _WINDOW, 9) * np.float32(1.0)
    return outline, d, _nucleus(rng, stain, d, 0.16)


def _neutrophil(rng: Random, stain: Stain) -> Body:
    count = int(rng.choice([1, 2, 3, 4, 5], p=[0.14, 0.14, 0.38, 0.24, 0.1]))
    radius = stain.size * rng.uniform(30, 40)
    outline, d, nucleus = _granulocyte(rng, stain, radius, count)
    plasm = stain.pink * rng.uniform(0.7, 1.3) + stain.blue * rng.uniform(0, 0.25)
    body = _compose(rng, outline, plasm, nucleus, rng.uniform(0.5, 0.95))
    bare = body.mask * (1 - cover(d, 3))
    grains = specks(rng, bare, int(rng.integers(60, 320)), rng.uniform(0.7, 1.1))
    tint = stain.chromatin * rng.uniform(0.08, 0.2) + stain.orange * rng.uniform(0, 0.25)
    return Body(body.mask, body.density + grains[:, :, None] * tint.astype(np.float32))


def _eosinophil(rng: Random, stain: Stain) -> Body:
    count = int(rng.choice([1, 2, 3, 4], p=[0.05, 0.7, 0.2, 0.05]))
    radius = stain.size * rng.uniform(31, 41)
    outline, d, nucleus = _granulocyte(rng, stain, radius, count)
    plasm = stain.pink * rng.uniform(0.6, 1.1) + stain.blue * rng.uniform(0, 0.4)
    body = _compose(rng, outline, plasm, nucleus, rng.uniform(0.5, 0.9))
    bare = body.mask * (1 - 0.85 * cover(d, 3))
    grains = specks(rng, bare, int(rng.integers(160, 420)), rng.uniform(1.2, 1.7))
    tint = stain.orange * rng.uniform(0.62, 1.15) + stain.chromatin * rng.uniform(0, 0.1)
    return Body(body.mask, body.density + grains[:, :, None] * tint.astype(np.float32))


def _platelet(rng: Random, stain: Stain, radius: float) -> Body:
    _, _, outline = _outline(rng, radius, rng.uniform(0.4, 1.5))
    mask = cover(outline, 2.2)
    core = cover(outline + np.float32(0.35 * radius), radius * 0.8)
    grains = specks(rng, mask, int(radius**2 * rng.uniform(0.12, 0.3)), rng.uniform(0.9, 1.3))
    base = stain.blue * rng.uniform(0.3, 0.8) + stain.pink * rng.uniform(0.5, 1.2)
    weight = stain.chromatin * np.float32(rng.uniform(0.35, 0.65))
    density = mask[:, :, None] * base + (mask * (0.75 * grains + 0.3 * core))[:, :, None] * weight
    return Body(mask, density.astype(np.float32))


def _platelets(rng: Random, stain: Stain) -> Body:
    giant = rng.random() < 0.18
    first = _platelet(
        rng, stain, stain.size * (rng.uniform(16, 25) if giant else rng.uniform(8, 15))
    )
    mask, density = first.mask.copy(), first.density.copy()
    for _ in range(int(rng.choice([0, 1, 2, 4], p=[0.62, 0.2, 0.12, 0.06]))):
        other = _platelet(rng, stain, stain.size * rng.uniform(6, 10))
        x, y = rng.normal(0, 14, 2).astype(int)
        add_patch(mask, other.mask, int(x), int(y))
        add_patch(density, other.density, int(x), int(y))
    return Body(np.minimum(mask, 1), density)


KINDS: dict[str, Callable[[Random, Stain], Body]] = {
    "eosinophil-like": _eosinophil,
    "lymphocyte-like": _lymphocyte,
    "monocyte-like": _monocyte,
    "neutrophil-like": _neutrophil,
    "platelet-like": _platelets,
}
"""The classes of the synthetic blood cells, and who draws them."""
