"""From an end point to what is reported: per millilitre, IU/mL against a reference serum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from cytowell.errors import TitreError
from cytowell.plates.titre import Estimate, Z

ADEQUATE = 0.5
"""IU/mL of rabies neutralising antibody that count as an adequate response (WHO, WOAH)."""

STEP = 0.12
"""log10 of the steps that a reference laboratory's published FAVN results lie on."""

ROUNDINGS: dict[str, Callable[[float, float], float]] = {
    "exact": lambda test, reference: test - reference,
    "two-decimals": lambda test, reference: round(test, 2) - round(reference, 2),
    "steps-0.12": lambda test, reference: STEP * round((test - reference) / STEP),
}
"""How log10 D50 of serum and reference become their difference; the result repeats the name."""

DOWN, NEAREST, UP = ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_CEILING
"""Ways to round a number that is written: limits and bounds away from what was measured."""


def number(value: float, unit: str, rounding: str = NEAREST, threshold: float | None = None) -> str:
    """Write a value as laboratories do: IU/mL with two decimals, others with three digits.

    With a threshold, IU/mL get as many decimals more as it takes to stay on their side of it: a
    limit of 0.494 that is rounded up is no 0.50.
    """
    # Twelve digits: 0.1 as arithmetic leaves it is 0.1, and no bound moves by a step for that.
    exact = Decimal(f"{value:.12g}")
    if unit == "IU/mL":
        shown, side = exact, None if threshold is None else Decimal(f"{threshold:.12g}")
        for decimals in range(2, 9):
            shown = exact.quantize(Decimal(1).scaleb(-decimals), rounding)
            if side is None or (shown >= side) == (exact >= side):
                break
        return f"{shown:f}"
    if not value > 0:
        return f"{value:.3g}"
    digit = Decimal(1).scaleb(exact.adjusted() - 2)
    rounded = float(exact.quantize(digit, rounding))
    return f"{rounded:.3g}" if rounded < 1e4 else f"{rounded:.2e}"


def span(low: float | None, high: float | None, unit: str, threshold: float | None = None) -> str:
    """Write an interval, its limits rounded outwards; with one limit, that limit; else ""."""
    least = None if low is None else number(low, unit, DOWN, threshold)
    most = None if high is None else number(high, unit, UP, threshold)
    if least is None:
        return "" if most is None else f"{most} or less"
    return f"{least} or more" if most is None else f"{least} to {most}"


@dataclass(frozen=True)
class Potency:
    """IU/mL of a serum.

    Attributes
    ----------
    iu_per_ml
        By the rounding rule that `rounding` names.
    low, high
        Its 95 % interval, the reference's own error included; None where either has none, and on a
        side where the dilutions do not bracket the end point.
    verdict
        `adequate` where the whole interval reaches the threshold, `not adequate` where none of it
        does, else `indeterminate`.
    flags
        Of the serum's end point, and the reference's with `reference_` before them.
    """

    iu_per_ml: float
    low: float | None
    high: float | None
    verdict: str
    rounding: str
    flags: tuple[str, ...]


def per_millilitre(estimate: Estimate, volume: float | None) -> tuple[float | None, ...]:
    """Give the titre per millilitre and its interval; without a volume, of the end point itself.

    Parameters
    ----------
    volume
        Millilitres that went into each well.

    Returns
    -------
    tuple
        `per_ml` (None without a volume), `low`, `high`.
    """
    if volume is not None and not (math.isfinite(volume) and volume > 0):
        raise TitreError(f"A volume of {volume:g} mL cannot be.", "Give millilitres per well.")
    share = 1.0 if volume is None else volume
    value, low, high = (
        None if v is None else 10**v / share
        for v in (estimate.log10_d50, estimate.low, estimate.high)
    )
    return (None if volume is None else value), low, high


def potency(
    serum: Estimate,
    reference: Estimate,
    reference_iu: float,
    rounding: str = "exact",
    threshold: float = ADEQUATE,
) -> Potency:
    """Compare a serum with a reference serum that was diluted alike.

    IU = IU_ref * 10^(log10 D50 of the serum - log10 D50 of the reference).

    Parameters
    ----------
    reference_iu
        IU/mL of the reference serum before its first dilution on the plate.
    rounding
        One of `ROUNDINGS`.

    Raises
    ------
    TitreError
        If two rules are compared with one another, or the reference has no units.
    """
    if rounding not in ROUNDINGS:
        raise TitreError(f"rounding = {rounding!r} is not known.", f"Use {', '.join(ROUNDINGS)}.")
    if serum.rule != reference.rule:
        raise TitreError(
            f"The serum is by {serum.rule} and the reference by {reference.rule}.",
            "Use one rule for both.",
        )
    if not (math.isfinite(reference_iu) and reference_iu > 0):
        raise TitreError(
            f"A reference serum of {reference_iu:g} IU/mL cannot be.",
            "Give its IU/mL before it was diluted on the plate.",
        )
    value = reference_iu * 10 ** ROUNDINGS[rounding](serum.log10_d50, reference.log10_d50)
    flags = (*serum.flags, *(f"reference_{flag}" for flag in reference.flags))
    if serum.se is None or reference.se is None:
        return Potency(value, None, None, "indeterminate", rounding, flags)
    reach = 10 ** (Z * math.hypot(serum.se, reference.se))
    below = serum.open_ends[0] or reference.open_ends[1]
    above = serum.open_ends[1] or reference.open_ends[0]
    low, high = None if below else value / reach, None if above else value * reach
    verdict = "indeterminate"
    if low is not None and low >= threshold:
        verdict = "adequate"
    elif high is not None and high < threshold:
        verdict = "not adequate"
    return Potency(value, low, high, verdict, rounding, flags)
