"""How sure an end point is, when all specimens of a run share the steepness of their curves.

Four wells a dilution often show no dilution at which only some are affected; their own variance is
then nought and says nothing. What they do say is that the curve is steep, and the specimens of one
plate, tested with the same virus, cells and hands, are steep alike (parallel-line assay, Finney
1978, *Statistical Method in Biological Assay*, chapter 4). So the steepness is learnt from all of
them together and each end point gets the posterior of a logistic curve: on grids, without sampling.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import log_expit, logsumexp

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

_Z = np.linspace(-3.0, 3.0, SLOPES)
_PRIOR = -0.5 * _Z**2


@dataclass(frozen=True)
class Density:
    """A probability density of a number on an even grid, summing to 1; both (G,)."""

    at: FloatArray
    mass: FloatArray

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

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Give the interval with equal tails."""
        tail = (1 - confidence) / 2
        return self.quantile(tail), self.quantile(1 - tail)


class Parallel:
    """Specimens whose curves are equally steep.

    Parameters
    ----------
    series
        Of each specimen; what is diluted may be a virus or a serum.
    """

    def __init__(self, series: Sequence[Series]) -> None:
        parts = [_posterior(*_key(s)) for s in series]
        self._grids = [grid for grid, _, _ in parts]
        # Given a steepness, end points are independent: (G, S) densities and S weights are all.
        self._given = [given for _, given, _ in parts]
        self._slopes = _PRIOR + np.sum([margin for _, _, margin in parts], axis=0)
        self._weights = np.exp(self._slopes - logsumexp(self._slopes))

    @property
    def steepness(self) -> float:
        """The likeliest steepness, in log10 of the dilution factor."""
        return float(USUAL * np.exp(SPREAD * _Z[int(np.argmax(self._slopes))]))

    def end_point(self, i: int) -> Density:
        """Give the posterior of log10 D50 of a specimen."""
        return Density(self._grids[i], self._given[i] @ self._weights)

    def difference(self, i: int, j: int) -> Density:
        """Give the posterior of log10 D50 of specimen `i` less that of `j`."""
        grid_i, grid_j = self._grids[i], self._grids[j]
        # Given a steepness the two are independent; the difference is their convolution.
        each = fftconvolve(self._given[i], self._given[j][::-1], axes=0)
        mass = np.maximum(each @ self._weights, 0.0)
        start = grid_i[0] - grid_j[-1]
        return Density(start + MESH * np.arange(len(mass)), mass / mass.sum())


def bayesian_logit(series: Series) -> Estimate:
    """Give the posterior median and the 95 % interval of a logistic curve of unknown steepness.

    Flat prior on log10 D50 within two steps of the dilutions, log-normal prior on the steepness
    (`USUAL`, `SPREAD`); Racine et al. 1986, *Applied Statistics* 35:93-150. It has an interval also
    where no dilution is partly affected.
    """
    density = Parallel([series]).end_point(0)
    low, high = density.interval()
    return Estimate(
        "bayesian-logit", density.quantile(0.5), density.deviation, low, high, series.flags
    )


Key = tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]


def _key(series: Series) -> Key:
    return (
        tuple(series.dilutions.tolist()),
        tuple(series.affected.tolist()),
        tuple(series.wells.tolist()),
    )


@functools.lru_cache(maxsize=4096)
def _posterior(
    dilutions: tuple[float, ...], affected: tuple[int, ...], wells: tuple[int, ...]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give a grid (G,) of end points, their posterior at each steepness, and its log likelihood.

    The posterior is (G, S), the likelihood (S,).
    """
    grid, hit, missed = _curves(dilutions)
    k, n = np.asarray(affected, dtype=np.float64), np.asarray(wells, dtype=np.float64)
    log = hit @ k + missed @ (n - k)
    margin = np.asarray(logsumexp(log, axis=0), dtype=np.float64)
    return grid, np.exp(log - margin), margin


@functools.lru_cache(maxsize=64)
def _curves(dilutions: tuple[float, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    x = np.asarray(dilutions)
    reach = BEYOND * float(np.median(np.diff(x)))
    grid = np.arange(x[0] - reach, x[-1] + reach + MESH / 2, MESH)
    slopes = USUAL * np.exp(SPREAD * _Z)
    height = (grid[:, None, None] - x) / slopes[None, :, None]
    return grid, log_expit(height), log_expit(-height)
