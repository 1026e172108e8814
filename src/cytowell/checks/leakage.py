"""What is wrong with the set as a whole: too few images, uneven classes, splits that leak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cytowell.checks.issues import Issue, findings, flags, shown
from cytowell.types import BoolArray, Dataset, Findings

UNEVEN = 3.0
"""Largest class over smallest from which it is remarked on."""

FEW = 30
"""Images in a class under which figures come from cross-validation."""

_SIDES = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train"}


def check(dataset: Dataset, found: Findings | None = None, resplit: bool = False) -> Findings:
    """Find classes that cannot be learnt and groups on both sides of a given split.

    Issue: `leakage`. It blocks, as does a set of one class or a class of one image.

    Parameters
    ----------
    found
        What the other checks found: copies count once, excluded samples not at all, and a set of
        copies on both sides of a split leaks like a group.
    resplit
        Whether a new split is made anyway; leakage of the given one is then only remarked on.
    """
    usable = np.ones(len(dataset), dtype=np.bool_)
    sets: Sequence[str] = ("",) * len(dataset)
    if found is not None:
        usable = ~found.excluded if len(found.excluded) else usable
        sets = found.duplicate_sets or sets
    blocking, remarks = _balance(dataset, usable, sets)
    blocking += _spelling(dataset)
    leak, sentences = _leaks(dataset, usable, sets)
    if resplit:
        remarks += [f"{s} A new split is made." for s in sentences]
    else:
        remedy = "Give what belongs together to one side, or have a new split made."
        blocking += [f"{s} {remedy}" for s in sentences]
    return findings(dataset, {"leakage": leak}, blocking, remarks)


def _balance(
    dataset: Dataset, usable: BoolArray, sets: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Judge how many different images each class has."""
    different: dict[str, set[str]] = {name: set() for name in dataset.classes}
    groups: dict[str, set[str]] = {name: set() for name in dataset.classes}
    for i, sample in enumerate(dataset.samples):
        if sample.label in different and usable[i]:
            different[sample.label].add(sets[i] or f"{sample.path}|{sample.box}")
            groups[sample.label].add(str(dataset.groups[i]))
    counts = {name: len(images) for name, images in different.items()}
    if not counts:
        return [], ["No image has a label: there is nothing to learn from yet."]
    blocking = [
        f"The class {name!r} has {'one usable image' if n else 'no usable image'}. "
        "Add images of it, merge it with another class, or take it out."
        for name, n in counts.items()
        if n < 2
    ]
    if len(counts) == 1:
        blocking.append(
            f"There is one class only, {dataset.classes[0]!r}. Add images of what it is to be told "
            "from, one folder or label for each class."
        )
    return blocking, _remark_balance(counts, groups, dataset.has_groups)


def _remark_balance(
    counts: dict[str, int], groups: dict[str, set[str]], grouped: bool
) -> list[str]:
    remarks = []
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[least] and counts[most] >= UNEVEN * counts[least]:
        remarks.append(
            f"Classes are uneven: {most} has {counts[most]} images, {least} {counts[least]}. "
            "Look at balanced accuracy and each class's recall, not at accuracy alone."
        )
    few = [f"{name} ({n})" for name, n in counts.items() if n < FEW]
    if few:
        remarks.append(f"Fewer than {FEW} images: {shown(few)}. Intervals will be wide.")
    alone = [name for name, n in counts.items() if n > 1 and len(groups[name]) == 1]
    if grouped and alone:
        remarks.append(
            f"All images of {shown(alone)} belong to one group: how well that class is known in "
            "other groups cannot be measured."
        )
    return remarks


def _spelling(dataset: Dataset) -> list[str]:
    """Find labels that a human reads as one."""
    spelt: dict[str, list[str]] = {}
    for name in dataset.classes:
        spelt.setdefault("".join(name.split()).casefold(), []).append(name)
    return [
        f"The labels {', '.join(map(repr, names))} differ only by case or space. "
        "Write one of them throughout."
        for names in spelt.values()
        if len(names) > 1
    ]


def _leaks(dataset: Dataset, usable: BoolArray, sets: Sequence[str]) -> tuple[Issue, list[str]]:
    """Find groups and sets of copies that lie on more than one side of the given split."""
    sides = [side_of(sample.split) for sample in dataset.samples]
    owners = {
        "groups": [sample.group or "" for sample in dataset.samples],
        "sets of copies": list(sets),
    }
    why: dict[int, str] = {}
    sentences = []
    for what, names in owners.items():
        members: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            if name and sides[i] and usable[i]:
                members.setdefault(name, []).append(i)
        torn = {n: m for n, m in members.items() if len({sides[i] for i in m}) > 1}
        for name, positions in torn.items():
            both = " and ".join(sorted({sides[i] for i in positions}))
            why |= dict.fromkeys(positions, f"{what[:-1] if what == 'groups' else 'copies'} "
                                 f"{name} in {both}")  # fmt: skip
        if torn:
            example = _example(dataset, what, torn)
            sentences.append(f"{len(torn)} {what} lie on both sides of the given split: {example}.")
    flagged: npt.NDArray[np.bool_] = np.zeros(len(dataset), dtype=np.bool_)
    flagged[list(why)] = True
    return flags(flagged, why), sentences


def _example(dataset: Dataset, what: str, torn: dict[str, list[int]]) -> str:
    if what == "groups":
        return shown(sorted(torn))
    first = torn[min(torn, key=lambda name: torn[name][0])]
    return shown(list(dict.fromkeys(dataset.paths[i] for i in first)))


def side_of(split: str | None) -> str:
    """Give the usual name of a split's side; "" where none is given."""
    name = (split or "").strip().casefold()
    return _SIDES.get(name, name)
