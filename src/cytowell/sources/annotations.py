"""What every annotation format comes to: photographs, each with its boxes, as a data set.

A photograph without objects stays in it as one sample without a box. Coordinates are kept as they
are given, boxes that reach out of the photograph or have no area included: `cytowell check` finds
those, and nothing is lost on the way to another format.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytowell.errors import BadAnnotation, EmptyDataset, ImageError
from cytowell.images import SUFFIXES, orientation_of
from cytowell.sources.walk import PARTS, walk
from cytowell.types import Box, Dataset, Sample

LARGEST = 1e9
"""No pixel lies farther out."""

LONGEST = 64 << 20
"""Bytes of one text file of annotations, at most."""

ANNOTATION = "annotation"
"""Further column of each sample: the file that tells of it, "" where none does."""

WRITTEN_OUT = 3
"""Names that a sentence lists."""

Stands = tuple[tuple[int, int], int]
"""Width and height of an upright photograph, and the EXIF orientation it was stored in."""


@dataclass
class Told:
    """What the reading came across that its user has to know."""

    polygons: int = 0
    nameless: int = 0
    turned: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def stands(self, path: str) -> Stands | None:
        """Give how a photograph stands; None, and remembered, where that cannot be read."""
        try:
            return orientation_of(path)
        except ImageError as error:
            if Path(path).is_file() and str(error) not in self.unread:
                self.unread.append(str(error))
            return None

    def notes(self) -> Iterator[str]:
        """Say what every format may have come across."""
        yield from said(self.polygons, "polygons: the rectangle around each is taken.")
        yield from said(
            len(self.turned), "photographs were annotated as stored: boxes are turned with EXIF."
        )
        yield from said(len(self.unread), f"images could not be opened: {few(self.unread)}")


@dataclass
class Photograph:
    """One photograph and the boxes that a file tells of; filled while files are read."""

    path: str
    annotation: str = ""
    split: str | None = None
    boxes: list[tuple[Box, str | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Writer:
    """A format that can be written.

    Attributes
    ----------
    place
        Where an image goes in a folder that is written, from `{part}` and `{name}`.
    write
        Writes the annotations of photographs that lie in a folder already, with their classes.
    """

    place: str
    write: Callable[[Path, Sequence[Photograph], Sequence[str]], None]


def dataset_of(photographs: Iterable[Photograph], notes: Iterable[str] = ()) -> Dataset:
    """Give a sample per box, in reading order; one without a box for a photograph without any."""
    samples: list[Sample] = []
    for p in photographs:
        extra = {ANNOTATION: p.annotation}
        found: Sequence[tuple[Box | None, str | None]] = p.boxes or [(None, None)]
        samples += [
            Sample(p.path, label, split=p.split, box=box, extra=extra) for box, label in found
        ]
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    return Dataset(tuple(samples), classes, notes=tuple(notes))


def images_below(folder: Path) -> list[Path]:
    """Give every image below a folder, in the order of names."""
    return [f for f in walk(folder) if f.suffix.lower() in SUFFIXES]


def part_of(name: str) -> str | None:
    """Give the part that a folder's or a list's name stands for, None if it is no such name."""
    return PARTS.get(name.lower())


def require_images(found: Collection[object], where: Path) -> None:
    """Refuse a data set without a photograph.

    Raises
    ------
    EmptyDataset
        If there is none.
    """
    if not found:
        raise EmptyDataset(
            f"{where} holds no images.", "JPEG, PNG, TIFF, BMP, WebP, HEIC, CZI and ND2 are read."
        )


def number(text: object, where: str) -> float:
    """Read a finite number.

    Raises
    ------
    BadAnnotation
        Naming the place.
    """
    plain = isinstance(text, str | int | float)
    try:
        value = float(str(text)) if plain else float("nan")
    except ValueError:
        value = float("nan")
    if not abs(value) < LARGEST:
        shown = repr(text)[:40] if plain else "something else"
        raise BadAnnotation(
            f"{where} has {shown} where a number is needed.", "Export the annotations again."
        )
    return value


def around(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """Give the rectangle around a polygon."""
    return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def upright(box: Box, declared: tuple[float, float], stands: Stands, path: str, where: str) -> Box:
    """Give a box in pixels of the upright photograph, from one in a picture of `declared` size.

    Annotation tools that do not look at EXIF draw on the picture as the camera stored it. Where
    the declared size says so, the box is turned with the photograph.

    Raises
    ------
    BadAnnotation
        If the picture was of another size altogether: then nobody knows where the box lies.
    """
    (width, height), turned = stands
    wide, tall = declared
    if (wide, tall) == (width, height) or not (wide > 0 and tall > 0):
        return box
    if (wide, tall) == (height, width) and turned > 4:
        return turn(box, declared, turned)
    raise BadAnnotation(
        f"{where} was drawn on a picture of {wide:g} x {tall:g} pixels, and {path} has "
        f"{width} x {height}.",
        "Export photographs and annotations together, at one size.",
    )


def turn(box: Box, stored: tuple[float, float], orientation: int) -> Box:
    """Turn a box of the stored picture (width, height) as EXIF says (5 to 8)."""
    wide, tall = stored
    left, top = box.x, box.y
    right, bottom = box.x + box.width, box.y + box.height
    x, y = {
        5: (top, left),  # mirrored along the main diagonal
        6: (tall - bottom, left),  # a quarter turn clockwise
        7: (tall - bottom, wide - right),
        8: (top, wide - right),  # a quarter turn anticlockwise
    }[orientation]
    return Box(x, y, box.height, box.width)


def text_of(file: Path) -> str:
    """Read a text file of annotations; bytes that are no UTF-8 are replaced.

    Raises
    ------
    BadAnnotation
        If it is larger than any such file, or may not be read.
    """
    try:
        if file.stat().st_size > LONGEST:
            raise BadAnnotation(f"{file} is too large for annotations.", "Export it again.")
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise BadAnnotation(
            f"{file} cannot be read ({error.strerror}).", "Ask for the right to read it."
        ) from error


def head_of(file: Path, count: int = 4096) -> bytes:
    """Give the first bytes of a file, nothing where it may not be read."""
    try:
        with file.open("rb") as handle:
            return handle.read(count)
    except OSError:
        return b""


def few(names: Iterable[object]) -> str:
    """List a few names for a sentence."""
    listed = [str(n) for n in names]
    more = f" and {len(listed) - WRITTEN_OUT} more" if len(listed) > WRITTEN_OUT else ""
    return ", ".join(listed[:WRITTEN_OUT]) + more


def said(count: int, sentence: str) -> Iterator[str]:
    """Give a sentence with its count, or nothing for none."""
    if count:
        yield f"{count} {sentence}"


def photographs_of(dataset: Dataset) -> list[Photograph]:
    """Give each photograph of a data set with its boxes, in its order."""
    found: dict[str, Photograph] = {}
    for s in dataset.samples:
        p = found.setdefault(s.path, Photograph(s.path, split=s.split))
        if s.box is not None:
            p.boxes.append((s.box, s.label))
    return list(found.values())
