"""How far a figure can be trusted: Wilson for proportions, the bootstrap by group for the rest.

Rows of one group (photograph, slide, plate, donor) resemble one another, so whole groups are drawn,
never rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from cytowell.types import FloatArray, IntArray

Interval = tuple[float, float]
"""Low and high end at 95 %."""

FEW = 10
"""Groups below which percentiles alone hold the truth too seldom: of three, in 75 % at most."""

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


def percentile_interval(
    values: FloatArray, groups: int = 0, span: Interval | None = None
) -> Interval | None:
    """Give the 2.5th and 97.5th percentile of resampled values, shape (R,), or further ones.

    Undefined resamples (NaN) are left out; None if more than half of them are undefined. The ranks
    are rounded outwards, so that nothing is interpolated and infinities are allowed.

    Parameters
    ----------
    groups
        How many were drawn from. Percentiles are too narrow for few by sqrt((n - 1) / n) and by
        Student's t; further ones make up for it (expanded percentiles, Hesterberg 2015, doi
        10.1080/00031305.2015.1089789, section 3.4). No draw lies beyond the outermost group: of
        fewer than `FEW` the interval holds Student's about the mean of the draws too.
    span
        Least and largest value that the figure can have, within which Student's interval is cut;
        without it there are percentiles alone.
    """
    known = np.sort(values[~np.isnan(values)])
    if len(known) == 0 or 2 * len(known) < len(values):
        return None
    tail = 0.025
    if groups > 1:
        reach = np.sqrt(groups / (groups - 1)) * stats.t.ppf(tail, groups - 1)
        tail = float(stats.norm.cdf(reach))
    last = len(known) - 1
    low = float(known[int(np.floor(tail * last))])
    high = float(known[int(np.ceil((1 - tail) * last))])
    if span is not None and 1 < groups < FEW and np.isfinite(known).all():
        wider = np.sqrt(groups / (groups - 1)) * float(known.std())
        reach, middle = wider * float(stats.t.ppf(0.975, groups - 1)), float(known.mean())
        low = min(low, max(span[0], float(middle - reach)))
        high = max(high, min(span[1], float(middle + reach)))
    return low, high


def is_point(ends: Interval) -> bool:
    """Whether an interval has no width but that of rounding: draws of one value differ by that."""
    low, high = ends
    return low == high or high - low <= 1e-9 * max(1.0, abs(low), abs(high))


def unseen(value: float, groups: int, span: Interval = (0.0, 1.0)) -> Interval:
    """Bound a mean of which every group shows the same: other groups may not have been met.

    A share q of groups is missed by all of them with a probability of (1 - q)^groups, so q is at
    most 1 - 0.025^(1/groups) (Clopper & Pearson 1934, the case of no event), and those may lie
    anywhere in the span.

    Examples
    --------
    >>> low, high = unseen(1.0, 3)
    >>> round(low, 3), high
    (0.292, 1.0)
    """
    most = 1 - 0.025 ** (1 / groups)
    return value - most * (value - span[0]), value + most * (span[1] - value)


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
    span: Interval | None = None,
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
    span
        Least and largest value that the figure can have. Where all draws agree, their percentiles
        would have no width; the interval is then `unseen` in this span.

    Returns
    -------
    tuple or None
        None where most resamples are undefined, or all agree and no span is given.
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
    ends = percentile_interval(np.array(values), len(names), span)
    if ends is None or not is_point(ends):
        return ends
    return None if span is None else unseen(ends[0], len(names), span)
