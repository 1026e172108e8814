"""Who learns and who judges in a comparison: one hold-out, folds, or repeated shuffles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from cytowell import splits
from cytowell.errors import RecipeError, TooFewImages
from cytowell.types import Dataset, IntArray

CALIBRATE = 0.1
"""Share of the training part that calibrates and lets candidates be chosen."""


@dataclass(frozen=True)
class Protocol:
    """One way to divide the images: its name, and how many cells or what share.

    Attributes
    ----------
    name
        `holdout`, `folds` or `shuffles`.
    count
        Folds or shuffles.
    test
        Share of the images that judge, of a hold-out or a shuffle.
    """

    name: str
    count: int = 1
    test: float = 0.3

    def __post_init__(self) -> None:
        if self.name == "folds" and self.count < 2:
            raise RecipeError(f"folds = {self.count} cannot hold.", "Use 2 or more.")
        if self.count < 1:
            raise RecipeError(f"shuffles = {self.count} cannot hold.", "Use 1 or more.")
        if not 0.05 <= self.test <= 0.8:
            raise RecipeError(f"holdout = {self.test} is no share.", "Use 0.05 to 0.8.")

    def __str__(self) -> str:
        if self.name == "folds":
            return f"{self.count}-fold cross-validation"
        if self.name == "shuffles":
            return f"{self.count} shuffles of {1 - self.test:.0%} / {self.test:.0%}"
        return f"hold-out {1 - self.test:.0%} / {self.test:.0%}"


@dataclass(frozen=True)
class Division:
    """Positions of those who learn, calibrate and judge; `fold` counts from 0."""

    fold: int
    seed: int
    train: IntArray
    validation: IntArray
    test: IntArray


def divisions(
    protocol: Protocol, dataset: Dataset, rows: IntArray, units: IntArray, seed: int
) -> Iterator[Division]:
    """Give the divisions of a protocol over the samples at `rows`.

    Parameters
    ----------
    units
        Unit of each of the data set's samples; none is ever torn apart.

    Raises
    ------
    TooFewImages
        If a class has fewer units than folds, or one unit only.
    """
    _demand(protocol, dataset, rows, units)
    if protocol.name == "folds":
        cutter = StratifiedGroupKFold(protocol.count, shuffle=True, random_state=seed)
        cuts = cutter.split(rows, dataset.labels[rows], units[rows])
        for fold, (rest, test) in enumerate(cuts):
            yield _division(dataset, units, rows[rest], rows[test], fold, seed)
        return
    for fold in range(protocol.count if protocol.name == "shuffles" else 1):
        parts = splits.allocate(
            dataset.labels[rows], units[rows], {"test": protocol.test}, seed + fold
        )
        yield _division(
            dataset, units, rows[parts != "test"], rows[parts == "test"], fold, seed + fold
        )


def _division(
    dataset: Dataset, units: IntArray, rest: IntArray, test: IntArray, fold: int, seed: int
) -> Division:
    share = min(CALIBRATE, splits.MOST_VALIDATION / len(rest))
    parts = splits.allocate(dataset.labels[rest], units[rest], {"validation": share}, seed + 1)
    missing = set(np.unique(dataset.labels[rest])) - set(dataset.labels[rest[parts == "train"]])
    if missing or not (parts == "validation").any() or not len(test):
        raise TooFewImages(
            "There are too few images to learn, to calibrate and to judge in every fold.",
            "Add images, or use fewer folds.",
        )
    return Division(
        fold,
        seed,
        np.sort(rest[parts == "train"]),
        np.sort(rest[parts == "validation"]),
        np.sort(test),
    )


def _demand(protocol: Protocol, dataset: Dataset, rows: IntArray, units: IntArray) -> None:
    wanted = protocol.count if protocol.name == "folds" else 2
    for c, name in enumerate(dataset.classes):
        here = rows[dataset.labels[rows] == c]
        found = len(np.unique(units[here]))
        if found < wanted:
            raise TooFewImages(
                f"The class {name!r} has {len(here)} usable image(s) in {found} group(s), fewer "
                f"than the {wanted} that {protocol} needs.",
                f"Add images of other groups, or use --folds {max(2, found)}."
                if found >= 2
                else "Add images of other slides, plates or donors, or ask for --by-image.",
            )
