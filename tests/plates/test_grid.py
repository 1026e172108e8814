"""Wells of real and of generated plates, round fields, and what is declined."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import cytowell
from cytowell.errors import RecipeError
from cytowell.images import upright_size
from cytowell.plates import wells_of
from cytowell.plates.grid import well_names
from cytowell.plates.window import FORMATS
from cytowell.sources.samples_plates import Scene, draw_plate
from cytowell.types import Box

Runner = Callable[..., Any]


def overlap(a: Box, b: Box | None) -> float:
    """Give intersection over union."""
    assert b is not None
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    both = max(0.0, across) * max(0.0, down)
    return both / (a.width * a.height + b.width * b.height - both)


def real_plates(data: Path) -> Iterator[tuple[Path, dict[str, Box]]]:
    with (data / "plates" / "wells.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for name in sorted({r["image"] for r in rows}):
        truth = {}
        for r in rows:
            if r["image"] == name:
                x, y, radius = float(r["cx"]), float(r["cy"]), float(r["r"])
                truth[r["well"]] = Box(x - radius, y - radius, 2 * radius, 2 * radius)
        yield data / "plates" / "images" / f"{name}.jpg", truth


def test_all_wells_of_real_plates_are_found_and_named(data: Path) -> None:
    overlaps = []
    for photograph, truth in real_plates(data):
        found = cytowell.find_wells(photograph)
        boxes = {s.extra["well"]: s.box for s in found.samples}
        assert len(found) == len(truth) == 96
        assert boxes.keys() == truth.keys()
        overlaps += [overlap(truth[name], boxes[name]) for name in truth]
    assert min(overlaps) > 0.5
    assert np.mean(overlaps) >= 0.9


def scene(wells: int, number: int) -> tuple[Scene, np.random.Generator]:
    """Give a plate turned by up to 20 degrees, tilted by up to 10 %, with a tenth hidden."""
    rng = np.random.default_rng([wells, number])
    rows, columns = FORMATS[wells]
    made = Scene(
        wells,
        rng.random((rows, columns)) < 0.5,
        rng.random((rows, columns)) < 0.1,
        turn=float(rng.uniform(-20, 20)),
        perspective=float(rng.uniform(0, 0.1)),
        glare=float(rng.uniform(0, 0.8)),
        violet=bool(rng.random() < 0.5),
    )
    return made, rng


@pytest.mark.parametrize("wells", [6, 12, 24, 48, 96])
def test_turned_tilted_and_dark_plates_are_found(wells: int) -> None:
    for number in range(3):
        photograph, truth = draw_plate(*scene(wells, number))
        found = wells_of(photograph)
        boxes = dict(zip(found.names, found.boxes, strict=True))
        assert len(found.boxes) == wells
        assert all(overlap(well.box, boxes[well.name]) > 0.5 for well in truth)
        assert set(found.plates) == {"1"}


def test_boxes_are_in_pixels_of_the_upright_photograph_whatever_its_size(tmp_path: Path) -> None:
    photograph, truth = draw_plate(*scene(24, 0))
    exif = Image.Exif()
    exif[274] = 6
    large = photograph.resize((3000, 2100))
    large.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif)
    found = cytowell.find_wells(tmp_path / "turned.jpg")
    boxes = {s.extra["well"]: s.box for s in found.samples}
    for well in truth:
        box = well.box
        tripled = Box(3 * box.x, 3 * box.y, 3 * box.width, 3 * box.height)
        assert overlap(tripled, boxes[well.name]) > 0.5


def test_a_plate_of_384_drawn_plainly_is_found() -> None:
    photograph = Image.new("RGB", (1200, 820), (200, 200, 200))
    pen = ImageDraw.Draw(photograph)
    for row in range(16):
        for column in range(24):
            x, y = 70 + 46 * column, 60 + 46 * row
            pen.ellipse((x - 20, y - 20, x + 20, y + 20), outline=(30, 30, 30), width=2)
    found = wells_of(photograph)
    boxes = dict(zip(found.names, found.boxes, strict=True))
    assert len(found.boxes) == 384
    assert overlap(Box(50, 40, 40, 40), boxes["A1"]) > 0.8
    assert overlap(Box(50 + 23 * 46, 40 + 15 * 46, 40, 40), boxes["P24"]) > 0.8


@pytest.mark.filterwarnings("error")
def test_noise_lines_and_odd_shapes_are_declined_without_a_word_of_python() -> None:
    rng = np.random.default_rng(0)
    for width, height in ((1, 1), (3, 400), (400, 3), (24, 24), (50, 2000), (640, 480)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        lines = np.indices((height, width))[0][..., None] % 7 * 30
        for pixels in (noise, np.repeat(lines, 3, axis=2).astype(np.uint8)):
            found = wells_of(Image.fromarray(pixels))
            assert found.boxes == ()
            assert found.reason


def test_two_plates_are_told_apart() -> None:
    left, _ = draw_plate(*scene(24, 0))
    right, _ = draw_plate(*scene(24, 1))
    both = Image.new("RGB", (left.width * 2, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    found = wells_of(both)
    assert found.plates.count("1") == found.plates.count("2") == 24
    assert "2 plates" in found.reason


def test_a_part_of_a_plate_is_numbered_and_said_to_be_one(data: Path) -> None:
    photograph = Image.open(data / "plates" / "images" / "tmas_1.jpg")
    half = photograph.crop((photograph.width // 2, 0, photograph.width, photograph.height))
    found = wells_of(half)
    assert len(found.boxes) == 48
    assert set(found.names) == {""}
    assert "part" in found.reason or "no edge" in found.reason


def test_a_round_field_is_found() -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:600, :800]
    inside = np.hypot(x - 420, y - 310) < 250
    pixels = np.where(inside, 170, 8)[..., None] + rng.normal(0, 6, (600, 800, 3))
    found = wells_of(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    assert found.names == ("field",)
    assert overlap(found.boxes[0], Box(170, 60, 500, 500)) > 0.9


def test_synthetic_fields_are_found(tmp_path: Path) -> None:
    folder = cytowell.write_samples(tmp_path, "wells", per_class=3)["wells"]
    found = cytowell.find_wells(cytowell.read(folder))
    assert [s.extra["well"] for s in found.samples] == ["field"] * 6


def test_smears_and_plain_pictures_have_no_wells(data: Path) -> None:
    for file in sorted((data / "bccd" / "JPEGImages").glob("*.jpg"))[:60:6]:
        found = wells_of(Image.open(file).convert("RGB"))
        assert found.boxes == ()
        assert found.reason
    assert wells_of(Image.new("RGB", (640, 480), (90, 90, 90))).boxes == ()
    assert wells_of(Image.new("RGB", (5, 4))).boxes == ()


def test_a_photograph_without_wells_stays_with_its_reason(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), (90, 90, 90)).save(tmp_path / "grey.png")
    found = cytowell.find_wells(tmp_path / "grey.png")
    assert len(found) == 1
    assert found.samples[0].box is None
    assert found.samples[0].nothing
    assert found.notes
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8torn")
    both = cytowell.find_wells([tmp_path / "torn.jpg", tmp_path / "grey.png", tmp_path / "no.jpg"])
    assert [Path(p).name for p in both.paths] == ["torn.jpg", "grey.png", "no.jpg"]
    assert "torn.jpg" in both.samples[0].nothing
    assert "no.jpg" in both.samples[2].nothing


def test_a1_goes_where_the_plate_is_turned_to() -> None:
    assert well_names((2, 3))[0].tolist() == [["A1", "A2", "A3"], ["B1", "B2", "B3"]]
    assert well_names((2, 3), 180)[0].tolist() == [["B3", "B2", "B1"], ["A3", "A2", "A1"]]
    upright = [["B1", "A1"], ["B2", "A2"], ["B3", "A3"]]
    assert well_names((3, 2), 90)[0].tolist() == upright
    assert well_names((3, 2), 270)[0].tolist() == [["A3", "B3"], ["A2", "B2"], ["A1", "B1"]]
    named, said = well_names((3, 2))
    assert named.tolist() == upright
    assert "upright" in said
    assert "across" in well_names((2, 3), 90)[1]
    with pytest.raises(RecipeError, match="45"):
        wells_of(Image.new("RGB", (99, 99)), 45)


def test_the_command_lists_and_draws_what_it_finds(tmp_path: Path, cli: Runner) -> None:
    photographs = tmp_path / "in"
    photographs.mkdir()
    draw_plate(*scene(24, 0))[0].save(photographs / "a.jpg", exif=b"Exif\0\0")
    Image.new("RGB", (300, 200)).save(photographs / "b.png")
    (photographs / "c.jpg").write_bytes(b"")
    out, seen = tmp_path / "wells.csv", tmp_path / "seen"
    said = cli("wells", str(photographs), "--out", str(out), "--overlay", str(seen))
    assert said.status == 0
    assert "24 wells" in said.err
    with out.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == [
        *("photo", "plate", "well", "x", "y", "width", "height", "confidence", "reason"),
        "orientation",
    ]
    assert [r["well"] for r in rows[:24:6]] == ["A1", "B1", "C1", "D1"]
    assert rows[24]["well"] == rows[25]["well"] == ""
    assert "no lattice" in rows[24]["reason"]
    assert "0 bytes" in rows[25]["reason"]
    assert [f.name for f in seen.iterdir()] == ["a-wells.jpg"]
    before = sorted(f.read_bytes() for f in photographs.iterdir())
    among = cli("wells", str(photographs), "--overlay", str(photographs))
    assert among.status == 2
    assert "another folder" in among.err
    assert sorted(f.read_bytes() for f in photographs.iterdir()) == before
    turned = cli("wells", str(photographs / "a.jpg"), "--rotate", "180")
    assert turned.out.splitlines()[1].split(",")[2] == "D6"
    assert cli("wells", str(photographs / "a.jpg"), "--rotate", "45").status == 2
    assert cli("wells", str(photographs / "a.jpg"), "--out", str(tmp_path / "x.txt")).status == 2


def test_boxes_stay_inside_the_photograph(data: Path) -> None:
    for photograph, _ in real_plates(data):
        wide, tall = upright_size(str(photograph))
        for s in cytowell.find_wells(photograph).samples:
            assert s.box is not None
            assert s.box.x >= 0
            assert s.box.y >= 0
            assert s.box.x + s.box.width <= wide + 1e-6
            assert s.box.y + s.box.height <= tall + 1e-6
