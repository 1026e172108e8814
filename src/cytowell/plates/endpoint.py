"""End points of a run's specimens: by the rule, with what surrounds them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cytowell import registry
from cytowell.errors import TitreError
from cytowell.plates.counting import Count
from cytowell.plates.dilutions import Series
from cytowell.plates.layout import Layout
from cytowell.plates.slope import Parallel
from cytowell.plates.titre import Estimate, Z

ENUMERATED = 8
"""Uncertain wells up to which every combination is summed; more are drawn."""

DRAWS = 400
SEED = 7


@dataclass(frozen=True)
class Point:
    """An end point with what surrounds it, in log10 of the dilution factor."""

    count: Count
    series: Series | None = None
    estimate: Estimate | None = None
    misreading: float = 0.0
    flips: tuple[float, float] | None = None
    error: str = ""
    interval: tuple[float, float] | None = None


def end_point(count: Count, layout: Layout) -> Point:
    """Give a count's end point; one that has none says why."""
    try:
        series = series_of(count, layout.counts)
        estimate = _estimate(layout.rule, layout.denominator, _key(series))
    except TitreError as error:
        return Point(count, error=str(error))
    states = [_estimate(layout.rule, layout.denominator, k).log10_d50 for k in _flipped(series)]
    return Point(
        count,
        series,
        estimate,
        _misreading(count, series, layout),
        (min(states), max(states)),
    )


def series_of(count: Count, counts: str) -> Series:
    """Give a count as a series: dilutions that nobody saw a well of are left out.

    Raises
    ------
    TitreError
        If fewer than two dilutions are left, or the counts run the other way.
    """
    seen = [i for i, n in enumerate(count.replicates) if n]
    return Series.of(
        [count.positives[i] for i in seen],
        [count.replicates[i] for i in seen],
        [count.log10_dilutions[i] for i in seen],
        counts,
        count.titrates,
    )


Key = tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...], str]


def _key(series: Series, affected: Sequence[int] | None = None) -> Key:
    k = series.affected.tolist() if affected is None else affected
    doses = tuple(series.dilutions.tolist())
    return doses, tuple(k), tuple(series.wells.tolist()), series.titrates


@functools.lru_cache(maxsize=20_000)
def _estimate(rule: str, denominator: str, key: Key) -> Estimate:
    doses, affected, wells, titrates = key
    series = Series(np.array(doses), np.array(affected), np.array(wells), titrates)
    compute = registry.load("titre-rules", rule)
    found: Estimate = compute(series, denominator) if rule == "spearman-karber" else compute(series)
    return found


def _flipped(series: Series) -> list[Key]:
    """Give the series, and each with one well of one dilution read the other way."""
    k, n = series.affected.tolist(), series.wells.tolist()
    out = [_key(series)]
    for i, change in itertools.product(range(len(k)), (-1, 1)):
        if 0 <= k[i] + change <= n[i]:
            out.append(_key(series, [*k[:i], k[i] + change, *k[i + 1 :]]))
    return out


def _misreading(count: Count, series: Series, layout: Layout) -> float:
    """Give the standard deviation of log10 D50 over what the uncertain wells may be.

    All combinations of up to `ENUMERATED` wells; of more, `DRAWS` seeded draws.
    """
    if not count.doubts:
        return 0.0
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
    values = []
    for state in states:
        affected = series.affected.copy()
        np.add.at(affected, where[state], change[state])
        values.append(
            _estimate(layout.rule, layout.denominator, _key(series, affected.tolist())).log10_d50
        )
    x = np.array(values)
    return float(np.sqrt((weight * (x - (weight * x).sum()) ** 2).sum()))


Curves = dict[str, tuple[Parallel, list[int]]]


def curves_of(points: Sequence[Point]) -> Curves:
    """Give the curves of viruses, and those of sera: each kind shares its steepness."""
    out: Curves = {}
    for kind in ("virus", "serum"):
        mine = [
            i for i, p in enumerate(points) if p.count.titrates == kind and p.series is not None
        ]
        if mine:
            series = [s for s in (points[i].series for i in mine) if s is not None]
            out[kind] = (Parallel(series), mine)
    return out


def bounded(point: Point, i: int, curves: Curves) -> Point:
    """Give the point with its interval, misreading included."""
    estimate = point.estimate
    if estimate is None:
        return point
    pair: tuple[float, float] | None = None
    if point.count.titrates in curves:
        parallel, mine = curves[point.count.titrates]
        density = parallel.end_point(mine.index(i))
        pair = widened(density.interval(), density.quantile(0.5), point.misreading)
    elif estimate.low is not None and estimate.high is not None:
        pair = widened((estimate.low, estimate.high), estimate.log10_d50, point.misreading)
    return replace(point, interval=pair)


def widened(pair: tuple[float, float], middle: float, deviation: float) -> tuple[float, float]:
    """Add an independent normal error to an interval around its middle."""
    more = Z * deviation
    return middle - math.hypot(middle - pair[0], more), middle + math.hypot(pair[1] - middle, more)
