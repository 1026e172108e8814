"""Who learns, calibrates and judges in a run, and which images its folds may not tear apart."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cytowell import splits
from cytowell.errors import SplitError, TooFewImages
from cytowell.learners.frozen import FEW
from cytowell.learners.linear import FEW_GROUPS, spanning
from cytowell.runs.recipe import Recipe
from cytowell.types import BoolArray, Dataset, Findings, IntArray, Predictions, Split

FOLDS = 5
"""Folds of whole groups for learners that take minutes; `frozen` leaves out each group."""

LEAVES_OUT = ("frozen", "finetune", "contrastive")
"""Learners that are fitted anew without each group, where groups are few."""


def divide(
    dataset: Dataset, findings: Findings, recipe: Recipe, split: Split | None
) -> tuple[Split, bool]:
    """Give the split, and whether it holds nothing back because images or groups are few.

    Of fewer than `FEW_GROUPS` groups each is left out in turn instead: one that was held back for
    good would judge for all the others.

    What the user set aside, in a split file or by the data, stays set aside however few images
    there are; few images without a validation part calibrate out of fold.

    Raises
    ------
    TooFewImages, SplitError
        If nobody is left to learn, to calibrate or to judge.
    """
    usable = (dataset.labels >= 0) & ~findings.excluded
    splits.require_classes(dataset, usable)
    rarest = int(np.bincount(dataset.labels[usable], minlength=len(dataset.classes)).min())
    units = splits.units_of(dataset, findings, recipe.by_image)
    frozen = recipe.learner == "frozen"
    few = frozen and rarest < FEW
    groups = few_groups(dataset, units, usable, recipe)
    given = _given(dataset, recipe, split)
    set_aside = bool(np.isin(given[usable], ("validation", "test")).any())
    if (few or groups) and not set_aside:
        kept = usable & (given != "excluded")
        splits.require_classes(dataset, kept)
        _require_two_groups(dataset, units, kept)
        how = (
            f"nothing held back: a class has fewer than {FEW} images, so all figures come "
            "from grouped cross-validation"
        )
        if groups:
            how = (
                f"nothing held back: the images come from {groups} groups, so all figures come "
                "from grouped cross-validation: "
            ) + (
                "each of them is left out in turn"
                if frozen
                else f"{min(FOLDS, groups)} folds of whole groups are left out in turn"
            )
        parts = np.where(kept, "train", "excluded")
        return Split(parts, dataset.paths, how=how, seed=recipe.seed), True
    if split is not None:
        made = replace(split, parts=np.where(usable, split.parts, "excluded"))
        _require_learnt(dataset, made, usable)
        splits.refuse_torn(made.parts, units, dataset)
    else:
        # Few images calibrate better out of fold than by the two or three that could be cut off.
        made = _made(dataset, findings, recipe, few)
    if frozen and len(np.unique(units[made.train])) < 2:
        raise SplitError(
            "All images of the training part belong to one group, or are copies of one another: "
            "the learner could not weigh its settings on images of another.",
            "Mark images of other groups as train, or ask for --by-image.",
        )
    for part, purpose in (("validation", "calibrate"), ("test", "judge")):
        if not len(made.where(part)) and not (few and part == "validation"):
            raise TooFewImages(
                f"No image is left to {purpose}: the split has no {part} part.",
                "Add images, or use --learner frozen, which needs fewest."
                if split is None
                else f"Mark images as {part} in the split, or leave it away to have one made.",
            )
    return made, False


def _given(dataset: Dataset, recipe: Recipe, split: Split | None) -> npt.NDArray[np.str_]:
    """Give the part that the user chose for each sample, "" for none."""
    if split is not None:
        return split.parts
    if recipe.new_split:
        return np.full(len(dataset), "")
    return splits.given_parts(dataset)


def _require_learnt(dataset: Dataset, made: Split, usable: BoolArray) -> None:
    missing = set(dataset.labels[usable].tolist()) - set(dataset.labels[made.train].tolist())
    if missing:
        raise SplitError(
            f"The split leaves no image of {dataset.classes[min(missing)]!r} to learn from.",
            "Mark some of them as train.",
        )


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


def as_begun(folder: Path, dataset: Dataset, made: Split, few: bool) -> tuple[Split, bool]:
    """Give the split that a run was begun with, where an earlier version divided otherwise."""
    if not any((folder / name).exists() for name in ("checkpoints", "bundle", "folds")):
        return made, few
    if not (folder / "split.csv").is_file():
        return made, few
    begun = splits.load(folder / "split.csv", dataset)
    if begun.parts.tolist() == made.parts.tolist():
        return made, few
    begun = replace(begun, how="as this run was begun", seed=made.seed)
    return begun, few and not len(begun.test)


def with_parts(calls: Predictions, made: Split) -> Predictions:
    """Write each call's part into its sample, as `predictions.csv` shows it."""
    part = dict(zip(made.paths, made.parts, strict=True))
    samples = tuple(replace(s, split=str(part[s.path])) for s in calls.samples)
    return replace(calls, samples=samples)


def few_groups(dataset: Dataset, units: IntArray, usable: BoolArray, recipe: Recipe) -> int:
    """Give the number of groups where they are named and too few to hold one back, else 0."""
    count = len(np.unique(units[usable]))
    named = dataset.has_groups and not recipe.by_image and count < usable.sum()
    return count if named and count < FEW_GROUPS and recipe.learner in LEAVES_OUT else 0


def _require_two_groups(dataset: Dataset, units: IntArray, usable: BoolArray) -> None:
    """Refuse images of which no two classes come from two groups: no figure could be given."""
    known = spanning(dataset.labels[usable], units[usable].astype(np.str_))
    if len(known) >= 2:
        return
    name = next(n for c, n in enumerate(dataset.classes) if c not in known)
    raise SplitError(
        f"All images of {name!r} belong to one group, or are copies of one another, and so do "
        "those of all other classes but one: nothing could judge how calls hold on images of "
        "another group.",
        "Add images of other groups of this class, or ask for --by-image.",
    )


def _made(dataset: Dataset, findings: Findings, recipe: Recipe, few: bool) -> Split:
    given = dataset
    if recipe.new_split:
        given = replace(dataset, samples=tuple(replace(s, split=None) for s in dataset.samples))
    return splits.split(
        given,
        findings,
        test=recipe.test,
        validation=0.0 if few else recipe.validation,
        seed=recipe.seed,
        by_image=recipe.by_image,
    )
