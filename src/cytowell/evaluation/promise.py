"""How sure a call must be for a promised share of wrong calls to be kept, at 95 % confidence."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from scipy.stats import binom

from cytowell.types import BoolArray, FloatArray, IntArray

CONFIDENCE = 0.95
"""How often, of many bundles, a promise that is made has to be kept."""

_ROOM = 0.8
"""Share of the images within which one error has to be allowed, if the first test is to allow it.
A first test that allows none fails by a single sure error; of 600 images at 99.2 % accuracy, 96 to
98 % are decided instead of 93 to 97."""


@dataclass(frozen=True)
class Promise:
    """From which certainty on calls are made, and what is promised of them.

    Attributes
    ----------
    threshold
        Lowest probability of the likeliest class that is a call.
    wrong
        The share of wrong calls that was asked for.
    made
        Whether it is promised; else the threshold is only a sensible one.
    images, groups
        Labelled images that calibrated, and the groups that they come from.
    needed
        Groups of images, all called correctly, without which it cannot be promised (rule of three).
    least
        Smallest share that as many groups can promise at best.
    why
        Why no promise is made; "" if one is.
    """

    threshold: float
    wrong: float
    made: bool
    images: int
    groups: int
    needed: int
    least: float
    why: str = ""
    confidence: float = CONFIDENCE

    def to_json(self) -> dict[str, Any]:
        """Give it as names and values."""
        return asdict(self)


def needed_images(wrong: float, confidence: float = CONFIDENCE) -> int:
    """Give how many images, all called correctly, it takes to promise a share of wrong calls.

    The rule of three (Hanley & Lippman-Hand 1983, doi 10.1001/jama.1983.03330370053031), exactly.

    Examples
    --------
    >>> needed_images(0.01), needed_images(0.001)
    (299, 2995)
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-wrong))


def promise(
    probabilities: FloatArray,
    labels: IntArray,
    wrong: float = 0.01,
    groups: npt.NDArray[np.str_] | None = None,
    confidence: float = CONFIDENCE,
) -> Promise:
    """Find how sure a call has to be to be made, and whether `wrong` can be promised of the calls.

    Selective classification with a guaranteed risk (Geifman & El-Yaniv 2017, arXiv 1705.08500), by
    fixed-sequence testing (Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052, section
    3.2): from the strictest threshold at which anything could be shown, the hypothesis "more than
    `wrong` of the calls are wrong" is tested at each lower one; the last threshold before the first
    that is not rejected is taken. Of many bundles at most 1 - `confidence` break the promise.

    The tests are the exact binomial's where every image is its own group. Else each group's share
    of wrong calls counts once (the Hoeffding-Bentkus p-value of Bates et al. 2021, arXiv
    2101.02703): images of one slide resemble one another.

    Where too few images calibrate, or the surest calls are wrong too often, nothing is promised,
    and the threshold is `without_proof`.

    Parameters
    ----------
    probabilities
        Calibrated, of images that were not learnt from; shape (N, C).
    labels
        Class indices; rows with -1 are left out.
    groups
        Group of each row; every image is its own without it.
    """
    known = (labels >= 0) & np.isfinite(probabilities).all(axis=1)
    top = probabilities[known].max(axis=1)
    missed = probabilities[known].argmax(axis=1) != labels[known]
    order = np.argsort(-top, kind="stable")
    top, missed = top[order], missed[order]
    group_of = np.arange(len(top))
    if groups is not None:
        group_of = np.unique(groups[known], return_inverse=True)[1][order]
    count = len(np.unique(group_of))
    needed = needed_images(wrong, confidence)
    least = 1 - (1 - confidence) ** (1 / count) if count else 1.0
    found, why = _lowest_shown(top, missed, group_of, wrong, confidence)
    threshold = found if found is not None else without_proof(top, missed, wrong)
    return Promise(
        threshold, wrong, found is not None, len(top), count, needed, least, why, confidence
    )


def fit_threshold(
    probabilities: FloatArray,
    labels: IntArray,
    wrong: float = 0.01,
    groups: npt.NDArray[np.str_] | None = None,
) -> float:
    """Give the threshold of `promise`."""
    return promise(probabilities, labels, wrong, groups).threshold


def _lowest_shown(
    top: FloatArray, missed: BoolArray, group_of: IntArray, wrong: float, confidence: float
) -> tuple[float | None, str]:
    """Give the lowest threshold whose risk is shown to be small, else why there is none."""
    needed = needed_images(wrong, confidence)
    # Equal confidences are decided together: only the last of them is a place to cut.
    last = np.append(top[1:] < top[:-1], True) if len(top) else np.zeros(0, dtype=np.bool_)
    sizes, losses, alone = _decided(missed, group_of)
    places = np.flatnonzero(last & (sizes >= needed))
    if not len(places):
        have = int(sizes[-1]) if len(sizes) else 0
        what = "images" if alone else "groups of images"
        return None, f"{have:,} {what} calibrate, and it takes {needed:,} at least"
    if alone:
        roomy = places[binom.cdf(1, sizes[places], wrong) <= 1 - confidence]
        if len(roomy) and sizes[roomy[0]] <= _ROOM * len(top):
            places = roomy
    shown = _p_values(losses[places], sizes[places], wrong, alone) <= 1 - confidence
    passed = len(shown) if shown.all() else int(np.argmin(shown))
    if not passed:
        at = places[0]
        what = "images" if alone else "groups of images"
        return None, (
            f"of the surest {int(sizes[at]):,} {what} {losses[at]:.3g} are called wrongly, which "
            "is too many to show it"
        )
    return float(top[places[passed - 1]]), ""


def _decided(missed: BoolArray, group_of: IntArray) -> tuple[IntArray, FloatArray, bool]:
    """Give, for each number of images decided, their groups and the sum of the groups' losses."""
    count = int(group_of.max()) + 1 if len(group_of) else 0
    if count == len(group_of):
        return np.arange(1, count + 1), np.cumsum(missed).astype(np.float64), True
    images, errors = np.zeros(count), np.zeros(count)
    sizes, losses = np.zeros(len(missed), dtype=np.int64), np.zeros(len(missed))
    seen, total = 0, 0.0
    for i, (g, miss) in enumerate(zip(group_of, missed, strict=True)):
        total -= errors[g] / images[g] if images[g] else 0.0
        seen += images[g] == 0
        images[g] += 1
        errors[g] += miss
        total += errors[g] / images[g]
        sizes[i], losses[i] = seen, total
    return sizes, losses, False


def _p_values(losses: FloatArray, sizes: IntArray, wrong: float, alone: bool) -> FloatArray:
    """Give p-values of the hypothesis that the mean loss is above `wrong`."""
    if alone:
        exact: FloatArray = binom.cdf(np.round(losses), sizes, wrong)
        return exact
    share = np.minimum(losses / sizes, wrong)
    relative = xlogy(share, share / wrong) + xlogy(1 - share, (1 - share) / (1 - wrong))
    hoeffding = np.exp(-sizes * relative)
    bentkus = np.e * binom.cdf(np.ceil(losses - 1e-9), sizes, wrong)
    found: FloatArray = np.minimum(1.0, np.minimum(hoeffding, bentkus))
    return found


def without_proof(top: FloatArray, missed: BoolArray, wrong: float) -> float:
    """Give a sensible threshold where nothing can be promised.

    The lowest confidence seen, at which the calls of at least that confidence are wrong in at most
    a share of `wrong`; where there is none (the surest call is wrong), it is just above the surest
    error, at most 1. Without any image it is 1: nothing speaks for deciding.

    Eight images that are called correctly by luck would let nearly everything be decided. The
    probabilities then have a say: the threshold is 1 - 5 `wrong` at least, 0.9 where that is less,
    and a network that is never so sure decides nothing. With fewer than 1/`wrong` images one sure
    error would stop next to all deciding: a single one, no more than the probabilities promise
    (their sum, and two standard deviations), lifts the threshold no further than that.

    Parameters
    ----------
    top, missed
        Confidence and whether the call is wrong, the surest first; (N,).
    """
    if not len(top):
        return 1.0
    share = np.cumsum(missed) / np.arange(1, len(top) + 1)
    last = np.append(top[1:] < top[:-1], True)
    kept = np.flatnonzero(last & (share <= wrong))
    if len(kept):
        found = float(top[kept[-1]])
    else:
        found = float(min(1.0, np.nextafter(top[missed].max(), 2.0)))
    floor = max(0.9, 1 - 5 * wrong)
    expected = float((1 - top).sum() + 2 * np.sqrt((top * (1 - top)).sum()))
    if len(top) * wrong < 1 and missed.sum() == 1 and expected >= 1:
        return floor
    return max(found, floor)
