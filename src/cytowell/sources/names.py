"""What file names say: of which photograph a file is a copy, what belongs together, which kind."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cytowell.errors import DatasetError
from cytowell.types import Dataset, Sample

_ROBOFLOW = re.compile(r"^(?P<stem>.+)\.rf\.[0-9a-f]{8,}$", re.IGNORECASE)

_FEW_EACH = 3
"""Files that begin with a word, on average, before words are taken to mean something; and of each
kind, before it is one."""

_CAMERAS = frozenset({"IMG", "DSC", "DSCN", "DSCF", "PXL", "MVIMG", "PHOTO", "IMAGE", "SCAN"})
"""What cameras begin names with."""


def roboflow_stem(path: str) -> str | None:
    """Give the photograph that a Roboflow file is a copy of, None if it is no such file."""
    found = _ROBOFLOW.match(Path(path).stem)
    return found["stem"] if found else None


def with_roboflow_groups(dataset: Dataset) -> Dataset:
    """Make copies of one photograph, as Roboflow names them, one group."""
    stems = [roboflow_stem(s.path) for s in dataset.samples]
    if not any(stems):
        return dataset
    samples = tuple(
        replace(s, group=stem) if stem and s.group is None else s
        for s, stem in zip(dataset.samples, stems, strict=True)
    )
    note = "Roboflow file names: copies of one photograph are one group."
    return replace(dataset, samples=samples, notes=(*dataset.notes, note))


def with_groups(dataset: Dataset, pattern: str, root: Path | None = None) -> Dataset:
    """Take the part of a file's name, or of its path, in the pattern's first bracket for its group.

    It is looked for in the names; where one does not fit, in every path.

    Parameters
    ----------
    root
        The folder that paths are told from; they are whole without it.

    Raises
    ------
    DatasetError
        If the pattern cannot be read, does not fit a name, or gives groups that tell the label.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"{pattern!r} is no regular expression ({error}).") from error
    if expression.groups < 1:
        raise DatasetError(
            f"{pattern!r} has no bracket.", "Put the part that names the group in brackets."
        )
    found = [expression.search(Path(s.path).name) for s in dataset.samples]
    if any(match is None or match[1] is None for match in found):
        found = [expression.search(_relative(s.path, root)) for s in dataset.samples]
    groups = []
    for s, match in zip(dataset.samples, found, strict=True):
        if match is None or match[1] is None:
            raise DatasetError(
                f"{s.path} does not match the group pattern {pattern!r}, neither its name nor "
                f"{_relative(s.path, root)!r}.",
                "Widen the pattern, or give groups in a table's column.",
            )
        groups.append(match[1])
    if _fixes_label(dataset.samples, groups):
        raise DatasetError(
            f"The group pattern {pattern!r} gives groups that tell the label "
            f"(such as {groups[0]!r}, always {dataset.samples[0].label!r}).",
            "They are names of classes, not of slides or donors: choose another pattern.",
        )
    samples = tuple(replace(s, group=g) for s, g in zip(dataset.samples, groups, strict=True))
    return replace(dataset, samples=samples)


def _relative(path: str, root: Path | None) -> str:
    """Give a path from a folder on, with / between its parts."""
    place = Path(path)
    if root is not None and place.is_relative_to(root):
        place = place.relative_to(root)
    return place.as_posix()


def _fixes_label(samples: Sequence[Sample], groups: Sequence[str]) -> bool:
    """Whether groups are labels in disguise: each has one label, and there are few of them."""
    labels = defaultdict(set)
    for s, g in zip(samples, groups, strict=True):
        labels[g].add(s.label)
    classes = {s.label for s in samples}
    pure = all(len(found) == 1 for found in labels.values())
    return pure and len(classes) > 1 and len(labels) <= 3 * len(classes)


def with_proposal(dataset: Dataset) -> Dataset:
    """Propose, never take, a grouping that the file names suggest."""
    if any(s.group is not None for s in dataset.samples) or len(dataset) < 10:
        return dataset
    words = _first_words(dataset.samples)
    different = set(words)
    if not _repeated(words) or _fixes_label(dataset.samples, words):
        return dataset
    note = (
        f"File names begin with {len(different)} different words (such as "
        f"{sorted(different)[0]!r}). If "
        "these name slides, plates or donors, say so: --group-pattern '^([^_. -]+)'."
    )
    return replace(dataset, notes=(*dataset.notes, note))


def kinds(dataset: Dataset) -> tuple[str | None, ...]:
    """Give each sample's sub-class: the given ones, else what file names tell, else none.

    Archives of cells often name the finer kind in front of the number: ``MMY_0041.jpg`` and
    ``PMY_0007.jpg``, both in the folder of immature granulocytes. The first words of names are
    kinds where each occurs in one class only and they are few: by the same rule they are refused
    as groups. A word that is the class's own name, in a class with others, tells no kind. Nor do
    words with digits (donors, dates) or a camera's; where groups are given, words may be theirs.
    """
    given = tuple(s.subclass for s in dataset.samples)
    groups = any(s.group is not None for s in dataset.samples)
    if any(given) or groups or len({s.label for s in dataset.samples}) < 2:
        return given
    words = _first_words(dataset.samples)
    if not _repeated(words) or not _fixes_label(dataset.samples, words):
        return given
    # A donor, a date or a camera is no kind of cell, though each may have come with one class.
    if any(re.search(r"\d", w) or w.upper() in _CAMERAS for w in words):
        return given
    labels = [str(s.label) for s in dataset.samples]
    often = Counter(words)
    several = Counter(label for label, _ in set(zip(labels, words, strict=True)))
    if max(several.values()) < 2:
        return given
    return tuple(
        None
        if often[word] < _FEW_EACH or (several[label] > 1 and word.casefold() == label.casefold())
        else word
        for label, word in zip(labels, words, strict=True)
    )


def _first_words(samples: Sequence[Sample]) -> list[str]:
    return [re.split(r"[_\-. ]", Path(s.path).name, maxsplit=1)[0] for s in samples]


def _repeated(words: Sequence[str]) -> bool:
    return 2 <= len(set(words)) <= len(words) / _FEW_EACH
