"""A run: from counts per specimen to what the laboratory reports, or why it may not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cytowell.plates.counting import Count, Plates, counts_of
from cytowell.plates.endpoint import (
    Curves,
    Point,
    bounded,
    curves_of,
    end_point,
    series_of,
    widened,
)
from cytowell.plates.layout import Layout
from cytowell.plates.titre import Estimate, Z
from cytowell.plates.units import ROUNDINGS
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
        95 % interval of log10 D50, by the layout's `interval`; misreading included.
    value, value_low, value_high
        IU/mL where there is a reference serum with units, else per mL of a virus, else the dilution
        factor at the end point; `unit` names it.
    reported
        What goes into the report: the value, ``< x`` or ``> x`` where the dilutions do not bracket
        it, `toxic`, `invalid`.
    verdict
        `adequate`, `not adequate`, `indeterminate`; "" where there is no threshold for it.
    misread_low, misread_high
        The value if one well, the one that matters most, had been misread either way.
    misreading
        Standard deviation of log10 D50 from the classifier's own doubt.
    flags
        What to know before it is used.
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
    infectious = "infectious units" if layout.rule == "single-hit" else "TCID50"
    unit = f"{infectious} per mL" if per_ml else "dilution factor"
    low, high = point.interval if point.interval else (None, None)
    flips = point.flips or (estimate.log10_d50, estimate.log10_d50)
    return Titre(
        point.count,
        estimate,
        unit,
        low,
        high,
        10**estimate.log10_d50 / share,
        None if low is None else 10**low / share,
        None if high is None else 10**high / share,
        misread_low=10 ** flips[0] / share,
        misread_high=10 ** flips[1] / share,
        misreading=point.misreading,
        flags=_flags(point),
    )


def _flags(point: Point) -> tuple[str, ...]:
    count = point.count
    assert point.estimate is not None
    said = [f for f in point.estimate.flags if f != "no_partial_response" or point.interval is None]
    for name, number in (
        ("missing", count.missing),
        ("undecided", count.undecided),
        ("overridden", count.overridden),
    ):
        if number:
            said.append(f"{name}:{number}")
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
    reference = points[j].estimate
    mine = points[i].estimate
    if reference is None or mine is None or points[j].flips is None or points[i].flips is None:
        return titre
    iu = layout.reference_iu or 1.0
    round_off = ROUNDINGS[layout.rounding]
    value = iu * 10 ** round_off(mine.log10_d50, reference.log10_d50)
    bounds: tuple[float, float] | None = None
    misreading = math.hypot(points[i].misreading, points[j].misreading)
    if i == j:
        bounds = None  # by definition
    elif "serum" in curves:
        parallel, members = curves["serum"]
        density = parallel.difference(members.index(i), members.index(j))
        bounds = widened(density.interval(), density.quantile(0.5), misreading)
    elif mine.se is not None and reference.se is not None:
        middle = mine.log10_d50 - reference.log10_d50
        reach = Z * math.hypot(mine.se, reference.se)
        bounds = widened((middle - reach, middle + reach), middle, misreading)
    flips = points[i].flips
    assert flips is not None
    return replace(
        titre,
        unit="IU/mL",
        value=value,
        value_low=None if bounds is None else iu * 10 ** bounds[0],
        value_high=None if bounds is None else iu * 10 ** bounds[1],
        misread_low=iu * 10 ** round_off(flips[0], reference.log10_d50),
        misread_high=iu * 10 ** round_off(flips[1], reference.log10_d50),
        flags=(
            *titre.flags,
            *(f"reference_{f}" for f in reference.flags if i != j and f != "no_partial_response"),
        ),
    )


def _reported(titre: Titre, layout: Layout) -> Titre:
    """Give what is reported: the value, censored where the dilutions do not bracket it."""
    count = titre.count
    if count.toxic and count.role == "test":
        return replace(titre, reported=TOXIC, verdict="", value=None, value_low=None,
                       value_high=None, misread_low=None, misread_high=None)  # fmt: skip
    if titre.estimate is None or titre.value is None:
        return replace(titre, reported="none")
    shown = number(titre.value, titre.unit)
    low_open, high_open = open_ends(count, layout.counts)
    if low_open and high_open:
        shown = "not bracketed"
    elif low_open or high_open:
        shown = f"{'<' if low_open else '>'} {shown}"
    verdict = ""
    if titre.unit == "IU/mL" and count.role == "test":
        verdict = "indeterminate"
        if titre.value_low is not None and titre.value_low >= layout.threshold:
            verdict = "adequate"
        elif titre.value_high is not None and titre.value_high < layout.threshold:
            verdict = "not adequate"
    return replace(titre, reported=shown, verdict=verdict)


def open_ends(count: Count, counts: str) -> tuple[bool, bool]:
    """Tell whether the end point may lie below, and above, what the dilutions bracket.

    Below, where not all wells of the least diluted are affected: the rule assumed that one step
    less diluted all would be, and its number is the most that it can be.
    """
    series = series_of(count, counts)
    return bool(series.shares[0] < 1), bool(series.shares[-1] > 0)


def number(value: float, unit: str) -> str:
    """Write a value as laboratories do: IU/mL with two decimals, others with three digits."""
    if unit == "IU/mL":
        return f"{value:.2f}"
    return f"{value:.3g}" if value < 1e4 else f"{value:.2e}"


def _withheld(titre: Titre) -> Titre:
    """Give the result of a run that may not be used: what was counted, and no titre."""
    return Titre(titre.count, None, titre.unit, reported=INVALID, flags=titre.flags,
                 error=titre.error)  # fmt: skip
