"""YOLO (v5 and later): `data.yaml`, images, and a text file of shares of the sides for each.

A line is `class x y width height`, the centre and sides as shares of the upright photograph; more
numbers are a polygon, whose rectangle is taken; a sixth is a detector's confidence and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cytowell.errors import BadAnnotation
from cytowell.images import SUFFIXES, upright_size
from cytowell.sources.annotations import (
    Photograph,
    Told,
    Writer,
    around,
    dataset_of,
    few,
    head_of,
    images_below,
    number,
    part_of,
    require_images,
    said,
    text_of,
)
from cytowell.sources.boundary import lies_inside, require_inside
from cytowell.sources.walk import PARTS, walk
from cytowell.storage import is_there
from cytowell.types import Box, Dataset

SETTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
REST = "rest"
"""Key of photographs of no part, where others have one."""

PIXELS = 2.0
"""A share of a side beyond this is no share: the file holds pixels."""


MOST_SETTINGS = 1 << 18
"""Bytes of a settings file, at most: thousands of classes, and a second or two of reading."""

DEEPEST = 20
"""Brackets in brackets of a settings file. Reading takes the square of their number."""


@dataclass
class _Told(Told):
    within: Path | None = None
    outside: list[Path] = field(default_factory=list)
    unknown: set[int] = field(default_factory=set)
    orphans: list[Path] = field(default_factory=list)


def looks_like(folder: Path) -> bool:
    """Whether a folder has settings that name classes, or it or a part images beside labels."""
    settings = settings_of(folder)
    if settings is not None and b"names" in head_of(settings, MOST_SETTINGS):
        return True
    return any(
        f.suffix.lower() == ".txt"
        for place in (folder, *(folder / part for part in PARTS))
        if (place / "images").is_dir() and (place / "labels").is_dir()
        for f in walk(place / "labels")
    )


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a folder with a `data.yaml` (or `images` beside `labels`), or that file itself.

    Parameters
    ----------
    within
        The folder that its images and labels have to lie in; anywhere without it.

    Raises
    ------
    BadAnnotation
        If `data.yaml` or a line cannot be read, or a file holds pixels in place of shares.
    EmptyDataset
        If there is no image.
    """
    file = path if path.is_file() else settings_of(path)
    root = (path if path.is_dir() else path.parent).resolve()
    told = _Told(within=within)
    names, places, notes = _settings(file, root, told)
    photographs: dict[str, Photograph] = {}
    for place, part in places:
        for image in _images(place, root, within):
            photographs.setdefault(str(image), Photograph(str(image), split=part))
    known = {_label_file(Path(p)) for p in photographs}
    for p in photographs.values():
        _fill(p, names, told)
    told.orphans = [f for f in _label_files(root, known) if f not in known]
    for orphan in told.orphans:
        missing = str(_image_of(orphan))
        photographs.setdefault(missing, Photograph(missing, str(orphan)))
    if not photographs:
        require_inside(told.outside, within, path.name)
    require_images(list(photographs), path)
    return dataset_of(photographs.values(), (*notes, *_notes(told, names, photographs)))


def settings_of(folder: Path) -> Path | None:
    """Give the folder's settings file, None if it has none."""
    return next((folder / n for n in SETTINGS if (folder / n).is_file()), None)


def _settings(
    file: Path | None, root: Path, told: _Told
) -> tuple[dict[int, str] | None, list[tuple[Path, str | None]], list[str]]:
    """Give class names by number (None if they are not told), places of images with their part."""
    if file is None:
        listed = next((f for f in (root / "classes.txt", root / "labels/classes.txt")
                       if f.is_file()), None)  # fmt: skip
        if listed is None:
            return None, [(root, None)], []
        lines = text_of(listed).splitlines()
        return dict(enumerate(x.strip() for x in lines if x.strip())), [(root, None)], []
    text = text_of(file)
    try:
        _judge(text)
        given = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said_so = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadAnnotation(f"{file} cannot be read as YAML ({said_so}).") from error
    if not isinstance(given, dict) or "names" not in given:
        raise BadAnnotation(
            f"{file} names no classes.", "Give names: [first class, second class, ...]."
        )
    places, notes = _places(given, file, root, told)
    return _names(given["names"], file), places, notes


def _judge(text: str) -> None:
    """Refuse what makes a small file large or slow; no export has any of it."""
    if len(text) > MOST_SETTINGS:
        raise ValueError("it is too large")
    deep = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise ValueError("it has aliases")
        deep += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
        deep -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
        if deep > DEEPEST:
            raise ValueError("it has brackets in brackets in brackets")


def _names(given: Any, file: Path) -> dict[int, str]:
    names: dict[Any, Any] = {}
    if isinstance(given, dict):
        names = given
    elif isinstance(given, list):
        names = dict(enumerate(given))
    plain = all(isinstance(n, str | int | float) for n in names.values())
    if not names or not plain or not all(str(k).isdecimal() for k in names):
        raise BadAnnotation(
            f"{file} has names that are no list.", "Give names: [first class, second class, ...]."
        )
    return {int(k): str(v).strip() for k, v in names.items()}


def _places(
    given: dict[str, Any], file: Path, root: Path, told: _Told
) -> tuple[list[tuple[Path, str | None]], list[str]]:
    """Give folders and lists of images with their part; all of the folder where none is there."""
    found: list[tuple[Path, str | None]] = []
    notes = []
    start = given.get("path") or ""
    base = file.parent / (start if isinstance(start, str) else "")
    for key, value in given.items():
        part = part_of(str(key))
        if not value or (part is None and key != REST):
            continue
        for named in value if isinstance(value, list) else [value]:
            if not isinstance(named, str):
                raise BadAnnotation(
                    f"{file} has a {key} that is no path.", f"Give {key}: folder/of/images."
                )
            place = _place(named, base, file.parent, told)
            if place is None:
                notes.append(f"{file.name} names {named!r} for {key}, which is not there.")
            else:
                found.append((place, part))
    places = [p for p, _ in found]
    if len(set(places)) < len(places):
        notes.append(f"{file.name} names one folder for two parts: no split is taken from it.")
        return [(p, None) for p in dict.fromkeys(places)], notes
    return found or [(root, None)], notes


def _place(named: str, base: Path, beside: Path, told: _Told) -> Path | None:
    """Find what data.yaml names; exports point one folder too high, or at another machine."""
    inside = named
    while inside.startswith("../"):
        inside = inside[3:]
    tail = Path(*Path(named).parts[-2:])
    for place in (base / named, beside / named, beside / inside, beside / tail):
        if not lies_inside(place, told.within):
            told.outside.append(place)
        elif is_there(place):
            return place.resolve()
    return None


def _images(place: Path, root: Path, within: Path | None) -> Iterator[Path]:
    if place.is_dir():
        yield from images_below(place)
        return
    for line in text_of(place).splitlines():
        if line.strip():
            named = [place.parent / line.strip(), root / line.strip()]
            inside = [p for p in named if lies_inside(p, within)]
            if not inside:
                require_inside(named, within, place.name)
            yield next((p for p in inside if is_there(p)), inside[-1])


def _label_file(image: Path) -> Path:
    """Give where the labels of an image stand: `images` becomes `labels`, or beside it."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            moved = Path(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(".txt")
            if moved.exists() or not image.with_suffix(".txt").exists():
                return moved
            break
    return image.with_suffix(".txt")


def _image_of(label: Path) -> Path:
    """Give where the image of a label file would stand."""
    parts = ["images" if p == "labels" else p for p in label.parts]
    moved = Path(*parts)
    for suffix in sorted(SUFFIXES):
        if moved.with_suffix(suffix).exists():
            return moved.with_suffix(suffix)
    return moved.with_suffix(".jpg")


def _label_files(root: Path, known: set[Path]) -> list[Path]:
    folders = {f.parent for f in known}
    return [
        f
        for f in walk(root)
        if f.suffix.lower() == ".txt"
        and ("labels" in f.parts or f.parent in folders)
        and f.stem != "classes"
        and _is_labels(f)
    ]


def _is_labels(file: Path) -> bool:
    """Whether a text file without an image looks like labels, and not like a readme or a list."""
    first = head_of(file).decode("utf-8", "replace").split("\n", 1)[0].split()
    return len(first) >= 5 and all(x.replace(".", "", 1).lstrip("-").isdigit() for x in first[:5])


def _fill(photograph: Photograph, names: dict[int, str] | None, told: _Told) -> None:
    file = _label_file(Path(photograph.path))
    if not lies_inside(file, told.within) or not file.is_file():
        return
    photograph.annotation = str(file)
    stands = told.stands(photograph.path)
    if stands is None:
        return
    for count, line in enumerate(text_of(file).splitlines(), 1):
        if line.strip():
            box, index, many = _line(line.split(), stands[0], f"{file} line {count}")
            told.polygons += many
            if names is not None and index not in names:
                told.unknown.add(index)
            label = str(index) if names is None else names.get(index)
            photograph.boxes.append((box, label))


def _line(fields: list[str], size: tuple[int, int], where: str) -> tuple[Box, int, bool]:
    """Give box in pixels, class number, and whether it was a polygon."""
    values = [number(f, where) for f in fields]
    if len(values) < 5 or int(values[0]) != values[0]:
        raise BadAnnotation(
            f"{where} is no class number and four shares of the sides.",
            "Write: class x-centre y-centre width height.",
        )
    if max(abs(v) for v in values[1:5]) > PIXELS:
        raise BadAnnotation(
            f"{where} holds pixels where shares of the sides (0 to 1) are needed.",
            "Divide x and width by the photograph's width, y and height by its height.",
        )
    wide, tall = size
    if len(values) > 6:
        polygon = values[1:] if len(values) % 2 else values[1:-1]
        xs, ys = [v * wide for v in polygon[::2]], [v * tall for v in polygon[1::2]]
        return around(xs, ys), int(values[0]), True
    x, y, width, height = values[1:5]
    box = Box((x - width / 2) * wide, (y - height / 2) * tall, width * wide, height * tall)
    return box, int(values[0]), False


def _notes(
    told: _Told, names: dict[int, str] | None, photographs: dict[str, Photograph]
) -> Iterator[str]:
    if names is None:
        yield "No data.yaml and no classes.txt: classes are called by their numbers."
    else:
        used = {label for p in photographs.values() for _, label in p.boxes}
        unused = [n for n in names.values() if n not in used]
        if unused:
            yield f"No box is of the class {few(unused)}."
    bare = [Path(p.path).name for p in photographs.values() if not p.annotation]
    yield from said(len(bare), f"images have no label file: {few(bare)}.")
    yield from told.notes()
    if told.unknown:
        numbers = few(sorted(told.unknown))
        yield f"Classes {numbers} have no name: their boxes have no label."
    orphans = [f.name for f in told.orphans]
    yield from said(len(orphans), f"label files have no image: {few(orphans)}.")


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write labels and `data.yaml` for photographs that lie in `folder` already.

    Raises
    ------
    BadAnnotation
        If a box has no class: a line begins with its number.
    """
    numbers = {name: i for i, name in enumerate(classes)}
    parts = []
    for p in photographs:
        image = Path(p.path).relative_to(folder)
        wide, tall = upright_size(p.path) if p.boxes else (1, 1)
        lines = []
        for box, label in p.boxes:
            if label is None:
                raise BadAnnotation(
                    f"A box in {image.name} has no class, and YOLO has no line for that.",
                    "Give --label NAME for boxes without a class, or write coco or voc.",
                )
            x, y = (box.x + box.width / 2) / wide, (box.y + box.height / 2) / tall
            shares = (x, y, box.width / wide, box.height / tall)
            lines.append(" ".join([str(numbers[label]), *(f"{v:.15g}" for v in shares)]))
        file = folder / Path("labels", *image.parts[1:]).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        parts.append(image.parent.as_posix())
    named = {Path(p).name: p for p in dict.fromkeys(parts) if p != "images"}
    settings: dict[str, object] = {"path": "."}
    settings |= {"val" if k == "valid" else k: v for k, v in named.items()}
    for key in ("train", "val"):
        settings.setdefault(key, settings.get("train", "images"))
    settings |= {"nc": len(classes), "names": list(classes)}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    (folder / SETTINGS[0]).write_text(text, encoding="utf-8")


WRITER = Writer("images/{part}/{name}", write)
