"""Whether new photographs differ from known ones, whatever their mix of classes.

A measure is compared within classes, since nuclei of one class are larger than those of another and
no patient has the mix of a training set. The photograph is the unit: cells of one photograph share
its light, and a hundred of them are one observation of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cytowell.types import FloatArray, IntArray

FEWEST = 5
"""Known images of a class below which nothing is compared with it."""

FEWEST_GROUPS = 3
"""Groups of known images below which nothing tells what chance does between groups."""

FARTHEST = 4.0
"""Standard deviations at which a value is cut: a single odd photograph is no shift of all."""

BORROWED = 20
"""Images whose weight the deviation of all classes has beside that of one class."""

Groups = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Measured:
    """One measure of images: values (N,), NaN where unknown, class indices (N,), groups (N,)."""

    values: FloatArray
    strata: IntArray
    groups: Groups

    def take(self, rows: npt.NDArray[np.bool_]) -> Measured:
        """Give the images of a mask."""
        return Measured(self.values[rows], self.strata[rows], self.groups[rows])


@dataclass(frozen=True)
class Shift:
    """How new images differ from known ones in one measure.

    Attributes
    ----------
    effect
        Mean difference within classes, in the measure's own unit.
    p
        Probability of a difference as large by chance; NaN where too few groups are known to say.
    images, groups
        New ones that could be compared.
    deviations
        Of each of the N new images: standard deviations from the known images of its class; NaN
        where it cannot be compared.
    """

    effect: float
    p: float
    images: int
    groups: int
    deviations: FloatArray


def shift(new: Measured, known: Measured, least: float, upwards: bool = False) -> Shift:
    """Compare one measure of new images with known ones, within classes.

    The mean standardised difference over its standard error, which holds the variance between and
    within groups (one-way random effects, estimated on the known images by the analysis of
    variance) and the finite number of known images of each class; Student's t with the degrees of
    freedom of the known groups.

    Parameters
    ----------
    least
        The smallest difference that matters; deviations a tenth of it are taken for equal.
    upwards
        Whether a larger value alone counts.
    """
    inside = np.isfinite(known.values)
    known = known.take(inside)
    fine, counts = np.unique(known.strata, return_counts=True)
    fine = fine[counts >= FEWEST]
    known = known.take(np.isin(known.strata, fine))
    usable = np.isfinite(new.values) & np.isin(new.strata, fine)
    deviations = np.full(len(new.values), np.nan)
    if not usable.any() or not len(fine):
        return Shift(math.nan, math.nan, 0, 0, deviations)
    kept = new.take(usable)
    centres, scales = _by_class(known, fine, 0.1 * least)
    at, known_at = np.searchsorted(fine, kept.strata), np.searchsorted(fine, known.strata)
    residuals = kept.values - centres[at]
    deviations[usable] = residuals / scales[at]
    known_z = np.clip((known.values - centres[known_at]) / scales[known_at], -FARTHEST, FARTHEST)
    means = np.bincount(known_at, known_z) / np.bincount(known_at)
    known_z = known_z - means[known_at]
    z = np.clip(deviations[usable], -FARTHEST, FARTHEST) - means[at]
    sizes = np.unique(kept.groups, return_counts=True)[1]
    groups = len(np.unique(known.groups))
    p = math.nan
    if groups >= FEWEST_GROUPS:
        error = _standard_error(known_z, known, known_at, at, sizes)
        t = float(z.mean()) / max(error, 1e-9)
        tail = stats.t.sf(t if upwards else abs(t), groups - 1)
        p = float(tail if upwards else min(1.0, 2 * tail))
    return Shift(float(residuals.mean()), p, len(z), len(sizes), deviations)


def _by_class(known: Measured, fine: IntArray, floor: float) -> tuple[FloatArray, FloatArray]:
    """Give each class's median and deviation; small classes borrow from all."""
    parts = [known.values[known.strata == c] for c in fine]
    centres = np.array([np.median(part) for part in parts])
    squares = np.array([((p - m) ** 2).mean() for p, m in zip(parts, centres, strict=True)])
    n = np.array([len(part) for part in parts])
    pooled = float((squares * n).sum() / n.sum())
    return centres, np.sqrt(
        np.maximum((squares * n + BORROWED * pooled) / (n + BORROWED), floor**2)
    )


def _standard_error(
    z: FloatArray, known: Measured, known_at: IntArray, at: IntArray, sizes: IntArray
) -> float:
    """Give the standard error of the mean difference of new images.

    Parameters
    ----------
    z, known_at
        Standardised values of the known images, and which class each is of.
    at
        Which class each new image is of.
    sizes
        How many new images each group has.
    """
    n, m = len(at), np.bincount(known_at)
    between, within = _components(z, known.groups)
    shares = np.bincount(at, minlength=len(m)) / n
    alone = within == 0
    apart = [len(np.unique(known.groups[known_at == c])) for c in range(len(m))]
    if alone:  # every known image is a group of its own: classes share none
        of_known = between * float((shares**2 / m).sum())
    else:
        of_known = between * float((shares / apart).sum()) + within * float((shares**2 / m).sum())
    of_new = between * float(((sizes / n) ** 2).sum()) + within / n
    return math.sqrt(of_new + of_known)


def _components(z: FloatArray, groups: Groups) -> tuple[float, float]:
    """Give the variance between groups and within them; all between where each group is one."""
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    count, n = len(sizes), len(z)
    if count == n:
        return float(z.var(ddof=1)), 0.0
    means = np.bincount(index, z) / sizes
    inner = float(((z - means[index]) ** 2).sum()) / (n - count)
    outer = float((sizes * (means - z.mean()) ** 2).sum()) / (count - 1)
    size = (n - float((sizes**2).sum()) / n) / (count - 1)
    return max(0.0, (outer - inner) / size), max(inner, 1e-12)
