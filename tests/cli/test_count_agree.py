"""cytowell count and cytowell agree, as their users type them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cytowell.runtime.bundle import load

Runner = Callable[..., Any]
BLOOD = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil",
         "platelet")  # fmt: skip


def calls(folder: Path) -> Path:
    rows = []
    for slide, cells in {"left": {"neutrophil": 70, "ig": 5, "platelet": 20, "erythroblast": 2},
                         "right": {"lymphocyte": 120, "eosinophil": 90}}.items():  # fmt: skip
        for name, n in cells.items():
            rows += [{"path": f"{slide}-{name}-{i}.png", "label": name, "decided": "true",
                      "error": "", **{f"p_{c}": str(float(c == name)) for c in BLOOD},
                      "slide": slide} for i in range(n)]  # fmt: skip
    rows[0]["decided"] = "false"
    rows[1] |= {"label": "", "error": "no image"}
    path = folder / "calls.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_differential_count_a_slide(cli: Runner, tmp_path: Path) -> None:
    said = cli("count", calls(tmp_path), "--by", "slide", "--out", tmp_path / "o")
    assert said.status == 0
    assert "left: 73 white cells, 1 cells not decided on" in said.out
    assert "fewer than 100" in said.out
    assert "Not corrected" in said.out
    assert "for review: immature granulocytes" in said.out
    page = (tmp_path / "o" / "report.html").read_text()
    for words in ("Slide left", "not decided on", "per 100 white cells", "Signature", "apart"):
        assert words in page
    frame = pd.read_csv(tmp_path / "o" / "results.csv")
    assert frame.loc[frame["slide"] == "right", "white_cells"].eq(210).all()
    told = json.loads(cli("count", calls(tmp_path), "--by", "slide", "--json").out)
    assert [s["name"] for s in told["slides"]] == ["left", "right"]
    assert told["corrected_by"] == ""


def test_the_bundle_corrects(cli: Runner, tmp_path: Path) -> None:
    told = json.loads(cli("count", calls(tmp_path), "--bundle", "blood", "--json").out)
    assert told["corrected_by"] == load("blood").digest
    ig = next(x for x in told["slides"][0]["lines"] if x["name"] == "ig")
    assert ig["corrected_low"] < ig["corrected"] < ig["corrected_high"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--by", "slides"), "Did you mean 'slide'"),
        (("--bundle", "bloody"), "bloody"),
        (("--interval", "wald"), "goodman or sison-glaz"),
        (("--kind", "ig=strange"), "CLASS="),
        (("--kind", "igg=other"), "Did you mean 'ig'"),
        (("--ranges", "no.toml"), "no.toml"),
    ],
)
def test_what_is_wrong_with_a_count_is_said(
    cli: Runner, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    said = cli("count", calls(tmp_path), *arguments)
    assert said.status != 0
    assert words in said.err
    assert "Traceback" not in said.err


def test_ranges_and_kinds(cli: Runner, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("neutrophil = [40, 75]\n")
    said = cli("count", calls(tmp_path), "--by", "slide", "--ranges", tmp_path / "r.toml",
               "--kind", "eosinophil=other")  # fmt: skip
    assert "for review: outside of 40 to 75" in said.out
    assert "right: 120 white cells" in said.out
    (tmp_path / "r.toml").write_text("neutrophil = [75, 40]\n")
    assert "no range" in cli("count", calls(tmp_path), "--ranges", tmp_path / "r.toml").err


def test_a_name_that_is_not_known_is_said(cli: Runner, tmp_path: Path) -> None:
    names = {"neutrophils": 60, "RBCs": 900, "nRBCs": 2, "blob": 3}
    rows = [{"path": f"{n}-{i}.png", "label": n, "decided": "true"} for n in names
            for i in range(names[n])]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "c.csv", index=False)
    said = cli("count", tmp_path / "c.csv", "--out", tmp_path / "o")
    assert "all: 60 white cells" in said.out
    for words in ("nucleated red cell: nRBCs", "red cell: RBCs", "not known: blob"):
        assert words in said.out
    assert "red cell: RBCs" in (tmp_path / "o" / "report.html").read_text()
    frame = pd.read_csv(tmp_path / "o" / "results.csv").set_index("class")
    assert frame["taken_for"].to_dict() == {
        "neutrophils": "white cell", "RBCs": "red cell", "nRBCs": "nucleated red cell",
        "blob": "not known",
    }  # fmt: skip
    white = cli("count", tmp_path / "c.csv", "--kind", "blob=white")
    assert "all: 63 white cells" in white.out


def test_a_bundle_of_other_classes_does_not_correct(cli: Runner, tmp_path: Path) -> None:
    frame = pd.read_csv(calls(tmp_path)).drop(columns="p_ig")
    frame.to_csv(tmp_path / "other.csv", index=False)
    said = cli("count", tmp_path / "other.csv", "--bundle", "blood")
    assert "Give the bundle that called these cells" in said.err


def test_two_readers_of_wells(cli: Runner, tmp_path: Path) -> None:
    wells = [f"{r}{c}" for r in "ABCD" for c in range(1, 7)]
    one = pd.DataFrame({"plate": "p", "well": wells, "positive": ["1", "0"] * 12})
    two = one.copy()
    two.loc[0, "positive"] = "0"
    one.to_csv(tmp_path / "a.csv", index=False)
    two[:-1].to_csv(tmp_path / "b.csv", index=False)
    said = cli("agree", tmp_path / "a.csv", tmp_path / "b.csv", "--out", tmp_path / "o")
    assert said.status == 0
    assert "95.7 % of 23 calls" in said.out
    assert "kappa 0.9" in said.out
    assert "1 rows of A are not in the other table" in said.out
    assert "Cohen" in (tmp_path / "o" / "report.html").read_text()


def test_two_laboratories_titres(cli: Runner, tmp_path: Path) -> None:
    names = [f"dog {i}" for i in range(5)]
    pd.DataFrame({"sample": names, "value": [0.5, 1, 2, 4, 8],
                  "reported": ["0.5", "1", "2", "4", "> 8"]}).to_csv(
        tmp_path / "a.csv", index=False)  # fmt: skip
    pd.DataFrame({"sample": names, "value": [0.6, 1, 2.2, 3, 8]}).to_csv(
        tmp_path / "b.csv", index=False
    )
    told = json.loads(cli("agree", tmp_path / "a.csv", tmp_path / "b.csv", "--json").out)
    assert told["n"] == 4
    assert told["censored"] == 1
    assert told["within_one_step"]["value"] == 1
    said = cli("agree", tmp_path / "a.csv", tmp_path / "b.csv", "--out", tmp_path / "o")
    assert "within one step of 3-fold" in said.out
    assert "Bland-Altman" in (tmp_path / "o" / "report.html").read_text()


def test_titres_that_are_not_bracketed_are_no_measurements(cli: Runner, tmp_path: Path) -> None:
    """A rule's number stands in `value` for them all; four of nine were measured by both."""
    value = [0.5, 1, 2, 4, 0.03, 8, 0.9, 3, 2]
    reported = ["0.50", "1.00", "2.00", "4.00", "< 0.08", "> 6.10", "not bracketed", "", "1.00"]
    names = [f"dog {i}" for i in range(9)]
    first = pd.DataFrame({"sample": names, "value": value, "reported": reported})
    second = pd.DataFrame({"sample": names, "value": [0.6, 1, 2.2, 3, 5, 1, 9, 3, ""],
                           "reported": [*reported[:4], *["1.00"] * 4, "toxic"]})  # fmt: skip
    first.to_csv(tmp_path / "a.csv", index=False)
    second.to_csv(tmp_path / "b.csv", index=False)
    told = json.loads(cli("agree", tmp_path / "a.csv", tmp_path / "b.csv", "--json").out)
    assert (told["n"], told["censored"], told["missing"]) == (4, 3, 2)
    said = cli("agree", tmp_path / "a.csv", tmp_path / "b.csv").out
    assert "3 pairs are left out because the dilutions" in said
    assert "2 pairs are left out because one reader has no titre" in said


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("sample,value\nx,1\n", "sample,positive\nx,1\n", "share neither"),
        ("sample,value\nx,1\n", "dog,value\nx,1\n", "which row is which"),
        ("sample,value\nx,1\nx,2\n", "sample,value\nx,1\n", "there twice"),
        ('sample,value\nx,"1,5"\n', "sample,value\nx,1\n", "4.5 and not 4,5"),
        ("sample,value,unit\nx,1,IU/mL\n", "sample,value,unit\nx,1,per mL\n", "one unit"),
        ("sample,value\nx,1\n", "sample,value\nx,1\n", "say nothing of agreement"),
    ],
)
def test_tables_that_cannot_be_compared(
    cli: Runner, tmp_path: Path, a: str, b: str, words: str
) -> None:
    (tmp_path / "a.csv").write_text(a)
    (tmp_path / "b.csv").write_text(b)
    said = cli("agree", tmp_path / "a.csv", tmp_path / "b.csv")
    assert said.status != 0
    assert words in said.err
    assert "Traceback" not in said.err
