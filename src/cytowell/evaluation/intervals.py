"""How far a figure can be trusted: Wilson for proportions, the bootstrap by group for the rest.

Rows of one group (photograph, slide, plate, donor) resemble one another, so whole groups are drawn,
never rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from statsmodels.stats.proportion import proportion_confint

from cytowell.types import FloatArray, IntArray

Interval = tuple[float, float]
"""Low and high end at 95 %."""

_BLOCK = 4_000_000
"""Weights held in memory at once."""


def wilson(successes: float, count: float) -> Interval | None:
    """Give the 95 % interval of a proportion, None of nothing (Wilson 1927, score interval).

    Examples
    --------
    >>> low, high = wilson(98, 100)
    >>> round(low, 3), round(high, 3)
    (0.93, 0.994)
    """
    if count <= 0:
        return None
    low, high = proportion_confint(successes, count, alpha=0.05, method="wilson")
    return (
        0.0 if successes <= 0 else max(0.0, float(low)),
        1.0 if successes >= count else min(1.0, float(high)),
    )


def percentile_interval(values: FloatArray) -> Interval | None:
    """Give the 2.5th and 97.5th percentile of resampled values, shape (R,).

    Undefined resamples (NaN) are left out; None if more than half of them are undefined. The ranks
    are rounded outwards, so that nothing is interpolated and infinities are allowed.
    """
    known = np.sort(values[~np.isnan(values)])
    if len(known) == 0 or 2 * len(known) < len(values):
        return None
    last = len(known) - 1
    return (
        float(known[int(np.floor(0.025 * last))]),
        float(known[int(np.ceil(0.975 * last))]),
    )


def resample_weights(groups: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Draw groups with replacement: how often each is drawn, in blocks of shape (r, G).

    The rows of all blocks together are `resamples`; each sums to G.
    """
    random = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK // max(groups, 1)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = random.integers(groups, size=(rows, groups))
        drawn += groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)


def bootstrap(
    function: Callable[[IntArray, FloatArray], float],
    truth: IntArray,
    probabilities: FloatArray,
    groups: npt.NDArray[np.str_],
    resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Give the 95 % interval of any figure by resampling whole groups (Efron 1979, percentile).

    Calls `function` once per resample, which suits a laboratory's own metric; `metrics.evaluate`
    works from per-group counts and is much faster.

    Parameters
    ----------
    function
        Takes truth (N,) and probabilities (N, C). A ValueError or NaN (a class that was not drawn)
        leaves the resample out.
    groups
        Group of each row; shape (N,).

    Returns
    -------
    tuple or None
        None where most resamples are undefined.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    rows = np.arange(len(truth))
    values: list[float] = []
    for block in resample_weights(len(names), resamples, seed):
        for weights in block:
            chosen = np.repeat(rows, weights[group_of].astype(np.int64))
            try:
                values.append(float(function(truth[chosen], probabilities[chosen])))
            except ValueError:
                values.append(np.nan)
    return percentile_interval(np.array(values))
