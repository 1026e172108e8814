"""Whether a run may be used: its controls against the laboratory's limits, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytowell.plates.counting import Count
from cytowell.plates.layout import Layout
from cytowell.plates.titre import Estimate

CHARTED = 10
"""Past results of the reference serum below which they make no control chart."""

WIDTH = 3.0
"""Standard deviations from the mean that a control chart allows; two are a warning."""


@dataclass(frozen=True)
class Check:
    """One rule of validity and what came of it.

    Attributes
    ----------
    name, plate
        What was checked, and where.
    found, allowed
        In words.
    default
        Whether the limit is this package's and not the laboratory's.
    passed
        A failed check makes the run invalid.
    warning
        What to look at although it passed; "" for nothing.
    """

    name: str
    plate: str
    found: str
    allowed: str
    default: bool
    passed: bool
    warning: str = ""

    @property
    def reason(self) -> str:
        """The check as a sentence."""
        return f"{self.name} of plate {self.plate}: {self.found}; allowed: {self.allowed}"


def checks_of(
    counts: Sequence[Count],
    estimates: Sequence[tuple[Count, Estimate | None]],
    layout: Layout,
    history: Sequence[float],
) -> list[Check]:
    """Check the controls of a run.

    Parameters
    ----------
    estimates
        End point of every specimen that is diluted; None where it has none.
    history
        log10 D50 of the reference serum in past valid runs.
    """
    found = []
    for count in counts:
        infected = _infected(count, layout.counts)
        if count.role == "cell-control":
            found.append(_cell_control(count, infected, layout))
        if count.role == "virus-control":
            found.append(_virus_control(count, infected, layout))
        if count.role == "naive":
            found.append(_naive(count, infected, layout))
    for count, estimate in estimates:
        if count.role == "back-titration":
            found.append(_back_titration(count, estimate, layout))
        if count.role == "reference":
            found.append(_reference(count, estimate, layout, history))
    references = [c for c in counts if c.role == "reference"]
    if len(references) > 1:
        names = " and ".join(f"{c.name} on {c.plate}" for c in references)
        found.append(Check("reference serum", references[0].plate, f"two: {names}", "one a run",
                           False, False))  # fmt: skip
    if layout.reference_iu and not references and any(c.role == "test" for c in counts):
        found.append(Check("reference serum", counts[0].plate, "none", "one a run", False, False))
    return found


def _default(layout: Layout, name: str) -> bool:
    return f"limits.{name}" not in layout.given


def _infected(count: Count, counts: str) -> int:
    k, n = sum(count.positives), sum(count.replicates)
    return k if counts == "infected" else n - k


def _cell_control(count: Count, infected: int, layout: Layout) -> Check:
    wells = sum(count.replicates)
    toxic = f", {count.toxic} toxic" if count.toxic else ""
    allowed = layout.limits.cell_control
    return Check(
        "cell control",
        count.plate,
        f"{infected} of {wells} wells infected{toxic}" if wells else f"no well was read{toxic}",
        f"{allowed} at most, none toxic",
        _default(layout, "cell_control"),
        bool(wells) and infected <= allowed and not count.toxic,
    )


def _virus_control(count: Count, infected: int, layout: Layout) -> Check:
    wells, least = sum(count.replicates), layout.limits.virus_control
    return Check(
        "virus control",
        count.plate,
        f"{infected} of {wells} wells infected" if wells else "no well was read",
        f"{least:.0%} at least",
        _default(layout, "virus_control"),
        bool(wells) and infected >= least * wells,
    )


def _naive(count: Count, infected: int, layout: Layout) -> Check:
    wells, most = sum(count.replicates), layout.limits.naive
    protected = wells - infected
    return Check(
        "naive serum",
        count.plate,
        f"{protected} of {wells} wells protected" if wells else "no well was read",
        f"{most} at most",
        _default(layout, "naive"),
        bool(wells) and protected <= most,
    )


def _back_titration(count: Count, estimate: Estimate | None, layout: Layout) -> Check:
    low, high = layout.limits.back_titration
    if estimate is None:
        found, passed = "no end point", False
    else:
        dose = 10**estimate.log10_tcid50
        passed = low <= dose <= high
        found = f"{dose:.3g} TCID50 per well"
        if "not_bracketed" in estimate.flags:
            found += ", not bracketed"
    return Check(
        "back titration",
        count.plate,
        found,
        f"{low:g} to {high:g}",
        _default(layout, "back_titration"),
        passed,
    )


def _reference(
    count: Count, estimate: Estimate | None, layout: Layout, history: Sequence[float]
) -> Check:
    if estimate is None:
        return Check("reference serum", count.plate, "no end point", "one", False, False)
    value = estimate.log10_d50
    found = f"log10 D50 {value:.2f}"
    allowed, passed, warning, default = "bracketed by its dilutions", True, "", True
    limits = layout.limits.reference
    if limits is not None:
        low, high = limits
        allowed += f", {low:.2f} to {high:.2f}"
        passed, default = low <= value <= high, False
    elif len(history) >= CHARTED:
        centre, deviation = float(np.mean(history)), float(np.std(history, ddof=1))
        low, high = centre - WIDTH * deviation, centre + WIDTH * deviation
        allowed += f", {low:.2f} to {high:.2f} ({len(history)} past runs, {WIDTH:g} deviations)"
        passed, default = low <= value <= high, False
        if passed and abs(value - centre) > 2 * deviation:
            warning = "more than two standard deviations from the mean of past runs"
    if "not_bracketed" in estimate.flags:
        found, passed = f"{found}, not bracketed", False
    if count.toxic:
        found, passed = f"{found}, {count.toxic} toxic", False
    return Check("reference serum", count.plate, found, allowed, default, passed, warning)
