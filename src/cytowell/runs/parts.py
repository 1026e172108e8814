"""Who learns, calibrates and judges in a run, and which images its folds may not tear apart."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from cytowell import splits
from cytowell.errors import SplitError, TooFewImages
from cytowell.learners.frozen import FEW
from cytowell.runs.recipe import Recipe
from cytowell.types import BoolArray, Dataset, Findings, Predictions, Split


def divide(
    dataset: Dataset, findings: Findings, recipe: Recipe, split: Split | None
) -> tuple[Split, bool]:
    """Give the split, and whether it holds nothing back because a class has few images.

    Raises
    ------
    TooFewImages, SplitError
        If nobody is left to learn, to calibrate or to judge.
    """
    usable = (dataset.labels >= 0) & ~findings.excluded
    splits.require_classes(dataset, usable)
    rarest = int(np.bincount(dataset.labels[usable], minlength=len(dataset.classes)).min())
    if recipe.learner == "frozen" and rarest < FEW:
        _require_two_units(dataset, findings, recipe, usable)
        how = (
            f"nothing held back: a class has fewer than {FEW} images, so all figures come from "
            "grouped cross-validation"
        )
        parts = np.where(usable, "train", "excluded")
        return Split(parts, dataset.paths, how=how, seed=recipe.seed), True
    made = split if split is not None else _made(dataset, findings, recipe)
    for part, purpose in (("validation", "calibrate"), ("test", "judge")):
        if not len(made.where(part)):
            raise TooFewImages(
                f"No image is left to {purpose}: the split has no {part} part.",
                "Add images, or use --learner frozen, which needs fewest.",
            )
    return made, False


def by_unit(dataset: Dataset, findings: Findings | None, by_image: bool) -> Dataset:
    """Give the data set with the unit that may not be torn apart as each sample's group.

    So that a learner's folds keep copies together as well as groups, and single images where that
    was asked for.
    """
    units = splits.units_of(dataset, findings, by_image).tolist()
    members: dict[int, list[str]] = {}
    for unit, key in zip(units, dataset.row_keys(), strict=True):
        members.setdefault(unit, []).append(key)
    # By what is in them, not by their numbers: what is kept by groups outlives another table.
    names = {
        unit: hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]
        for unit, keys in members.items()
    }
    samples = zip(dataset.samples, units, strict=True)
    return replace(dataset, samples=tuple(replace(s, group=f"unit {names[u]}") for s, u in samples))


def with_parts(calls: Predictions, made: Split) -> Predictions:
    """Write each call's part into its sample, as `predictions.csv` shows it."""
    part = dict(zip(made.paths, made.parts, strict=True))
    samples = tuple(replace(s, split=str(part[s.path])) for s in calls.samples)
    return replace(calls, samples=samples)


def _require_two_units(
    dataset: Dataset, findings: Findings, recipe: Recipe, usable: BoolArray
) -> None:
    units = splits.units_of(dataset, findings, recipe.by_image)
    for c, name in enumerate(dataset.classes):
        if len(np.unique(units[usable & (dataset.labels == c)])) < 2:
            raise SplitError(
                f"All images of {name!r} belong to one group, or are copies of one another: "
                "nothing could judge how its calls hold on images of another.",
                "Add images of other groups of this class, or ask for --by-image.",
            )


def _made(dataset: Dataset, findings: Findings, recipe: Recipe) -> Split:
    given = dataset
    if recipe.new_split:
        given = replace(dataset, samples=tuple(replace(s, split=None) for s in dataset.samples))
    return splits.split(
        given,
        findings,
        test=recipe.test,
        validation=recipe.validation,
        seed=recipe.seed,
        by_image=recipe.by_image,
    )
