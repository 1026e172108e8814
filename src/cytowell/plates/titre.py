"""Where half of the wells are affected: rules with their sources, each with its own uncertainty.

A rule takes a `Series` and gives an `Estimate`. Doses are log10 of the dilution factor throughout,
`p` the share of wells that the sample affects, which falls from 1 to 0 as it is diluted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import chi2, norm

from cytowell.errors import TitreError
from cytowell.plates.dilutions import Series
from cytowell.types import FloatArray

CONFIDENCE = 0.95
Z = float(norm.ppf(0.5 + CONFIDENCE / 2))

OVERDISPERSED = 0.01
"""Probability of wells that scatter so, or more, under the rule's own model, below which it is
flagged."""

DENOMINATORS = ("n-1", "n")
"""Of the variance of a share: without bias, or as older programs have it."""

D50 = "D50"
INFECTIOUS = "infectious units"
LOG10_LN2 = math.log10(math.log(2))
"""log10 of the infectious units in one TCID50: a well that gets ln 2 on average gets one or more
with probability one half."""


@dataclass(frozen=True)
class Estimate:
    """An end point.

    Attributes
    ----------
    rule
        Its name.
    log10_d50
        log10 of the dilution factor at which half of the wells are affected; for `single-hit`
        log10 of the infectious units in the volume of one well of the undiluted sample.
    se
        Standard error of it; None where the rule or the counts give none.
    low, high
        Its 95 % interval, None where there is none: counts without a single dilution at which
        some wells are affected and others not say nothing of how sure they are.
    flags
        What to know before it is used.
    padded
        Dilutions that the rule assumed beyond those that were counted: (log10 factor, share).
    open_ends
        Whether the end point may lie below, and above, the dilutions (`trend.open_ends`): what is
        reported of it is then a bound.
    unit
        What `log10_d50` counts: `D50`, or `infectious units` (`INFECTIOUS`).
    """

    rule: str
    log10_d50: float
    se: float | None
    low: float | None
    high: float | None
    flags: tuple[str, ...] = ()
    padded: tuple[tuple[float, float], ...] = ()
    open_ends: tuple[bool, bool] = (False, False)
    unit: str = D50

    @property
    def log10_tcid50(self) -> float:
        """The end point in doses that affect half of the wells, whatever the rule counts."""
        return self.log10_d50 - (LOG10_LN2 if self.unit == INFECTIOUS else 0.0)


Rule = Callable[[Series], Estimate]


def spearman_karber(series: Series, denominator: str = "n-1") -> Estimate:
    """Give the mean of the distribution that the shares are steps of.

    log10 D50 = sum (p[i] - p[i+1]) (x[i] + x[i+1]) / 2, one dilution padded on a side where not all
    or not no wells are affected (Miller 1973, *Biometrika* 60:535-542). Variance
    sum p (1 - p) / (n - 1) ((x[i+1] - x[i-1]) / 2)^2; `denominator` "n" as in Lei et al. 2021,
    doi 10.1007/s12250-020-00230-5.
    """
    if denominator not in DENOMINATORS:
        raise TitreError(
            f"denominator = {denominator!r} is not known.", f"Use {' or '.join(DENOMINATORS)}."
        )
    x, p, padded = _padded(series)
    middle = float(((p[:-1] - p[1:]) * (x[:-1] + x[1:]) / 2).sum())
    own, share = series.dilutions, series.shares
    ends = np.r_[own[0] - series.step, own, own[-1] + series.step]
    reach = (ends[2:] - ends[:-2]) / 2
    wells = series.wells - (1 if denominator == "n-1" else 0)
    spread = share * (1 - share)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(spread > 0, spread / wells * reach**2, 0.0)
    se = math.sqrt(float(each.sum())) if np.isfinite(each).all() else None
    return normal("spearman-karber", series, middle, se, padded)


def reed_muench(series: Series) -> Estimate:
    """Give where the cumulative share crosses a half, on a straight line between two dilutions.

    Wells affected are added up from the most diluted on, unaffected ones from the least diluted on
    (Reed & Muench 1938, *Am. J. Hyg.* 27:493-497). Standard error sqrt(0.79 d R / n), R the
    distance of the crossings of a quarter and of three quarters (Pizzi 1950, *Hum. Biol.* 22:151).
    """
    return _interpolated("reed-muench", series)


def dragstedt_behrens(series: Series) -> Estimate:
    """Give the same interpolation under the name that Miller 1973 has for it."""
    return _interpolated("dragstedt-behrens", series)


def reed_muench_counts(series: Series) -> Estimate:
    """Give where the two cumulative counts cross: Reed-Muench in the sense of Miller 1973."""
    x, up, down, padded = _cumulated(series)
    found = _crossing(x, up - down, 0.0)
    return normal("reed-muench-counts", series, found, None, padded)


def single_hit(series: Series) -> Estimate:
    """Give infectious units by the Poisson model: a well is affected unless it got none.

    p = 1 - exp(-c 10^-x). The value is the likeliest log10 c, the interval the highest-density one
    of the posterior under a flat prior on log10 c. One infectious unit is 1 / ln 2 TCID50.

    Raises
    ------
    TitreError
        For a serum, which is no matter of hits; where all wells or none are affected, which is
        likeliest for an endless number or none.
    """
    x, k, n = series.dilutions, series.affected, series.wells
    if series.titrates == "serum":
        raise TitreError(
            "single-hit counts infectious units, and a serum has none.",
            "Use --rule spearman-karber.",
        )
    for flag, words in (("none_affected", "No well is"), ("all_affected", "Every well is")):
        if flag in series.flags:
            raise TitreError(
                f"{words} infected: that says no number of infectious units.",
                "Dilute less." if flag == "none_affected" else "Dilute more.",
            )

    def loss(c: Any) -> Any:
        mean = 10.0 ** np.minimum(np.asarray(c)[..., None] - x, 300.0)
        hit = -np.expm1(-mean)
        return -(xlogy(k, hit) - (n - k) * mean).sum(axis=-1)

    middle = float(x[0] - 0.5 * series.step + series.step * series.shares.sum())
    bounds = (middle - 12.0, middle + 12.0)
    best = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x)
    grid = np.linspace(best - 6.0, best + 6.0, 24_001)
    density = np.exp(loss(best) - loss(grid))
    density /= density.sum()
    inside = _densest(density)
    low, high = float(grid[inside[0]]), float(grid[inside[-1]])
    se = float(np.sqrt((density * (grid - (density * grid).sum()) ** 2).sum()))
    mean = 10.0 ** (best - x)
    flags = [*series.flags, *scattered(k, n, -np.expm1(-mean), 1)]
    return Estimate(
        "single-hit", best, se, low, high, tuple(flags), (), series.open_ends, INFECTIOUS
    )


def _densest(density: FloatArray) -> Any:
    """Give the positions of the smallest part of a density that holds the confidence."""
    order = np.argsort(-density, kind="stable")
    count = int(np.searchsorted(np.cumsum(density[order]), CONFIDENCE)) + 1
    return np.sort(order[:count])


def _padded(series: Series) -> tuple[FloatArray, FloatArray, tuple[tuple[float, float], ...]]:
    """Give doses and shares with a dilution assumed on each side that is not bracketed."""
    x, p = series.dilutions, series.shares
    padded = []
    if p[0] < 1:
        padded.append((float(x[0] - series.step), 1.0))
    if p[-1] > 0:
        padded.append((float(x[-1] + series.step), 0.0))
    before = [c for c in padded if c[1] == 1.0]
    after = [c for c in padded if c[1] == 0.0]
    doses = np.array([*(c[0] for c in before), *x, *(c[0] for c in after)])
    shares = np.array([*(c[1] for c in before), *p, *(c[1] for c in after)])
    return doses, shares, tuple(padded)


def _cumulated(
    series: Series,
) -> tuple[FloatArray, FloatArray, FloatArray, tuple[tuple[float, float], ...]]:
    """Give doses, affected wells from here on, unaffected ones up to here, and what was padded.

    Only a series whose cumulative shares do not cross a half needs padding.
    """

    def sums(x: FloatArray, k: FloatArray, n: FloatArray) -> tuple[FloatArray, ...]:
        return x, np.cumsum(k[::-1])[::-1], np.cumsum(n - k)

    x, k, n = series.dilutions, series.affected.astype(float), series.wells.astype(float)
    dose, up, down = sums(x, k, n)
    padded: list[tuple[float, float]] = []
    if up[0] <= down[0]:
        padded.append((float(x[0] - series.step), 1.0))
        x, k, n = np.r_[padded[0][0], x], np.r_[n[0], k], np.r_[n[0], n]
        dose, up, down = sums(x, k, n)
    if up[-1] >= down[-1]:
        padded.append((float(x[-1] + series.step), 0.0))
        x, k, n = np.r_[x, padded[-1][0]], np.r_[k, 0.0], np.r_[n, n[-1]]
        dose, up, down = sums(x, k, n)
    return dose, up, down, tuple(padded)


def _interpolated(rule: str, series: Series) -> Estimate:
    x, up, down, padded = _cumulated(series)
    share = up / (up + down)
    middle = _crossing(x, share, 0.5)
    try:
        between = _crossing(x, share, 0.25) - _crossing(x, share, 0.75)
        se = math.sqrt(0.79 * series.step * between / float(series.wells.mean()))
    except TitreError:
        se = None
    return normal(rule, series, middle, se, padded)


def _crossing(x: FloatArray, falling: FloatArray, level: float) -> float:
    """Give where falling values cross a level."""
    for i in range(len(x) - 1):
        high, low = falling[i], falling[i + 1]
        if high >= level > low or (high > level >= low):
            return float(x[i] + (x[i + 1] - x[i]) * (high - level) / (high - low))
    raise TitreError(
        "The counts do not fall through a half.", "Count at dilutions on both sides of it."
    )


def scattered(k: Any, n: Any, p: FloatArray, parameters: int) -> list[str]:
    """Flag wells that scatter more than binomially around a model (deviance, chi-square)."""
    fitted = np.clip(p, 1e-12, 1 - 1e-12)
    share = k / n
    parts = xlogy(k, share / fitted) + xlogy(n - k, (1 - share) / (1 - fitted))
    free = len(n) - parameters
    if free < 1:
        return []
    return ["over_dispersed"] if chi2.sf(2 * float(parts.sum()), free) < OVERDISPERSED else []


def normal(
    rule: str,
    series: Series,
    middle: float,
    se: float | None,
    padded: tuple[tuple[float, float], ...],
) -> Estimate:
    """Give an estimate whose interval is normal; without a partial response it has none."""
    flags = series.flags
    if not ((series.shares > 0) & (series.shares < 1)).any():
        flags, se = (*flags, "no_partial_response"), None
    low, high = (None, None) if se is None else (middle - Z * se, middle + Z * se)
    return Estimate(rule, middle, se, low, high, flags, padded, series.open_ends)
