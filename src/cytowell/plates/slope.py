"""How sure an end point is, when all specimens of a run share the steepness of their curves.

Four wells a dilution often show no dilution at which only some are affected; their own variance is
then nought and says nothing. What they do say is that the curve is steep, and the specimens of one
plate, tested with the same virus, cells and hands, are steep alike (parallel-line assay, Finney
1978, *Statistical Method in Biological Assay*, chapter 4). So the steepness is learnt from all of
them together and each end point gets the posterior of a logistic curve: on grids, without sampling.

Fields of one chamber are alike, and no replicates (Hurlbert 1984, *Ecol. Monogr.* 54:187-211).
Their number is beta-binomial (Williams 1975, *Biometrics* 31:949-952); how alike they are is learnt
together with the steepness.

Where the dilutions do not bracket the end point the likelihood stays level on the open side, and a
flat prior would put the limits where its own ends lie. Such an end has no limit, and the other side
has the confidence bound of the number of affected wells, which needs no prior on the end point: the
end point at which so many, or more (fewer), would be seen with this probability.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import betaln, expit, logsumexp
from scipy.stats import norm

from cytowell.plates.dilutions import Series
from cytowell.plates.titre import CONFIDENCE, Estimate
from cytowell.types import FloatArray

USUAL = 0.2
"""log10 of dilution factor in which a logistic curve's odds change e-fold: the prior's median. A
single-hit virus titration has about 0.3, a serum neutralised in excess 0.1 to 0.3."""

SPREAD = 0.7
"""Standard deviation of its natural logarithm: 0.05 to 0.8 is likely."""

SLOPES = 25
MESH = 0.01
"""log10 of the dilution factor between two points of a grid."""

BEYOND = 2.0
"""Steps beyond the outermost dilutions in which an end point is looked for."""

LEAST_BEYOND = 1.5
"""The same in log10, at least: a bracketed series' limits must not be the ends of the grid."""

ALIKE = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Intraclass correlations of the fields of a chamber, equally likely beforehand."""

STRAY = 0.005
"""Share of wells that are other than the curve has them, either way: a splash, an empty well.
Without it one such well makes the curves of the whole run shallow (Wichmann & Hill 2001, *Percept.
Psychophys.* 63:1293-1313, on lapses)."""

MOST_TAIL = 60
"""Wells whose exact distribution is summed; beyond, a normal approximation."""

_Z = np.linspace(-3.0, 3.0, SLOPES)
_PRIOR = -0.5 * _Z**2
_WIDTHS = USUAL * np.exp(SPREAD * _Z)

Limits = tuple[float | None, float | None]


@dataclass(frozen=True)
class Density:
    """A probability density of a number on an even grid, summing to 1; both (G,).

    Attributes
    ----------
    open_ends
        Whether it has no limit below, and above.
    """

    at: FloatArray
    mass: FloatArray
    open_ends: tuple[bool, bool] = (False, False)

    @property
    def mean(self) -> float:
        """Its mean."""
        return float((self.at * self.mass).sum())

    @property
    def deviation(self) -> float:
        """Its standard deviation."""
        return float(np.sqrt((self.mass * (self.at - self.mean) ** 2).sum()))

    def quantile(self, share: float) -> float:
        """Give where the distribution reaches this share, mass spread evenly over each cell."""
        cumulated = np.cumsum(self.mass) - self.mass / 2
        return float(np.interp(share, cumulated, self.at))

    def interval(self, confidence: float = CONFIDENCE) -> Limits:
        """Give the interval with equal tails; None on an open side."""
        tail = (1 - confidence) / 2
        below, above = self.open_ends
        return (
            None if below else self.quantile(tail),
            None if above else self.quantile(1 - tail),
        )


class Parallel:
    """Specimens whose curves are equally steep.

    Parameters
    ----------
    series
        Of each specimen; what is diluted may be a virus or a serum.
    """

    def __init__(self, series: Sequence[Series]) -> None:
        alike = ALIKE if any(s.chambers for s in series) else ALIKE[:1]
        keys = [_key(s, alike) for s in series]
        parts = [_posterior(*key) for key in keys]
        self._ends = [s.open_ends for s in series]
        self._grids = [grid for grid, _, _ in parts]
        # Given the steepness, end points are independent: (G, H) densities and H weights are all.
        self._given = [given for _, given, _ in parts]
        # Summed in the keys' order, so that no result depends on the specimens' order.
        margins = [parts[i][2] for i in sorted(range(len(keys)), key=lambda i: keys[i][:-1])]
        self._states = np.repeat(_PRIOR, len(alike)) + np.sum(margins, axis=0)
        self._weights = np.exp(self._states - logsumexp(self._states))

    @property
    def steepness(self) -> float:
        """The likeliest steepness, in log10 of the dilution factor."""
        likeliest = self._weights.reshape(SLOPES, -1).sum(axis=1)
        return float(_WIDTHS[int(np.argmax(likeliest))])

    def end_point(self, i: int) -> Density:
        """Give the posterior of log10 D50 of a specimen."""
        return Density(self._grids[i], self._given[i] @ self._weights, self._ends[i])

    def difference(self, i: int, j: int) -> Density:
        """Give the posterior of log10 D50 of specimen `i` less that of `j`."""
        grid_i, grid_j = self._grids[i], self._grids[j]
        # Given a steepness the two are independent; the difference is their convolution.
        each = fftconvolve(self._given[i], self._given[j][::-1], axes=0)
        mass = np.maximum(each @ self._weights, 0.0)
        start = grid_i[0] - grid_j[-1]
        (below_i, above_i), (below_j, above_j) = self._ends[i], self._ends[j]
        ends = (below_i or above_j, above_i or below_j)
        return Density(start + MESH * np.arange(len(mass)), mass / mass.sum(), ends)


def bayesian_logit(series: Series) -> Estimate:
    """Give the posterior median and the 95 % interval of a logistic curve of unknown steepness.

    Flat prior on log10 D50, log-normal prior on the steepness (`USUAL`, `SPREAD`); Racine et al.
    1986, *Applied Statistics* 35:93-150. It has an interval also where no dilution is partly
    affected. On an open side (`trend.open_ends`) it has no limit, and the value is the end point at
    which as many affected wells, or more (fewer), would be seen as often as not.
    """
    density = Parallel([series]).end_point(0)
    low, high = density.interval()
    ends = density.open_ends
    se = None if any(ends) else density.deviation
    value = density.quantile(0.5)
    return Estimate("bayesian-logit", value, se, low, high, series.flags, (), ends)


Chambers = tuple[tuple[int, int, int], ...]
Key = tuple[
    tuple[float, ...], tuple[int, ...], tuple[int, ...], Chambers, tuple[float, ...],
    tuple[bool, bool],
]  # fmt: skip


def _key(series: Series, alike: tuple[float, ...]) -> Key:
    return (
        tuple(series.dilutions.tolist()),
        tuple(series.affected.tolist()),
        tuple(series.wells.tolist()),
        series.chambers,
        alike,
        series.open_ends,
    )


@functools.lru_cache(maxsize=1024)
def _posterior(
    dilutions: tuple[float, ...],
    affected: tuple[int, ...],
    wells: tuple[int, ...],
    chambers: Chambers,
    alike: tuple[float, ...],
    ends: tuple[bool, bool],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give a grid (G,) of end points, their posterior at each state, and its log likelihood.

    A state is a steepness and an intraclass correlation, H of them. The posterior is (G, H), the
    likelihood (H,). With one open end the posterior is the confidence distribution of the other
    side's bound.
    """
    grid, hit, missed = _curves(dilutions)
    pairs = zip(affected, wells, strict=True)
    counted = chambers or tuple((i, k, n) for i, (k, n) in enumerate(pairs))
    if chambers:
        each = np.zeros((len(grid), SLOPES, len(alike)))
        for i, k, n in counted:
            each += _beta_binomial(k, n, hit[:, :, i, None], missed[:, :, i, None], alike)
        log: FloatArray = each.reshape(len(grid), -1)
    else:
        spared = np.asarray(wells) - np.asarray(affected)
        log = np.repeat(hit @ np.asarray(affected) + missed @ spared, len(alike), axis=1)
    margin = np.asarray(logsumexp(log, axis=0), dtype=np.float64)
    if ends[0] == ends[1]:
        return grid, np.exp(log - margin), margin
    # Of the wells the rarer kind: affected ones where the end point may lie below, else the others.
    rare, common = (hit, missed) if ends[0] else (missed, hit)
    units = [(i, k if ends[0] else n - k, n) for i, k, n in counted]
    tail = _at_most(units, rare, common, alike if chambers else ())
    tail = tail.reshape(len(grid), SLOPES, -1)
    tail = np.broadcast_to(tail, (len(grid), SLOPES, len(alike))).reshape(len(grid), -1)
    # The probability falls from 1 to 0 with the end point where it may lie below, else it rises.
    rising = 1 - tail if ends[0] else tail
    steps = np.diff(rising, axis=0, prepend=0.0)
    steps[-1] += 1 - rising[-1]
    return grid, np.maximum(steps, 0.0), margin


def _beta_binomial(
    k: int, n: int, hit: FloatArray, missed: FloatArray, alike: tuple[float, ...]
) -> FloatArray:
    """Give the log probability of k of a chamber's n fields, without the binomial coefficient."""
    weight = (1 - np.asarray(alike)) / np.asarray(alike)
    a, b = weight * np.exp(hit), weight * np.exp(missed)
    return np.asarray(betaln(k + a, n - k + b) - betaln(a, b))


def _at_most(
    units: list[tuple[int, int, int]],
    rare: FloatArray,
    common: FloatArray,
    alike: tuple[float, ...],
) -> FloatArray:
    """Give the probability of at most as many rare wells as were seen: (G, S) or (G, S, A)."""
    most = sum(k for _, k, _ in units)
    if most > MOST_TAIL:
        return _nearly_at_most(units, rare, alike)
    shape = (*rare.shape[:2], len(alike)) if alike else rare.shape[:2]
    ways = np.zeros((most + 1, *shape))
    ways[0] = 1.0
    for i, _, n in units:
        new = np.zeros_like(ways)
        for j in range(min(n, most) + 1):
            if alike:
                log = _beta_binomial(j, n, rare[:, :, i, None], common[:, :, i, None], alike)
            else:
                log = j * rare[:, :, i] + (n - j) * common[:, :, i]
            new[j:] += ways[: most + 1 - j] * (math.comb(n, j) * np.exp(log))
        ways = new
    return np.asarray(np.minimum(ways.sum(axis=0), 1.0))


def _nearly_at_most(
    units: list[tuple[int, int, int]], rare: FloatArray, alike: tuple[float, ...]
) -> FloatArray:
    share = np.exp(rare)[..., None]
    more = np.asarray(alike or (0.0,))
    mean = np.zeros((*rare.shape[:2], len(more)))
    spread = np.zeros_like(mean)
    for i, _, n in units:
        p = share[:, :, i]
        mean += n * p
        spread += n * p * (1 - p) * (1 + (n - 1) * more)
    most = sum(k for _, k, _ in units)
    with np.errstate(divide="ignore"):
        tail = norm.cdf((most + 0.5 - mean) / np.sqrt(spread))
    return np.asarray(tail if alike else tail[..., 0])


@functools.lru_cache(maxsize=64)
def _curves(dilutions: tuple[float, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    x = np.asarray(dilutions)
    reach = max(BEYOND * float(np.median(np.diff(x))), LEAST_BEYOND)
    grid = np.arange(x[0] - reach, x[-1] + reach + MESH / 2, MESH)
    height = (grid[:, None, None] - x) / _WIDTHS[None, :, None]
    hit, missed = (np.log(STRAY + (1 - 2 * STRAY) * expit(sign * height)) for sign in (1, -1))
    return grid, hit, missed
