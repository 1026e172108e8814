"""Whether labelled photographs stand for those without labels: in looks, and in the order of names.

Which ten are labelled counts for as much as the network. Labels of whatever lay on top are of one
slide, one day or one stain, and what is measured on them says little of the rest.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cytowell.checks.scan import Scan
from cytowell.types import BoolArray, Dataset, FloatArray, IntArray, file_of

LEAST = 8
"""Photographs with labels, and without, below which they are not compared."""

DRAWS = 399
"""Permutations that a difference is compared with."""

RISK = 0.05
"""Share of labels drawn at random that each of the two tests warns of wrongly."""

MEASURES = {
    "brightness_perc_99": "light",
    "brightness_perc_95": "light",
    "brightness_perc_1": "darkness of the stain",
    "brightness_perc_5": "darkness of the stain",
    "red_green": "stain",
    "blue_green": "stain",
    "saturation": "stain",
    "sharpness": "sharpness",
    "width": "size",
    "height": "size",
}
"""Columns of `Scan.facts` that are compared, and what a difference in them is called."""


def cautions(dataset: Dataset, scan: Scan) -> list[str]:
    """Say how labelled photographs differ from those without labels; nothing where they do not."""
    labelled = np.zeros(len(scan.paths), dtype=np.bool_)
    labelled[scan.photograph[dataset.labels >= 0]] = True
    inside = scan.readable
    if min((labelled & inside).sum(), (~labelled & inside).sum()) < LEAST:
        return []
    values = scan.facts[list(MEASURES)].to_numpy(dtype=np.float64)[inside]
    said = []
    p, at, higher = difference(values, labelled[inside])
    if p <= RISK:
        what, side = [*MEASURES.values()][at], "higher" if higher else "lower"
        column = [*MEASURES][at].replace("_perc_", " ").replace("_", " ")
        said.append(
            f"The labelled photographs are not like those without labels: they differ in {what} "
            f"({column} is {side}, p = {p:.3f}). Figures hold for photographs like the labelled "
            "ones; label some of the others too."
        )
    if in_a_row(scan.paths, labelled) <= RISK:
        said.append(
            "The labelled photographs lie next to one another in the order of their names, and "
            "neighbours resemble one another more than the rest does: figures are too good by "
            "that. Label photographs from all over the series."
        )
    return said


def difference(values: FloatArray, labelled: BoolArray) -> tuple[float, int, bool]:
    """Compare two sets of photographs in all measures at once, by ranks.

    The largest mean difference of standardised ranks, compared with that of permuted labels: one
    test for all measures (Westfall & Young 1993, the maximum's distribution).

    Parameters
    ----------
    values
        (P, M); NaN counts as the median.
    labelled
        (P,).

    Returns
    -------
    tuple
        p, the measure that differs most, and whether it is higher where labelled.
    """
    filled = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    ranks = np.stack([_ranks(column) for column in filled.T], axis=1)
    gaps = ranks[labelled].mean(axis=0)
    rng = np.random.default_rng(0)
    count = int(labelled.sum())
    drawn = [np.abs(ranks[rng.permutation(len(ranks))[:count]].mean(axis=0)).max()
             for _ in range(DRAWS)]  # fmt: skip
    at = int(np.abs(gaps).argmax())
    p = (1 + np.sum(np.array(drawn) >= np.abs(gaps[at]) - 1e-12)) / (1 + DRAWS)
    return float(p), at, bool(gaps[at] > 0)


def _ranks(column: FloatArray) -> FloatArray:
    """Give mid-ranks with mean 0 and variance 1; all 0 where nothing differs."""
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    found: FloatArray = middle[inverse] - middle[inverse].mean()
    spread = found.std()
    return found / spread if spread > 0 else found


def in_a_row(paths: tuple[str, ...], labelled: BoolArray) -> float:
    """Give p of the hypothesis that labels were dealt at random along the order of names.

    Neighbours of which both are labelled are counted within each folder, or over all where folders
    hold labelled photographs alone or none (the runs test of Wald & Wolfowitz 1940, by permutation
    within folders).
    """
    folders = np.array([str(Path(file_of(path)).parent) for path in paths])
    mixed = [f for f in np.unique(folders) if len(set(labelled[folders == f])) == 2]
    if not mixed:
        folders = np.full(len(paths), "")
        mixed = [""]
    order = sorted(range(len(paths)), key=lambda i: _natural(Path(file_of(paths[i])).name))
    series = [np.array([i for i in order if folders[i] == f], dtype=np.int64) for f in mixed]
    rng = np.random.default_rng(0)

    def pairs(marks: list[npt.NDArray[np.bool_]]) -> int:
        return sum(int((m[1:] & m[:-1]).sum()) for m in marks)

    real = [_marks(labelled, s) for s in series]
    found = pairs(real)
    drawn = np.array([pairs([rng.permutation(m) for m in real]) for _ in range(DRAWS)])
    return float((1 + np.sum(drawn >= found)) / (1 + DRAWS))


def _marks(labelled: BoolArray, series: IntArray) -> npt.NDArray[np.bool_]:
    marks: npt.NDArray[np.bool_] = labelled[series]
    return marks


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Order names as people number them: 9 before 10."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name) if p]
