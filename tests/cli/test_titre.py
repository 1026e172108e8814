"""cytowell titre: a quick sum, its keys, and what is wrong with what was typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cytowell.plates.layout_files import read_layout

Runner = Callable[..., Any]

LEI = (
    "--positives", "5,3,1,0", "--counts", "infected", "--replicates", "5",
    "--log10-dilutions=-5,-6,-7,-8", "--volume", "0.1",
)  # fmt: skip


def test_the_quick_sum(cli: Runner) -> None:
    said = cli("titre", *LEI, "--rule", "spearman-karber", "--json")
    told = json.loads(said.out)
    assert round(told["log10_d50"], 2) == 6.30
    assert f"{told['per_ml']:.2e}" == "2.00e+07"
    assert told["low"] < told["per_ml"] < told["high"]
    assert told["rule"] == "spearman-karber"
    assert told["flags"] == []


def test_without_a_volume_limits_are_of_the_end_point(cli: Runner) -> None:
    told = json.loads(cli("titre", *LEI[:-2], "--json").out)
    assert told["per_ml"] is None
    assert told["low"] < 10 ** told["log10_d50"] < told["high"]


def test_the_result_repeats_what_was_counted(cli: Runner) -> None:
    said = cli("titre", *LEI)
    assert said.status == 0
    assert "infected wells of a diluted virus" in said.out
    assert "2e+07" in said.out


def test_a_serum_by_ratios(cli: Runner) -> None:
    said = cli(
        "titre", "--positives", "4,4,2,0,0", "--counts", "protected", "--replicates", "4",
        "--dilutions", "1:3,1/9,27,1:81,1:243", "--json",
    )  # fmt: skip
    told = json.loads(said.out)
    assert round(told["log10_d50"], 2) == 1.43
    assert told["titrates"] == "serum"


def test_padding_is_told(cli: Runner) -> None:
    said = cli(
        "titre", "--positives", "3,1", "--counts", "infected", "--replicates", "4",
        "--log10-dilutions=-1,-2",
    )  # fmt: skip
    assert "not_bracketed" in said.out
    assert "assumed" in said.out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--positives", "6,3,1,0"), "6 of 5"),
        (("--positives", "5;3"), "no number"),
        (("--positives", "5,3"), "2 counts and 4 dilutions"),
        (("--counts", ""), "--counts is not given"),
        (("--counts", "positive"), "--counts positive"),
        (("--replicates", "5,5"), "2 numbers of wells"),
        (("--volume", "-1"), "cannot be"),
        (("--rule", "karber"), "Did you mean"),
        (("--log10-dilutions=5,6,7,8",), "concentration"),
        (("--dilutions", "1:9"), "given twice"),
        (("--positives", "5,5,0,0", "--rule", "probit"), "there is none"),
        (("--positives", "0,1,3,5"), "--titrates serum"),
        (("--log10-dilutions=-400,-401,-402,-403",), "Nobody dilutes"),
        (("--positives", "5,5,5,5", "--rule", "single-hit"), "Every well"),
        (("--denominator", "n+1"), "denominator"),
    ],
)
def test_bad_input_is_two_lines(cli: Runner, change: tuple[str, ...], said: str) -> None:
    found = cli("titre", *LEI, *change)
    assert found.status == 2
    assert said in found.err
    assert "Traceback" not in found.err
    assert found.out == ""


def wells(folder: Path) -> Path:
    """A plate by FAVN: every serum protected in its first two dilutions and half of the third."""
    layout = read_layout("favn")
    rows = ["plate,well,label,p_glow,p_dark"]
    for s in layout.specimens:
        for i, well in enumerate(s.wells):
            dose = s.dilutions[i] if s.dilutions else 0.0
            glow = {
                "cell-control": False,
                "naive": True,
                "back-titration": dose < 1.5 or well in ("A4", "B4"),
            }.get(s.role, dose > 1.5 or (dose > 1.2 and well[0] in "AE"))
            rows.append(f"p,{well},{'glow' if glow else 'dark'},{float(glow)},{float(not glow)}")
    path = folder / "calls.csv"
    path.write_text("\n".join(rows))
    return path


def test_a_table_of_calls_by_its_layout(cli: Runner, tmp_path: Path) -> None:
    table = wells(tmp_path)
    said = cli("titre", table, "--layout", "favn", "--positive", "glow", "--out", tmp_path / "o")
    assert said.status == 0
    assert "Wells called glow were counted as infected." in said.out
    assert "0.50 IU/mL" in said.out
    assert (tmp_path / "o" / "report.html").is_file()
    told = json.loads(cli("titre", table, "--layout", "favn", "--positive", "glow", "--json").out)
    assert told["runs"][0]["valid"]


def test_a_specimen_without_an_end_point_has_a_line_of_its_own(cli: Runner, tmp_path: Path) -> None:
    """Probit fits the first; not the second, nor the first with one well misread."""
    rows = ["sample,role,titrates,log10_dilution,positive,replicates"]
    for name, k in {"fits": (8, 8, 7, 2, 0, 0), "all": (8,) * 6, "none": (0,) * 6,
                    "reversed": (0, 0, 0, 5, 8, 8), "odd": (4, 4, 4, 0, 0, 1)}.items():  # fmt: skip
        rows += [f"{name},test,virus,{-i - 1},{v},8" for i, v in enumerate(k)]
    (tmp_path / "w.csv").write_text("\n".join(rows))
    arguments = ("titre", tmp_path / "w.csv", "--layout", "tcid50")
    said = cli(*arguments, "--rule", "probit")
    assert said.status == 0, said.err
    lines = {line.split()[0]: line for line in said.out.splitlines() if line.startswith("  ")}
    assert "4.20e+04 TCID50 per mL" in lines["fits"]
    assert "probit needs two dilutions" in lines["all"]
    assert "probit needs two dilutions" in lines["none"]
    assert "more diluted" in lines["reversed"]
    said = cli(*arguments, "--out", tmp_path / "o")
    lines = {line.split()[0]: line for line in said.out.splitlines() if line.startswith("  ")}
    assert "> " in lines["all"]
    assert "or more" in lines["all"]
    assert "< " in lines["none"]
    assert "1 of 8 infected at 1:1e+06" in lines["odd"]
    page = (tmp_path / "o" / "report.html").read_text()
    assert "1 of 8 infected at 1:1e+06" in page
    assert "or less" in page
    told = json.loads((tmp_path / "o" / "results.json").read_text())
    one = next(r for r in told["runs"][0]["results"] if r["sample"] == "odd")
    assert one["contradicting"] == ["1 of 8 infected at 1:1e+06"]


def test_what_is_wrong_with_a_table_is_said(cli: Runner, tmp_path: Path) -> None:
    table = wells(tmp_path)
    for arguments, words in (
        ((table,), "Give --layout"),
        ((table, "--layout", "favn"), "Nobody said which call"),
        ((table, "--layout", "favn", "--positive", "glow", "--counts", "protected"), "the layout"),
        ((table, "--layout", "favn", "--bundle", "blood"), "no positive class"),
        ((table, "--layout", "favn", "--positives", "1,2"), "both given"),
        (("--layout", "favn"), "Name the table"),
        ((tmp_path / "no.csv", "--layout", "favn"), "no.csv"),
        ((table, "--layout", tmp_path / "no.toml"), "no.toml"),
        ((table, "--layout", "favn", "--positive", "glow", "--history", tmp_path / "no"), "no"),
    ):
        said = cli("titre", *arguments)
        assert said.status != 0
        assert words in said.err
        assert "Traceback" not in said.err
