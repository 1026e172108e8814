"""The canonical view of a cell: the same pixels in every light, place and size, by every way."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

import cytowell
from cytowell.errors import ImageError, RecipeError
from cytowell.images import CellView, Encoded, Preprocessing, load_seen, prepare, see
from cytowell.images.cell import MEASURED, MeasuredCell, light_of, measure, window_of
from cytowell.runtime.cutting import crop
from cytowell.runtime.pipeline import _seen as seen_of
from cytowell.training.packs import pack
from cytowell.types import Box, Pixels, Sample

VIEW = CellView()
RECORD = Preprocessing(size=64, cell=VIEW)


def drawn(
    size: tuple[int, int] = (240, 220),
    centre: tuple[float, float] = (120, 110),
    diameter: float = 60,
    empty: tuple[int, int, int] = (236, 232, 240),
    cells: int = 8,
) -> Image.Image:
    """Draw red cells about a white one, whose nucleus has this centre and diameter."""
    big = Image.new("RGB", (size[0] * 2, size[1] * 2), empty)
    pen = ImageDraw.Draw(big)
    share = np.array(empty) / 240

    def disc(x: float, y: float, d: float, colour: tuple[int, int, int]) -> None:
        lit = tuple(int(v) for v in np.array(colour) * share)
        pen.ellipse((2 * x - d, 2 * y - d, 2 * x + d, 2 * y + d), fill=lit)

    for i in range(cells):
        angle = 2 * np.pi * i / cells
        away = 1.5 * diameter
        disc(
            centre[0] + away * np.cos(angle),
            centre[1] + away * np.sin(angle),
            0.7 * diameter,
            (222, 170, 165),
        )
    disc(*centre, 1.35 * diameter, (200, 190, 225))
    disc(*centre, diameter, (92, 50, 140))
    return big.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))


def lit(image: Image.Image, factors: tuple[float, float, float]) -> Image.Image:
    return Image.fromarray((np.asarray(image) * np.array(factors)).round().astype(np.uint8))


def apart(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_light_is_gone_before_the_network_looks() -> None:
    plain = drawn()
    yellow = lit(plain, (1.0, 0.93, 0.6))
    dim = lit(plain, (0.6, 0.6, 0.6))
    home = prepare(plain, RECORD)
    assert apart(home, prepare(yellow, RECORD)) < 2.5
    assert apart(home, prepare(dim, RECORD)) < 2.5
    without = replace(RECORD, cell=replace(VIEW, light=False))
    assert apart(prepare(plain, without), prepare(dim, without)) > 40


def test_light_is_that_of_the_empty_background() -> None:
    found = light_of(drawn(empty=(230, 210, 150)))
    assert found is not None
    assert np.allclose(found, (230, 210, 150), atol=3)


def test_a_black_border_and_an_eyepiece_are_no_background() -> None:
    plain = drawn()
    bordered = Image.new("RGB", (340, 300))
    bordered.paste(plain, (60, 40))
    found, home = light_of(bordered), light_of(plain)
    assert found is not None
    assert home is not None
    assert np.allclose(found, home, atol=3)
    assert apart(prepare(plain, RECORD), prepare(bordered, RECORD)) < 4


def test_a_dark_field_has_no_empty_light() -> None:
    dark = Image.fromarray(255 - np.asarray(drawn(empty=(250, 250, 250), cells=0)))
    assert light_of(dark) is None
    seen = see(dark, RECORD)
    assert seen.measured is not None
    assert seen.measured.light is None
    assert seen.measured.columns()["light_red"] is None


@pytest.mark.parametrize("centre", [(70, 60), (170, 150), (120, 110)])
def test_the_window_is_centred_on_the_nucleus(centre: tuple[float, float]) -> None:
    found = measure(drawn(centre=centre), VIEW)
    assert found.found
    assert abs(found.x - centre[0]) < 2.5
    assert abs(found.y - centre[1]) < 2.5
    assert abs(found.diameter / 60 - 1) < 0.12


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_where_the_cell_lies_in_its_picture_changes_no_pixel(right: int, down: int) -> None:
    cell = drawn((200, 200), (100, 100), 36)
    whole = Image.new("RGB", (300, 300), (236, 232, 240))
    whole.paste(cell, (50, 50))
    moved = Image.new("RGB", (300, 300), (236, 232, 240))
    moved.paste(cell, (30 + right, 30 + down))
    assert apart(prepare(whole, RECORD), prepare(moved, RECORD)) < 5


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.5, 3.0])
def test_a_cell_has_the_same_size_in_every_laboratory(scale: float) -> None:
    plain = drawn((400, 400), (200, 200), 100)
    side = round(400 * scale)
    other = plain.resize((side, side), Image.Resampling.LANCZOS)
    assert apart(prepare(plain, RECORD), prepare(other, RECORD)) < 5


def test_where_nothing_is_stained_it_is_said() -> None:
    empty = Image.new("RGB", (120, 120), (230, 230, 230))
    found = measure(empty, VIEW)
    assert not found.found
    assert found.doubt == "no nucleus was found"
    assert found.columns()["nucleus_px"] is None
    for tiny in ((1, 1), (8, 3), (3, 200)):
        assert prepare(Image.new("RGB", tiny, (9, 9, 9)), RECORD).shape == (64, 64, 3)


def test_several_cells_in_a_picture_are_said() -> None:
    one = drawn((400, 240), (110, 120), 60, cells=0)
    two = one.copy()
    two.paste(drawn((200, 240), (100, 120), 60, cells=0), (200, 0))
    assert measure(one, VIEW).doubt == ""
    assert measure(two, VIEW).doubt == "several cells in the picture"
    # A box says which of them is meant.
    assert measure(two, VIEW, Box(60, 70, 100, 100)).doubt == ""


def test_one_cell_gives_one_picture_by_every_way(tmp_path: Path) -> None:
    image = drawn()
    path = tmp_path / "cell.png"
    image.save(path)
    whole = Box(0, 0, image.width, image.height)
    home = prepare(image, RECORD)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    ways = {
        "path": seen_of(Sample(str(path)), RECORD).pixels,
        "upload": seen_of(Encoded("cell.png", stream.getvalue()), RECORD).pixels,
        "array": seen_of(np.asarray(image), RECORD).pixels,
        "box": load_seen(Sample(str(path), box=whole), RECORD).pixels,
        "pack": np.asarray(pack(cytowell.types.Dataset((Sample(str(path)),), ()), RECORD)[0]),
    }
    for way, pixels in ways.items():
        assert np.array_equal(home, pixels), way


@pytest.mark.parametrize("corner", [(130.4, 90.2), (0, 0), (240.7, 170.9)])
def test_a_cut_out_gives_the_pixels_of_its_box(tmp_path: Path, corner: tuple[float, float]) -> None:
    photograph = drawn((420, 340), (corner[0] + 50, corner[1] + 45), 44, (235, 220, 180))
    path = tmp_path / "smear.png"
    photograph.save(path)
    sample = Sample(str(path), "neutrophil", box=Box(*corner, 100, 90))
    crop([sample], tmp_path / "cut", RECORD)
    table = pd.read_csv(tmp_path / "cut" / "samples.csv")
    assert set(MEASURED) <= set(table.columns)
    (cut,) = cytowell.read(tmp_path / "cut" / "samples.csv").samples
    assert np.array_equal(load_seen(sample, RECORD).pixels, load_seen(cut, RECORD).pixels)


def test_what_is_known_must_lie_in_the_picture() -> None:
    known = MeasuredCell((230, 230, 230), 900, 20, 40).columns()
    with pytest.raises(ImageError, match="nucleus at 900, 20 lies outside"):
        see(drawn(), RECORD, known=known)
    for broken in ("", "x", None, float("nan"), -3):
        assert MeasuredCell.from_columns({**known, "nucleus_px": broken}) is None


def test_a_huge_window_takes_little_memory() -> None:
    image = drawn()
    known = MeasuredCell((230, 230, 230), 100, 100, 9000).columns()
    assert see(image, RECORD, known=known).pixels.shape == (64, 64, 3)


def test_the_record_keeps_the_view_and_refuses_what_it_does_not_know() -> None:
    assert "cell" not in Preprocessing().to_json()
    said = RECORD.to_json()
    assert Preprocessing.from_json(said) == RECORD
    with pytest.raises(ValueError, match="unknown preprocessing: polish"):
        Preprocessing.from_json({**said, "polish": 1})
    with pytest.raises(ValueError, match="unknown settings of the cell's view: tint"):
        Preprocessing.from_json({**said, "cell": {"tint": 1}})
    with pytest.raises(RecipeError, match=r"window = 0\.2"):
        CellView(window=0.2)


def test_beyond_the_picture_lies_empty_background() -> None:
    image = drawn((150, 150), (20, 75), 60, cells=0)
    seen = see(image, RECORD)
    assert seen.measured is not None
    left, _, _ = window_of(seen.measured, VIEW)
    assert left < 0
    assert np.abs(seen.pixels[:, :4].astype(int) - 245).max() <= 6
