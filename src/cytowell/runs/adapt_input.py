"""What an adaptation is given: labelled and unlabelled photographs that can be used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cytowell.errors import AmbiguousLabels, BadTable, TooFewImages
from cytowell.types import Dataset, Sample, file_of


def labelled_given(dataset: Dataset | None) -> list[Sample]:
    """Give the samples that have a label; a data set without any is refused."""
    if dataset is None:
        return []
    samples = [s for s in dataset.samples if s.label is not None]
    if not samples:
        raise BadTable(
            f"{dataset.origin} has no labels.",
            "Give a table with a column label, or class folders.",
        )
    return samples


def alike(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Refuse a label that differs from one of the bundle's classes by case or space alone."""
    known = {name.strip().casefold(): name for name in classes}
    for label in sorted({str(s.label) for s in samples}):
        meant = known.get(label.strip().casefold())
        if meant is not None and meant != label:
            raise AmbiguousLabels(
                f"The label {label!r} is the bundle's class {meant!r} in another spelling.",
                "Write it as the bundle does.",
            )


def enough(samples: Sequence[Sample]) -> None:
    """Refuse classes of which one readable photograph is labelled, or one class alone."""
    if not samples:
        return
    names = [str(s.label) for s in samples]
    single = sorted({n for n in names if names.count(n) < 2})
    if single:
        raise TooFewImages(
            f"The class {single[0]!r} has fewer than two labelled photographs that can be read.",
            "Label two of each class at least, or leave the class out.",
        )
    if len(set(names)) < 2:
        raise TooFewImages(
            f"All labelled photographs are of the class {names[0]!r}.", "Label a second class too."
        )


def distinct(own: Sequence[Sample], others: Sequence[Sample]) -> tuple[list[Sample], list[str]]:
    """Give the unlabelled photographs that are not among the labelled ones, by their bytes."""
    mine = {(_digest(s.path), s.box) for s in own}
    kept = [s for s in others if (_digest(s.path), s.box) not in mine]
    gone = len(others) - len(kept)
    note = f"{gone} unlabelled photographs are among the labelled ones and count once."
    return kept, [note] if gone else []


def _digest(path: str) -> str:
    try:
        data = Path(file_of(path)).read_bytes()
    except OSError:
        return path
    inside = path if file_of(path) != path else ""
    return hashlib.sha256(data).hexdigest() + inside
