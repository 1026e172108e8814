"""Whether counts fall as the sample is diluted: a trend test, and which wells contradict it.

Single wells do as they like: one of four may be protected in the last dilution of a negative serum.
So nothing here looks at the two ends alone; all wells have a say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc
from scipy.stats import norm

from cytowell.types import FloatArray

SIGNIFICANT = 0.05
"""One-sided level of the tests of this file."""

EXACT = 200
"""Wells up to which the trend test is exact; a normal approximation beyond."""


def rising(affected: Sequence[int], wells: Sequence[int]) -> float:
    """Give the probability of wells that rise so, or more, if dilution made no difference.

    Cochran-Armitage (Armitage 1955, *Biometrics* 11:375-386) with the ranks of the dilutions as
    scores, one-sided; exact given the number of affected wells, up to `EXACT` wells.
    """
    k, n = np.asarray(affected, dtype=np.int64), np.asarray(wells, dtype=np.int64)
    score = np.arange(len(k))
    total, affected_ = int(n.sum()), int(k.sum())
    excess = float(total * (score @ k) - affected_ * (score @ n)) / total
    if excess <= 0 or affected_ in (0, total):
        return 1.0
    if total <= EXACT:
        return _exact(k, n)
    share = affected_ / total
    spread = share * (1 - share) * float(n @ (score - n @ score / total) ** 2)
    return float(norm.sf(excess / math.sqrt(spread)))


def _exact(k: np.ndarray, n: np.ndarray) -> float:
    """Count the ways to choose the affected wells: by how many there are and their scores' sum."""
    total, most = int(k.sum()), int((n * np.arange(len(n))).sum())
    ways: FloatArray = np.zeros((total + 1, most + 1))
    ways[0, 0] = 1.0
    for score, wells in enumerate(n.tolist()):
        new = np.zeros_like(ways)
        for j in range(min(wells, total) + 1):
            shifted = ways[: total + 1 - j, : most + 1 - j * score]
            new[j:, j * score :] += math.comb(wells, j) * shifted
        ways = new / new.max()
    found = int((k * np.arange(len(k))).sum())
    return float(ways[total, found:].sum() / ways[total].sum())


def contradicting(affected: Sequence[int], wells: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Give the wells that keep the counts from falling: (position, how many too many; < 0 too few).

    The fewest whose other reading would let the shares fall throughout (isotonic regression of
    absolute deviations, by dynamic programming over the shares that occur); of two ways with as
    many wells the one that doubts the more diluted.
    """
    k, n = np.asarray(affected, dtype=float), np.asarray(wells, dtype=float)
    levels = np.unique(k / n)
    cost = np.abs(k[:, None] - n[:, None] * levels)
    # least[i, v]: of the first i + 1 dilutions, the last of them at level v, none before below it.
    least = cost.copy()
    for i in range(1, len(k)):
        least[i] += np.minimum.accumulate(least[i - 1][::-1])[::-1]
    found, lowest = [], 0
    for i in range(len(k) - 1, -1, -1):
        lowest += int(np.argmin(least[i, lowest:]))
        off = k[i] - n[i] * levels[lowest]
        if abs(off) > 1e-9:
            found.append((i, int(math.copysign(math.ceil(abs(off) - 1e-9), off))))
    return tuple(found[::-1])


def open_ends(
    affected: Sequence[int], wells: Sequence[int], effective: float = 1.0
) -> tuple[bool, bool]:
    """Tell whether the end point may lie below, and above, the dilutions that were counted.

    An end is closed where the outermost wells are all (least diluted) or none (most diluted)
    affected, or so many or few that half of them would be unlikely (exact binomial test, one-sided,
    `SIGNIFICANT`). Dilutions that contradict one another are pooled first (isotonic regression), so
    that one stray well opens no end that the wells beside it close.

    Parameters
    ----------
    effective
        Share of the wells that count as independent: less than 1 for fields of a chamber.
    """
    k, n = np.asarray(affected, dtype=float), np.asarray(wells, dtype=float)
    blocks = isotonic_regression(k / n, weights=n, increasing=False).blocks
    first, last = slice(0, int(blocks[1])), slice(int(blocks[-2]), len(k))
    below = _half(n[first].sum() - k[first].sum(), n[first].sum(), effective)
    above = _half(k[last].sum(), n[last].sum(), effective)
    return below, above


def _half(few: float, of: float, effective: float) -> bool:
    """Whether so few of the wells may be half of them, or more."""
    if few == 0:
        return False
    k, n = few * effective, of * effective
    if k >= n / 2:
        return True
    return float(betainc(n - k, k + 1, 0.5)) > SIGNIFICANT
