"""Close-ups, covered rows, single wells, several plates, square wells: names, or a reason."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import cytowell
from cytowell.errors import LayoutError, RecipeError
from cytowell.images.boxes import overlaps
from cytowell.plates import Wells, wells_of
from cytowell.plates.extent import FORMATS
from cytowell.plates.lattice import Lattice
from cytowell.plates.layout_files import read_layout
from cytowell.plates.naming import well_in_name
from cytowell.plates.placing import placed
from cytowell.plates.rims import CIRCLE, Rim, fitted_rim
from cytowell.plates.rings import edges_of
from cytowell.plates.search import Expected
from cytowell.runs.plate import place
from cytowell.types import Box, Sample

Runner = Callable[..., Any]
Truth = dict[str, Box]


def plate(
    wells: int, pitch: float, square: bool = False, margin: float = 1.1
) -> tuple[Image.Image, Truth]:
    """Draw a plate of light wells from straight above, with a margin in pitches around."""
    rows, columns = FORMATS[wells]
    size = (round((columns - 1 + 2 * margin) * pitch), round((rows - 1 + 2 * margin) * pitch))
    picture = Image.new("RGB", size, (190, 190, 195))
    pen = ImageDraw.Draw(picture)
    truth = {}
    radius = 0.42 * pitch
    for row in range(rows):
        for column in range(columns):
            x, y = (margin + column) * pitch, (margin + row) * pitch
            box = (x - radius, y - radius, x + radius, y + radius)
            if square:
                pen.rectangle(box, fill=(225, 215, 220), outline=(60, 60, 66), width=2)
            else:
                pen.ellipse(box, fill=(225, 215, 220), outline=(60, 60, 66), width=2)
            truth[f"{chr(65 + row)}{column + 1}"] = Box(
                x - radius, y - radius, 2 * radius, 2 * radius
            )
    return grainy(picture), truth


def grainy(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float64)
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def overlap(a: Box, b: Box) -> float:
    one, other = (np.array([v.x, v.y, v.x + v.width, v.y + v.height]) for v in (a, b))
    return float(overlaps(one, other[None])[0])


def misnamed(found: Wells, truth: Truth, shift: tuple[float, float] = (0, 0)) -> list[str]:
    """Give the names under which something else lies."""
    wrong = []
    for name, box in zip(found.names, found.boxes, strict=True):
        moved = Box(box.x + shift[0], box.y + shift[1], box.width, box.height)
        if name and (name not in truth or overlap(moved, truth[name]) < 0.4):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("margin", [0.45, 0.6, 0.7, 0.85, 0.95])
@pytest.mark.parametrize("wells", [6, 24])
def test_a_close_up_that_shows_as_many_wells_as_a_smaller_plate_has_no_names(
    wells: int, margin: float
) -> None:
    pitch = 60.0
    whole, _ = plate(96, pitch)
    rows, columns = FORMATS[wells]
    left, top = (1.1 + 2 - margin) * pitch, (1.1 + 2 - margin) * pitch
    wide, tall = (columns - 1 + 2 * margin) * pitch, (rows - 1 + 2 * margin) * pitch
    found = wells_of(whole.crop((round(left), round(top), round(left + wide), round(top + tall))))
    assert len(found.boxes) >= wells
    assert set(found.names) == {""}
    assert set(found.orientations) == {""}
    assert "so they have no names" in found.reason


@pytest.mark.parametrize("covered", ["A", "B", "1", "4"])
def test_a_covered_row_or_column_invents_nothing_and_misnames_nothing(covered: str) -> None:
    picture, truth = plate(12, 100.0)
    pen = ImageDraw.Draw(picture)
    row = covered.isalpha()
    middle = (1.1 + (ord(covered) - 65 if row else int(covered) - 1)) * 100
    low, high = middle - 48, middle + 48
    pen.rectangle(
        (0, low, picture.width, high) if row else (low, 0, high, picture.height), fill=(70, 90, 160)
    )
    found = wells_of(picture)
    inside = covered == "B"
    assert misnamed(found, truth) == []
    if not inside:
        there = [n for n in truth if covered not in (n[0], n[1:])]
        assert len(found.boxes) == len(there)
        assert set(found.names) == {""}
    assert found.reason or inside


def test_where_a1_is_is_said_to_be_assumed_or_given() -> None:
    picture, _ = plate(6, 120.0)
    assert set(wells_of(picture).orientations) == {"A1 upper left (assumed)"}
    turned = wells_of(picture, 180)
    assert set(turned.orientations) == {"A1 lower right (given)"}
    assert turned.names[0] == "B3"
    assert set(wells_of(picture, 0).orientations) == {"A1 upper left (given)"}


def single(square: bool, ground: int) -> tuple[Image.Image, Box]:
    picture = Image.new("RGB", (420, 360), (ground, ground, ground))
    pen = ImageDraw.Draw(picture)
    box = (60, 32, 352, 324)
    draw = pen.rectangle if square else pen.ellipse
    draw(box, fill=(185, 188, 194), outline=(80, 82, 90), width=3)
    draw((78, 50, 334, 306), fill=(215, 160, 170))
    for x, y in ((150, 120), (250, 220), (200, 170), (180, 240), (260, 130)):
        pen.ellipse((x - 9, y - 9, x + 9, y + 9), fill=(120, 60, 90))
    return grainy(picture), Box(60, 32, 292, 292)


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("ground", [245, 150])
def test_one_well_that_fills_the_photograph_is_a_well(square: bool, ground: int) -> None:
    picture, box = single(square, ground)
    found = wells_of(picture)
    assert found.names == ("",)
    assert overlap(found.boxes[0], box) >= 0.8
    assert "--well" in found.reason
    named = wells_of(picture, expected=Expected(well="b07"))
    assert (named.names, named.reason) == (("B7",), "")


def test_a_single_well_is_named_by_its_file_a_table_or_the_operator(
    tmp_path: Path, cli: Runner
) -> None:
    single(False, 245)[0].save(tmp_path / "serum3_C05.png")
    single(False, 245)[0].save(tmp_path / "unknown.png")
    by_file = cytowell.find_wells(tmp_path / "serum3_C05.png").samples[0]
    assert by_file.extra["well"] == "C5"
    assert "file's name" in by_file.extra["note"]
    said = cli("wells", str(tmp_path / "unknown.png"), "--well", "B7")
    assert [r["well"] for r in csv.DictReader(said.out.splitlines())] == ["B7"]
    bare = cli("wells", str(tmp_path / "unknown.png"))
    assert "1 wells, 1 of them without a name" in bare.err
    (tmp_path / "table.csv").write_text("path,well\nunknown.png,D2\n", encoding="utf-8")
    listed = cli("wells", str(tmp_path / "table.csv"))
    assert [r["well"] for r in csv.DictReader(listed.out.splitlines())] == ["D2"]
    assert cli("wells", str(tmp_path / "unknown.png"), "--well", "Z99").status == 2


def test_the_well_in_a_files_name_is_the_only_one_there() -> None:
    assert well_in_name("a/plate1_B07.jpg") == "B7"
    assert well_in_name("a/A1_B07.jpg") == well_in_name("photo.jpg") == ""


def test_the_command_lists_orientation_and_says_that_it_was_assumed(
    tmp_path: Path, cli: Runner
) -> None:
    plate(6, 120.0)[0].save(tmp_path / "six.png")
    said = cli("wells", str(tmp_path / "six.png"))
    rows = list(csv.DictReader(said.out.splitlines()))
    assert {r["orientation"] for r in rows} == {"A1 upper left (assumed)"}
    assert "1 plates: where A1 is was assumed" in said.err
    assert "assumed" not in cli("wells", str(tmp_path / "six.png"), "--rotate", "0").err
    assert cli("wells", str(tmp_path / "six.png"), "--format", "7").status == 2


def stacked(count: int, gap: int) -> tuple[Image.Image, list[Truth]]:
    one, truth = plate(24, 60.0, margin=0.5)
    both = Image.new("RGB", (one.width, one.height * count + gap * (count - 1)), (60, 60, 60))
    for k in range(count):
        tone = Image.blend(one, Image.new("RGB", one.size, (255, 255, 255)), 0.25 * (k % 2))
        both.paste(tone, (0, k * (one.height + gap)))
    return both, [
        {n: Box(b.x, b.y + k * (one.height + gap), b.width, b.height) for n, b in truth.items()}
        for k in range(count)
    ]


def test_what_is_said_of_plates_parts_those_that_touch() -> None:
    both, truth = stacked(2, 0)
    found = wells_of(both, expected=Expected(24, 2))
    assert found.plates.count("1") == found.plates.count("2") == 24
    for number in (1, 2):
        names = [n for n, p in zip(found.names, found.plates, strict=True) if p == str(number)]
        assert sorted(names) == sorted(truth[number - 1])
    upper = [b.y for b, p in zip(found.boxes, found.plates, strict=True) if p == "1"]
    lower = [b.y for b, p in zip(found.boxes, found.plates, strict=True) if p == "2"]
    assert max(upper) < min(lower)


def test_fewer_plates_than_were_said_are_never_silent() -> None:
    picture, _ = plate(24, 60.0)
    assert "1 of 3 plates" in wells_of(picture, expected=Expected(24, 3)).reason


@pytest.mark.parametrize("wells", [6, 12])
def test_square_wells_are_found_at_their_size(wells: int) -> None:
    picture, truth = plate(wells, 110.0, square=True)
    found = wells_of(picture)
    assert len(found.boxes) == wells
    assert misnamed(found, truth) == []
    ious = [overlap(b, truth[n]) for n, b in zip(found.names, found.boxes, strict=True) if n]
    assert len(ious) == wells
    assert np.mean(ious) > 0.85


def test_rims_that_score_below_nought_everywhere_leave_the_radius_as_it_was() -> None:
    y, x = np.mgrid[:200, :200]
    # Edges that run across every circle about the lattice's places: rays.
    rays = (np.sin(12 * np.arctan2(y % 50 - 25, x % 50 - 25)) > 0) * 200
    edges = edges_of(np.repeat(rays[..., None], 3, axis=2).astype(np.uint8), 30.0)
    numbers = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    matrix = np.array([[50.0, 0, 25], [0, 50.0, 25], [0, 0, 1]])
    lattice = Lattice(matrix, (50.0 * numbers + 25).astype(np.float64), numbers, np.ones(16))
    near = Rim(0.4, CIRCLE)
    assert fitted_rim(edges, lattice, near) is near


def test_a_disc_on_black_is_no_field_without_a_word() -> None:
    disc = Image.new("RGB", (400, 300), (4, 4, 4))
    ImageDraw.Draw(disc).ellipse((90, 40, 310, 260), fill=(210, 205, 190))
    found = wells_of(disc)
    assert not found.boxes or found.reason


@pytest.mark.parametrize("share", [1.0, 0.87, 0.8])
def test_a_field_seen_aslant_is_found(share: float) -> None:
    y, x = np.mgrid[:300, :400]
    inside = np.hypot((x - 210) / 120, (y - 150) / (120 * share)) < 1
    rng = np.random.default_rng(5)
    cells = rng.random((60, 80)).repeat(5, 0).repeat(5, 1) * 60
    pixels = np.where(inside, 130 + cells, 8)[..., None] + rng.normal(0, 4, (300, 400, 3))
    found = wells_of(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    assert found.names == ("field",)
    assert found.reason == ""
    assert overlap(found.boxes[0], Box(90, 150 - 120 * share, 240, 240 * share)) > 0.9


def test_a_plate_of_wells_without_names_is_not_titrated(tmp_path: Path) -> None:
    whole, _ = plate(96, 40.0)
    whole.crop((20, 20, round(whole.width * 0.6), whole.height)).save(tmp_path / "part.png")
    placed = place([Sample(str(tmp_path / "part.png"))], "found", read_layout("favn"))
    assert [s.box for s in placed] == [None]
    assert "names" in placed[0].nothing


def test_a_layout_can_demand_that_somebody_confirms_how_plates_lie(tmp_path: Path) -> None:
    ready = Path(cytowell.__file__).parent / "plates" / "layouts" / "favn.toml"
    text = 'orientation = "confirm"\n' + ready.read_text(encoding="utf-8")
    (tmp_path / "strict.toml").write_text(text, encoding="utf-8")
    layout = read_layout(tmp_path / "strict.toml")
    plate(96, 30.0)[0].save(tmp_path / "p.png")
    samples = [Sample(str(tmp_path / "p.png"))]
    with pytest.raises(LayoutError, match="confirms"):
        place(samples, "found", layout)
    assert len(place(samples, "found", layout, 0)) == 96
    (tmp_path / "odd.toml").write_text(text.replace("confirm", "guess", 1), encoding="utf-8")
    with pytest.raises(LayoutError, match="orientation"):
        read_layout(tmp_path / "odd.toml")


def test_what_cannot_be_expected_is_refused() -> None:
    with pytest.raises(RecipeError, match="7"):
        wells_of(Image.new("RGB", (90, 90)), expected=Expected(7))


WHOLE, WELLS = plate(24, 60.0, margin=1.2)


@settings(max_examples=8, deadline=None)
@given(
    left=st.integers(0, 3),
    top=st.integers(0, 2),
    right=st.integers(0, 3),
    bottom=st.integers(0, 2),
    scale=st.sampled_from([0.8, 1.0, 1.5]),
    quarter=st.sampled_from([0, 180]),
)
def test_a_photograph_that_was_cut_scaled_and_turned_has_the_same_names_or_a_reason(
    left: int, top: int, right: int, bottom: int, scale: float, quarter: int
) -> None:
    cut = [45 * left, 45 * top, WHOLE.width - 45 * right, WHOLE.height - 45 * bottom]
    part = WHOLE.crop((cut[0], cut[1], cut[2], cut[3]))
    size = (round(part.width * scale), round(part.height * scale))
    part = part.resize(size, Image.Resampling.BICUBIC).rotate(quarter)
    found = wells_of(part, quarter)
    moved = {}
    for name, b in WELLS.items():
        x, y = (b.x - cut[0]) * scale, (b.y - cut[1]) * scale
        if quarter == 180:
            x, y = size[0] - x - b.width * scale, size[1] - y - b.height * scale
        moved[name] = Box(x, y, b.width * scale, b.height * scale)
    assert misnamed(found, moved) == []
    whole = max(left, top, right, bottom) == 0
    assert found.reason or (len(found.boxes) == 24 and all(found.names))
    assert not whole or found.reason == ""


def drawn_lattice(wells: int, pitch: float, scale: float = 1.0, margin: float = 1.1) -> Lattice:
    """Give the lattice of `plate`, enlarged about its middle."""
    rows, columns = FORMATS[wells]
    numbers = np.array([[c, r] for r in range(rows) for c in range(columns)])
    middle = np.array([columns - 1, rows - 1]) / 2
    low = (margin + middle * (1 - scale)) * pitch
    matrix = np.array([[pitch * scale, 0, low[0]], [0, pitch * scale, low[1]], [0, 0, 1.0]])
    places = numbers * pitch * scale + low
    return Lattice(matrix, places, numbers, np.full(len(numbers), 0.9))


@pytest.mark.parametrize("scale", [0.985, 1.0, 1.015])
def test_wells_are_placed_to_the_pixel_from_a_lattice_that_is_a_little_off(scale: float) -> None:
    picture, truth = plate(24, 40.0)
    edges = edges_of(np.asarray(picture), 20.0)
    off = drawn_lattice(24, 40.0, scale)
    lattice, rim = placed(edges, off, Rim(0.44, CIRCLE), off.numbers)
    wells = np.array([[b.x + b.width / 2, b.y + b.height / 2] for b in truth.values()])
    assert np.abs(lattice.at(off.numbers) - wells).max() < 0.6
    assert rim.radius == pytest.approx(0.42, abs=0.02)
