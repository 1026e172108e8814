"""What the formats of annotated photographs share: sizes, samples of a photograph, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cytowell.errors import BadAnnotation
from cytowell.images import FORMATS, SUFFIXES, printable_size
from cytowell.sources.folders import walk
from cytowell.types import Box, Dataset, Sample

PARTS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders and files that say which part a photograph belongs to."""

MOST_BOXES = 100_000
"""Boxes of one photograph beyond which its label file is taken for something else."""


@dataclass
class Annotated:
    """One photograph with its boxes, as a format's reader found them."""

    path: str
    boxes: list[tuple[str, Box]] = field(default_factory=list)
    split: str | None = None
    missing: bool = False


def dataset_of(
    photographs: Iterable[Annotated], classes: Sequence[str] = (), notes: Sequence[str] = ()
) -> Dataset:
    """Give a sample per box; a photograph without objects stays as a sample without a box.

    Each sample's group is its photograph.
    """
    samples = []
    for photo in photographs:
        extra = {"annotation": "missing" if photo.missing else "boxes" if photo.boxes else "empty"}
        if not photo.boxes:
            samples.append(Sample(photo.path, None, photo.path, photo.split, extra=extra))
        for label, box in photo.boxes:
            samples.append(
                Sample(photo.path, label or None, photo.path, photo.split, box=box, extra=extra)
            )
    known = {s.label for s in samples if s.label} | {c for c in classes if c}
    return Dataset(tuple(samples), tuple(sorted(known)), notes=tuple(notes))


def images_below(folder: Path) -> list[Path]:
    """Give the images of a folder, in the order of names."""
    return [f for f in walk(folder) if f.suffix.lower() in SUFFIXES]


def part_of(path: Path, root: Path) -> str | None:
    """Give the part that a folder between `root` and a file names, None without one."""
    for name in path.relative_to(root).parts[:-1]:
        if name.lower() in PARTS:
            return PARTS[name.lower()]
    return None


def upright_size(path: Path) -> tuple[int, int]:
    """Give width and height of a photograph held upright, from its header alone.

    Raises
    ------
    BadAnnotation
        If it is no image: boxes in shares of its sides then mean nothing.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return printable_size(image)
    except Exception as error:  # Pillow raises whatever the broken bytes lead to
        raise BadAnnotation(
            f"{path} cannot be read as an image, so its boxes cannot be placed ({error}).",
            "Copy it again, or remove it and its label file.",
        ) from error
