"""From smear photographs to a differential count, on the real photographs that come along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

import cytowell
from cytowell.errors import EmptyDataset, RecipeError, RunError
from cytowell.runs.smear import SmearResults, smear
from cytowell.runtime.overlap import seen_twice
from cytowell.sources.samples import write_samples
from cytowell.types import COUNTED, REPEATED, Box, Sample

EOSINOPHILS = "BloodImage_00017.jpg"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = write_samples(tmp_path_factory.mktemp("samples"), "smear")["smear"]
    return sorted(folder.glob("*.jpg"))


@pytest.fixture(scope="module")
def read(
    photographs: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[SmearResults, Path]:
    out = tmp_path_factory.mktemp("smear") / "results"
    return smear(photographs[:6], out), out


def test_the_photographs_come_with_licence_and_source(photographs: list[Path]) -> None:
    assert len(photographs) == 100
    folder = photographs[0].parent
    assert "MIT License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "BCCD" in (folder / "README.md").read_text(encoding="utf-8")
    assert sum(p.stat().st_size for p in folder.iterdir()) < 3_000_000


def test_calls_and_counts_say_the_same(read: tuple[SmearResults, Path]) -> None:
    results, out = read
    calls, counts = pd.read_csv(out / "calls.csv"), pd.read_csv(out / "count.csv")
    assert len(calls) == len(results.calls)
    white = calls[calls["found"] == "WBC"]
    assert len(white) >= 5
    assert set(calls.loc[calls["found"] == "RBC", "reason"]) == {COUNTED}
    assert calls.loc[calls["found"] == "RBC", "label"].isna().all()
    decided = white[white["decided"]]
    counted = counts[counts["kind"].isin(["white", "erythroblast", "platelet"])]
    assert counted["count"].sum() == len(decided)
    for name, number in decided["label"].value_counts().items():
        assert counts.loc[counts["class"] == name, "count"].item() == number
    (slide,) = results.slides
    assert slide.undecided == len(white) - len(decided)
    assert slide.unread == 0
    measured = results.measures["all"]
    assert measured.red_cells == (calls["found"] == "RBC").sum()
    assert measured.fields == 6


def test_sizes_are_those_of_cells(read: tuple[SmearResults, Path]) -> None:
    calls = read[0].to_frame()
    white = calls[calls["found"] == "WBC"]
    red = calls[calls["found"] == "RBC"]
    assert 6.0 < red["cell_um"].median() < 9.0
    assert 9.0 < white["cell_um"].median() < 22.0
    known = white.dropna(subset=["nucleus_um"])
    if "nucleus_um" in known and len(known):
        assert (known["nucleus_um"] < 1.3 * known["cell_um"]).all()


def test_the_report_begins_with_the_count(read: tuple[SmearResults, Path]) -> None:
    page = (read[1] / "report.html").read_text(encoding="utf-8")
    first = page[page.index("<body>") : page.index("How it was made")]
    assert "Differential count of a blood smear" in first
    assert "of 100 white cells" in first
    assert "Red cells" in first
    assert "per field" in first
    assert "http:" not in page
    assert "https:" not in page
    assert first.count("<figure>") == sum(bool(label) for label in read[0].calls.labels)


def test_every_photograph_is_drawn(read: tuple[SmearResults, Path]) -> None:
    assert len([*(read[1] / "overlays").iterdir()]) == 6


def test_a_cell_that_two_fields_show_is_counted_once(
    photographs: list[Path], tmp_path: Path
) -> None:
    image = Image.open(photographs[0]).convert("RGB")
    image.crop((0, 0, 560, 480)).save(tmp_path / "a.png")
    image.crop((60, 30, 640, 480)).save(tmp_path / "b.png")
    once = smear([tmp_path / "a.png"])
    twice = smear([tmp_path / "a.png", tmp_path / "b.png"])
    found = sum(bool(label) for label in once.calls.labels)
    assert found >= 1
    again = [s.nothing for s in twice.calls.samples if s.nothing.startswith(REPEATED)]
    assert len(again) >= found
    assert twice.measures["all"].repeated == len(again)
    assert "of a.png" in again[0]
    (slide,) = twice.slides
    assert slide.white + slide.undecided == sum(bool(label) for label in twice.calls.labels)


def test_cells_of_different_fields_are_not_one(photographs: list[Path]) -> None:
    assert smear(photographs[10:16]).measures["all"].repeated == 0


def test_a_copy_of_a_photograph_adds_nothing(photographs: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(photographs[1].read_bytes())
    results = smear([photographs[1], copy])
    (slide,) = results.slides
    (alone,) = smear([photographs[1]]).slides
    assert slide.white + slide.undecided == alone.white + alone.undecided


def test_slides_are_folders_or_a_column(photographs: list[Path], tmp_path: Path) -> None:
    for number, file in enumerate(photographs[:4]):
        place = tmp_path / f"slide {number % 2}"
        place.mkdir(exist_ok=True)
        (place / file.name).write_bytes(file.read_bytes())
    results = smear(tmp_path, by="slide")
    assert {s.name for s in results.slides} == {"slide 0", "slide 1"}
    rows = [{"path": str(p), "patient": f"P{i % 2}"} for i, p in enumerate(photographs[:2])]
    table = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    assert {s.name for s in smear(table, by="patient").slides} == {"P0", "P1"}
    with pytest.raises(RecipeError, match=r"no column 'patent'.*patient"):
        smear(table, by="patent")


def test_a_calibration_wins_and_a_contradiction_is_said(photographs: list[Path]) -> None:
    ruler = smear(photographs[:2]).measures["all"]
    assert ruler.source == "red cells"
    assert ruler.pixel_size is not None
    assert any("7.5 µm" in c for c in ruler.cautions)
    fitting = smear(photographs[:2], pixel_size=1.05 * ruler.pixel_size).measures["all"]
    assert fitting.source == "given"
    assert fitting.cautions == ()
    wrong = smear(photographs[:2], pixel_size=3 * ruler.pixel_size).measures["all"]
    assert any("check the calibration" in c for c in wrong.cautions)
    with pytest.raises(RecipeError, match="not possible"):
        smear(photographs[:1], pixel_size=-1)


def test_what_is_no_smear_has_its_row(photographs: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), (230, 228, 232)).save(tmp_path / "empty.png")
    Image.new("RGB", (640, 480)).save(tmp_path / "dark.png")
    image = Image.open(photographs[0]).convert("RGB")
    ImageOps.invert(image).save(tmp_path / "inverted.png")
    image.convert("L").save(tmp_path / "grey.png")
    image.resize((64, 48)).save(tmp_path / "tiny.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    results = smear([tmp_path, photographs[3]], tmp_path / "out")
    calls = pd.read_csv(tmp_path / "out" / "calls.csv")
    by_name = {Path(str(p)).name: rows for p, rows in calls.groupby("path")}
    assert {"empty.png", "dark.png", "inverted.png", "grey.png", "tiny.png", "broken.jpg"} <= set(
        by_name
    )
    assert by_name["broken.jpg"]["error"].notna().all()
    assert by_name["empty.png"]["reason"].notna().all()
    alone = smear([photographs[3]]).to_frame()
    together = results.to_frame()
    together = together[together["path"] == str(photographs[3])]
    assert np.array_equal(alone["label"].fillna(""), together["label"].fillna(""))


def test_nothing_is_overwritten_and_nothing_is_an_error(
    photographs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="holds something else"):
        smear(photographs[:1], tmp_path)
    (tmp_path / "count.csv").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="holds something else"):
        smear(photographs[:1], tmp_path)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "x"
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(EmptyDataset):
        smear(empty)


def test_a_photograph_that_is_gone_takes_no_other_with_it(
    photographs: list[Path], tmp_path: Path
) -> None:
    box = Box(200, 150, 120, 110)
    there = [Sample(str(p), box=box) for p in photographs[:2]]
    gone = Sample(str(tmp_path / "gone.jpg"), box=box)
    assert seen_twice([gone, *there]) == {}
    # Boxes of some pixels enlarge nothing.
    tiny = [replace(s, box=Box(200, 150, 2, 2)) for s in there]
    assert isinstance(seen_twice(tiny), dict)


def test_it_is_public() -> None:
    assert cytowell.smear is smear
