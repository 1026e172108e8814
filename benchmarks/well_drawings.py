"""Drawn wells: single ones, plates in six looks on plain and patterned tables, and no plates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cytowell.plates.window import FORMATS
from cytowell.types import Box
from well_cases import Case, Grey


def draw_single(
    size: tuple[int, int],
    well: tuple[float, float, float],
    ground: Grey,
    square: bool,
    rng: np.random.Generator,
) -> Image.Image:
    """Draw a well of medium or stained cells with plaques."""
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    x, y, r = well
    box = (x - r, y - r, x + r, y + r)
    inner = (x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r)
    medium = ((225, 170, 165), (120, 90, 170), (226, 224, 228), (210, 205, 200))[
        int(rng.integers(4))
    ]
    if square:
        pen.rounded_rectangle(box, 0.1 * r, fill=(185, 188, 194), outline=(90, 92, 98), width=3)
        pen.rounded_rectangle(inner, 0.1 * r, fill=medium)
    else:
        pen.ellipse(box, fill=(185, 188, 194), outline=(90, 92, 98), width=3)
        pen.ellipse(inner, fill=medium)
    for _ in range(int(rng.integers(0, 14))):
        a, d = rng.uniform(0, 6.28), 0.75 * r * np.sqrt(rng.random())
        s = rng.uniform(0.02, 0.08) * r
        px, py = x + d * np.cos(a), y + d * np.sin(a)
        pen.ellipse((px - s, py - s, px + s, py + s), fill=tuple(int(0.6 * v) for v in medium))
    return noisy(picture, rng)


def noisy(picture: Image.Image, rng: np.random.Generator, noise: float = 3) -> Image.Image:
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float64)
    return Image.fromarray((pixels + rng.normal(0, noise, pixels.shape)).clip(0, 255).astype("u1"))


def flat_plate(
    wells: int, look: int, square: bool, ground: str = "plain", size: tuple[int, int] = (1000, 700)
) -> Case:
    """Draw a plate of round or square wells in one of six looks, on a plain or patterned ground."""
    rng = np.random.default_rng([wells, look, square, len(ground)])
    tables = (
        (200, 202, 205),
        (60, 62, 68),
        (128, 126, 122),
        (235, 235, 236),
        (150, 120, 90),
        (90, 110, 130),
    )
    picture = patterned(ground, size, tables[look], rng)
    pen = ImageDraw.Draw(picture)
    rows, columns = FORMATS[wells]
    room = 0.08
    pitch = min(size[0] * (1 - 2 * room) / (columns + 0.5), size[1] * (1 - 2 * room) / (rows + 0.5))
    pitch *= float(rng.uniform(0.85, 1.0))
    x0 = (size[0] - (columns - 1) * pitch) / 2 + float(rng.uniform(-10, 10))
    y0 = (size[1] - (rows - 1) * pitch) / 2 + float(rng.uniform(-10, 10))
    rim = float(rng.uniform(0.4, 0.45))
    edge = 0.62 * pitch
    if look != 3:
        pen.rounded_rectangle(
            (
                x0 - edge,
                y0 - edge,
                x0 + (columns - 1) * pitch + edge,
                y0 + (rows - 1) * pitch + edge,
            ),
            8,
            fill=(216, 218, 222),
            outline=(130, 132, 138),
            width=3,
        )
    media = (
        (232, 228, 232),
        (104, 70, 158),
        (232, 150, 140),
        (214, 206, 196),
        (60, 60, 62),
        (190, 190, 80),
    )
    truth = {}
    for row in range(rows):
        for column in range(columns):
            x, y, r = x0 + column * pitch, y0 + row * pitch, rim * pitch
            medium = tuple(int(v * rng.uniform(0.9, 1.05)) for v in media[look])
            line = max(1, round(0.05 * r))
            box = (x - r, y - r, x + r, y + r)
            if square:
                pen.rounded_rectangle(box, 0.12 * r, fill=medium, outline=(95, 96, 100), width=line)
            else:
                pen.ellipse(box, fill=medium, outline=(95, 96, 100), width=line)
            for _ in range(int(rng.integers(0, 5))):
                a, d, s = rng.uniform(0, 6.28), 0.6 * r * np.sqrt(rng.random()), 0.09 * r
                px, py = x + d * np.cos(a), y + d * np.sin(a)
                pen.ellipse((px - s, py - s, px + s, py + s), fill=(70, 60, 70))
            truth["1", f"{chr(65 + row)}{column + 1}"] = Box(x - r, y - r, 2 * r, 2 * r)
    shape = "square" if square else "round"
    return Case(
        f"{wells} {shape}, look {look}, {ground}", noisy(picture, rng), truth, wells_each=wells
    )


def patterned(
    ground: str, size: tuple[int, int], tone: Grey, rng: np.random.Generator
) -> Image.Image:
    """Draw a table: plain, striped, checked, dotted, or pierced with holes."""
    y, x = np.mgrid[: size[1], : size[0]]
    step = float(rng.uniform(28, 44))
    other = np.array([int(v * 0.6) for v in tone])
    if ground == "striped":
        on = (x + 0.3 * y) // (step / 2) % 2 == 0
    elif ground == "checked":
        on = (x // step + y // step) % 2 == 0
    elif ground == "dotted":
        on = np.hypot(x % step - step / 2, y % step - step / 2) < 0.28 * step
    elif ground == "pierced":
        on = np.hypot(x % step - step / 2, y % step - step / 2) < 0.4 * step
    else:
        on = np.zeros(x.shape, dtype=bool)
    pixels = np.where(on[..., None], other, np.array(tone))
    return Image.fromarray(pixels.astype(np.uint8))


def looks(formats: tuple[int, ...], numbers: tuple[int, ...]) -> Iterator[Case]:
    for wells in formats:
        for square in (False, True):
            for look in numbers:
                yield flat_plate(wells, look, square)


def grounds(
    formats: tuple[int, ...] = (6, 24, 96), numbers: tuple[int, ...] = (0, 4)
) -> Iterator[Case]:
    for wells in formats:
        for ground in ("striped", "checked", "dotted", "pierced"):
            for look in numbers:
                yield flat_plate(wells, look, False, ground)


def no_plates() -> Iterator[Case]:
    """Draw what is no plate: egg cartons, keyboards, racks, blisters, a disc on black."""
    rng = np.random.default_rng(9)

    def circles(
        rows: int,
        columns: int,
        step: float,
        r: float,
        square: bool,
        tones: tuple[Grey, Grey],
        size: tuple[int, int] = (900, 640),
        shift: float = 0.0,
    ) -> Image.Image:
        picture = Image.new("RGB", size, (170, 165, 160))
        pen = ImageDraw.Draw(picture)
        x0, y0 = (size[0] - (columns - 1) * step) / 2, (size[1] - (rows - 1) * step) / 2
        pen.rounded_rectangle(
            (
                x0 - 0.6 * step,
                y0 - 0.6 * step,
                x0 + (columns - 0.4) * step,
                y0 + (rows - 0.4) * step,
            ),
            12,
            fill=tones[0],
        )
        for i in range(rows):
            for j in range(columns):
                x, y = x0 + j * step + shift * i * step, y0 + i * step
                if square:
                    pen.rounded_rectangle(
                        (x - r, y - r, x + r, y + r),
                        5,
                        fill=tones[1],
                        outline=(60, 60, 60),
                        width=2,
                    )
                else:
                    pen.ellipse(
                        (x - r, y - r, x + r, y + r), fill=tones[1], outline=(60, 60, 60), width=2
                    )
                    pen.ellipse(
                        (x - 0.5 * r, y - 0.5 * r, x + 0.5 * r, y + 0.5 * r),
                        fill=tuple(int(v * 0.9) for v in tones[1]),
                    )
        return noisy(picture, rng)

    for said, picture in (
        ("egg carton 5 x 6", circles(5, 6, 110, 48, False, ((150, 140, 130), (205, 180, 150)))),
        ("egg carton 2 x 6", circles(2, 6, 130, 56, False, ((150, 140, 130), (225, 215, 200)))),
        ("egg carton 2 x 5", circles(2, 5, 150, 64, False, ((120, 130, 140), (205, 180, 150)))),
        ("keyboard", circles(5, 14, 58, 25, True, ((40, 40, 42), (70, 70, 74)), shift=0.12)),
        ("keypad 4 x 5", circles(4, 5, 110, 44, True, ((40, 40, 42), (220, 220, 224)))),
        ("rack 5 x 10", circles(5, 10, 80, 34, True, ((230, 232, 240), (60, 90, 160)))),
        ("rack 4 x 4", circles(4, 4, 130, 60, True, ((230, 232, 240), (90, 90, 90)))),
        ("blister 2 x 5", circles(2, 5, 140, 50, False, ((200, 204, 210), (240, 240, 245)))),
        ("blister 3 x 7", circles(3, 7, 110, 42, False, ((200, 204, 210), (250, 120, 110)))),
    ):
        yield Case(said, picture, {}, False, 0, 0)
    disc = Image.new("RGB", (640, 480), (4, 4, 4))
    ImageDraw.Draw(disc).ellipse((150, 70, 490, 410), fill=(210, 205, 190))
    yield Case("disc on black", disc, {}, False, 0, 0)
