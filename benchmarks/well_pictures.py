"""Pictures of wells as laboratories take them, from real and drawn plates, with the truth.

Every family is a generator of `Case`: a picture, the wells that are in sight, and what an operator
would say of it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cytowell.images import open_upright
from cytowell.plates.window import FORMATS
from cytowell.sources.samples_plates import Scene, draw_plate
from cytowell.types import Box
from well_cases import Case, Truth
from well_drawings import draw_single


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
        wells,
        rng.random(shape) < 0.5,
        np.zeros(shape, dtype=np.bool_),
        turn=turn,
        perspective=float(rng.uniform(0, 0.04)),
        violet=bool(seed % 2),
    )
    picture, listed = draw_plate(scene, rng)
    boxes = {w.name: w.box for w in listed}
    return Photograph(picture, boxes, wells, pitch_of(boxes))


def pitch_of(wells: dict[str, Box]) -> float:
    """Give the distance of A1 and B1."""
    a, b = wells["A1"], wells["B1"]
    return float(
        np.hypot(a.x - b.x + (a.width - b.width) / 2, a.y - b.y + (a.height - b.height) / 2)
    )


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
                yield Case(
                    f"{wells} of {p.format}, margin {margin:.2f}",
                    *part(p, (top, left, short, long), margin * p.pitch),
                    named=False,
                    wells_each=p.format,
                )


def part(
    p: Photograph, window: tuple[int, int, int, int], margin: float
) -> tuple[Image.Image, Truth]:
    """Cut rows and columns out, with a margin in pixels beyond the centres of the outer wells."""
    top, left, rows, columns = window
    inside = [
        p.wells[f"{chr(65 + r)}{c + 1}"]
        for r in (top, top + rows - 1)
        for c in (left, left + columns - 1)
    ]
    x = [b.x + b.width / 2 for b in inside]
    y = [b.y + b.height / 2 for b in inside]
    frame = (
        max(0, round(min(x) - margin)),
        max(0, round(min(y) - margin)),
        min(p.picture.width, round(max(x) + margin)),
        min(p.picture.height, round(max(y) + margin)),
    )
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
        "column 1": ((), (1,)),
        "column last": ((), (-1,)),
        "row A": ((1,), ()),
        "row last": ((-1,), ()),
        "columns 1-2": ((), (1, 2)),
        "row A, column 1": ((1,), (1,)),
    }
    for number, p in enumerate(plates):
        rows, columns = FORMATS[p.format]
        for k, (said, (over_rows, over_columns)) in enumerate(covers.items()):
            if p.format == 6 and said != "row A" and said != "column 1":
                continue
            tone = ((235, 230, 215), (70, 90, 160), (40, 40, 42))[(number + k) % 3]
            picture, wells = p.picture.copy(), dict(p.wells)
            pen = ImageDraw.Draw(picture)
            gone = [
                f"{chr(65 + r)}{c + 1}"
                for r in range(rows)
                for c in range(columns)
                if r in [v - 1 if v > 0 else rows + v for v in over_rows]
                or c in [v - 1 if v > 0 else columns + v for v in over_columns]
            ]
            for axis, listed in ((0, over_rows), (1, over_columns)):
                for v in listed:
                    at = [
                        p.wells[n]
                        for n in gone
                        if (
                            ord(n[0]) - 65 == (v - 1 if v > 0 else rows + v)
                            if axis == 0
                            else int(n[1:]) - 1 == (v - 1 if v > 0 else columns + v)
                        )
                    ]
                    pad = 0.06 * p.pitch
                    x0, x1 = min(b.x for b in at) - pad, max(b.x + b.width for b in at) + pad
                    y0, y1 = min(b.y for b in at) - pad, max(b.y + b.height for b in at) + pad
                    if axis == 0:
                        pen.rectangle((0, y0, picture.width, y1), fill=tone)
                    else:
                        pen.rectangle((x0, 0, x1, picture.height), fill=tone)
            kept = {n: b for n, b in wells.items() if n not in gone}
            yield Case(
                f"{p.format}, tape over {said}", picture, one(kept), False, wells_each=p.format
            )


def turned(plates: list[Photograph]) -> Iterator[Case]:
    """Turn the whole picture about and mirror it: the names are assumed, which must be said."""
    for p in plates:
        w, h = p.picture.size
        there = {
            n: Box(w - b.x - b.width, h - b.y - b.height, b.width, b.height)
            for n, b in p.wells.items()
        }
        yield Case(f"{p.format}, by 180", p.picture.rotate(180), one(there), wells_each=p.format)
        there = {n: Box(w - b.x - b.width, b.y, b.width, b.height) for n, b in p.wells.items()}
        mirror = p.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        yield Case(f"{p.format}, mirrored", mirror, one(there), wells_each=p.format)


def scaled(wells: dict[str, Box], by: float, x: float = 0, y: float = 0) -> dict[str, Box]:
    return {
        n: Box(b.x * by + x, b.y * by + y, b.width * by, b.height * by) for n, b in wells.items()
    }


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
            yield Case(
                f"{p.format}, on {share:.2f} of the width",
                picture,
                one(scaled(p.wells, by, x, y)),
                wells_each=p.format,
            )


def shrunk(plates: list[Photograph]) -> Iterator[Case]:
    """Make the file itself small, or blur it."""
    for p in plates:
        for by in (4, 8):
            size = (p.picture.width // by, p.picture.height // by)
            across = size[0] / p.picture.width
            yield Case(
                f"{p.format}, a {by}th of the size",
                p.picture.resize(size, Image.Resampling.BOX),
                one(scaled(p.wells, across)),
                wells_each=p.format,
            )
        for blur in (4, 8):
            yield Case(
                f"{p.format}, blur of {blur}",
                p.picture.filter(ImageFilter.GaussianBlur(blur)),
                one(p.wells),
                wells_each=p.format,
            )


def several(plates: list[Photograph], seed: int = 0) -> Iterator[Case]:
    """Put two or three plates of one format side by side, stacked, touching or apart."""
    for number, p in enumerate(plates):
        other = plates[(number + 1) % len(plates)]
        if other.format != p.format:
            other = p
        for count, way, gap in (
            (2, "side by side", 60),
            (2, "side by side", 0),
            (2, "stacked", 60),
            (2, "stacked", 0),
            (3, "side by side", 8),
            (3, "stacked", 8),
        ):
            yield Case(
                f"{p.format} x {count}, {way}, gap {gap}",
                *put_together([p, other, p][:count], way, gap),
                plates=count,
                wells_each=p.format,
            )


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
        truth |= {
            (str(k + 1), n): Box(b.x * by + x, b.y * up + y, b.width * by, b.height * up)
            for n, b in p.wells.items()
        }
    return both, truth


def singles(
    plates: list[Photograph], margins: tuple[float, ...] = (-0.04, 0.1, 0.25)
) -> Iterator[Case]:
    """Cut one well out, and draw round and square ones on several grounds."""
    for number, p in enumerate(plates):
        for k, margin in enumerate(margins):
            rng = np.random.default_rng([number, k, 5])
            name = str(rng.choice(sorted(p.wells)))
            b = p.wells[name]
            pad = margin * b.width
            frame = (
                max(0, round(b.x - pad)),
                max(0, round(b.y - pad)),
                min(p.picture.width, round(b.x + b.width + pad)),
                min(p.picture.height, round(b.y + b.height + pad)),
            )
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
            yield Case(
                f"{'square' if square else 'round'} on {ground[0]}",
                picture,
                {("1", "?"): box},
                False,
            )


def lids(plates: list[Photograph]) -> Iterator[Case]:
    """Lay a lid with streaks of light and drops over a plate."""
    for number, p in enumerate(plates):
        for strength in (0.25, 0.5):
            rng = np.random.default_rng([number, int(100 * strength), 3])
            light = Image.new("L", p.picture.size, 0)
            pen = ImageDraw.Draw(light)
            wide, tall = p.picture.size
            for _ in range(7):
                x, y, a = rng.uniform(0, wide), rng.uniform(0, tall), rng.uniform(-0.6, 0.6)
                pen.line(
                    (x - 700, y - 700 * a, x + 700, y + 700 * a), 255, int(rng.integers(4, 22))
                )
            for _ in range(40):
                x, y, r = rng.uniform(0, wide), rng.uniform(0, tall), rng.uniform(3, 11)
                pen.ellipse((x - r, y - r, x + r, y + r), 200)
            mask = (
                np.asarray(light.filter(ImageFilter.GaussianBlur(2)), dtype=float) * strength / 255
            )
            pixels = np.asarray(p.picture, dtype=float)
            lit = pixels + (255 - pixels) * mask[..., None]
            yield Case(
                f"{p.format}, streaks of {strength:.2f}",
                Image.fromarray(lit.astype("u1")),
                one(p.wells),
                wells_each=p.format,
            )


def hands(plates: list[Photograph]) -> Iterator[Case]:
    """Hold a hand over a corner of a plate: what is under it is told by its neighbours."""
    for number, p in enumerate(plates):
        for side in (0.25, 0.4):
            rng = np.random.default_rng([number, int(100 * side), 4])
            picture = p.picture.copy()
            pen = ImageDraw.Draw(picture)
            wide, tall = picture.size
            x, y = (0, wide)[int(rng.integers(2))], (0, tall)[int(rng.integers(2))]
            across, down = side * wide, side * tall
            pen.ellipse((x - across, y - down, x + across, y + down), fill=(196, 150, 128))
            yield Case(
                f"{p.format}, a hand over {side:.2f} of the sides",
                picture,
                one(p.wells),
                False,
                wells_each=p.format,
            )
