"""Tables of wells to results: runs, files, the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cytowell
from cytowell.errors import BadTable, CytowellError, RunError
from cytowell.plates.layout_files import read_layout
from cytowell.runs.titres import past, read_titration, settings, write_results
from cytowell.types import Predictions, Sample

FAVN = read_layout("favn")
INFECTED = {
    "back-titration": (4, 4, 2, 0), "reference serum": (0, 0, 2, 4, 4, 4),
    "serum 1": (0, 2, 4, 4, 4, 4), "serum 2": (0, 0, 0, 0, 2, 4), "naive serum": (4,),
    "cell-control": (0,),
}  # fmt: skip


def plate(name: str, **more: str) -> list[dict[str, str]]:
    out = []
    for s in FAVN.specimens:
        doses = s.dilutions or (0.0,) * len(s.wells)
        left = dict(zip(sorted(set(doses)), INFECTED[s.name], strict=True))
        for well, dose in zip(s.wells, doses, strict=True):
            yes = left[dose] > 0
            left[dose] -= yes
            out.append({"plate": name, "well": well, "positive": str(int(yes)), **more})
    return out


def written(folder: Path, rows: list[dict[str, str]], name: str = "wells.csv") -> Path:
    path = folder / name
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_each_plate_is_a_run_and_a_report_says_all(tmp_path: Path) -> None:
    bad = [r | {"positive": "1"} if r["well"] == "A1" else r for r in plate("late <b>")]
    table = written(tmp_path, [*plate("early"), *bad])
    done = read_titration(table, FAVN)
    assert [r.valid for r in done.runs] == [True, False]
    folder = write_results(tmp_path / "out", done)
    frame = pd.read_csv(folder / "results.csv", keep_default_na=False)
    assert len(frame) == 8
    assert set(frame.loc[frame["plate"] == "late <b>", "reported"]) == {"invalid"}
    told = json.loads((folder / "results.json").read_text())
    assert told["counted"] == "Wells marked positive were counted as infected."
    serum = next(r for r in told["runs"][0]["results"] if r["sample"] == "serum 2")
    assert serum["reported"] == "4.56"
    assert serum["loinc"] == "6524-3"
    assert serum["positives"] == [0, 0, 0, 0, 2, 4]
    assert told["defaults"] == ["interval", "threshold"]
    page = (folder / "report.html").read_text()
    for words in ("1 of 2 runs are valid", "Invalid, to be run again", "4.56", "late &lt;b&gt;",
                  "Signature", "Research use only", told["source"]["sha256"]):  # fmt: skip
        assert words in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_parquet_and_semicolons(tmp_path: Path) -> None:
    frame = pd.DataFrame(plate("p"))
    frame.to_parquet(tmp_path / "w.parquet")
    frame.to_csv(tmp_path / "w.csv", sep=";", index=False)
    first, second = (read_titration(tmp_path / n, FAVN).frame() for n in ("w.parquet", "w.csv"))
    pd.testing.assert_frame_equal(first, second)


def test_runs_of_several_plates_are_told_apart_by_their_column(tmp_path: Path) -> None:
    table = written(tmp_path, [*plate("p", run="monday"), *plate("p", run="tuesday")])
    assert len(read_titration(table, FAVN).runs) == 2


def test_counted_dilutions_need_no_wells(tmp_path: Path) -> None:
    rows = [
        {"sample": s, "role": r, "log10_dilution": str(-d), "positive": str(k), "replicates": "4"}
        for s, r in (("ref", "reference"), ("dog", "test"))
        for d, k in ((0.5, 0), (1, 0), (1.5, 2), (2, 4))
    ]
    done = read_titration(written(tmp_path, rows), FAVN)
    assert done.frame().set_index("sample")["reported"]["dog"] == "0.50"
    assert "dog" in (write_results(tmp_path / "o", done) / "report.html").read_text()


def test_the_control_chart_reads_its_own_results(tmp_path: Path) -> None:
    table = written(tmp_path, plate("p"))
    done = read_titration(table, FAVN)
    for day in range(11):
        write_results(tmp_path / "past" / str(day), done)
    history = past(tmp_path / "past")
    assert [round(v, 2) for _, v in history] == [1.43] * 11
    again = read_titration(table, FAVN, history=[v for _, v in history])
    checks = [c for c in again.runs[0].checks if c.name == "reference serum"]
    assert "11 past runs" in checks[0].allowed
    page = (write_results(tmp_path / "new", again, history) / "report.html").read_text()
    assert "Levey-Jennings" in page


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "holds no results"), ("[", "holds no results"), (None, "holds no results")],
)
def test_a_folder_that_is_no_history(tmp_path: Path, content: Any, said: str) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(BadTable, match=said):
        past(tmp_path)


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    done = read_titration(written(tmp_path, plate("p")), FAVN)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="something else"):
        write_results(tmp_path / "mine", done)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


def test_settings_of_the_command_count_as_given(tmp_path: Path) -> None:
    layout = settings(FAVN, {"rounding": "exact", "reference_iu": None, "rule": ""})
    assert layout.rounding == "exact"
    assert layout.rule == FAVN.rule
    assert "rounding" in layout.given
    with pytest.raises(CytowellError, match="rounding"):
        settings(FAVN, {"rounding": "nearest"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"plate,well,positive\n", "no row"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "wells.csv"),
        (b"plate,well,x,y\np,A1,1,2\n", "Call them first"),
        (b"plate,well,positive\np,A1,2\n", "neither 1 nor 0"),
    ],
)
def test_what_is_no_table_of_wells_names_the_file(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "wells.csv"
    path.write_bytes(content)
    with pytest.raises(CytowellError) as caught:
        read_titration(path, FAVN)
    assert "wells.csv" in str(caught.value)
    assert said in str(caught.value)


def test_the_last_line_of_the_way() -> None:
    layout = read_layout("favn")
    wells = [w for s in layout.specimens for w in s.wells]
    n = len(wells)
    glow = np.array([i % 2 for i in range(n)], dtype=float)
    calls = Predictions(
        tuple(Sample(f"{w}.png", extra={"plate": "1", "well": w}) for w in wells),
        ("clear", "glow"),
        np.stack([1 - glow, glow], axis=1),
        np.ones(n, dtype=np.bool_),
        ("",) * n,
        ("",) * n,
    )
    found = cytowell.titre(calls, "favn", "glow", reference_iu=1.0)
    assert found.sentence == "Wells called glow were counted as infected."
    assert found.layout.reference_iu == 1.0
    assert len(found.runs) == 1
    with pytest.raises(BadTable, match="no calls"):
        cytowell.titre(calls.take([]), "favn", "glow")
    with pytest.raises(BadTable, match="called 'none'"):
        cytowell.titre(calls, "favn", "none")
