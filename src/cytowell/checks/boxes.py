"""What is wrong with boxes: outside, without area, without class, twice; photographs untold of."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from cytowell.checks.issues import findings, flags, shown
from cytowell.checks.scan import Scan, look
from cytowell.images.boxes import overlaps
from cytowell.types import BoolArray, Dataset, Findings, FloatArray, IntArray

SLACK = 1.0
"""Pixels by which a box may reach out of its photograph: rounding of shares."""

SMALLEST = 1.0
"""A side in pixels below which a box has no area."""

FARTHEST = 1e7
"""Pixels from the photograph's corner beyond which boxes are all the same: outside."""

NEAREST = 6
"""Boxes that each is compared with."""

SAME = 0.95
"""Overlap (intersection over union) from which on two boxes are one drawn twice."""


def check(dataset: Dataset, scan: Scan | None = None) -> Findings:
    """Find boxes that cannot be used, where the data set has boxes at all.

    Issues: `box_outside`, `box_empty`, `box_twice`, `box_without_class`, `no_annotation`. A box
    without area or wholly outside is excluded, and so is the second of two that say the same. Two
    classes on one place are excluded both: nobody can tell which is right.

    Parameters
    ----------
    scan
        What one look at the photographs gave; looked at now without it.

    Examples
    --------
    >>> from cytowell.types import Box, Dataset, Sample
    >>> bare = Dataset((Sample("a.jpg", "cell"),), ("cell",))
    >>> check(bare).issues
    ()
    """
    boxed = np.array([s.box is not None for s in dataset.samples], dtype=np.bool_)
    if not boxed.any():
        return findings(dataset, {})
    seen = scan or look(dataset)
    corners = np.full((len(dataset), 4), np.nan)
    for i in np.flatnonzero(boxed):
        b = dataset.samples[int(i)].box
        if b is not None:
            corners[i] = b.x, b.y, b.x + b.width, b.y + b.height
    sizes = seen.spread(seen.facts[["width", "height"]].to_numpy(dtype=np.float64))
    known = boxed & (sizes > 0).all(axis=1)
    reach, gone = _reach(corners, sizes)
    with np.errstate(invalid="ignore"):
        sides = np.minimum(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        empty = boxed & (sides < SMALLEST)
        outside = known & (reach > SLACK)
        gone = known & gone
    unnamed = boxed & (dataset.labels < 0)
    twice, useless = _twice(dataset, corners, boxed & ~empty)
    told = np.array([s.extra.get("annotation", "-") != "" for s in dataset.samples])
    far = {
        int(i): f"{min(reach[i], FARTHEST):.0f} px outside the photograph"
        for i in np.flatnonzero(outside)
    }
    issues = {
        "box_outside": flags(outside, far),
        "box_empty": flags(empty, {}),
        "box_twice": flags(twice >= 0, {int(i): _again(dataset, int(i), int(twice[i]))
                                        for i in np.flatnonzero(twice >= 0)}),
        "box_without_class": flags(unnamed, {}),
        "no_annotation": flags(~told & ~boxed, {}),
    }  # fmt: skip
    excluded = empty | gone | useless
    remarks = []
    if excluded.any():
        names = [_named(dataset, int(i)) for i in np.flatnonzero(excluded)]
        remarks.append(f"{len(names)} boxes are not learnt from: {shown(names)}.")
    bare = len({s.path for s, b in zip(dataset.samples, boxed, strict=True) if not b})
    if bare:
        remarks.append(f"{bare} photographs are without objects.")
    return findings(dataset, issues, remarks=remarks, excluded=excluded)


def _reach(corners: FloatArray, sizes: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Give by how many pixels a box reaches out of its photograph, and whether all of it does."""
    out: FloatArray = np.maximum(-corners[:, :2], corners[:, 2:] - sizes).max(axis=1)
    gone: BoolArray = np.any((corners[:, 2:] <= 0) | (corners[:, :2] >= sizes), axis=1)
    return out, gone


def _twice(dataset: Dataset, corners: FloatArray, usable: BoolArray) -> tuple[IntArray, BoolArray]:
    """Give for each box the earlier one that it repeats, -1 for none, and which cannot be used."""
    earlier = np.full(len(dataset), -1, dtype=np.int64)
    useless = np.zeros(len(dataset), dtype=np.bool_)
    by_photograph: dict[str, list[int]] = {}
    for i in np.flatnonzero(usable):
        by_photograph.setdefault(dataset.paths[int(i)], []).append(int(i))
    for members in by_photograph.values():
        rows = np.array(members, dtype=np.int64)
        for one, others in _near(np.clip(corners[rows], -FARTHEST, FARTHEST)):
            first, second = sorted((int(rows[one]), int(rows[others])))
            if earlier[second] < 0 or first < earlier[second]:
                earlier[second] = first
            useless[second] = True
            if dataset.labels[first] != dataset.labels[second]:
                useless[first] = True
    return earlier, useless


def _near(corners: FloatArray) -> IntArray:
    """Give pairs of boxes (K, 2) that overlap by `SAME`; each is compared with its nearest few.

    Two boxes that overlap so much have nearly the same four corners, so that no more than a few
    have to be looked at however many there are.
    """
    count = min(NEAREST + 1, len(corners))
    if count < 2:
        return np.zeros((0, 2), dtype=np.int64)
    near = cKDTree(corners).query(corners, k=count)[1]
    pairs = np.stack([np.repeat(np.arange(len(corners)), count), near.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    same = [overlaps(corners[a], corners[[b]])[0] >= SAME for a, b in pairs]
    found: IntArray = pairs[np.array(same, dtype=np.bool_)].astype(np.int64)
    return found


def _again(dataset: Dataset, row: int, first: int) -> str:
    one, other = dataset.samples[first].label, dataset.samples[row].label
    return "drawn twice" if one == other else f"{one!r} and {other!r} on one place"


def _named(dataset: Dataset, row: int) -> str:
    s = dataset.samples[row]
    return f"{s.label or 'no class'} in {s.path.rsplit('/', 1)[-1]}"
