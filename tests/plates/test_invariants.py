"""What every titre keeps, whatever the rule, interval, unit and layout."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytowell import registry
from cytowell.errors import TitreError
from cytowell.plates import rules
from cytowell.plates.assay import RunResult, Titre, assay
from cytowell.plates.counting import Count, Well, counts_of, read_counts
from cytowell.plates.dilutions import Series
from cytowell.plates.endpoint import end_point
from cytowell.plates.layout import INTERVALS, Layout
from cytowell.plates.layout_files import read_layout
from cytowell.plates.titre import single_hit
from cytowell.plates.units import DOWN, ROUNDINGS, UP, number, span

RULES = sorted(registry.names("titre-rules"))
FAVN, TCID50, RFFIT = (read_layout(name) for name in ("favn", "tcid50", "rffit"))
FAVN_STEP = math.log10(3)


def count(name: str, positives: tuple[int, ...], wells: int = 4, **more: Any) -> Count:
    """Give a specimen's counts; a serum of FAVN unless it is said otherwise."""
    step = more.pop("step", FAVN_STEP)
    doses = tuple(-step * (i + 1) for i in range(len(positives)))
    full = (wells,) * len(positives)
    role, titrates = more.pop("role", "test"), more.pop("titrates", "serum")
    return Count("p", name, role, titrates, doses, positives, full, full, **more)


def virus(name: str, positives: tuple[int, ...], wells: int = 8) -> Count:
    return count(name, positives, wells, step=1.0, titrates="virus")


REFERENCE = count("ref", (0, 0, 2, 4, 4, 4), role="reference")


def named(result: RunResult) -> dict[str, Titre]:
    return {t.count.name: t for t in result.titres}


def printed(text: str) -> list[float]:
    return [float(v) for v in re.findall(r"[0-9.]+(?:e[+-]?[0-9]+)?", text)]


def keeps_its_promises(titre: Titre, layout: Layout) -> None:
    """The value lies in its interval, and what is printed agrees with it."""
    if titre.value is None:
        assert titre.error or titre.reported in ("toxic", "invalid")
        assert titre.reported not in ("", "nan")
        return
    low, high, value = titre.value_low, titre.value_high, titre.value
    assert math.isfinite(value)
    assert low is None or low <= value * (1 + 1e-9)
    assert high is None or high >= value * (1 - 1e-9)
    assert titre.misread_low is not None
    assert titre.misread_high is not None
    below, above = titre.open_ends
    assert low is None or not below
    assert high is None or not above
    limits = span(low, high, titre.unit, layout.threshold)
    if below and above:
        assert (titre.reported, limits) == ("not bracketed", "")
    elif below or above:
        sign, bound = titre.reported.split(" ")
        assert sign == ("<" if below else ">")
        limit = high if below else low
        if limit is not None:
            assert (
                float(bound) >= limit * (1 - 1e-9) if below else float(bound) <= limit * (1 + 1e-9)
            )
            assert printed(limits) == [float(bound)]
    else:
        (shown,) = printed(titre.reported)
        assert titre.reported == number(value, titre.unit)
        if low is not None and high is not None:
            ends = printed(limits)
            assert ends[0] <= shown <= ends[1]
            assert ends[0] <= low * (1 + 1e-9)
            assert ends[1] >= high * (1 - 1e-9)
    if titre.verdict == "adequate":
        assert low is not None
        assert low >= layout.threshold
        assert printed(limits)[0] >= layout.threshold
    if titre.verdict == "not adequate":
        assert high is not None
        assert high < layout.threshold
        assert printed(limits)[-1] < layout.threshold


def counts(wells: int, dilutions: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, wells), min_size=dilutions, max_size=dilutions).map(tuple)


@settings(deadline=None, max_examples=60)
@given(
    rule=st.sampled_from(RULES),
    interval=st.sampled_from(INTERVALS),
    rounding=st.sampled_from(sorted(ROUNDINGS)),
    sera=st.lists(counts(4, 5), min_size=1, max_size=2),
    reference=st.sampled_from([(0, 0, 2, 4, 4), (0, 1, 3, 4, 4), (1, 2, 3, 4, 4)]),
)
def test_the_value_of_a_serum_lies_in_its_interval_and_print_agrees(
    rule: str, interval: str, rounding: str, sera: list[tuple[int, ...]], reference: Any
) -> None:
    layout = replace(FAVN, rule=rule, interval=interval, rounding=rounding)
    run = [count("ref", reference, role="reference")]
    run += [count(f"serum {i}", k) for i, k in enumerate(sera)]
    for titre in _unwithheld(run, layout):
        keeps_its_promises(titre, layout)


@settings(deadline=None, max_examples=60)
@given(
    rule=st.sampled_from(RULES),
    interval=st.sampled_from(INTERVALS),
    volume=st.sampled_from([None, 0.1, 0.03]),
    viruses=st.lists(counts(6, 4), min_size=1, max_size=3),
)
def test_the_value_of_a_virus_lies_in_its_interval_and_print_agrees(
    rule: str, interval: str, volume: float | None, viruses: list[tuple[int, ...]]
) -> None:
    layout = replace(TCID50, rule=rule, interval=interval, volume=volume)
    run = [virus(f"v{i}", k, 6) for i, k in enumerate(viruses)]
    for titre in _unwithheld(run, layout):
        keeps_its_promises(titre, layout)


@settings(deadline=None, max_examples=10)
@given(
    rule=st.sampled_from([r for r in RULES if r != "single-hit"]),
    interval=st.sampled_from(INTERVALS),
    serum=counts(20, 4),
)
def test_the_value_of_chambers_lies_in_its_interval_and_print_agrees(
    rule: str, interval: str, serum: tuple[int, ...]
) -> None:
    layout = replace(RFFIT, rule=rule, interval=interval)
    run = [chambers("ref", (0, 6, 18, 20), "reference"), chambers("s", serum)]
    for titre in _unwithheld(run, layout):
        keeps_its_promises(titre, layout)


def chambers(name: str, positives: tuple[int, ...], role: str = "test") -> Count:
    each = tuple((i, k, 20) for i, k in enumerate(positives))
    return count(name, positives, 20, step=math.log10(5), role=role, chambers=each)


def _unwithheld(run: list[Count], layout: Layout) -> list[Titre]:
    """Give the titres of a run whether or not its reference serum would make it invalid."""
    result = assay(run, layout)
    diluted = [c for c in run if len(c.log10_dilutions) > 1]
    assert [t.count for t in result.titres] == diluted, "each specimen has its own line"
    return [t for t in result.titres if t.reported != "invalid"]


@settings(deadline=None, max_examples=15)
@given(
    order=st.permutations(range(4)),
    rule=st.sampled_from(["spearman-karber", "probit", "bayesian-logit"]),
    interval=st.sampled_from(INTERVALS),
)
def test_no_result_depends_on_the_order_of_specimens(
    order: list[int], rule: str, interval: str
) -> None:
    layout = replace(FAVN, rule=rule, interval=interval)
    run = [REFERENCE, count("a", (0, 0, 1, 3, 4, 4)), count("b", (0, 0, 0, 0, 4, 3)),
           count("c", (4, 4, 4, 4, 4, 4))]  # fmt: skip
    assert named(assay([run[i] for i in order], layout)) == named(assay(run, layout))


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("rule", RULES)
def test_no_specimen_takes_anothers_result(rule: str, interval: str) -> None:
    """All, none, one that one misread well spoils, and counts that run the other way."""
    layout = replace(TCID50, rule=rule, interval=interval)
    good = virus("good", (8, 8, 6, 3, 1, 0))
    bad = [virus("all", (8,) * 6), virus("none", (0,) * 6), virus("edge", (8, 8, 7, 2, 0, 0)),
           virus("reversed", (0, 0, 1, 6, 8, 8))]  # fmt: skip
    alone, among = named(assay([good], layout)), named(assay([*bad, good], layout))
    assert set(among) == {"good", "all", "none", "edge", "reversed"}
    assert among["good"].value == alone["good"].value
    assert "more diluted" in among["reversed"].error
    for titre in among.values():
        keeps_its_promises(titre, layout)
        assert (titre.value is None) == bool(titre.error)
        if titre.error:
            assert titre.reported == "none"


def test_a_misread_well_that_would_leave_no_end_point_is_flagged() -> None:
    layout = replace(TCID50, rule="probit")
    titre = named(assay([virus("v", (8, 8, 7, 2, 0, 0))], layout))["v"]
    assert titre.value == pytest.approx(4.2e4, rel=0.01)
    assert "misread_no_end_point" in titre.flags
    assert titre.misread_low is not None
    assert titre.misread_high is not None
    assert titre.value is not None
    assert titre.misread_low < titre.value < titre.misread_high
    doubtful = virus("v", (8, 8, 7, 2, 0, 0))
    doubtful = replace(doubtful, doubts=((2, False, 0.3), (3, True, 0.2)))
    assert named(assay([doubtful], layout))["v"].misreading > 0


def test_a_laboratorys_own_rule_that_breaks_is_that_specimens_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(series: Series) -> Any:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr("cytowell.registry.load", lambda kind, name: broken)
    with pytest.raises(TitreError, match="ours cannot be computed of 4 of 4 at 1:10"):
        rules.compute("ours", Series(np.array([1.0, 2.0]), np.array([4, 0]), np.array([4, 4])))


def test_single_hit_has_the_interval_of_infectious_units() -> None:
    """Infected 32, 32, 25, 2, 0, 0, 0 of 32: 1.33e4 lies within 8.72e3 to 1.96e4."""
    layout = replace(TCID50, rule="single-hit")
    assert layout.interval == "shared-slope"
    found = named(assay([virus("v", (32, 32, 25, 2, 0, 0, 0), 32)], layout))["v"]
    assert found.reported == "1.33e+04"
    assert (found.value_low, found.value_high) == pytest.approx((8.72e3, 1.96e4), rel=2e-3)
    assert found.interval == "own"
    assert found.unit == "infectious units per mL"


def test_single_hit_covers_the_truth_and_holds_its_value_in_400_simulations() -> None:
    layout = replace(TCID50, rule="single-hit")
    rng = np.random.default_rng(11)
    truth = rng.uniform(2, 4.5, 400)
    share = -np.expm1(-(10.0 ** (truth[:, None] - np.arange(1, 7))))
    drawn = rng.binomial(4, share)
    held, covered = [], []
    for i in range(0, 400, 8):
        run = [virus(str(j), tuple(drawn[j].tolist()), 4) for j in range(i, i + 8)]
        for titre in assay(run, layout).titres:
            assert titre.value is not None
            assert titre.low is not None
            low, high = titre.value_low or 0.0, titre.value_high or math.inf
            held.append(low <= titre.value <= high)
            covered.append(low <= 10 ** truth[int(titre.count.name)] / 0.1 <= high)
    assert all(held)
    assert len(held) == 400
    assert 0.92 <= np.mean(covered) <= 0.98


def test_the_challenge_dose_is_in_tcid50_whatever_the_rule_counts() -> None:
    """40 infectious units a well are 40 / ln 2 = 58 TCID50."""
    back = count("back", (8, 8, 2, 0), 8, step=1.0, role="back-titration", titrates="virus")
    series = Series(np.arange(1.0, 5.0), np.array([8, 8, 2, 0]), np.full(4, 8))
    units = 10 ** single_hit(series).log10_d50
    (check,) = assay([back], replace(TCID50, rule="single-hit")).checks
    assert f"{units / math.log(2):.3g} TCID50 per well" in check.found
    assert check.passed == (30 <= units / math.log(2) <= 300)


def test_one_stray_well_does_not_censor_what_the_others_bracket() -> None:
    """Infected 0, 0, 0, 0, 4, 3 was "> 1.97" beside an interval of 0.78 to 5.13."""
    run = [count("ref", (0, 0, 0, 2, 4, 4), role="reference"), count("s", (0, 0, 0, 0, 4, 3))]
    found = named(assay(run, FAVN))["s"]
    assert found.open_ends == (False, False)
    assert float(found.reported) == pytest.approx(found.value, abs=0.005)
    assert found.contradicting == ("1 of 4 protected at 1:729",)
    assert {"not_monotone", "not_bracketed"} <= set(found.flags)


def test_a_negative_serum_with_one_stray_well_is_negative() -> None:
    """Infected 4, 4, 4, 4, 4, 3: no rising trend, a bound, and the well by its name."""
    wells = {f"{r}{c}": Well((1.0,), 1) for r in "EFGH" for c in range(1, 7)}
    wells["H6"] = Well((0.0,), 0)
    serum = next(c for c in counts_of("p", wells, FAVN, False) if c.name == "serum 1")
    assert serum.positives == (4, 4, 4, 4, 4, 3)
    titre = named(assay([REFERENCE, serum], FAVN))["serum 1"]
    assert titre.reported.startswith("< ")
    assert titre.verdict == "not adequate"
    assert titre.contradicting == ("1 of 4 protected at 1:729 (H6)",)
    assert titre.error == ""


def test_counts_that_rise_are_refused_with_the_counts_and_the_test() -> None:
    point = end_point(count("s", (4, 4, 2, 1, 0, 0)), FAVN)
    assert point.estimate is None
    for words in ("More wells are protected where the serum is more diluted", "0 of 4 at 1:3",
                  "4 of 4 at 1:729", "Cochran-Armitage", "--titrates virus"):  # fmt: skip
        assert words in point.error


def test_a_stray_well_of_one_serum_leaves_the_others_intervals() -> None:
    clean = [REFERENCE, count("a", (0, 0, 1, 4, 4, 4))]
    without, beside = (
        named(assay([*clean, count("n", k)], FAVN))["a"]
        for k in ((4, 4, 4, 4, 4, 4), (4, 4, 4, 4, 4, 3))
    )
    assert without.low is not None
    assert without.high is not None
    assert beside.low is not None
    assert beside.high is not None
    assert (beside.high - beside.low) / (without.high - without.low) < 1.15


def test_a_bound_is_the_limit_and_rounded_away_from_what_was_measured() -> None:
    assert number(0.0244, "IU/mL", UP) == "0.03"
    assert number(0.0244, "IU/mL", DOWN) == "0.02"
    assert number(0.1, "IU/mL", UP) == number(0.1, "IU/mL", DOWN) == "0.10"
    assert number(1.23456e5, "TCID50 per mL", UP) == "1.24e+05"
    assert number(9.999e3, "TCID50 per mL", UP) == "1.00e+04"
    assert number(999.6, "dilution factor", DOWN) == "999"
    assert span(0.0244, 0.0251, "IU/mL") == "0.02 to 0.03"
    assert span(None, 0.0244, "IU/mL") == "0.03 or less"
    assert span(0.09, 0.4936, "IU/mL", threshold=0.5) == "0.09 to 0.494"
    assert span(0.3335, 0.494, "IU/mL", threshold=0.333) == "0.333 to 0.50"


@given(st.floats(1e-6, 1e12), st.sampled_from(["IU/mL", "TCID50 per mL", "dilution factor"]))
def test_rounding_down_and_up_enclose_a_number(value: float, unit: str) -> None:
    low, middle, high = (float(number(value, unit, r)) for r in (DOWN, "ROUND_HALF_EVEN", UP))
    assert low <= middle <= high
    assert low <= value * (1 + 1e-9)
    assert high >= value * (1 - 1e-9)


def test_a_bound_does_not_depend_on_where_a_grid_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do the limits of a bracketed end point: the prior on it has no box."""
    run = [REFERENCE, count("all", (0,) * 6), count("none", (4,) * 6), count("one", (3, *(4,) * 5)),
           count("last", (0, 0, 0, 0, 0, 4)), count("usual", (0, 0, 1, 3, 4, 4))]  # fmt: skip

    def limits(beyond: float) -> dict[str, tuple[float | None, float | None]]:
        monkeypatch.setattr("cytowell.plates.slope.LEAST_BEYOND", beyond)
        from cytowell.plates import slope

        slope._curves.cache_clear()
        slope._posterior.cache_clear()
        return {t.count.name: (t.low, t.high) for t in assay(run, FAVN).titres}

    near, far = limits(1.5), limits(4.0)
    monkeypatch.undo()
    assert near["all"][1] is None
    assert near["none"][0] is None
    for name, pair in near.items():
        for a, b in zip(pair, far[name], strict=True):
            assert (a is None) == (b is None)
            assert a is None or a == pytest.approx(b, abs=0.02), name


def test_fields_called_together_make_a_well_positive() -> None:
    """Four fields of 0.4 combined by `any`: 1 - 0.6^4 = 0.87."""
    well = Well((0.4,) * 4, 0)
    assert well.chance == pytest.approx(1 - 0.6**4)
    assert well.positive
    assert well.by_several
    layout = replace(FAVN, fields=4)
    wells = {f"{r}{c}": Well((0.0,) * 4, 0) for r in "EFGH" for c in range(1, 7)}
    wells["E4"] = well
    serum = next(c for c in counts_of("p", wells, layout, False) if c.name == "serum 1")
    assert serum.positives == (0, 0, 0, 1, 0, 0)
    ((place, called, wrong),) = serum.doubts
    assert (place, called) == (3, True)
    assert wrong == pytest.approx(0.6**4)
    titre = named(assay([REFERENCE, serum], layout))["serum 1"]
    assert "by_several_fields:1" in titre.flags


def test_the_doubt_is_about_the_reported_value() -> None:
    """A well misread with 0.9 lies a quarter step off with 0.9, not with 0.9 of 0.1."""
    doubtful = replace(count("s", (0, 0, 2, 4, 4, 4)), doubts=((2, True, 0.9),))
    point = end_point(doubtful, FAVN)
    quarter = FAVN_STEP / 4
    assert point.misreading.about_reported == pytest.approx(quarter * math.sqrt(0.9))
    assert abs(point.misreading.bias) == pytest.approx(quarter * 0.9)
    assert point.misreading.deviation == pytest.approx(quarter * math.sqrt(0.09))
    assert point.misreading.less(point.misreading) == pytest.approx(quarter * math.sqrt(2 * 0.09))


def test_fields_of_a_chamber_are_no_replicates() -> None:
    """The same counts in chambers are less sure than in wells that stand for themselves."""
    k = (0, 4, 16, 20)
    for interval in INTERVALS:
        layout = replace(RFFIT, interval=interval, reference_iu=None)
        alone = named(assay([count("s", k, 20, step=math.log10(5))], layout))["s"]
        together = named(assay([chambers("s", k)], layout))["s"]
        assert together.value == alone.value
        assert together.low is not None
        assert together.high is not None
        assert alone.low is not None
        assert alone.high is not None
        assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_counted_dilutions_of_rffit_are_chambers() -> None:
    import pandas as pd

    rows = pd.DataFrame(
        {"sample": ["s"] * 4, "role": ["test"] * 4, "dilution": ["5", "25", "125", "625"],
         "positive": ["0", "4", "16", "20"], "replicates": ["20"] * 4}
    )  # fmt: skip
    (serum,) = read_counts(rows, RFFIT)["1"]
    assert serum.chambers == ((0, 0, 20), (1, 4, 20), (2, 16, 20), (3, 20, 20))
    (serum,) = read_counts(rows, FAVN)["1"]
    assert serum.chambers == ()
