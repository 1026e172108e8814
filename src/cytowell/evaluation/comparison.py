"""Whether one candidate is better than another, or only looks so.

Two candidates that judged the same images are compared image by image, never interval by interval:
overlapping intervals say little about a pair that errs on the same images. Many pairs are many
chances to be fooled, so p-values are Holm's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from cytowell.evaluation.intervals import resample_weights
from cytowell.types import BoolArray, FloatArray

ALPHA = 0.05

DRAWS = 2000
"""Bootstrap draws of a paired comparison: a p-value of 0.05 is known to 0.005."""

DRAWS_A_PAIR = 200
"""Draws for each of many pairs: no p-value lies below two in their number, and Holm multiplies the
least by the number of pairs. So many leave 0.01 of it, and what differs can be told apart."""


@dataclass(frozen=True)
class Pair:
    """One comparison of two candidates.

    Attributes
    ----------
    difference
        Accuracy of the first less that of the second.
    p
        Two-sided, before Holm; `adjusted` after.
    test
        Which test gave it.
    """

    first: int
    second: int
    difference: float
    p: float
    adjusted: float
    test: str


def mcnemar_p(first: BoolArray, second: BoolArray) -> float:
    """Give McNemar's exact p-value of two candidates right or wrong on the same images, (N,).

    McNemar 1947 (doi 10.1007/BF02295996), binomial on the images where only one is right.

    Examples
    --------
    >>> right = np.ones(30, dtype=bool)
    >>> wrong = right.copy(); wrong[:8] = False
    >>> round(mcnemar_p(right, wrong), 4)
    0.0078
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    table = [[0, only_first], [only_second, 0]]
    return float(mcnemar(table, exact=True).pvalue)


def _drawn(values: FloatArray, groups: npt.NDArray[np.str_], draws: int, seed: int) -> FloatArray:
    """Give sums of columns (N, K) over drawn groups, the same draws for all; (draws, K)."""
    names, group_of = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, group_of, values)
    return np.concatenate([w @ sums for w in resample_weights(len(names), draws, seed)])


def _two_sided(drawn: FloatArray) -> float:
    """Give the p-value of a difference by its sums over draws of whole groups.

    The share of draws on the other side of 0, twice (Efron & Tibshirani 1993, chapter 15); never
    below two in the number of draws.
    """
    tail = min(float(np.mean(drawn <= 0)), float(np.mean(drawn >= 0)))
    return min(1.0, max(2 * tail, 2 / len(drawn)))


def corrected_t_p(difference: FloatArray, tested: float, learnt: float) -> float:
    """Give the p-value of differences over folds or shuffles (K,), which share training images.

    Corrected resampled t-test, Nadeau & Bengio 2003 (doi 10.1023/A:1024068626366), equation 9: the
    variance grows by the ratio of images tested to images learnt from.
    """
    k = len(difference)
    if k < 2:
        return float("nan")
    spread = float(np.var(difference, ddof=1))
    mean = float(np.mean(difference))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    t = mean / np.sqrt((1 / k + tested / learnt) * spread)
    return float(2 * stats.t.sf(abs(t), k - 1))


def pairs(
    right: Sequence[FloatArray],
    groups: npt.NDArray[np.str_],
    seed: int = 0,
) -> list[Pair]:
    """Compare every two candidates on the images that all of them judged.

    Parameters
    ----------
    right
        For each candidate, how often it was right on each image: 0 or 1 where each was judged
        once, shares where it was judged several times; each (N,).
    groups
        Group of each image; where each is its own, and was judged once, the test is McNemar's.
    """
    alone = len(np.unique(groups)) == len(groups)
    once = all(np.isin(r, (0.0, 1.0)).all() for r in right)
    count = len(right) * (len(right) - 1) // 2
    drawn = np.zeros((0, 0))
    if not (alone and once) and count:
        draws = max(DRAWS, DRAWS_A_PAIR * count)
        drawn = _drawn(np.stack(right, axis=1), groups, draws, seed)
    found = []
    for a, b in itertools.combinations(range(len(right)), 2):
        difference = right[a] - right[b]
        if alone and once:
            p, test = mcnemar_p(right[a] > 0.5, right[b] > 0.5), "McNemar, exact"
        else:
            p = _two_sided(drawn[:, a] - drawn[:, b]) if np.any(difference) else 1.0
            test = "paired bootstrap by group"
        found.append((a, b, float(difference.mean()), p, test))
    if not found:
        return []
    adjusted = multipletests([f[3] for f in found], alpha=ALPHA, method="holm")[1]
    return [
        Pair(a, b, difference, p, float(q), test)
        for (a, b, difference, p, test), q in zip(found, adjusted, strict=True)
    ]


def inseparable(count: int, compared: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Give the largest sets of candidates of which no two can be told apart, by position."""
    apart = {(p.first, p.second) for p in compared if p.adjusted < ALPHA}
    apart |= {(b, a) for a, b in apart}
    sets: list[tuple[int, ...]] = []
    for start in range(count):
        chosen = [start]
        for other in range(count):
            if other != start and all((other, c) not in apart for c in chosen):
                chosen.append(other)
        candidate = tuple(sorted(chosen))
        if candidate not in sets:
            sets.append(candidate)
    return [s for s in sets if not any(set(s) < set(t) for t in sets)]


def in_words(names: Sequence[str], accuracies: Sequence[float], compared: Sequence[Pair]) -> str:
    """Say which candidates cannot be told apart from the one that looks best."""
    best = int(np.argmax(accuracies))
    if len(names) == 1:
        return f"{names[0]} stands alone: there is nothing to compare it with."
    equal = [
        names[p.second if p.first == best else p.first]
        for p in compared
        if best in (p.first, p.second) and p.adjusted >= ALPHA
    ]
    if not equal:
        return f"{names[best]} is better than every other (Holm-adjusted p below {ALPHA:g})."
    if len(names) == 2:
        return "The two cannot be told apart: both may be equally good."
    count = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
    many = count.get(len(equal) + 1, str(len(equal) + 1))
    if len(equal) + 1 == len(names):
        return f"No two of them can be told apart from the best: all {many} may be equally good."
    return (
        f"These {many} cannot be told apart: {names[best]}, {', '.join(equal)}. The others are "
        f"worse than {names[best]} (Holm-adjusted p below {ALPHA:g})."
    )
