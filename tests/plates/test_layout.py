"""Layouts: what stands in which well, read from files that people write."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cytowell.errors import LayoutError
from cytowell.plates.layout import block, named, turned, well_name
from cytowell.plates.layout_files import read_layout, ready_files

PLATE = """
wells = 96
counts = "infected"

[[specimen]]
name = "serum"
role = "test"
wells = "A1:D3"
first = "1:3"
fold = 3
"""


def written(folder: Path, text: str, name: str = "plate.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("file", ready_files(), ids=lambda f: f.stem)
def test_every_ready_layout_fills_its_plate_and_has_controls(file: Path) -> None:
    layout = read_layout(file.stem)
    assert layout.remarks() == () or layout.reference_iu is None
    assert layout.counts == "infected"
    assert "cell-control" in {s.role for s in layout.specimens}
    for plate in {s.plate for s in layout.specimens}:
        wells = [w for s in layout.specimens if s.plate == plate for w in s.wells]
        assert len(wells) == len(set(wells)) == layout.wells


def test_favn_has_four_wells_a_three_fold_dilution() -> None:
    layout = read_layout("favn")
    serum = next(s for s in layout.specimens if s.name == "serum 2")
    doses = dict(zip(serum.wells, serum.dilutions, strict=True))
    assert doses["E7"] == pytest.approx(math.log10(3))
    assert doses["H12"] == pytest.approx(6 * math.log10(3))
    assert [round(d, 3) for d in serum.dilutions].count(0.477) == 4


def test_dilutions_along_rows_and_one_by_one(tmp_path: Path) -> None:
    text = PLATE.replace('wells = "A1:D3"', 'wells = "A1:C4"\ndilute = "rows"')
    serum = read_layout(written(tmp_path, text)).specimens[0]
    doses = dict(zip(serum.wells, serum.dilutions, strict=True))
    assert doses["A1"] == doses["A4"] == pytest.approx(math.log10(3))
    assert doses["C2"] == pytest.approx(3 * math.log10(3))
    text = PLATE.replace('first = "1:3"\nfold = 3', 'dilutions = ["1:2", "1/10", "100"]')
    odd = read_layout(written(tmp_path, text))
    assert odd.specimens[0].dilutions[2] == pytest.approx(2.0)
    assert "serum: unequal steps" in odd.remarks()


def test_a_table_is_a_layout_too(tmp_path: Path) -> None:
    rows = ["well,sample,role,dilution,counts"]
    rows += [f"{r}{c},serum,test,1:{10**c},protected" for r in "AB" for c in (1, 2, 3)]
    rows += ["H12,cells,cell-control,,protected"]
    layout = read_layout(written(tmp_path, "\n".join(rows), "mine.csv"))
    assert layout.counts == "protected"
    assert layout.wells == 96
    assert [s.role for s in layout.specimens] == ["test", "cell-control"]
    assert layout.specimens[0].dilutions == pytest.approx((1, 2, 3, 1, 2, 3))


def test_a_plate_of_its_own_name_comes_before_any() -> None:
    layout = read_layout("favn-run")
    assert {s.role for s in layout.on("controls")} > {"reference", "naive"}
    assert {s.role for s in layout.on("plate 7")} == {"test"}
    assert layout.spans_plates


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('counts = "infected"', "", "what a positive well is"),
        ("wells = 96", "wells = 97", "384"),
        ("wells = 96", "", "wells = 96"),
        ('"infected"', '"dead"', "infected, protected"),
        ("A1:D3", "A1:D13", "A1 to H12"),
        ("A1:D3", "D3:A1", "upper left corner:lower right corner"),
        ("A1:D3", "A1:D3,B2", "Give each well to one specimen"),
        ('role = "test"', 'role = "tset"', "Use test"),
        ("fold = 3", "fold = 1", "above 1"),
        ('first = "1:3"', 'first = "0.3"', "concentration"),
        ('first = "1:3"', 'first = "3,5"', "4.5 and not 4,5"),
        ('first = "1:3"\nfold = 3', "", "first ="),
        ("fold = 3", "fould = 3", "Did you mean 'fold'"),
        ("wells = 96", "wells = 96\nrule = 'karber'", "spearman-karber"),
        ("wells = 96", "wells = 96\nvolume = -1", "above 0"),
        ("wells = 96", "wells = 96\nfields = true", "whole number"),
        ('"infected"', '"infected"\n[limits]\nback_titration = [300, 30]', "[low, high]"),
        ('"infected"', '"infected"\n[limits]\ncell_controls = 1', "Did you mean 'cell_control'"),
        ('first = "1:3"', 'dilutions = ["1:3"]', "one for each"),
        ("wells = 96", "wells = [", "cannot be read as a layout"),
    ],
)
def test_what_does_not_fit_names_the_file_and_the_remedy(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = PLATE.replace(old, new)
    with pytest.raises(LayoutError) as caught:
        read_layout(written(tmp_path, text))
    assert "plate.toml" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "empty"),
        ("well,sample,role\nA1,x,test", "counts"),
        ("well,sample,role,counts\nA1,x,test,infected\nA2,x,test,protected", "positive well"),
        ("well,sample,role,counts\nA1,x,test,infected", "no dilutions"),
        ("well,sample,role,counts\nA1,x,test,infected\nA2,x,naive,infected", "one role"),
        ("well,sample,role,counts,dilution\nZ1,x,test,infected,1:2", "A1 to P24"),
        ("well,sample,role,counts,log10_dilution\nA1,x,test,infected,2", "concentration"),
        ("well,sample,role,counts,log10_dilution\nA1,x,test,infected,two", "no number"),
        ("well,sample,role,counts,colour\nA1,x,test,infected,red", "colour"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(LayoutError) as caught:
        read_layout(written(tmp_path, table, "mine.csv"))
    assert "mine.csv" in str(caught.value)
    assert said in str(caught.value)


def test_two_specimens_of_one_name(tmp_path: Path) -> None:
    twice = PLATE + PLATE[PLATE.index("[[") :].replace("A1:D3", "E1:H3")
    with pytest.raises(LayoutError, match="two specimens 'serum'"):
        read_layout(written(tmp_path, twice))


def test_an_unknown_layout_is_told_the_nearest() -> None:
    with pytest.raises(LayoutError, match="Did you mean 'rffit'"):
        read_layout("rfit")


def test_names_of_wells() -> None:
    assert well_name(" a01 ", 96) == "A1"
    assert named(*block("H12", 96)[0]) == "H12"
    assert turned("A1", 96) == "H12"
    assert turned(turned("C5", 384), 384) == "C5"
    assert turned("A1", 8) == "B4"
    for wrong in ("I1", "A13", "A0", "1A", ""):
        with pytest.raises(LayoutError):
            well_name(wrong, 96)
