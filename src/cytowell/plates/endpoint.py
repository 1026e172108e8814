"""End points of a run's specimens: by the rule, with what surrounds them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cytowell.errors import TitreError
from cytowell.plates.counting import Count
from cytowell.plates.dilutions import Series
from cytowell.plates.layout import Layout
from cytowell.plates.rules import compute
from cytowell.plates.slope import Limits, Parallel
from cytowell.plates.titre import D50, Estimate, Z

ENUMERATED = 8
"""Uncertain wells up to which every combination is summed; more are drawn."""

DRAWS = 400
SEED = 7


@dataclass(frozen=True)
class Misreading:
    """What uncertain wells do to log10 D50.

    Attributes
    ----------
    bias
        Mean of what it may be, less what is reported.
    deviation
        Standard deviation about that mean.
    without
        Probability of wells to which the rule does not apply; the others are renormalised.
    """

    bias: float = 0.0
    deviation: float = 0.0
    without: float = 0.0

    @property
    def about_reported(self) -> float:
        """Root of the expected squared deviation about the reported value."""
        return math.hypot(self.bias, self.deviation)

    def less(self, other: Misreading) -> float:
        """Give the same of the difference of two end points that are read independently."""
        return math.hypot(self.bias - other.bias, self.deviation, other.deviation)


@dataclass(frozen=True)
class Point:
    """An end point with what surrounds it, in log10 of the dilution factor.

    Attributes
    ----------
    flips
        The least and the greatest with one well read the other way.
    lost
        Whether the rule does not apply with some well read the other way.
    interval
        95 % limits that hold the estimate; None on an open side, or where there are none.
    method
        What the interval is of: `shared-slope` or the rule's `own`.
    stretched
        Whether the interval had to be widened to hold the estimate.
    """

    count: Count
    series: Series | None = None
    estimate: Estimate | None = None
    misreading: Misreading = Misreading()
    flips: tuple[float, float] | None = None
    error: str = ""
    interval: Limits = (None, None)
    lost: bool = False
    method: str = ""
    stretched: bool = False

    @property
    def bound(self) -> float | None:
        """What is reported of an end point with one open end: its limit on the other side.

        Without one, the outermost dilution; a rule's number assumes a dilution beyond it.
        """
        if self.series is None or self.estimate is None:
            return None
        below, above = self.estimate.open_ends
        if below == above:
            return None
        x, value = self.series.dilutions, self.estimate.log10_d50
        low, high = self.interval
        if below:
            return high if high is not None else max(float(x[0]), value)
        return low if low is not None else min(float(x[-1]), value)


def end_point(count: Count, layout: Layout) -> Point:
    """Give a count's end point; one that has none says why."""
    try:
        series = series_of(count, layout.counts)
        estimate = _estimate(layout.rule, layout.denominator, _key(series))
    except TitreError as error:
        return Point(count, error=f"{error.problem} {error.remedy}".strip())
    others = [_if_any(layout, key) for key in _flipped(series)]
    states = [estimate.log10_d50, *(v for v in others if v is not None)]
    return Point(
        count,
        series,
        estimate,
        _misreading(count, series, estimate, layout),
        (min(states), max(states)),
        lost=None in others,
    )


def series_of(count: Count, counts: str) -> Series:
    """Give a count as a series: dilutions that nobody saw a well of are left out.

    Raises
    ------
    TitreError
        If fewer than two dilutions are left, or the counts run the other way.
    """
    seen = [i for i, n in enumerate(count.replicates) if n]
    chambers: tuple[tuple[int, int, int], ...] = ()
    if count.chambers:
        affects = (counts == "infected") == (count.titrates == "virus")
        chambers = tuple(
            (seen.index(i), k if affects else n - k, n) for i, k, n in count.chambers if n
        )
    return Series.of(
        [count.positives[i] for i in seen],
        [count.replicates[i] for i in seen],
        [count.log10_dilutions[i] for i in seen],
        counts,
        count.titrates,
        chambers,
    )


Key = tuple[
    tuple[float, ...], tuple[int, ...], tuple[int, ...], str, tuple[tuple[int, int, int], ...]
]


def _key(series: Series, affected: Sequence[int] | None = None) -> Key:
    """Give what decides a series' end point; with other counts, of the same wells.

    Chambers matter to the interval alone, so other counts leave them out.
    """
    k = series.affected.tolist() if affected is None else affected
    doses = tuple(series.dilutions.tolist())
    chambers = series.chambers if affected is None else ()
    return doses, tuple(k), tuple(series.wells.tolist()), series.titrates, chambers


@functools.lru_cache(maxsize=20_000)
def _estimate(rule: str, denominator: str, key: Key) -> Estimate:
    doses, affected, wells, titrates, chambers = key
    series = Series(np.array(doses), np.array(affected), np.array(wells), titrates, chambers)
    return compute(rule, series, denominator)


@functools.lru_cache(maxsize=20_000)
def _value(rule: str, denominator: str, key: Key) -> float | None:
    """Give the end point, None where the rule does not apply."""
    try:
        return _estimate(rule, denominator, key).log10_d50
    except TitreError:
        return None


def _if_any(layout: Layout, key: Key) -> float | None:
    return _value(layout.rule, layout.denominator, key)


def _flipped(series: Series) -> list[Key]:
    """Give the series with one well of one dilution read the other way, for each."""
    k, n = series.affected.tolist(), series.wells.tolist()
    out = []
    for i, change in itertools.product(range(len(k)), (-1, 1)):
        if 0 <= k[i] + change <= n[i]:
            out.append(_key(series, [*k[:i], k[i] + change, *k[i + 1 :]]))
    return out


def _misreading(count: Count, series: Series, estimate: Estimate, layout: Layout) -> Misreading:
    """Give what log10 D50 may be over what the uncertain wells may be.

    All combinations of up to `ENUMERATED` wells; of more, `DRAWS` seeded draws.
    """
    if not count.doubts:
        return Misreading()
    seen = [i for i, n in enumerate(count.replicates) if n]
    place = {round(count.log10_dilutions[i], 6): j for j, i in enumerate(seen)}
    affects = (layout.counts == "infected") == (count.titrates == "virus")
    where = np.array([place[round(count.log10_dilutions[i], 6)] for i, _, _ in count.doubts])
    change = np.array(
        [(-1 if called else 1) * (1 if affects else -1) for _, called, _ in count.doubts]
    )
    wrong = np.array([p for _, _, p in count.doubts])
    if len(wrong) <= ENUMERATED:
        states = np.array([*itertools.product((False, True), repeat=len(wrong))])
        weight = np.where(states, wrong, 1 - wrong).prod(axis=1)
    else:
        states = np.random.default_rng(SEED).random((DRAWS, len(wrong))) < wrong
        weight = np.full(DRAWS, 1.0 / DRAWS)
    off = np.full(len(states), np.nan)
    for j, state in enumerate(states):
        affected = series.affected.copy()
        np.add.at(affected, where[state], change[state])
        value = _if_any(layout, _key(series, affected.tolist()))
        if value is not None:
            off[j] = value - estimate.log10_d50
    fits = np.isfinite(off)
    without = float(weight[~fits].sum())
    if not weight[fits].sum() > 0:
        return Misreading(without=without)
    share = weight[fits] / weight[fits].sum()
    bias = float(share @ off[fits])
    return Misreading(bias, float(np.sqrt(share @ (off[fits] - bias) ** 2)), without)


Curves = dict[str, tuple[Parallel, list[int]]]


def curves_of(points: Sequence[Point]) -> Curves:
    """Give the curves of viruses, and those of sera: each kind shares its steepness.

    A rule whose curve has a steepness of its own (`single-hit`) has nothing to share.
    """
    out: Curves = {}
    for kind in ("virus", "serum"):
        mine, series = [], []
        for i, p in enumerate(points):
            if p.count.titrates != kind or p.series is None or p.estimate is None:
                continue
            if p.estimate.unit == D50:
                mine.append(i)
                series.append(p.series)
        if mine:
            out[kind] = (Parallel(series), mine)
    return out


def bounded(point: Point, i: int, curves: Curves) -> Point:
    """Give the point with its interval, misreading included."""
    estimate = point.estimate
    if estimate is None:
        return point
    value, ends = estimate.log10_d50, estimate.open_ends
    parallel, mine = curves.get(point.count.titrates, (None, []))
    if parallel is not None and i in mine:
        density = parallel.end_point(mine.index(i))
        limits, middle, method = density.interval(), density.quantile(0.5), "shared-slope"
    else:
        limits, middle, method = (estimate.low, estimate.high), value, "own"
    pair = widened(limits, middle, point.misreading.about_reported, value, ends)
    inside, stretched = holding(pair, value)
    return replace(point, interval=inside, method=method, stretched=stretched)


def widened(
    limits: Limits,
    middle: float,
    deviation: float,
    value: float,
    ends: tuple[bool, bool],
) -> Limits:
    """Add an independent normal error to an interval around its middle; open sides have no limit.

    The middle of a density with an open end is where its grid ends, so the value stands for it.
    """
    more, centre = Z * deviation, value if any(ends) else middle
    low, high = limits
    if low is not None:
        origin = max(centre, low)
        low = origin - math.hypot(origin - low, more)
    if high is not None:
        origin = min(centre, high)
        high = origin + math.hypot(high - origin, more)
    return None if ends[0] else low, None if ends[1] else high


def holding(limits: Limits, *values: float) -> tuple[Limits, bool]:
    """Give limits that hold these values, and whether they had to be moved for it."""
    low, high = limits
    new_low = None if low is None else min(low, *values)
    new_high = None if high is None else max(high, *values)
    return (new_low, new_high), (new_low, new_high) != (low, high)
