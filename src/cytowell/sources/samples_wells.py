"""Draws what an eyepiece shows of a well: a round field of stained cells, with or without foci.

A rabies neutralisation test is read so: infected cells light up apple-green under the conjugate,
in foci of a few to many cells; the monolayer between them is a dim haze with a red counterstain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from cytowell.sources.samples_optics import (
    Field,
    Random,
    add_patch,
    cloud,
    cover,
    expose,
    grid,
    oval,
    specks,
)

WIDTH, HEIGHT = 480, 360
"""Size of a photograph in pixels."""

STATES = ("negative", "positive")


@dataclass(frozen=True)
class Conjugate:
    """How one plate was stained and photographed.

    `haze`, `counter` and `green` are the colours (3,) of background, counterstained cells and
    foci; `field` is the radius of the bright field in pixels.
    """

    haze: Field
    counter: Field
    green: Field
    field: float
    centre: tuple[float, float]
    cell: float
    blur: float
    noise: float


def plate_conjugate(rng: Random) -> Conjugate:
    """Draw the look of one plate."""
    red = rng.uniform(0.1, 1.0)
    green = np.array([rng.uniform(60, 130), rng.uniform(200, 245), rng.uniform(50, 110)])
    return Conjugate(
        haze=(np.array([14, 30, 14]) * rng.uniform(0.7, 1.6)).astype(np.float32),
        counter=np.array([14 + 44 * red, 30 + 8 * (1 - red), 12]).astype(np.float32),
        green=green.astype(np.float32),
        field=rng.uniform(138, 166),
        centre=(WIDTH / 2 + rng.normal(0, 14), HEIGHT / 2 + rng.normal(0, 5)),
        cell=rng.uniform(6.0, 8.5),
        blur=rng.uniform(0.5, 1.1),
        noise=rng.uniform(3.0, 6.0),
    )


def draw_field(state: str, rng: Random, look: Conjugate) -> Image.Image:
    """Draw one photograph of a state of `STATES`: RGB, `WIDTH` x `HEIGHT` pixels."""
    x, y = (c + rng.normal(0, 4) for c in look.centre)
    dx, dy = grid(HEIGHT, WIDTH, float(x), float(y))
    distance = oval(dx, dy, look.field * rng.normal(1, 0.02), 1 + abs(rng.normal(0, 0.004)), 0.0)
    field = cover(distance, 3.5)
    cells, glow = _monolayer(rng, look, _infected(rng, state, look, (x, y)), (x, y))
    edge = 1 - rng.uniform(0.15, 0.5) * np.clip(1 + distance / look.field, 0, 1) ** 2
    uneven = edge * (1 + 0.1 * cloud(rng, HEIGHT, WIDTH, 140))
    scene = look.haze * (1 + 0.25 * cloud(rng, HEIGHT, WIDTH, 40))[:, :, None]
    scene = scene + look.counter * cells[:, :, None] + look.green * glow[:, :, None]
    scene = scene + _debris(rng, look, field)
    halo = gaussian_filter(glow * field, 7, truncate=3.0)
    scene = scene * uneven[:, :, None] + look.green * (0.35 * halo)[:, :, None]
    rim = np.exp(-((distance / 3) ** 2))[:, :, None] * look.haze * rng.uniform(0, 0.8)
    black = np.array([3.0, 3.5, 4.0], dtype=np.float32) * rng.uniform(0.3, 2)
    bright = rng.uniform(0.8, 1.25)
    scene = bright * (scene * field[:, :, None] + rim) + black
    lost = rng.uniform(0.8, 2.0) if rng.random() < 0.1 else 0.0
    scene = np.clip(scene, 0, 255).astype(np.float32)
    return expose(scene, rng, look.blur * rng.uniform(0.8, 1.2) + lost, look.noise)


def _infected(rng: Random, state: str, look: Conjugate, centre: tuple[float, float]) -> Field:
    """Draw how strongly the virus has spread over the field, 0..1; (H, W)."""
    spread = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    if state == "negative":
        return spread
    count = 1 + int(rng.poisson(rng.choice([0.3, 2.5, 9.0], p=[0.3, 0.4, 0.3])))
    for number in range(count):
        # The first focus always lies in sight, so that the label is true.
        away = look.field * (0.75 if number == 0 else 0.9) * np.sqrt(rng.random())
        turn = rng.uniform(0, 2 * np.pi)
        dx, dy = grid(
            HEIGHT, WIDTH, centre[0] + away * np.cos(turn), centre[1] + away * np.sin(turn)
        )
        reach = look.cell * rng.uniform(2.0 if number == 0 else 1.2, 5.5)
        patch = oval(dx, dy, 0.0, rng.uniform(0.7, 1.4), rng.uniform(0, np.pi))
        np.maximum(spread, np.exp(-((patch / reach) ** 2)), out=spread)
    return spread


def _stamps(rng: Random, look: Conjugate, count: int) -> list[Field]:
    """Draw single cells to choose from: body with a darker nucleus, square, brightness 0..1."""
    side = int(look.cell * 5)
    dx, dy = grid(side, side, side / 2, side / 2)
    stamps = []
    for _ in range(count):
        radius, angle = look.cell * rng.normal(1.05, 0.14), rng.uniform(0, np.pi)
        body = cover(oval(dx, dy, radius, rng.uniform(1.0, 1.6), angle), 4.5)
        x, y = rng.normal(0, 0.15 * radius, 2)
        core = cover(oval(dx - x, dy - y, 0.42 * radius, 1.15, angle), 3.0)
        stamps.append(body * (1 - rng.uniform(0.25, 0.6) * core))
    return stamps


def _monolayer(
    rng: Random, look: Conjugate, spread: Field, centre: tuple[float, float]
) -> tuple[Field, Field]:
    """Lay a carpet of cells; give the brightness of plain and of infected ones, each (H, W)."""
    step, stamps = look.cell * 1.9, _stamps(rng, look, 48)
    side = stamps[0].shape[0]
    cells = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    glow = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    reach = look.field + 2 * step
    rows, columns = np.arange(-reach, reach, step * 0.87), np.arange(-reach, reach, step)
    shift = (np.arange(len(rows)) % 2)[:, None] * step / 2
    x = centre[0] + columns[None, :] + shift + rng.normal(0, 0.3 * step, (len(rows), len(columns)))
    y = centre[1] + rows[:, None] + rng.normal(0, 0.3 * step, x.shape)
    bare = cloud(rng, HEIGHT, WIDTH, 60) > rng.uniform(1.8, 3.2)
    strength = rng.uniform(0.38, 0.6) if rng.random() < 0.3 else rng.uniform(0.6, 1.15)
    on = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
    for column, row in zip(x[on].astype(int), y[on].astype(int), strict=True):
        chance = float(spread[row, column])
        if bare[row, column] and chance < 0.3:
            continue
        shape = stamps[int(rng.integers(len(stamps)))]
        corner = (int(column) - side // 2, int(row) - side // 2)
        add_patch(cells, shape * np.float32(rng.uniform(0.4, 1.0)), *corner)
        if chance > 0.08 and rng.random() < chance * 1.5:
            bodies = specks(rng, shape, int(rng.integers(6, 22)), rng.uniform(0.6, 1.2))
            light = np.float32(strength * (0.4 + 0.6 * chance) * rng.uniform(0.5, 1.1))
            add_patch(glow, (0.35 * shape + 0.9 * bodies) * light, *corner)
    return np.minimum(cells, 1.2), np.minimum(glow, 1.2)


def _debris(rng: Random, look: Conjugate, field: Field) -> Field:
    """Draw what glows without virus: conjugate grains, yellowish dust, now and then a fibre."""
    scene = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    grains = specks(rng, field, int(rng.integers(0, 40)), 0.8) * np.float32(rng.uniform(0.15, 0.5))
    scene += grains[:, :, None] * look.green
    if rng.random() < 0.35:
        dust = specks(rng, field, int(rng.integers(1, 7)), rng.uniform(1.3, 3.0))
        tint = np.array([rng.uniform(90, 190), rng.uniform(130, 190), rng.uniform(50, 90)])
        scene += dust[:, :, None] * tint.astype(np.float32) * np.float32(rng.uniform(0.3, 1.0))
    if rng.random() < 0.1:
        steps = np.cumsum(rng.normal(0, 0.05, 160)) + rng.uniform(0, 2 * np.pi)
        x = np.cumsum(np.cos(steps)) + rng.uniform(0.3, 0.7) * WIDTH
        y = np.cumsum(np.sin(steps)) + rng.uniform(0.3, 0.7) * HEIGHT
        fibre = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
        on = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
        fibre[y[on].astype(int), x[on].astype(int)] = 1
        soft = gaussian_filter(fibre, 1.1, truncate=3.0)
        scene += soft[:, :, None] * np.array([70, 150, 120], dtype=np.float32)
    return scene
