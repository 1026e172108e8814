"""A run of plates: counts, titres, controls, and what is never reported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from cytowell.errors import BadTable, LayoutError
from cytowell.plates.assay import RunResult, Titre, assay, assay_plates
from cytowell.plates.counting import Count, counts_of, read_counts, read_wells, sentence
from cytowell.plates.layout import Layout, Limits, turned
from cytowell.plates.layout_files import read_layout
from cytowell.plates.units import UP, number

FAVN = read_layout("favn")
GOOD = {
    "back-titration": (4, 4, 2, 0),
    "reference serum": (0, 0, 2, 4, 4, 4),
    "serum 1": (0, 2, 4, 4, 4, 4),
    "serum 2": (0, 0, 0, 0, 2, 4),
    "naive serum": (4,),
    "cell-control": (0,),
}
"""Infected wells of each dilution: N = 10 of the reference, 6 and 18 of the sera."""


def rows(layout: Layout, infected: Mapping[str, tuple[int, ...]], plate: str = "p") -> list[Any]:
    out = []
    for s in layout.specimens:
        steps = sorted(set(s.dilutions or (0.0,)))
        left = dict(zip(steps, infected[s.name], strict=True))
        for well, dose in zip(s.wells, s.dilutions or (0.0,) * len(s.wells), strict=True):
            yes = left[dose] > 0
            left[dose] -= yes
            out.append({"plate": plate, "well": well, "positive": str(int(yes))})
    return out


def table(**changes: tuple[int, ...]) -> pd.DataFrame:
    renamed = {k.replace("_", " "): v for k, v in changes.items()}
    renamed = {"back-titration" if k == "back titration" else k: v for k, v in renamed.items()}
    renamed = {"cell-control" if k == "cell control" else k: v for k, v in renamed.items()}
    return pd.DataFrame(rows(FAVN, GOOD | renamed))


def run(wells: pd.DataFrame, layout: Layout = FAVN, **more: Any) -> RunResult:
    return assay_plates(read_wells(wells, layout), layout, **more)


def of(result: RunResult, name: str) -> Titre:
    return next(t for t in result.titres if t.count.name == name)


@pytest.mark.parametrize(
    ("n", "reported"),
    [(4, "0.10"), (7, "0.22"), (9, "0.38"), (10, "0.50"), (11, "0.66"), (12, "0.87"),
     (13, "1.15"), (14, "1.51"), (15, "1.99"), (16, "2.62"), (17, "3.46"), (18, "4.56"),
     (19, "6.01")],
)  # fmt: skip
def test_the_published_favn_results(n: int, reported: str) -> None:
    infected = tuple(4 - max(0, min(4, n - 4 * i)) for i in range(6))
    found = of(run(table(serum_1=infected)), "serum 1")
    assert found.reported == reported
    assert found.unit == "IU/mL"


def test_two_decimals_and_exact_have_their_own_names() -> None:
    infected = (0, 0, 0, 0, 1, 4)
    for rounding, said in (("two-decimals", "5.87"), ("exact", "5.92")):
        layout = replace(FAVN, rounding=rounding)
        assert of(run(table(serum_1=infected), layout), "serum 1").reported == said


def test_near_the_threshold_nothing_is_certain() -> None:
    result = run(table(serum_1=(0, 0, 2, 4, 4, 4)))
    found = of(result, "serum 1")
    assert result.valid
    assert found.reported == "0.50"
    assert found.verdict == "indeterminate"
    assert found.value_low is not None
    assert found.value_high is not None
    assert found.value_low < 0.3
    assert found.value_high > 0.9
    assert (number(found.misread_low or 0, "IU/mL"), number(found.misread_high or 0, "IU/mL")) == (
        "0.38", "0.66"
    )  # fmt: skip
    assert of(result, "serum 2").verdict == "adequate"
    assert of(run(table(serum_1=(2, 4, 4, 4, 4, 4))), "serum 1").verdict == "not adequate"


def test_what_is_not_bracketed_is_censored() -> None:
    low = of(run(table(serum_1=(3, 4, 4, 4, 4, 4))), "serum 1")
    assert low.reported.startswith("< ")
    assert low.estimate is not None
    assert "not_bracketed" in low.flags
    assert low.estimate.padded
    high = of(run(table(serum_1=(0, 0, 0, 0, 0, 2))), "serum 1")
    assert high.reported.startswith("> ")
    nothing = of(run(table(serum_1=(4, 4, 4, 4, 4, 4))), "serum 1")
    assert nothing.value_low is None
    assert nothing.value_high is not None
    assert nothing.value is not None
    assert round(nothing.value, 2) == 0.03
    assert nothing.reported == f"< {number(nothing.value_high, 'IU/mL', UP)}" == "< 0.08"
    assert nothing.verdict == "not adequate"
    both = of(run(table(serum_1=(1, 2, 2, 2, 2, 3))), "serum 1")
    assert both.reported == "not bracketed"


def test_a_doubtful_well_widens_the_interval() -> None:
    """Classifier's doubt about one well of the serum, and of the reference."""
    wells = table().rename(columns={"positive": "label"})
    wells["label"] = wells["label"].map({"1": "glow", "0": "dark"})
    sure = wells["label"].map({"glow": 1.0, "dark": 0.0})
    wells["p_glow"], wells["p_dark"] = sure.astype(str), (1 - sure).astype(str)
    layout = FAVN
    plain = assay_plates(read_wells(wells, layout, "glow"), layout)
    found = of(plain, "serum 1")
    for well, specimen in (("E2", "serum 1"), ("A9", "reference serum")):
        unsure = wells.copy()
        unsure.loc[unsure["well"] == well, "p_glow"] = "0.55"
        other = of(assay_plates(read_wells(unsure, layout, "glow"), layout), "serum 1")
        mine = of(assay_plates(read_wells(unsure, layout, "glow"), layout), specimen)
        # About the reported value: wrong with probability 0.45, and then a quarter step off.
        assert mine.misreading == pytest.approx(math.log10(3) / 4 * math.sqrt(0.45))
        assert (other.value_high or 0) / (other.value_low or 1) > 1.02 * (found.value_high or 0) / (
            found.value_low or 1
        )


def test_many_doubtful_wells_are_drawn_with_a_seed() -> None:
    wells = table().rename(columns={"positive": "label"})
    wells["label"] = wells["label"].map({"1": "glow", "0": "dark"})
    wells["p_glow"] = wells["label"].map({"glow": "0.8", "dark": "0.2"})
    first, second = (assay_plates(read_wells(wells, FAVN, "glow"), FAVN) for _ in range(2))
    mine = of(first, "serum 1").misreading
    assert mine == of(second, "serum 1").misreading
    # 18 wells are infected and 6 not, each misread with 0.2: 2.4 protected wells more on average.
    exact = math.log10(3) / 4 * math.sqrt(24 * 0.8 * 0.2 + (0.2 * (18 - 6)) ** 2)
    assert mine == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cell_control": (1,)}, "cell control"),
        ({"naive_serum": (3,)}, "naive serum"),
        ({"back_titration": (4, 2, 0, 0)}, "back titration"),
        ({"back_titration": (4, 4, 4, 3)}, "back titration"),
        ({"reference_serum": (2, 4, 4, 4, 4, 4)}, "reference serum"),
    ],
)
def test_a_run_that_fails_its_controls_reports_no_titre(change: Any, said: str) -> None:
    result = run(table(**change))
    assert not result.valid
    assert any(said in reason for reason in result.reasons)
    for titre in result.titres:
        assert titre.reported == "invalid"
        assert titre.value is None
        assert titre.estimate is None


def test_limits_of_the_laboratory_are_not_defaults() -> None:
    layout = replace(
        FAVN,
        limits=Limits(cell_control=1, reference=(1.0, 1.2)),
        given=frozenset(["limits.cell_control", "limits.reference"]),
    )
    result = run(table(cell_control=(1,)), layout)
    checks = {c.name: c for c in result.checks}
    assert checks["cell control"].passed
    assert not checks["cell control"].default
    assert checks["back titration"].default
    assert not checks["reference serum"].passed


def test_the_control_chart_of_past_runs_judges_the_reference() -> None:
    steady = [1.43, 1.41, 1.45, 1.43, 1.42, 1.44, 1.43, 1.46, 1.40, 1.43]
    low = [v - 1 for v in steady]
    assert run(table(), history=steady).valid
    assert not run(table(), history=low).valid
    assert run(table(), history=low[:5]).valid, "too few runs make no chart"
    wide = [1.30 + 0.08 * (i % 2) for i in range(12)]
    warned = next(c for c in run(table(), history=wide).checks if c.name == "reference serum")
    assert warned.passed
    assert "two standard deviations" in warned.warning


def test_a_plate_turned_upside_down_is_refused_with_that_reason() -> None:
    wells = table()
    wells["well"] = [turned(w, 96) for w in wells["well"]]
    result = run(wells)
    assert not result.valid
    assert "turned by 180 degrees" in result.reasons[-1]
    assert "turned by 180 degrees" not in " ".join(run(table(cell_control=(4,))).reasons)


def test_toxic_missing_and_overridden_wells() -> None:
    wells = table()
    wells["note"] = ""
    wells.loc[wells["well"] == "E1", "note"] = "toxic"
    assert of(run(wells), "serum 1").reported == "toxic"
    wells = table()
    less = wells[wells["well"] != "E1"]
    found = of(run(less), "serum 1")
    assert "missing:1" in found.flags
    assert "unequal_wells" in found.flags
    wells = table().rename(columns={"positive": "label"})
    wells["truth"], wells["who"] = "", ""
    wells.loc[wells["well"] == "E1", ["truth", "who"]] = ["1", "M. Curie"]
    found = of(assay_plates(read_wells(wells, FAVN, "1"), FAVN), "serum 1")
    assert "overridden:1" in found.flags
    assert found.count.positives[0] == 1
    toxic = table()
    toxic["note"] = ["toxic" if w == "A1" else "" for w in toxic["well"]]
    assert not run(toxic).valid


def test_a_truth_that_nobody_signed_is_a_label_that_was_given() -> None:
    wells = table().rename(columns={"positive": "label"})
    wells["truth"] = "0"
    found = of(assay_plates(read_wells(wells, FAVN, "1"), FAVN), "serum 1")
    assert found.count.positives == (0, 2, 4, 4, 4, 4)
    assert not found.count.overridden


def test_a_missing_dilution_makes_unequal_steps() -> None:
    wells = table()
    third = {"E3", "F3", "G3", "H3"}
    found = of(run(wells[~wells["well"].isin(third)]), "serum 1")
    assert "unequal_steps" in found.flags
    assert "missing:4" in found.flags
    assert found.value is not None


def test_fields_of_a_well() -> None:
    """FAVN: any positive field; RFFIT: each field is a replicate."""
    several = replace(FAVN, fields=3)
    wells = pd.concat([table(), table(), table(serum_1=(4, 4, 4, 4, 4, 4))])
    counted = counts_of("p", read_wells(wells, several)["p"], several, False)
    serum = next(c for c in counted if c.name == "serum 1")
    assert serum.positives == (4, 4, 4, 4, 4, 4)
    assert serum.replicates == (4,) * 6
    each = replace(FAVN, fields=3, combine="count")
    counted = counts_of("p", read_wells(wells, each)["p"], each, False)
    serum = next(c for c in counted if c.name == "serum 1")
    assert serum.positives == (4, 8, 12, 12, 12, 12)
    assert serum.replicates == (12,) * 6
    fewer = counts_of("p", read_wells(pd.concat([table(), table()]), each)["p"], each, False)
    assert next(c for c in fewer if c.name == "serum 1").missing == 24


def test_rffit_by_two_hundredfold() -> None:
    """Serum 1:100, reference 1:200 at 2.0 IU/mL: 1.0 IU/mL."""
    layout = replace(read_layout("rffit"), rounding="exact")
    counts = [
        Count("s", "serum", "test", "serum", (-1.0, -2.0, -3.0), (0, 10, 20), (20,) * 3, (20,) * 3),
        Count(
            "s", "reference", "reference", "serum",
            tuple(x - math.log10(2) for x in (-1.0, -2.0, -3.0)), (0, 10, 20), (20,) * 3, (20,) * 3,
        ),
    ]  # fmt: skip
    result = assay(counts, layout)
    assert of(result, "serum").reported == "1.00"
    assert result.valid


def test_controls_on_a_plate_of_their_own() -> None:
    layout = read_layout("favn-run")
    controls = [s for s in layout.specimens if s.plate == "controls"]
    named: dict[str, tuple[int, ...]] = {
        "cell-control": (0,), "back-titration": (4, 4, 2, 0, 0, 0), "naive serum": (4,) * 6,
        "reference serum": (0, 0, 2, 4, 4, 4),
        **{f"serum {i}": (0, 0, 0, 4, 4, 4) for i in (1, 2, 3, 4)},
    }  # fmt: skip
    wells = rows(replace(layout, specimens=tuple(controls)), named, "controls")
    tests = tuple(s for s in layout.specimens if s.plate != "controls")
    for plate in ("a", "b"):
        wells += rows(replace(layout, specimens=tests), named, plate)
    result = run(pd.DataFrame(wells), layout)
    assert result.valid
    assert result.plates == ("controls", "a", "b")
    assert sum(t.count.role == "test" for t in result.titres) == 8
    assert {t.reported for t in result.titres if t.count.role == "test"} == {"0.87"}


def test_two_references_or_none_are_invalid() -> None:
    twice = [*rows(FAVN, GOOD, "p"), *rows(FAVN, GOOD, "q")]
    layout = replace(FAVN, specimens=tuple(replace(s, plate="[pq]") for s in FAVN.specimens))
    result = run(pd.DataFrame(twice), layout)
    assert not result.valid
    assert "two" in " ".join(result.reasons)
    no = replace(FAVN, specimens=tuple(s for s in FAVN.specimens if s.role != "reference"))
    missing = run(table(), no)
    assert "none" in " ".join(missing.reasons)


def counted(**changes: Any) -> pd.DataFrame:
    base = {
        "sample": ["ref"] * 3 + ["s"] * 3, "role": ["reference"] * 3 + ["test"] * 3,
        "log10_dilution": ["-1", "-2", "-3"] * 2, "positive": ["0", "2", "4"] * 2,
        "replicates": ["4"] * 6,
    }  # fmt: skip
    return pd.DataFrame(base | changes)


def test_dilutions_counted_already() -> None:
    counts = read_counts(counted(), FAVN)["1"]
    result = assay(counts, FAVN)
    assert result.valid
    assert of(result, "s").reported == "0.50"
    as_ratio = (
        counted().drop(columns="log10_dilution").assign(dilution=["1:10", "1/100", "1000"] * 2)
    )
    assert read_counts(as_ratio, FAVN)["1"][1].log10_dilutions == pytest.approx((-1, -2, -3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"positive": ["0", "5", "4"] * 2}, "more wells are positive than there are"),
        ({"positive": ["0", "-1", "4"] * 2}, "cannot be"),
        ({"positive": ["0", "1.5", "4"] * 2}, "cannot be"),
        ({"positive": ["0", "1,5", "4"] * 2}, "4.5 and not 4,5"),
        ({"role": ["reference"] * 3 + ["test", "test", "naive"]}, "one role"),
        ({"role": ["control"] * 6}, "is not known"),
        ({"log10_dilution": ["-1", "two", "-3"] * 2}, "no number"),
    ],
)
def test_counted_dilutions_that_cannot_be(change: Any, said: str) -> None:
    with pytest.raises((BadTable, LayoutError), match=said):
        read_counts(counted(**change), FAVN)


def test_wells_that_cannot_be_read() -> None:
    good = table()
    for wells, said in (
        (good.drop(columns="well"), "no column well"),
        (good.drop(columns="positive"), "no calls"),
        (good.assign(positive="maybe"), "neither 1 nor 0"),
        (good.assign(well="Q1"), "A1 to H12"),
        (pd.concat([good, good]), "there twice"),
        (good.rename(columns={"positive": "label"}), "Nobody said which call"),
    ):
        with pytest.raises((BadTable, LayoutError), match=said):
            read_wells(wells, FAVN)
    with pytest.raises(BadTable, match="Did you mean 'glow'"):
        read_wells(good.rename(columns={"positive": "label"}).assign(p_glow="1"), FAVN, "glw")


def test_a_plate_that_the_layout_does_not_know() -> None:
    alone = replace(FAVN, specimens=FAVN.specimens[:1])
    wells = table()
    lower = wells[wells["well"].str.match("[EFGH][1-6]$")]
    with pytest.raises(LayoutError, match="none of its 24 wells"):
        counts_of("p", read_wells(lower, alone)["p"], alone, False)


def test_polarity_is_said_in_words() -> None:
    assert sentence(FAVN, "glow") == "Wells called glow were counted as infected."
    assert "marked positive" in sentence(replace(FAVN, counts="protected"), "")


def test_protected_wells_counted_are_the_same_titre() -> None:
    other = table()
    other["positive"] = other["positive"].map({"0": "1", "1": "0"})
    result = run(other, replace(FAVN, counts="protected"))
    assert result.valid
    assert of(result, "serum 2").reported == of(run(table()), "serum 2").reported
