"""Photographs of plates to titres: which photograph is which well, and the whole way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.errors import LayoutError
from cytowell.plates.layout_files import read_layout
from cytowell.runs.plate import place, way_of
from cytowell.runs.recipe import make
from cytowell.sources.samples import write_samples
from cytowell.types import Sample

Runner = Callable[..., Any]
FAVN = read_layout("favn")


def wells_of(samples: list[Sample]) -> list[tuple[str, str]]:
    return [(str(s.extra["plate"]), str(s.extra["well"])) for s in samples]


@pytest.mark.parametrize(
    ("name", "plate", "well"),
    [
        ("run7/plate1_A03.jpg", "plate1", "A3"),
        ("run7/A3.jpg", "run7", "A3"),
        ("run7/a03-2.png", "run7", "A3"),
        ("x/2026-11-25 plate B H12 field 3.tif", "2026-11-25 plate B", "H12"),
        ("x/IMG_0001_C7.JPG", "IMG_0001", "C7"),
        ("x/plate1_A01_f1.jpg", "plate1", "A1"),
        ("x/plate1_A12_f01.jpg", "plate1", "A12"),
        ("x/plate1_A1_f12.jpg", "plate1", "A1"),
        ("x/p1_A01_f3.jpg", "p1", "A1"),
        ("x/P1_B2.jpg", "P1", "B2"),
        ("x/A01_A01.jpg", "x", "A1"),
    ],
)
def test_wells_by_name(name: str, plate: str, well: str) -> None:
    assert way_of([Sample(name)]) == "named"
    assert wells_of(place([Sample(name)], "named", FAVN)) == [(plate, well)]


@pytest.mark.parametrize(
    ("name", "wells"),
    [
        ("plate1_A01_F1.jpg", "A1 and F1"),
        ("plate1_a01_f1.jpg", "A1 and F1"),
        ("plate1_A1_f01.jpg", "A1 and F1"),
        ("B2_x_C3.jpg", "B2 and C3"),
    ],
)
def test_a_name_that_could_be_two_wells_is_ambiguous_and_says_so(name: str, wells: str) -> None:
    with pytest.raises(LayoutError, match=f"{name}: its name holds several wells, {wells}"):
        place([Sample(name)], "named", FAVN)


def test_a_name_of_a_well_that_the_plate_has_not_is_said() -> None:
    with pytest.raises(LayoutError, match="A1 to H12"):
        place([Sample("plate1_P1.jpg")], "named", FAVN)


def test_how_wells_are_told_apart() -> None:
    assert way_of([Sample("IMG_1.jpg"), Sample("A1.jpg")]) == "found"
    assert way_of([Sample("x.jpg", extra={"well": "A1"})]) == "table"
    assert way_of([Sample("A1.jpg")], "ordered") == "ordered"
    with pytest.raises(LayoutError, match="found, named, ordered, table"):
        way_of([], "guessed")


def test_wells_by_order_count_upwards() -> None:
    photographs = [Sample(f"p/IMG_{i}.jpg") for i in range(1, 97)]
    placed = place(photographs[::-1], "ordered", FAVN)
    assert wells_of(placed)[:2] == [("p", "A1"), ("p", "A2")]
    by_name = {s.path: s.extra["well"] for s in placed}
    assert by_name["p/IMG_9.jpg"] == "A9"
    assert by_name["p/IMG_96.jpg"] == "H12"
    two = replace(FAVN, fields=2)
    doubled = [Sample(f"p/IMG_{i}.jpg") for i in range(1, 193)]
    assert wells_of(place(doubled, "ordered", two))[:3] == [("p", "A1"), ("p", "A1"), ("p", "A2")]
    with pytest.raises(LayoutError, match="95 photographs"):
        place(photographs[1:], "ordered", FAVN)


def test_wells_by_a_table() -> None:
    rows = [Sample("x.jpg", extra={"well": "b02", "plate": 3})]
    assert wells_of(place(rows, "table", FAVN)) == [("3", "B2")]
    with pytest.raises(LayoutError, match="A1 to H12"):
        place([Sample("x.jpg", extra={"well": "Z1"})], "table", FAVN)
    with pytest.raises(LayoutError, match="holds no well"):
        place([Sample("x.jpg")], "named", FAVN)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("titres")
    write_samples(out, "wells", per_class=40, seed=5)
    write_samples(out, "titres", per_class=1, seed=5)
    write_samples(out, "plates", per_class=1, seed=5)
    recipe, _ = make("frozen", positive="positive")
    cytowell.train(cytowell.read(out / "wells"), out / "run", recipe)
    return out


def test_photographs_of_wells_to_titres(cli: Runner, drawn: Path, tmp_path: Path) -> None:
    said = cli("plate", drawn / "titres" / "plate-001", "--layout", "favn", "--bundle",
               drawn / "run", "--out", tmp_path / "o")  # fmt: skip
    assert "INVALID" in said.out
    assert said.status == 1, said.err  # no run is valid: there is no titre to go on with
    assert "Wells by the names of the photographs" in said.err
    assert "synthetic images" in said.err
    assert "Wells called positive were counted as infected." in said.out
    told = json.loads((tmp_path / "o" / "results.json").read_text())
    assert told["runs"][0]["plates"] == ["plate-001"]
    wells = pd.read_csv(tmp_path / "o" / "wells.csv")
    truth = pd.read_csv(drawn / "titres" / "wells.csv")
    both = wells.merge(truth, on="well", suffixes=("", "_true"))
    assert len(both) == 96
    assert (both["label"] == both["state"]).mean() > 0.85
    infected = dict(zip(both["well"], both["label"] == "positive", strict=True))
    reference = next(r for r in told["runs"][0]["results"] if r["role"] == "reference")
    assert sum(reference["positives"]) == sum(
        infected[w] for s in FAVN.specimens if s.role == "reference" for w in s.wells
    )
    assert "plate-001" in (tmp_path / "o" / "report.html").read_text()


def test_a_photograph_of_a_whole_plate(cli: Runner, drawn: Path, tmp_path: Path) -> None:
    """Nobody taught this bundle such wells: what counts is that each is found and has its row."""
    photo = next((drawn / "plates" / "images").glob("plate-96-*"))
    said = cli("plate", photo, "--layout", "favn", "--bundle", drawn / "run", "--out",
               tmp_path / "o")  # fmt: skip
    assert "INVALID" in said.out
    assert said.status == 1, said.err  # no run is valid: there is no titre to go on with
    assert "shows a plate" in said.err
    wells = pd.read_csv(tmp_path / "o" / "wells.csv")
    assert set(wells["plate"]) == {photo.stem}
    assert len(wells) > 90
    assert {"x", "y", "width", "height"} <= set(wells.columns)


def test_another_plate_than_the_layouts(cli: Runner, drawn: Path, tmp_path: Path) -> None:
    photo = next((drawn / "plates" / "images").glob("plate-24-*"))
    said = cli("plate", photo, "--layout", "favn", "--bundle", drawn / "run", "--out",
               tmp_path / "o")  # fmt: skip
    assert said.status != 0
    assert "a plate of 24 wells was found" in said.err
    assert not (tmp_path / "o").exists()


def test_what_shows_no_plate_does_not_end_the_others(
    cli: Runner, drawn: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(tmp_path / "empty.png")
    photo = next((drawn / "plates" / "images").glob("plate-96-*"))
    said = cli("plate", photo, tmp_path / "empty.png", "--layout", "favn", "--bundle",
               drawn / "run", "--out", tmp_path / "o")  # fmt: skip
    assert "INVALID" in said.out
    assert said.status == 1, said.err  # no run is valid: there is no titre to go on with
    told = json.loads((tmp_path / "o" / "results.json").read_text())
    assert [run["plates"] for run in told["runs"]] == [[photo.stem], ["empty"]]
    assert not told["runs"][1]["valid"]
    alone = cli("plate", tmp_path / "empty.png", "--layout", "favn", "--bundle", drawn / "run",
                "--out", tmp_path / "p")  # fmt: skip
    assert "No photograph shows a well" in alone.err


def test_an_order_has_to_be_confirmed(cli: Runner, drawn: Path, tmp_path: Path) -> None:
    arguments = ("plate", drawn / "titres" / "plate-001", "--layout", "favn", "--bundle",
                 drawn / "run", "--out", tmp_path / "o", "--wells", "ordered")  # fmt: skip
    said = cli(*arguments)
    assert said.status != 0
    assert "--yes" in said.err
    assert "well H12" in said.err
    assert not (tmp_path / "o").exists()
    assert cli(*arguments, "--yes").status == 1  # the run is invalid
    assert (tmp_path / "o" / "report.html").exists()


def test_a_bundle_without_a_positive_class_is_refused(
    cli: Runner, drawn: Path, tmp_path: Path
) -> None:
    said = cli("plate", drawn / "titres" / "plate-001", "--layout", "favn", "--bundle", "blood",
               "--out", tmp_path / "o")  # fmt: skip
    assert said.status != 0
    assert "no positive class" in said.err
    said = cli("plate", drawn / "titres" / "plate-001", "--layout", "favn", "--bundle", "blood",
               "--positive", "glow", "--out", tmp_path / "o")  # fmt: skip
    assert "Give --positive" in said.err
