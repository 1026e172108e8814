"""From a photograph to rows per well: found, cut out, called, drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.errors import EmptyDataset, RecipeError, StorageError, UnknownName
from cytowell.images import Preprocessing, cut_out, load
from cytowell.plates.window import FORMATS
from cytowell.runtime.cutting import crop
from cytowell.runtime.finding import finder, objects
from cytowell.sources.samples_plates import Scene, draw_plate
from cytowell.types import Box, Sample

FIRST = ["path", "object", "plate", "well", "x", "y", "width", "height", "score", "label"]

Runner = Callable[..., Any]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a plate of 12 wells, a grey picture, and a broken file."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(3)
    shape = FORMATS[12]
    scene = Scene(12, rng.random(shape) < 0.5, np.zeros(shape, dtype=np.bool_))
    draw_plate(scene, rng)[0].save(folder / "a_plate.png")
    Image.new("RGB", (300, 200), (120, 130, 140)).save(folder / "b_grey.png")
    (folder / "c_broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    return folder


def test_a_row_per_well_with_its_address(
    photographs: Path, bundle: Path, cli: Runner, tmp_path: Path
) -> None:
    out, drawn = tmp_path / "calls.csv", tmp_path / "drawn"
    said = cli(
        "predict", str(photographs), "--find", "wells", "--bundle", str(bundle),
        "--out", str(out), "--overlay", str(drawn),
    )  # fmt: skip
    assert said.status == 0
    calls = pd.read_csv(out, keep_default_na=False)
    assert list(calls.columns[:10]) == FIRST
    wells = calls.iloc[:12]
    assert list(wells["well"][:5]) == ["A1", "A2", "A3", "A4", "B1"]
    assert list(wells["object"].astype(float)) == list(range(1, 13))
    assert set(wells["error"]) == {""}
    assert set(wells["group"]) == {str(photographs / "a_plate.png")}
    empty, broken = calls.iloc[12], calls.iloc[13]
    assert (empty["label"], empty["error"]) == ("", "")
    assert "no lattice" in empty["reason"]
    assert (broken["label"], broken["reason"]) == ("", "")
    assert "c_broken.jpg" in broken["error"]
    assert "1 photographs have nothing in them" in said.err
    assert "1 could not be read" in said.err
    assert [f.name for f in drawn.iterdir()] == ["a_plate-calls.jpg"]
    with Image.open(drawn / "a_plate-calls.jpg") as picture:
        assert not picture.getexif()


def test_what_a_table_says_of_a_photograph_gives_way_to_what_is_found(
    photographs: Path, bundle: Path, cli: Runner, tmp_path: Path
) -> None:
    table, out = tmp_path / "list.csv", tmp_path / "calls.parquet"
    empty, plate = photographs / "b_grey.png", photographs / "a_plate.png"
    table.write_text(f"path,plate,slide\n{empty},P-17,s1\n{plate},P-18,s2\n")
    said = cli("predict", str(table), "--find", "wells", "--bundle", str(bundle), "--out", str(out))
    assert said.status == 0
    calls = pd.read_parquet(out)
    assert calls["given_plate"].tolist() == ["P-17"] + ["P-18"] * 12
    assert calls["plate"].tolist() == [""] + ["1"] * 12
    assert calls["slide"].tolist() == ["s1"] + ["s2"] * 12
    assert calls["object"].dtype == "Int64"
    assert calls["x"].dtype == "float64"


@pytest.mark.parametrize("label", ["..", "../../out", "/etc", "a\\b", "CON:", "x" * 300, " . "])
def test_no_label_leads_out_of_the_folder(tmp_path: Path, label: str) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    sample = Sample(str(tmp_path / "a.png"), label, box=Box(1, 2, 10, 20))
    crop([sample], tmp_path / "in" / "out")
    made = list(tmp_path.rglob("*-1.png"))
    assert len(made) == 1
    assert made[0].parent.parent == tmp_path / "in" / "out"
    assert cytowell.read(tmp_path / "in" / "out").samples[0].label == label.strip()


def test_calls_of_wells_come_back_from_their_file(photographs: Path, bundle: Path) -> None:
    found = objects([Sample(str(p)) for p in sorted(photographs.iterdir())], finder("wells"))
    calls = cytowell.Predictions.join(list(cytowell.load(bundle).stream(found)))
    again = cytowell.Predictions.from_frame(calls.frame())
    assert list(again.called) == list(calls.called)
    assert [s.nothing for s in again.samples] == [s.nothing for s in calls.samples]
    assert not calls.readable[12]


def test_found_wells_are_called_in_python(photographs: Path, bundle: Path) -> None:
    wells = cytowell.find_wells(sorted(photographs.iterdir()))
    calls = cytowell.load(bundle).predict(wells)
    assert len(calls) == 14
    assert list(calls.called[12:]) == [-1, -1]
    assert "no lattice" in calls.reasons[12]


def test_cut_outs_are_called_as_the_boxes_that_they_are(
    photographs: Path, bundle: Path, cli: Runner, tmp_path: Path
) -> None:
    options = ("--find", "wells", "--margin", "0.1", "--square", "--round")
    out = tmp_path / "cut-outs"
    said = cli("crop", str(photographs), "--out", str(out), *options)
    assert said.status == 0
    assert "12 cut-outs" in said.err
    data = cytowell.read(out)
    assert set(data.groups) == {str(photographs / "a_plate.png")}
    loaded = cytowell.load(bundle)
    there = loaded.predict(data)
    found = objects([Sample(str(photographs / "a_plate.png"))], finder("wells"))
    here = loaded.reading(margin=0.1, square=True, round=True).predict(list(found))
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=1e-6)
    assert [s.extra["well"] for s in data.samples] == [s.extra["well"] for s in here.samples]


def test_a_bundle_of_whole_pictures_can_see_boxes_whole(
    photographs: Path, bundle: Path, cli: Runner, tmp_path: Path
) -> None:
    """The centre that it looks at in a picture is what a box would show."""
    narrow = tmp_path / "narrow"
    cytowell.load(bundle).reading(crop=0.5).save(narrow, "card")
    probabilities = {}
    command = ("predict", str(photographs), "--find", "wells", "--bundle", str(narrow))
    for flag in ("--crop-boxes", "--whole-boxes"):
        out = tmp_path / f"{flag}.csv"
        said = cli(*command, flag, "--out", str(out))
        assert said.status == 0
        assert "middle" not in said.err
        probabilities[flag] = pd.read_csv(out)["probability"].dropna().to_numpy()
    wells = cytowell.find_wells(sorted(photographs.iterdir()))
    whole = cytowell.load(bundle).predict(wells)
    sure = whole.probabilities.max(axis=1)[whole.called >= 0]
    np.testing.assert_allclose(probabilities["--whole-boxes"], sure, atol=1e-5)
    assert not np.allclose(probabilities["--crop-boxes"], sure, atol=1e-3)
    assert "middle 50%" in cli(*command, "--out", str(tmp_path / "unasked.csv")).err
    refused = cli("predict", str(photographs), "--engine", "ray", "--whole-boxes", "--out", "parts")
    assert refused.status == 2
    assert "Leave these options" in refused.err


def test_annotated_boxes_are_cut_out_by_class(tmp_path: Path, cli: Runner) -> None:
    Image.new("RGB", (64, 48), (200, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text(
        "path,label,x,y,width,height\na.png,cell,1,2,10,20\na.png,blast/odd,20,2,10,20\n"
        "a.png,cell,100,2,10,20\n"
    )
    said = cli("crop", str(tmp_path / "boxes.csv"), "--out", str(tmp_path / "out"))
    assert said.status == 0
    assert "outside" in said.err
    assert sorted(str(f.relative_to(tmp_path / "out")) for f in tmp_path.glob("out/*/*")) == [
        "blast-odd/a-2.png",
        "cell/a-1.png",
    ]
    assert cli("crop", str(tmp_path / "boxes.csv"), "--out", str(tmp_path / "out")).status == 2


def test_what_cannot_be_cut_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match="no box"):
        crop([Sample("a.jpg")], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    with pytest.raises(StorageError, match="holds something"):
        crop([], tmp_path / "mine")


def test_only_what_is_known_can_be_found() -> None:
    assert finder("none") is None
    with pytest.raises(UnknownName, match="wells"):
        finder("welsl")
    with pytest.raises(RecipeError, match="--find cells"):
        finder("wells", only=["white"])


def test_boxes_are_cut_as_the_record_says() -> None:
    photograph = Image.new("RGB", (100, 80))
    photograph.paste((255, 255, 255), (30, 20, 50, 30))
    box = Box(30, 20, 20, 10)

    def size(**how: object) -> tuple[int, int]:
        return cut_out(photograph, Preprocessing(**how), box).size  # type: ignore[arg-type]

    assert size() == (20, 10)
    assert size(margin=0.5) == (40, 30)
    assert size(square=True) == (20, 20)
    assert size(margin=2.0) == (100, 80)
    assert np.asarray(cut_out(photograph, Preprocessing(), box)).min() == 255
    masked = np.asarray(cut_out(photograph, Preprocessing(round=True), box))
    assert masked[0, 0].max() == 0
    assert masked[5, 10].min() == 255
    endless = Box(10, 10, 1e308, 1.7e308)
    assert cut_out(photograph, Preprocessing(), endless).size == (90, 70)
    corner = cut_out(photograph, Preprocessing(square=True), Box(0, 70, 20, 10))
    assert corner.size == (20, 20)


def test_a_photograph_that_was_replaced_is_decoded_again(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    sample = Sample(str(file), box=Box(0, 0, 10, 10))
    for grey in (10, 200):
        Image.new("RGB", (20 + grey, 20), (grey,) * 3).save(file)
        assert load(sample, Preprocessing(size=8)).mean() == grey
