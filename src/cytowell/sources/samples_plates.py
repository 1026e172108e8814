"""Draws photographs of multiwell plates, and knows where every well lies in them.

Two kinds of assay: a monolayer stained violet, in which virus leaves clear plaques, and pale
medium, in which it leaves dark colonies. The camera is tilted, turned and near; there are
reflections, shadows, glare and wells that are hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from cytowell.plates import window
from cytowell.sources.samples_optics import Field, Random, cloud, cover, expose, grid, oval
from cytowell.types import Box

WIDTH, HEIGHT = 1000, 700
"""Size of a photograph in pixels."""

_MILLIMETRES = {
    6: (39.1, 35.0), 12: (26.0, 22.5), 24: (19.3, 16.2), 48: (13.1, 11.4), 96: (9.0, 6.9),
    384: (4.5, 3.6),
}  # fmt: skip

FORMATS: dict[int, tuple[int, int, float, float]] = {
    wells: (*shape, *_MILLIMETRES[wells]) for wells, shape in window.FORMATS.items()
}
"""Rows, columns, pitch and well diameter in mm of each format, as plates are commonly sold."""

_PLATE = (127.8, 85.5)
_SCALE = 8.0
_MARGIN = 12.0

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """What lies before the camera, and how it is held.

    Attributes
    ----------
    wells
        Number of wells, one of `FORMATS`.
    positive
        Whether each well is infected, row by row from A1; shape (rows, columns).
    hidden
        Whether each well is hidden in the dark; shape (rows, columns).
    turn
        Rotation in degrees, clockwise.
    perspective
        Share by which the far side of the plate is shorter than the near one.
    glare
        Brightness of the lamp's reflection, 0 to 1.
    violet
        Whether the assay is the violet monolayer, else pale medium with dark colonies.
    """

    wells: int
    positive: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.bool_]
    turn: float = 0.0
    perspective: float = 0.0
    glare: float = 0.0
    violet: bool = True


@dataclass(frozen=True)
class Well:
    """One well of a generated photograph: name, where it lies, and what is in it."""

    name: str
    box: Box
    state: str


@dataclass(frozen=True)
class _Look:
    """Colours and light of one photograph."""

    table: Colour
    plastic: Colour
    rim: Colour
    medium: Colour
    stained: Colour
    lamp: tuple[float, float]
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont = field(
        default_factory=lambda: ImageFont.load_default(18)
    )


def random_scene(wells: int, rng: Random, camera: Random) -> Scene:
    """Draw a plate's wells with `rng` and how it was photographed with `camera`."""
    rows, columns, _, _ = FORMATS[wells]
    share = rng.uniform(0.25, 0.75)
    positive = rng.random((rows, columns)) < share
    shaded = 0.1 if camera.random() < 0.4 else 0.0
    return Scene(
        wells=wells,
        positive=positive,
        hidden=camera.random((rows, columns)) < shaded,
        turn=float(camera.normal(0, 3.5)),
        perspective=float(camera.uniform(0, 0.08)),
        glare=float(camera.uniform(0.2, 0.8)) if camera.random() < 0.5 else 0.0,
        violet=bool(rng.random() < 0.55),
    )


def draw_plate(scene: Scene, rng: Random) -> tuple[Image.Image, list[Well]]:
    """Photograph a plate.

    Returns
    -------
    tuple
        RGB, `WIDTH` x `HEIGHT` pixels; the wells row by row with their boxes in its pixels. The
        state of a hidden well is ``dark``.
    """
    look = _look(rng, scene.violet)
    flat, wells = _flat(scene, look, rng)
    matrix = _camera(scene, rng)
    back = np.linalg.inv(matrix)
    photograph = flat.transform(
        (WIDTH, HEIGHT),
        Image.Transform.PERSPECTIVE,
        tuple((back / back[2, 2]).reshape(-1)[:8]),
        Image.Resampling.BICUBIC,
        fillcolor=look.table,
    )
    pixels = np.asarray(photograph, dtype=np.float32)
    found = [Well(name, _box(matrix, x, y, radius), state) for name, x, y, radius, state in wells]
    return expose(_light(pixels, scene, rng), rng, rng.uniform(0.4, 1.1), rng.uniform(2, 5)), found


def _look(rng: Random, violet: bool) -> _Look:
    def shade(base: tuple[int, int, int], spread: float) -> Colour:
        mixed = np.clip(np.array(base) + rng.normal(0, spread, 3) + rng.normal(0, spread), 0, 255)
        return int(mixed[0]), int(mixed[1]), int(mixed[2])

    tables = ((52, 52, 56), (120, 116, 110), (205, 208, 210), (70, 84, 92), (168, 148, 120))
    medium = ((232, 228, 232), (240, 226, 214)) if violet else ((232, 150, 140), (214, 206, 196))
    plastic = (214, 216, 220)
    return _Look(
        table=shade(tables[int(rng.integers(len(tables)))], 6),
        plastic=shade(plastic, 5),
        rim=shade((172, 175, 182), 6),
        medium=shade(medium[int(rng.integers(2))], 6),
        stained=shade((104, 70, 158), 10),
        lamp=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.1)),
    )


def _size() -> tuple[int, int]:
    return (
        round((_PLATE[0] + 2 * _MARGIN) * _SCALE),
        round((_PLATE[1] + 2 * _MARGIN) * _SCALE),
    )


def _flat(
    scene: Scene, look: _Look, rng: Random
) -> tuple[Image.Image, list[tuple[str, float, float, float, str]]]:
    """Draw the plate from straight above, `_SCALE` pixels to the mm; name, x, y, radius, state."""
    image = Image.new("RGB", _size(), look.table)
    draw = ImageDraw.Draw(image)
    _body(draw, look)
    rows, columns, pitch, diameter = FORMATS[scene.wells]
    radius = diameter / 2 * _SCALE
    left = (_MARGIN + (_PLATE[0] - (columns - 1) * pitch) / 2) * _SCALE
    top = (_MARGIN + (_PLATE[1] - (rows - 1) * pitch) / 2) * _SCALE
    wells = []
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * pitch * _SCALE, top + row * pitch * _SCALE
            positive, hidden = bool(scene.positive[row, column]), bool(scene.hidden[row, column])
            _well(image, draw, (x, y, radius), look, (positive, hidden, scene.violet), rng)
            state = "dark" if hidden else "positive" if positive else "negative"
            wells.append((f"{chr(65 + row)}{column + 1}", x, y, radius, state))
    _letters(draw, look, (rows, columns, pitch), (left, top))
    return image, wells


def _body(draw: ImageDraw.ImageDraw, look: _Look) -> None:
    """Draw skirt and deck of the plate with the cut corners beside A1."""
    for inset, tone in ((0.0, 0.86), (2.2, 1.0), (3.0, 0.97)):
        x0, y0 = (_MARGIN + inset) * _SCALE, (_MARGIN + inset) * _SCALE
        x1 = (_MARGIN + _PLATE[0] - inset) * _SCALE
        y1 = (_MARGIN + _PLATE[1] - inset) * _SCALE
        cut, r, g, b = 4.5 * _SCALE, *look.plastic
        corners = [
            (x0 + cut, y0),
            (x1, y0),
            (x1, y1),
            (x0 + cut, y1),
            (x0, y1 - cut),
            (x0, y0 + cut),
        ]
        fill = (int(r * tone), int(g * tone), int(b * tone))
        draw.polygon(corners, fill=fill, outline=tuple(int(c * 0.7) for c in look.plastic))


def _letters(
    draw: ImageDraw.ImageDraw,
    look: _Look,
    lattice: tuple[int, int, float],
    first: tuple[float, float],
) -> None:
    rows, columns, pitch = lattice
    ink = tuple(int(c * 0.62) for c in look.plastic)
    x0, y0 = (_MARGIN + 4.7) * _SCALE, (_MARGIN + 4.2) * _SCALE
    for row in range(rows):
        y = first[1] + row * pitch * _SCALE
        draw.text((x0, y), chr(65 + row), ink, look.font, anchor="mm")
    for column in range(columns):
        x = first[0] + column * pitch * _SCALE
        draw.text((x, y0), str(column + 1), ink, look.font, anchor="mm")


def _well(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    circle: tuple[float, float, float],
    look: _Look,
    content: tuple[bool, bool, bool],
    rng: Random,
) -> None:
    """Draw one well: rim, wall that is seen aslant, floor, and what has grown on it."""
    x, y, radius = circle
    positive, hidden, violet = content
    side = int(2 * radius) + 8
    dx, dy = grid(side, side, side / 2, side / 2)
    edge = oval(dx, dy, radius, 1.0, 0.0)
    depth = 0.07 * radius
    floor = oval(dx - look.lamp[0] * depth, dy - look.lamp[1] * depth, 0.88 * radius, 1.0, 0.0)
    corner = (round(x - side / 2), round(y - side / 2))
    patch = np.asarray(image.crop((*corner, corner[0] + side, corner[1] + side)), dtype=np.float32)
    ground = np.array(look.stained if violet else look.medium, dtype=np.float32)
    ground = ground * np.float32(rng.normal(1, 0.04))
    bottom = ground * (1 + 0.03 * cloud(rng, side, side, max(4.0, radius / 3)))[:, :, None]
    if positive:
        bottom = _grown(bottom, floor, radius, look, violet, rng)
    bottom = bottom * (1 - 0.16 * np.exp(-((floor / (0.12 * radius)) ** 2)))[:, :, None]
    wall = np.array(look.rim, dtype=np.float32) * 0.6 + ground * 0.25
    slope = 1 + 0.25 * (dx * look.lamp[0] + dy * look.lamp[1]) / np.float32(radius)
    inside = wall * slope[:, :, None]
    inside += (bottom - inside) * cover(floor, 2.0)[:, :, None]
    shine = np.exp(-((dx / radius - look.lamp[0]) ** 2 + (dy / radius - look.lamp[1]) ** 2) / 0.008)
    inside = inside + (70 * shine)[:, :, None]
    if hidden:
        inside = inside * rng.uniform(0.04, 0.14)
    patch = patch + (inside - patch) * cover(edge, 2.0)[:, :, None]
    patch *= (1 - 0.28 * np.exp(-((edge / 1.8) ** 2)))[:, :, None]
    image.paste(Image.fromarray(np.clip(patch, 0, 255).astype(np.uint8)), corner)


def _grown(
    bottom: Field, floor: Field, radius: float, look: _Look, violet: bool, rng: Random
) -> Field:
    """Draw plaques or colonies on the floor of an infected well."""
    side = bottom.shape[0]
    mark = np.array(look.medium if violet else (74, 60, 58), dtype=np.float32)
    spots = np.zeros((side, side), dtype=np.float32)
    for _ in range(int(rng.integers(2, 6 + int(radius / 8)))):
        away, turn = 0.75 * radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        dx, dy = grid(side, side, side / 2 + away * np.cos(turn), side / 2 + away * np.sin(turn))
        size = rng.uniform(2.5, 4.0 + 0.12 * radius)
        spot = oval(dx, dy, size, rng.uniform(0.8, 1.25), rng.uniform(0, np.pi))
        np.maximum(spots, cover(spot, 2.5), out=spots)
    if rng.random() < 0.25:
        wide = cloud(rng, side, side, radius / 2) > rng.uniform(-0.6, 0.4)
        np.maximum(spots, gaussian_filter(wide.astype(np.float32), 2), out=spots)
    weight = spots * cover(floor, 3.0) * np.float32(rng.uniform(0.7, 0.97))
    return bottom + (mark - bottom) * weight[:, :, None]


def _camera(scene: Scene, rng: Random) -> npt.NDArray[np.float64]:
    """Give the homography (3, 3) from the flat drawing to the photograph: turn, tilt, fit."""
    width, height = _size()
    turn, tilt = np.deg2rad(scene.turn), rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    lean = scene.perspective / np.hypot(width, height) * 2
    tilted = np.array([[1, 0, 0], [0, 1, 0], [lean * np.cos(tilt), lean * np.sin(tilt), 1]])
    matrix = tilted @ turned @ centred
    # The whole plate stays in sight, whatever the turn.
    x = np.array([_MARGIN, _MARGIN + _PLATE[0]])[[0, 1, 1, 0]] * _SCALE
    y = np.array([_MARGIN, _MARGIN + _PLATE[1]])[[0, 0, 1, 1]] * _SCALE
    seen = matrix @ np.stack([x, y, np.ones(4)])
    seen = seen[:2] / seen[2]
    span = seen.max(axis=1) - seen.min(axis=1)
    zoom = min(WIDTH / span[0], HEIGHT / span[1]) * rng.uniform(0.86, 0.97)
    room = (np.array([WIDTH, HEIGHT]) - span * zoom) / 2
    middle = np.array([WIDTH, HEIGHT]) / 2 + room * rng.uniform(-0.7, 0.7, 2)
    shift = middle - (seen.max(axis=1) + seen.min(axis=1)) / 2 * zoom
    placed: npt.NDArray[np.float64] = (
        np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1.0]]) @ matrix
    )
    return placed


def _box(matrix: npt.NDArray[np.float64], x: float, y: float, radius: float) -> Box:
    """Give the rectangle around a well's circle as the camera sees it."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    rim = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.ones(96)])
    seen = matrix @ rim
    seen = seen[:2] / seen[2]
    (left, top), (right, bottom) = seen.min(axis=1), seen.max(axis=1)
    return Box(
        round(float(left), 2),
        round(float(top), 2),
        round(float(right - left), 2),
        round(float(bottom - top), 2),
    )


def _light(pixels: Field, scene: Scene, rng: Random) -> Field:
    """Light the photograph: uneven lamp, colour cast, shadow, glare."""
    dx, dy = grid(HEIGHT, WIDTH, WIDTH * rng.uniform(0.3, 0.7), HEIGHT * rng.uniform(0.3, 0.7))
    fall = 1.05 - rng.uniform(0.05, 0.35) * (dx**2 + dy**2) / (WIDTH**2 / 2)
    lit = pixels * (fall * rng.uniform(0.8, 1.08))[:, :, None]
    lit = lit * (1 + rng.normal(0, 0.03, 3)).astype(np.float32)
    if scene.glare > 0:
        x, y = WIDTH * rng.uniform(0.15, 0.85), HEIGHT * rng.uniform(0.15, 0.85)
        dx, dy = grid(HEIGHT, WIDTH, x, y)
        spot = oval(dx, dy, 0.0, rng.uniform(1.0, 2.2), rng.uniform(0, np.pi))
        bright = scene.glare * np.exp(-((spot / rng.uniform(60, 170)) ** 2))
        lit = lit + (255 - lit) * bright[:, :, None]
    clipped: Field = np.clip(lit, 0, 255).astype(np.float32)
    return clipped
