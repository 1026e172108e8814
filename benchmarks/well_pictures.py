"""Pictures of wells as laboratories take them, made from real and from drawn plates, with the truth.

`FAMILIES` names the transformations by family; each is a generator of `Case`. Families in
`ASIDE` were not looked at while the finder was made: they are measured, and nothing was set by
them.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cytowell.images import open_upright
from cytowell.plates.window import FORMATS
from cytowell.sources.samples_plates import Scene, draw_plate
from cytowell.types import Box

Truth = dict[tuple[str, str], Box]
Grey = tuple[int, int, int]

LARGEST = 1000


@dataclass(frozen=True)
class Case:
    """A picture and what is in it.

    Attributes
    ----------
    level
        What was done to it, and how much.
    wells
        Box of every well that is in sight, by number of its plate and name.
    named
        Whether the picture tells which well is which.
    plates, wells_each
        What an operator would say of it.
    """

    level: str
    picture: Image.Image
    wells: Truth
    named: bool = True
    plates: int = 1
    wells_each: int = 96


@dataclass(frozen=True)
class Photograph:
    """A plate that lies as it should: picture, boxes by name, format, pitch in pixels."""

    picture: Image.Image
    wells: dict[str, Box]
    format: int
    pitch: float


def real(root: Path, numbers: tuple[int, ...] = (1, 2, 3, 4, 5)) -> list[Photograph]:
    """Read the real photographs of 96 wells."""
    rows = defaultdict(list)
    with (root / "wells.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            rows[row["image"]].append(row)
    found = []
    for name, listed in sorted(rows.items()):
        if int(name.split("_")[-1]) in numbers:
            picture = open_upright(root / "images" / f"{name}.jpg").convert("RGB")
            wells = {}
            for row in listed:
                x, y, r = (float(row[k]) for k in ("cx", "cy", "r"))
                wells[row["well"]] = Box(x - r, y - r, 2 * r, 2 * r)
            found.append(Photograph(picture, wells, 96, pitch_of(wells)))
    return found


def drawn(wells: int, seed: int, turn: float = 0.0) -> Photograph:
    """Draw a plate by the generator of synthetic photographs."""
    rng = np.random.default_rng([wells, seed, 77])
    shape = FORMATS[wells]
    scene = Scene(
        wells, rng.random(shape) < 0.5, np.zeros(shape, dtype=np.bool_), turn=turn,
        perspective=float(rng.uniform(0, 0.04)), violet=bool(seed % 2),
    )  # fmt: skip
    picture, listed = draw_plate(scene, rng)
    boxes = {w.name: w.box for w in listed}
    return Photograph(picture, boxes, wells, pitch_of(boxes))


def pitch_of(wells: dict[str, Box]) -> float:
    """Give the distance of A1 and B1."""
    a, b = wells["A1"], wells["B1"]
    return float(np.hypot(a.x - b.x + (a.width - b.width) / 2, a.y - b.y + (a.height - b.height) / 2))


def one(wells: dict[str, Box]) -> Truth:
    return {("1", name): box for name, box in wells.items()}


def as_is(plates: list[Photograph]) -> Iterator[Case]:
    for p in plates:
        yield Case("as it is", p.picture, one(p.wells), wells_each=p.format)


def close_ups(
    plates: list[Photograph], margins: tuple[float, ...], parts: tuple[int, ...] = (6, 12, 24, 48)
) -> Iterator[Case]:
    """Cut a part out that has as many wells as a smaller plate."""
    for number, p in enumerate(plates):
        rows, columns = FORMATS[p.format]
        for wells in parts:
            if wells >= p.format:
                continue
            for k, margin in enumerate(margins):
                short, long = FORMATS[wells]
                rng = np.random.default_rng([number, wells, k])
                if short + 1 >= rows or long + 1 >= columns:
                    continue
                top = int(rng.integers(1, rows - short)) if margin > 0.4 else 0
                left = int(rng.integers(1, columns - long))
                yield Case(f"{wells} of {p.format}, margin {margin:.2f}", *part(
                    p, (top, left, short, long), margin * p.pitch), named=False,
                    wells_each=p.format)  # fmt: skip


def part(
    p: Photograph, window: tuple[int, int, int, int], margin: float
) -> tuple[Image.Image, Truth]:
    """Cut rows and columns out, with a margin in pixels beyond the centres of the outer wells."""
    top, left, rows, columns = window
    inside = [p.wells[f"{chr(65 + r)}{c + 1}"] for r in (top, top + rows - 1)
              for c in (left, left + columns - 1)]  # fmt: skip
    x = [b.x + b.width / 2 for b in inside]
    y = [b.y + b.height / 2 for b in inside]
    frame = (max(0, round(min(x) - margin)), max(0, round(min(y) - margin)),
             min(p.picture.width, round(max(x) + margin)),
             min(p.picture.height, round(max(y) + margin)))  # fmt: skip
    return cut(p, frame)


def cut(p: Photograph, frame: tuple[int, int, int, int]) -> tuple[Image.Image, Truth]:
    """Cut a rectangle out; wells whose centre is in it are in sight."""
    picture = p.picture.crop(frame)
    wells = {}
    for name, b in p.wells.items():
        x, y = b.x + b.width / 2 - frame[0], b.y + b.height / 2 - frame[1]
        if 0 <= x < picture.width and 0 <= y < picture.height:
            left, top = max(0.0, b.x - frame[0]), max(0.0, b.y - frame[1])
            right = min(float(picture.width), b.x - frame[0] + b.width)
            bottom = min(float(picture.height), b.y - frame[1] + b.height)
            wells[name] = Box(left, top, right - left, bottom - top)
    return picture, one(wells)


def cut_off(plates: list[Photograph]) -> Iterator[Case]:
    for p in plates:
        w, h = p.picture.size
        for side, frame in (
            ("left", (round(0.3 * w), 0, w, h)),
            ("right", (0, 0, round(0.7 * w), h)),
            ("top", (0, round(0.3 * h), w, h)),
            ("bottom", (0, 0, w, round(0.7 * h))),
        ):
            yield Case(f"{p.format}, cut {side}", *cut(p, frame), named=False, wells_each=p.format)


def taped(plates: list[Photograph]) -> Iterator[Case]:
    """Cover rows and columns with opaque tape."""
    covers = {
        "column 1": ((), (1,)), "column last": ((), (-1,)), "row A": ((1,), ()),
        "row last": ((-1,), ()), "columns 1-2": ((), (1, 2)), "row A, column 1": ((1,), (1,)),
    }  # fmt: skip
    for number, p in enumerate(plates):
        rows, columns = FORMATS[p.format]
        for k, (said, (over_rows, over_columns)) in enumerate(covers.items()):
            if p.format == 6 and said != "row A" and said != "column 1":
                continue
            tone = ((235, 230, 215), (70, 90, 160), (40, 40, 42))[(number + k) % 3]
            picture, wells = p.picture.copy(), dict(p.wells)
            pen = ImageDraw.Draw(picture)
            gone = [f"{chr(65 + r)}{c + 1}" for r in range(rows) for c in range(columns)
                    if r in [v - 1 if v > 0 else rows + v for v in over_rows]
                    or c in [v - 1 if v > 0 else columns + v for v in over_columns]]  # fmt: skip
            for axis, listed in ((0, over_rows), (1, over_columns)):
                for v in listed:
                    at = [p.wells[n] for n in gone if (
                        ord(n[0]) - 65 == (v - 1 if v > 0 else rows + v) if axis == 0
                        else int(n[1:]) - 1 == (v - 1 if v > 0 else columns + v))]  # fmt: skip
                    pad = 0.06 * p.pitch
                    x0, x1 = min(b.x for b in at) - pad, max(b.x + b.width for b in at) + pad
                    y0, y1 = min(b.y for b in at) - pad, max(b.y + b.height for b in at) + pad
                    if axis == 0:
                        pen.rectangle((0, y0, picture.width, y1), fill=tone)
                    else:
                        pen.rectangle((x0, 0, x1, picture.height), fill=tone)
            kept = {n: b for n, b in wells.items() if n not in gone}
            yield Case(f"{p.format}, tape over {said}", picture, one(kept), False,
                       wells_each=p.format)  # fmt: skip


def turned(plates: list[Photograph]) -> Iterator[Case]:
    """Turn the whole picture about and mirror it: the names are assumed, which must be said."""
    for p in plates:
        w, h = p.picture.size
        there = {n: Box(w - b.x - b.width, h - b.y - b.height, b.width, b.height)
                 for n, b in p.wells.items()}  # fmt: skip
        yield Case(f"{p.format}, by 180", p.picture.rotate(180), one(there), wells_each=p.format)
        there = {n: Box(w - b.x - b.width, b.y, b.width, b.height) for n, b in p.wells.items()}
        mirror = p.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        yield Case(f"{p.format}, mirrored", mirror, one(there), wells_each=p.format)


def scaled(wells: dict[str, Box], by: float, x: float = 0, y: float = 0) -> dict[str, Box]:
    return {n: Box(b.x * by + x, b.y * by + y, b.width * by, b.height * by)
            for n, b in wells.items()}  # fmt: skip


def small(plates: list[Photograph], shares: tuple[float, ...] = (0.5, 0.25)) -> Iterator[Case]:
    """Put a plate that is a share of the picture's width onto an empty table."""
    for number, p in enumerate(plates):
        for share in shares:
            tone = ((200, 200, 205), (60, 62, 66), (150, 140, 120))[number % 3]
            wide = 2000
            by = share * wide / p.picture.width
            size = (round(p.picture.width * by), round(p.picture.height * by))
            rng = np.random.default_rng([number, int(100 * share)])
            field_ = np.array(tone, dtype=float) + rng.normal(0, 2, (1400, wide, 3))
            picture = Image.fromarray(field_.clip(0, 255).astype(np.uint8))
            x = int(rng.integers(20, wide - size[0] - 19))
            y = int(rng.integers(20, 1400 - size[1] - 19))
            picture.paste(p.picture.resize(size, Image.Resampling.LANCZOS), (x, y))
            yield Case(f"{p.format}, on {share:.2f} of the width", picture,
                       one(scaled(p.wells, by, x, y)), wells_each=p.format)  # fmt: skip


def shrunk(plates: list[Photograph]) -> Iterator[Case]:
    """Make the file itself small, or blur it."""
    for p in plates:
        for by in (4, 8):
            size = (p.picture.width // by, p.picture.height // by)
            across = size[0] / p.picture.width
            yield Case(f"{p.format}, a {by}th of the size", p.picture.resize(
                size, Image.Resampling.BOX), one(scaled(p.wells, across)), wells_each=p.format)
        for blur in (4, 8):
            yield Case(f"{p.format}, blur of {blur}", p.picture.filter(
                ImageFilter.GaussianBlur(blur)), one(p.wells), wells_each=p.format)


def several(plates: list[Photograph], seed: int = 0) -> Iterator[Case]:
    """Put two or three plates of one format side by side, stacked, touching or apart."""
    for number, p in enumerate(plates):
        other = plates[(number + 1) % len(plates)]
        if other.format != p.format:
            other = p
        for count, way, gap in (
            (2, "side by side", 60), (2, "side by side", 0), (2, "stacked", 60), (2, "stacked", 0),
            (3, "side by side", 8), (3, "stacked", 8),
        ):  # fmt: skip
            yield Case(f"{p.format} x {count}, {way}, gap {gap}",
                       *put_together([p, other, p][:count], way, gap), plates=count,
                       wells_each=p.format)  # fmt: skip


def put_together(plates: list[Photograph], way: str, gap: int) -> tuple[Image.Image, Truth]:
    size = plates[0].picture.size
    across = way == "side by side"
    count = len(plates)
    wide = size[0] * count + gap * (count - 1) if across else size[0]
    tall = size[1] if across else size[1] * count + gap * (count - 1)
    both = Image.new("RGB", (wide, tall), (120, 118, 112))
    truth: Truth = {}
    for k, p in enumerate(plates):
        x, y = (k * (size[0] + gap), 0) if across else (0, k * (size[1] + gap))
        by = size[0] / p.picture.width
        up = size[1] / p.picture.height
        both.paste(p.picture.resize(size), (x, y))
        truth |= {(str(k + 1), n): Box(b.x * by + x, b.y * up + y, b.width * by, b.height * up)
                  for n, b in p.wells.items()}  # fmt: skip
    return both, truth


def singles(plates: list[Photograph], margins: tuple[float, ...] = (-0.04, 0.1, 0.25)) -> Iterator[Case]:
    """Cut one well out, and draw round and square ones on several grounds."""
    for number, p in enumerate(plates):
        for k, margin in enumerate(margins):
            rng = np.random.default_rng([number, k, 5])
            name = str(rng.choice(sorted(p.wells)))
            b = p.wells[name]
            pad = margin * b.width
            frame = (max(0, round(b.x - pad)), max(0, round(b.y - pad)),
                     min(p.picture.width, round(b.x + b.width + pad)),
                     min(p.picture.height, round(b.y + b.height + pad)))  # fmt: skip
            picture, wells = cut(p, frame)
            wells = {key: box for key, box in wells.items() if key[1] == name}
            yield Case(f"one of {p.format}, margin {margin:+.2f}", picture, wells, False)
    for k, ground in enumerate(((245, 245, 245), (150, 150, 150), (190, 175, 150), (30, 30, 32))):
        for square in (False, True):
            rng = np.random.default_rng([k, square])
            wide, tall = ((640, 480), (800, 800), (1200, 900), (500, 700))[k]
            r = float(rng.uniform(0.36, 0.47)) * min(wide, tall)
            x, y = wide / 2 + float(rng.uniform(-15, 15)), tall / 2 + float(rng.uniform(-8, 8))
            picture = draw_single((wide, tall), (x, y, r), ground, square, rng)
            box = Box(max(0, x - r), max(0, y - r), 2 * r, 2 * r)
            yield Case(f"{'square' if square else 'round'} on {ground[0]}", picture,
                       {("1", "?"): box}, False)  # fmt: skip


def draw_single(
    size: tuple[int, int], well: tuple[float, float, float], ground: Grey, square: bool,
    rng: np.random.Generator,
) -> Image.Image:
    """Draw a well of medium or stained cells with plaques."""
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    x, y, r = well
    box = (x - r, y - r, x + r, y + r)
    inner = (x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r)
    medium = ((225, 170, 165), (120, 90, 170), (226, 224, 228), (210, 205, 200))[
        int(rng.integers(4))]  # fmt: skip
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
    tables = ((200, 202, 205), (60, 62, 68), (128, 126, 122), (235, 235, 236), (150, 120, 90),
              (90, 110, 130))  # fmt: skip
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
            (x0 - edge, y0 - edge, x0 + (columns - 1) * pitch + edge, y0 + (rows - 1) * pitch + edge),
            8, fill=(216, 218, 222), outline=(130, 132, 138), width=3)  # fmt: skip
    media = ((232, 228, 232), (104, 70, 158), (232, 150, 140), (214, 206, 196), (60, 60, 62),
             (190, 190, 80))  # fmt: skip
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
    return Case(f"{wells} {shape}, look {look}, {ground}", noisy(picture, rng), truth,
                wells_each=wells)  # fmt: skip


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


def grounds(formats: tuple[int, ...] = (6, 24, 96), numbers: tuple[int, ...] = (0, 4)) -> Iterator[Case]:
    for wells in formats:
        for ground in ("striped", "checked", "dotted", "pierced"):
            for look in numbers:
                yield flat_plate(wells, look, False, ground)


def no_plates() -> Iterator[Case]:
    """Draw what is no plate: egg cartons, keyboards, racks, blisters, a disc on black."""
    rng = np.random.default_rng(9)

    def circles(rows: int, columns: int, step: float, r: float, square: bool, tones: tuple[Grey, Grey],
                size: tuple[int, int] = (900, 640), shift: float = 0.0) -> Image.Image:
        picture = Image.new("RGB", size, (170, 165, 160))
        pen = ImageDraw.Draw(picture)
        x0, y0 = (size[0] - (columns - 1) * step) / 2, (size[1] - (rows - 1) * step) / 2
        pen.rounded_rectangle((x0 - 0.6 * step, y0 - 0.6 * step, x0 + (columns - 0.4) * step,
                               y0 + (rows - 0.4) * step), 12, fill=tones[0])
        for i in range(rows):
            for j in range(columns):
                x, y = x0 + j * step + shift * i * step, y0 + i * step
                if square:
                    pen.rounded_rectangle((x - r, y - r, x + r, y + r), 5, fill=tones[1],
                                          outline=(60, 60, 60), width=2)
                else:
                    pen.ellipse((x - r, y - r, x + r, y + r), fill=tones[1], outline=(60, 60, 60), width=2)
                    pen.ellipse((x - 0.5 * r, y - 0.5 * r, x + 0.5 * r, y + 0.5 * r),
                                fill=tuple(int(v * 0.9) for v in tones[1]))
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
