"""A folder of class folders: the first level is the class, a deeper one the slide or donor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cytowell.errors import DatasetError, EmptyDataset
from cytowell.images import SUFFIXES
from cytowell.sources.walk import PARTS, walk
from cytowell.types import Dataset, Sample, printable


def read(path: Path) -> Dataset:
    """Read class folders, below a ``train/valid/test`` level or not.

    Folders in class folders are groups: images of one stay on one side of a split, and folders of
    one name in several classes are one group. Where they name kinds, ask for `read_kinds`.

    Images that lie in no class folder are unlabelled. Links are followed once; hidden files and
    files that have no image's ending are skipped, and that is said.

    Raises
    ------
    EmptyDataset
        If there is no image.
    DatasetError
        If a folder may not be looked into: learning from the rest would go unnoticed. If a name
        is not UTF-8.
    """
    kinds = read_kinds(path)
    deeper = {s.subclass for s in kinds.samples if s.label is not None}
    samples = tuple(replace(s, subclass=None) for s in kinds.samples)
    if len(deeper) < 2:
        return replace(kinds, samples=samples)  # one folder in every class separates nothing
    pairs = zip(samples, kinds.samples, strict=True)
    # The uppermost of several levels: a donor's slides are no more apart than a slide's fields.
    grouped = tuple(
        replace(s, group=(own.subclass or "").split("/")[0] or None) for s, own in pairs
    )
    count = len({s.group for s in grouped} - {None})
    note = (
        f"{count} folders within the class folders are {count} groups (slides, plates or donors); "
        "no group is divided between training and test. If they are kinds of cells: --source kinds."
    )
    return replace(kinds, samples=grouped, notes=(*kinds.notes, note))


def read_kinds(path: Path) -> Dataset:
    """Read class folders of which the deeper ones name kinds within the class; raises as `read`."""
    found: list[Path] = []
    skipped: list[Path] = []
    closed: list[Path] = []
    for file in walk(path, closed):
        (found if file.suffix.lower() in SUFFIXES else skipped).append(file)
    if closed:
        raise DatasetError(
            f"{closed[0]} may not be looked into.",
            "Ask for the right to read it, or move it out of the way.",
        )
    unnamed = next((f for f in found if printable(str(f)) != str(f)), None)
    if unnamed is not None:
        raise DatasetError(
            f"The name of {printable(str(unnamed))} is not UTF-8: no table could hold it.",
            "Rename it; convmv or a file manager does it for a whole folder.",
        )
    if not found:
        raise EmptyDataset(
            f"{path} holds no images.", "JPEG, PNG, TIFF, BMP, WebP, HEIC, CZI and ND2 are read."
        )
    parts = [file.relative_to(path).parts[:-1] for file in found]
    tops = {p[0].lower() for p in parts if p}
    split_level = bool(tops) and tops <= set(PARTS) and any(len(p) > 1 for p in parts)
    samples = []
    for file, folders in zip(found, parts, strict=True):
        part = None
        if split_level and folders:
            part, folders = PARTS[folders[0].lower()], folders[1:]
        label = folders[0] if folders else None
        deeper = "/".join(folders[1:]) or None
        samples.append(Sample(str(file), label, split=part, subclass=deeper))
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    return Dataset(tuple(samples), classes, notes=tuple(_notes(samples, skipped)))


def _notes(samples: list[Sample], skipped: list[Path]) -> Iterator[str]:
    loose = sum(s.label is None for s in samples)
    if loose and loose < len(samples):
        yield f"{loose} images lie in no class folder and are not learnt from."
    if skipped:
        names = ", ".join(f.name for f in skipped[:3])
        yield f"{len(skipped)} files have no image's ending and were skipped ({names} ...)."
