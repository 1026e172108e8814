"""Who learns, who calibrates, who judges: grouped, stratified, seeded, saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cytowell.checks.leakage import side_of
from cytowell.errors import SplitError, TooFewImages
from cytowell.storage import write_with
from cytowell.types import Dataset, Findings, IntArray, Split

MOST_VALIDATION = 600
"""Images that are enough to set a temperature and thresholds; the rest had better be learnt."""


def split(
    dataset: Dataset,
    findings: Findings | None = None,
    test: float = 0.3,
    validation: float = 0.1,
    seed: int = 7,
    by_image: bool = False,
) -> Split:
    """Divide a data set so that no group and no set of copies lies on two sides.

    A split that the data brings along (a `split` column, ``train/valid/test`` folders) is kept;
    where it has no validation part, one is cut from its training part.

    Parameters
    ----------
    test
        Share of the images that judge.
    validation
        Share of the rest that calibrates, at most `MOST_VALIDATION` images; 0 for none.
    by_image
        Split single images although groups exist: leaks what images of a group share.

    Raises
    ------
    TooFewImages
        If there are fewer than two classes, or a class with fewer than two groups.
    SplitError
        If the given split tears a group or a set of copies apart.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=24)["wells"]
    >>> data = cytowell.read(folder)
    >>> made = cytowell.split(data, cytowell.check(data))
    >>> set(data.groups[made.train]) & set(data.groups[made.test])
    set()
    """
    usable = dataset.labels >= 0
    if findings is not None and len(findings.excluded) == len(dataset):
        usable &= ~findings.excluded
    require_classes(dataset, usable)
    units = units_of(dataset, findings, by_image)
    given = np.where(usable, given_parts(dataset), "")
    if not (given != "").any():
        _require_units(dataset, usable, units)
    parts = np.full(len(dataset), "excluded", dtype="<U10")
    names = "images" if by_image else "groups and copies kept together"
    if (given != "").any():
        parts[usable] = np.where(given[usable] == "", "train", given[usable])
        refuse_torn(parts, units, dataset)
        how = "as the data gives it"
        if not (parts == "test").any():
            pool = np.flatnonzero(parts == "train")
            parts[pool] = allocate(dataset.labels[pool], units[pool], {"test": test}, seed)
            how += f", with {test:.0%} of the training part cut off for the test"
    else:
        pool = np.flatnonzero(usable)
        parts[pool] = allocate(dataset.labels[pool], units[pool], {"test": test}, seed)
        how = f"{1 - test:.0%} / {test:.0%}, stratified, {names}, seed {seed}"
    pool = np.flatnonzero(parts == "train")
    if len(pool) and validation > 0 and not (parts == "validation").any():
        share = min(validation, MOST_VALIDATION / len(pool))
        parts[pool] = allocate(dataset.labels[pool], units[pool], {"validation": share}, seed + 1)
        how += f"; {int((parts == 'validation').sum())} images of the training part calibrate"
    missing = set(np.unique(dataset.labels[usable])) - set(dataset.labels[parts == "train"])
    if missing:
        name = dataset.classes[min(missing)]
        raise SplitError(
            f"No image of {name!r} is left to learn from.",
            "Add images of other groups of this class, or make the test part smaller.",
        )
    return Split(parts, dataset.paths, how=how, seed=seed)


def given_parts(dataset: Dataset) -> npt.NDArray[np.str_]:
    """Give the part that the data brings for each sample, empty for none; shape (N,).

    Raises
    ------
    SplitError
        If a part has a name that nobody knows: its samples would be lost.
    """
    parts = [side_of(s.split) for s in dataset.samples]
    for part in set(parts) - {"", "train", "validation", "test", "excluded"}:
        raise SplitError(
            f"The data has a part {part!r}.",
            "Name parts train, validation (or val) and test, or have a new split made.",
        )
    return np.array(parts, dtype="<U10")


def require_classes(dataset: Dataset, usable: npt.NDArray[np.bool_]) -> None:
    """Refuse a data set with one class, or with a class of fewer than two images."""
    counts = np.bincount(dataset.labels[usable], minlength=len(dataset.classes))
    if len(dataset.classes) < 2:
        only = dataset.classes[0] if dataset.classes else "none"
        raise TooFewImages(
            f"{dataset.origin or 'The data'} has one class only ({only}).",
            "Put the images of each class in a folder of its own, at least two folders.",
        )
    if counts.min() < 2:
        name = dataset.classes[int(counts.argmin())]
        raise TooFewImages(
            f"The class {name!r} has {int(counts.min())} usable image(s).",
            "Add images of it (ten are a start), or take the class out.",
        )


def _require_units(dataset: Dataset, usable: npt.NDArray[np.bool_], units: IntArray) -> None:
    """Refuse a class whose images all belong together: nobody could learn it and judge it too."""
    for c, name in enumerate(dataset.classes):
        here = usable & (dataset.labels == c)
        if len(np.unique(units[here])) < 2:
            raise TooFewImages(
                f"All {int(here.sum())} usable images of the class {name!r} belong to one group, "
                "or are copies of one another.",
                "Add images of it from another slide, plate or donor, or take the class out.",
            )


def units_of(dataset: Dataset, findings: Findings | None, by_image: bool = False) -> IntArray:
    """Give the number of the unit that each sample belongs to; units are never torn apart.

    A unit is what groups and sets of copies join, directly or through one another. Units are
    counted in the order of their samples' paths, so that what is dealt by their numbers does not
    depend on the order of a table's rows.
    """
    n = len(dataset)
    keys: list[Sequence[str]] = []
    if not by_image:
        keys.append(dataset.groups.tolist())
    if findings is not None and len(findings.duplicate_sets) == n:
        keys.append([d or f"\0{i}" for i, d in enumerate(findings.duplicate_sets)])
    rows, columns = [np.arange(n)], [np.arange(n)]
    for key in keys:
        _, first, inverse = np.unique(np.array(key), return_index=True, return_inverse=True)
        rows.append(np.arange(n))
        columns.append(first[inverse])
    a, b = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    _, units = connected_components(graph, directed=False)
    samples = dataset.samples
    order = sorted(range(n), key=lambda i: (samples[i].path, str(samples[i].box), str(samples[i])))
    _, first, inverse = np.unique(units[order], return_index=True, return_inverse=True)
    number = np.empty(n, dtype=np.int64)
    number[order] = np.argsort(np.argsort(first))[inverse]
    return number


def allocate(
    labels: IntArray, units: IntArray, shares: dict[str, float], seed: int
) -> npt.NDArray[np.str_]:
    """Deal units to parts so that every class comes near its share in each.

    Large units first, each to the part whose classes lack most; the rest goes to `train`, and no
    class is ever missing there.
    """
    rng = np.random.default_rng(seed)
    names = [*shares, "train"]
    wanted = np.array([*shares.values(), 1 - sum(shares.values())])
    classes, y = np.unique(labels, return_inverse=True)
    _, inverse = np.unique(units, return_inverse=True)
    counts = np.zeros((int(inverse.max()) + 1, len(classes)))
    np.add.at(counts, (inverse, y), 1)
    targets = wanted[:, None] * counts.sum(axis=0)[None, :]
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    filled = np.zeros_like(targets)
    dealt = np.empty(len(counts), dtype=np.int64)
    train = len(names) - 1
    for unit in order:
        size = counts[unit]
        lacking = (targets - filled) / np.maximum(targets, 1e-9)
        worth = (lacking * (size / size.sum())).sum(axis=1)
        # What would be overfilled by more than half an image is full; only train takes any unit.
        over = (filled + size - targets).clip(min=0).sum(axis=1) > 0.5
        over[train] = False
        choice = int(np.argmax(np.where(over, -np.inf, worth)))
        dealt[unit] = choice
        filled[choice] += size
    for part, name in enumerate(shares):
        if shares[name] > 0:
            _top_up(dealt, part, train, counts, targets[part])
            _represent(dealt, part, train, counts, order)
    for c in range(len(classes)):
        of_class = [u for u in order if counts[u, c] > 0]
        if not any(dealt[u] == train for u in of_class):
            dealt[of_class[-1]] = train
    return np.array(names)[dealt[inverse]]


def _top_up(
    dealt: IntArray,
    part: int,
    train: int,
    counts: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
) -> None:
    """Move units from train to a part while that brings it nearer by half an image or more."""
    while True:
        here = counts[dealt == part].sum(axis=0)
        left = counts[dealt == train].sum(axis=0)
        gain = np.abs(here - target).sum() - np.abs(here + counts - target).sum(axis=1)
        spare = (dealt == train) & ((counts == 0) | (counts < left)).all(axis=1)
        gain[~spare] = 0
        best = int(np.argmax(gain))
        if gain[best] < 0.5:
            return
        dealt[best] = part


def _represent(
    dealt: IntArray, part: int, train: int, counts: npt.NDArray[np.float64], order: IntArray
) -> None:
    """Give a part a unit of every class that it lacks and that has three units or more."""
    for c in range(counts.shape[1]):
        of_class = [u for u in order if counts[u, c] > 0]
        if len(of_class) >= 3 and not any(dealt[u] == part for u in of_class):
            spare = [u for u in of_class if dealt[u] == train]
            if len(spare) >= 2:
                dealt[spare[-1]] = part


def refuse_torn(parts: npt.NDArray[np.str_], units: IntArray, dataset: Dataset) -> None:
    """Raise a SplitError if a unit lies in more than one part."""
    inside = np.flatnonzero(parts != "excluded")
    frame = pd.DataFrame({"unit": units[inside], "part": parts[inside]})
    sides = frame.groupby("unit")["part"].nunique()
    torn = sides.index[sides > 1]
    if len(torn):
        members = inside[units[inside] == torn[0]]
        shown = " and ".join(f"{dataset.paths[i]} ({parts[i]})" for i in members[:2])
        raise SplitError(
            f"The given split tears {len(torn)} group(s) or sets of copies apart, such as {shown}.",
            "Use --new-split to have one made that keeps them together.",
        )


def save(made: Split, path: Path) -> None:
    """Save a split as a table that can be fed back with --split."""
    write_with(path, lambda beside: made.frame().to_csv(beside, index=False))


def load(path: Path, dataset: Dataset) -> Split:
    """Lay a saved split on its data set."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SplitError(f"{path} cannot be read as a split file ({error}).") from error
    return Split.from_frame(frame, dataset)
