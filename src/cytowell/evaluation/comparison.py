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

from cytowell.evaluation.intervals import bootstrap, wilson
from cytowell.types import BoolArray, FloatArray, IntArray

ALPHA = 0.05

EXACT = 12
"""Groups that differ up to which every flip is tried; of more, flips are drawn."""

RESAMPLES = 400
"""Draws of whole groups for an accuracy's interval."""

DRAWS = 4999
"""Drawn flips of a paired comparison: a p-value of 0.05 is known to 0.003."""

DRAWS_A_PAIR = 200
"""Draws for each of many pairs: no p-value lies below one in their number, and Holm multiplies the
least by the number of pairs. So many leave 0.005 of it, and what differs can be told apart."""

_BLOCK = 4_000_000
"""Signs held in memory at once."""


@dataclass(frozen=True)
class Pair:
    """One comparison of two candidates.

    Attributes
    ----------
    difference
        Accuracy of the first less that of the second.
    p
        Two-sided, before Holm; `adjusted` after. NaN where one group says nothing of others.
    test
        Which test gave it.
    groups
        Groups of images that were compared.
    least
        The least adjusted p-value that so many groups could give, however large the difference.
    """

    first: int
    second: int
    difference: float
    p: float
    adjusted: float
    test: str
    groups: int = 0
    least: float = 0.0


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


def sign_flip_p(sums: FloatArray, draws: int = DRAWS, seed: int = 0) -> float:
    """Give the p-value of a difference by its sums over groups, (G,).

    Without a difference each group's sum is as likely to come out for one candidate as for the
    other, so its sign may be flipped (Fisher 1935, *The Design of Experiments*, section 21; Pesarin
    & Salmaso 2010, *Permutation Tests for Complex Data*, chapter 2). The p-value is the share of
    flips whose total is as far from 0 as the one that was seen, which is one of them: it never lies
    below 2 / 2^G. Up to `EXACT` groups that differ, all flips are tried. One group gives NaN.

    Examples
    --------
    >>> sign_flip_p(np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    0.0625
    """
    drawn = np.zeros(0)
    if np.count_nonzero(sums) > EXACT:
        drawn = _flipped(sums[:, None], draws, seed)[:, 0]
    return _flip_p(sums, drawn)


def _flip_p(sums: FloatArray, drawn: FloatArray) -> float:
    """Give the p-value by all flips, or by totals of drawn ones where there are too many."""
    if len(sums) < 2:
        return float("nan")
    differing = sums[sums != 0]
    if not len(differing):
        return 1.0
    seen = abs(float(differing.sum())) - 1e-9 * float(np.abs(differing).sum())
    if len(differing) <= EXACT:
        flips = np.array([*itertools.product((-1.0, 1.0), repeat=len(differing))])
        return float(np.mean(np.abs(flips @ differing) >= seen))
    return float((1 + np.sum(np.abs(drawn) >= seen)) / (1 + len(drawn)))


def _flipped(sums: FloatArray, draws: int, seed: int) -> FloatArray:
    """Give totals (draws, K) of columns (G, K) under drawn signs, the same signs for all."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(sums))
    totals = np.empty((draws, sums.shape[1]))
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        signs = 2.0 * rng.integers(2, size=(rows, len(sums))) - 1.0
        totals[start : start + rows] = signs @ sums
    return totals


def corrected_t_p(difference: FloatArray, tested: float, learnt: float) -> float:
    """Give the p-value of differences over folds or shuffles (K,), which share training images.

    Corrected resampled t-test, Nadeau & Bengio 2003 (doi 10.1023/A:1024068626366), equation 9: the
    variance grows by the ratio of images tested to images learnt from. An accuracy of n images is
    known to 1 / n, so the variance is never taken for less than that rounding's, 1 / (12 n^2)
    (Sheppard 1898): folds that happen to agree are no proof. Without `tested`, agreeing folds have
    no p-value.
    """
    k = len(difference)
    if k < 2:
        return float("nan")
    mean = float(np.mean(difference))
    if not np.any(difference):
        return 1.0
    spread = float(np.var(difference, ddof=1))
    if tested > 0:
        spread = max(spread, 1 / (12 * tested**2))
    elif np.ptp(difference) <= 1e-12:
        return float("nan")
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
    names, group_of = np.unique(groups, return_inverse=True)
    alone = len(names) == len(groups)
    once = all(np.isin(r, (0.0, 1.0)).all() for r in right)
    count = len(right) * (len(right) - 1) // 2
    if not count:
        return []
    by_image = alone and once and len(names) > 1
    draws = max(DRAWS, DRAWS_A_PAIR * count)
    sums, drawn = np.zeros((len(names), len(right))), np.zeros((0, len(right)))
    np.add.at(sums, group_of, np.stack(right, axis=1))
    if not by_image and len(names) > EXACT:
        drawn = _flipped(sums, draws, seed)
    found = []
    for a, b in itertools.combinations(range(len(right)), 2):
        if by_image:
            p = mcnemar_p(right[a] > 0.5, right[b] > 0.5)
        else:
            p = _flip_p(_rounded(sums[:, a] - sums[:, b]), drawn[:, a] - drawn[:, b])
        found.append((a, b, float((right[a] - right[b]).mean()), p))
    test = "McNemar, exact" if by_image else "sign-flip permutation by group"
    if len(names) < 2:
        test = "none: one group"
        adjusted = np.full(count, np.nan)
    else:
        adjusted = multipletests([f[3] for f in found], alpha=ALPHA, method="holm")[1]
    least = min(1.0, count * least_p(len(names)))
    return [
        Pair(a, b, difference, p, float(q), test, len(names), least)
        for (a, b, difference, p), q in zip(found, adjusted, strict=True)
    ]


def _rounded(sums: FloatArray) -> FloatArray:
    """Take differences that are only rounding for none."""
    return np.where(np.abs(sums) < 1e-9, 0.0, sums)


def least_p(groups: int) -> float:
    """Give the least two-sided p-value that so many groups can give: 2 / 2^G, 1 of one group."""
    return float(2.0 ** (1 - groups)) if groups else 1.0


def groups_needed(candidates: int) -> int:
    """Give the groups from which on the best of so many candidates could be told from the rest."""
    count = candidates * (candidates - 1) // 2
    return int(np.floor(np.log2(2 * count / ALPHA))) + 1


def accuracy_interval(
    right: FloatArray, rows: IntArray, groups: npt.NDArray[np.str_], divisions: int, learnt: float
) -> tuple[float, float]:
    """Give the 95 % interval of an accuracy over one or several divisions.

    Wilson's where each image stands alone, else by drawing whole groups. Over several divisions
    either is too narrow, for their training parts overlap, and no estimate of that variance is
    unbiased (Bengio & Grandvalet 2004, *JMLR* 5:1089): it is widened by the factor of Nadeau &
    Bengio 2003, 1 / divisions + tested / learnt in place of 1 / images.

    Parameters
    ----------
    right, rows, groups
        Whether each call was right, of which sample, of which group; each (M,).
    learnt
        Images that a division learnt from, on average.
    """
    images = len(np.unique(rows))
    names = np.unique(groups)
    wider = 1.0
    if divisions > 1:
        tested = len(rows) / divisions
        wider = max(1.0, images / tested * (1 / divisions + tested / learnt))
    accuracy = float(right.mean())
    if images == len(rows) and len(names) == images:
        ends = wilson(accuracy * images / wider, images / wider)
        return ends if ends is not None else (float("nan"), float("nan"))
    drawn = bootstrap(
        lambda truth, p: float(p.mean()), rows, right, groups, resamples=RESAMPLES, span=(0.0, 1.0)
    )
    # Where no draw differs from another, each group counts as one image: it is never certain.
    few = wilson(accuracy * len(names) / wider, len(names) / wider)
    ends = few if drawn is None or drawn[0] == drawn[1] else drawn
    if ends is None:
        return float("nan"), float("nan")
    if ends is few:
        return few
    reach = float(np.sqrt(wider))
    return (
        max(0.0, accuracy - reach * (accuracy - ends[0])),
        min(1.0, accuracy + reach * (ends[1] - accuracy)),
    )


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
    mine = [p for p in compared if best in (p.first, p.second)]
    # Not "above ALPHA": a p-value that there is not (NaN) tells nothing apart.
    open_ = [p for p in mine if not p.adjusted < ALPHA]
    equal = [names[p.second if p.first == best else p.first] for p in open_]
    if not equal:
        return f"{names[best]} is better than every other (Holm-adjusted p below {ALPHA:g})."
    if open_[0].least >= ALPHA:
        return _too_few_groups(open_[0], len(names))
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


def _too_few_groups(pair: Pair, candidates: int) -> str:
    """Say that no difference could have been shown, however large."""
    have = "one group" if pair.groups == 1 else f"{pair.groups} groups"
    why = (
        "one group says nothing of others"
        if pair.groups == 1
        else f"the least Holm-adjusted p-value that they can give is {pair.least:.2g}"
    )
    return (
        f"The images that were judged are of {have}, too few to tell candidates apart however much "
        f"they differ: {why}. Which is best is not known; with images of "
        f"{groups_needed(candidates)} slides, plates or donors it could be said."
    )
