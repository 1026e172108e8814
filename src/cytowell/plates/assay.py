"""A run: from counts per specimen to what the laboratory reports, or why it may not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cytowell.plates.counting import Count, Plates, counts_of
from cytowell.plates.dilutions import SAME_STEP
from cytowell.plates.endpoint import (
    Curves,
    Point,
    bounded,
    curves_of,
    end_point,
    holding,
    widened,
)
from cytowell.plates.layout import Layout
from cytowell.plates.slope import Limits
from cytowell.plates.titre import INFECTIOUS, Estimate, Z
from cytowell.plates.units import DOWN, ROUNDINGS, UP, number
from cytowell.plates.validity import Check, checks_of

INVALID = "invalid"
TOXIC = "toxic"


@dataclass(frozen=True)
class Titre:
    """A specimen's result.

    Attributes
    ----------
    count
        What it was computed from.
    estimate
        End point by the layout's rule, None where `error` says why there is none.
    low, high
        95 % interval of log10 D50; misreading included. None on a side where the dilutions do not
        bracket the end point, and on both where there is no interval.
    interval
        What it is of: `shared-slope`, or the rule's `own`; "" where there is none.
    value, value_low, value_high
        IU/mL where there is a reference serum with units, else per mL of a virus, else the dilution
        factor at the end point; `unit` names it.
        The value lies in its limits.
    bound
        The number behind ``<`` or ``>``: the limit on the side that is not open, else the outermost
        dilution's. None where the end point is bracketed, or not on either side.
    open_ends
        Whether the end point may lie below, and above, the dilutions.
    reported
        What goes into the report: the value; ``< bound`` or ``> bound``, rounded away from what was
        measured; `not bracketed`, `toxic`, `invalid`, `none`.
    verdict
        `adequate`, `not adequate`, `indeterminate`; "" where there is no threshold for it.
    misread_low, misread_high
        The value if one well, the one that matters most, had been misread either way.
    misreading
        Root of the expected squared deviation of log10 D50 from what is reported, by the
        classifier's own doubt.
    flags
        What to know before it is used.
    contradicting
        In words, the wells that keep the counts from falling as the sample is diluted.
    """

    count: Count
    estimate: Estimate | None
    unit: str
    low: float | None = None
    high: float | None = None
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    reported: str = ""
    verdict: str = ""
    misread_low: float | None = None
    misread_high: float | None = None
    misreading: float = 0.0
    flags: tuple[str, ...] = ()
    error: str = ""
    interval: str = ""
    bound: float | None = None
    open_ends: tuple[bool, bool] = (False, False)
    contradicting: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """The results of one run, and whether they may be used.

    Attributes
    ----------
    plates
        Names of its plates.
    valid, checks, reasons
        A run is valid if no check failed; the reasons are those of the checks that did.
    titres
        Of every specimen that is diluted.
    """

    plates: tuple[str, ...]
    valid: bool
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    titres: tuple[Titre, ...]


def assay(
    counts: Sequence[Count], layout: Layout, history: Sequence[float] = (), refused: str = ""
) -> RunResult:
    """Compute a run.

    Parameters
    ----------
    counts
        Of all specimens of its plates.
    history
        log10 D50 of the reference serum in past valid runs: its control chart.
    refused
        Why the run is refused whatever its controls say; "" if it is not.
    """
    points = [end_point(c, layout) for c in counts if len(c.log10_dilutions) > 1]
    curves = curves_of(points) if layout.interval == "shared-slope" else {}
    points = [bounded(p, i, curves) for i, p in enumerate(points)]
    references = [i for i, p in enumerate(points) if p.count.role == "reference"]
    estimates = [(p.count, p.estimate) for p in points]
    checks = checks_of(counts, estimates, layout, history)
    reasons = [c.reason for c in checks if not c.passed] + ([refused] if refused else [])
    titres = []
    for i, point in enumerate(points):
        reference = references[0] if references else None
        titre = _titre(point, layout)
        if point.count.titrates == "serum" and layout.reference_iu and reference is not None:
            titre = _in_units(titre, points, (i, reference), curves, layout)
        titres.append(_reported(titre, layout))
    if reasons:
        titres = [_withheld(t) for t in titres]
    plates = tuple(dict.fromkeys(c.plate for c in counts))
    return RunResult(plates, not reasons, tuple(checks), tuple(reasons), tuple(titres))


def assay_plates(plates: Plates, layout: Layout, history: Sequence[float] = ()) -> RunResult:
    """Compute a run from its plates' wells.

    A plate whose controls fail, and would pass if it were turned by 180 degrees, is refused with
    that reason: somebody laid it the wrong way round, or numbered it so.
    """
    counts = {plate: counts_of(plate, wells, layout, False) for plate, wells in plates.items()}
    every = [c for part in counts.values() for c in part]
    result = assay(every, layout, history)
    failed = {c.plate for c in result.checks if not c.passed}
    for plate in plates:
        if plate not in failed:
            continue
        other = counts_of(plate, plates[plate], layout, True)
        swapped = [c for part in (counts | {plate: other}).values() for c in part]
        again = assay(swapped, layout, history)
        mine = [c for c in again.checks if c.plate == plate]
        if mine and all(c.passed for c in mine):
            said = f"the controls of plate {plate} fit only when it is turned by 180 degrees"
            return assay(every, layout, history, said)
    return result


def _titre(point: Point, layout: Layout) -> Titre:
    """Give the result in its own unit: per mL of a virus, else the dilution factor."""
    if point.estimate is None:
        return Titre(point.count, None, "", error=point.error)
    estimate = point.estimate
    per_ml = point.count.titrates == "virus" and layout.volume is not None
    share = layout.volume if per_ml and layout.volume else 1.0
    infectious = INFECTIOUS if estimate.unit == INFECTIOUS else "TCID50"
    unit = "dilution factor"
    if per_ml or estimate.unit == INFECTIOUS:
        unit = f"{infectious} per {'mL' if per_ml else 'well'}"

    def linear(log10: float | None) -> float | None:
        return None if log10 is None else 10**log10 / share

    flips = point.flips or (estimate.log10_d50, estimate.log10_d50)
    return Titre(
        point.count,
        estimate,
        unit,
        *point.interval,
        linear(estimate.log10_d50),
        linear(point.interval[0]),
        linear(point.interval[1]),
        misread_low=linear(flips[0]),
        misread_high=linear(flips[1]),
        misreading=point.misreading.about_reported,
        flags=_flags(point),
        interval=point.method if point.interval != (None, None) else "",
        bound=linear(point.bound),
        open_ends=estimate.open_ends,
        contradicting=_contradicting(point, layout.counts),
    )


def _flags(point: Point) -> tuple[str, ...]:
    count = point.count
    assert point.estimate is not None
    bare = point.interval == (None, None)
    said = [f for f in point.estimate.flags if f != "no_partial_response" or bare]
    if point.stretched:
        said.append("outside_curve")
    if point.lost or point.misreading.without > 0:
        said.append("misread_no_end_point")
    for name, found in (
        ("missing", count.missing),
        ("undecided", count.undecided),
        ("overridden", count.overridden),
        ("by_several_fields", count.by_several),
    ):
        if found:
            said.append(f"{name}:{found}")
    return tuple(said)


def _contradicting(point: Point, counts: str) -> tuple[str, ...]:
    """Say which wells keep the counts from falling, by name where the names are known."""
    series, count = point.series, point.count
    if series is None:
        return ()
    said = []
    for (i, off), words in zip(series.contradicting, series.contradicting_words(), strict=True):
        # A positive well is affected where `counts` names the sample's own effect.
        odd = (off > 0) == (counts == series.effect)
        dose = series.dilutions[i]
        wells = [
            name
            for j, name, positive in count.wells
            if abs(count.log10_dilutions[j] + dose) < SAME_STEP and positive == odd
        ]
        said.append(f"{words} ({', '.join(wells)})" if wells else words)
    return tuple(said)


def _in_units(
    titre: Titre,
    points: Sequence[Point],
    pair: tuple[int, int],
    curves: Curves,
    layout: Layout,
) -> Titre:
    """Give the result in IU/mL: the difference to the reference serum, its error included."""
    i, j = pair
    reference, mine = points[j].estimate, points[i].estimate
    if reference is None or mine is None or points[i].flips is None:
        return titre
    iu = layout.reference_iu or 1.0
    round_off = ROUNDINGS[layout.rounding]
    exact = mine.log10_d50 - reference.log10_d50
    apart = round_off(mine.log10_d50, reference.log10_d50)
    limits, stretched = _difference(points, pair, curves)
    limits, _ = holding(limits, apart)

    def units(log10: float | None) -> float | None:
        return None if log10 is None else iu * 10**log10

    below, above = mine.open_ends
    bound = limits[1] if below else limits[0]
    outermost = points[i].bound
    if bound is None and below != above and outermost is not None:
        bound = outermost - reference.log10_d50
        bound = max(bound, exact) if below else min(bound, exact)
    flips = points[i].flips
    assert flips is not None
    flags = [f for f in titre.flags if f != "outside_curve"]
    flags += ["outside_curve"] if stretched else []
    flags += [f"reference_{f}" for f in reference.flags if i != j and f != "no_partial_response"]
    return replace(
        titre,
        unit="IU/mL",
        value=units(apart),
        value_low=units(limits[0]),
        value_high=units(limits[1]),
        misread_low=units(round_off(flips[0], reference.log10_d50)),
        misread_high=units(round_off(flips[1], reference.log10_d50)),
        flags=tuple(flags),
        bound=None if below == above else units(bound),
    )


def _difference(
    points: Sequence[Point], pair: tuple[int, int], curves: Curves
) -> tuple[Limits, bool]:
    """Give limits of the difference of two end points, and whether they were moved to hold it."""
    i, j = pair
    mine, reference = points[i].estimate, points[j].estimate
    assert mine is not None
    assert reference is not None
    if i == j:
        return (None, None), False  # by definition
    value = mine.log10_d50 - reference.log10_d50
    (below_i, above_i), (below_j, above_j) = mine.open_ends, reference.open_ends
    ends = (below_i or above_j, above_i or below_j)
    misreading = points[i].misreading.less(points[j].misreading)
    if "serum" in curves:
        parallel, members = curves["serum"]
        density = parallel.difference(members.index(i), members.index(j))
        limits, middle = density.interval(), density.quantile(0.5)
    elif mine.se is not None and reference.se is not None:
        reach = Z * math.hypot(mine.se, reference.se)
        limits, middle = (value - reach, value + reach), value
    else:
        return (None, None), False
    return holding(widened(limits, middle, misreading, value, ends), value)


def _reported(titre: Titre, layout: Layout) -> Titre:
    """Give what is reported: the value, censored where the dilutions do not bracket it."""
    count = titre.count
    if count.toxic and count.role == "test":
        return replace(titre, reported=TOXIC, verdict="", value=None, value_low=None,
                       value_high=None, misread_low=None, misread_high=None, low=None,
                       high=None, interval="", bound=None)  # fmt: skip
    if titre.estimate is None or titre.value is None:
        return replace(titre, reported="none")
    below, above = titre.open_ends
    shown = number(titre.value, titre.unit)
    if below and above:
        shown = "not bracketed"
    elif titre.bound is not None:
        sign, rounding = ("<", UP) if below else (">", DOWN)
        shown = f"{sign} {number(titre.bound, titre.unit, rounding, layout.threshold)}"
    verdict = ""
    if titre.unit == "IU/mL" and count.role == "test":
        verdict = "indeterminate"
        if titre.value_low is not None and titre.value_low >= layout.threshold:
            verdict = "adequate"
        elif titre.value_high is not None and titre.value_high < layout.threshold:
            verdict = "not adequate"
    return replace(titre, reported=shown, verdict=verdict)


def _withheld(titre: Titre) -> Titre:
    """Give the result of a run that may not be used: what was counted, and no titre."""
    return Titre(titre.count, None, titre.unit, reported=INVALID, flags=titre.flags,
                 error=titre.error)  # fmt: skip
