"""COCO JSON: images, annotations with `bbox` in pixels, categories; Roboflow's exports too."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytowell.errors import BadAnnotation
from cytowell.images import upright_size
from cytowell.sources.annotations import (
    Photograph,
    Stands,
    Told,
    Writer,
    around,
    dataset_of,
    few,
    images_below,
    number,
    part_of,
    require_images,
    said,
    upright,
)
from cytowell.sources.boundary import lies_inside, require_inside
from cytowell.storage import is_there
from cytowell.types import Box, Dataset

SUFFIX = "_annotations.coco.json"

HEAD = 1 << 16
"""Bytes at the start and at the end of a JSON file that tell whether it is one of these."""


@dataclass
class _Told(Told):
    known: dict[str, Stands | None] = field(default_factory=dict)
    homeless: int = 0
    crowds: int = 0


def looks_like(folder: Path) -> bool:
    """Whether a folder holds a COCO file where exports put them."""
    return bool(files_of(folder))


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a COCO file, or a folder of them with their images.

    A file in or named after a ``train/valid/test`` folder gives its images that part.

    Parameters
    ----------
    within
        The folder that its images have to lie in; anywhere without it.

    Raises
    ------
    BadAnnotation
        If a file is no COCO JSON, names files outside, or its boxes were drawn at another size.
    EmptyDataset
        If there is no image.
    """
    files = [path] if path.is_file() else files_of(path)
    root = path if path.is_dir() else path.parent
    told = _Told()
    photographs: dict[str, Photograph] = {}
    for file in files:
        for p in _read_file(file, _Places(file, root, within), told):
            first = photographs.setdefault(p.path, p)
            if first is not p:
                first.boxes += p.boxes
    for image in images_below(root):
        if files and str(image) not in photographs:
            photographs[str(image)] = Photograph(str(image), split=_part(image.parent, root))
    require_images(list(photographs), path)
    return dataset_of(photographs.values(), _notes(told, photographs))


def files_of(folder: Path) -> list[Path]:
    """Give the COCO files of a folder: Roboflow's, or those of an `annotations` folder."""
    found = [f for part in ("", "train", "valid", "val", "test")
             for f in [folder / part / SUFFIX] if f.is_file()]  # fmt: skip
    if found:
        return found
    places = [folder / "annotations", folder]
    for place in places:
        listed = sorted(place.glob("*.json")) if place.is_dir() else []
        good = [f for f in listed if _is_coco(f)]
        if good:
            return good
    return []


def _is_coco(file: Path) -> bool:
    """Whether a JSON file has lists of images and of annotations; a stray one has not."""
    with contextlib.suppress(OSError), file.open("rb") as handle:
        start = handle.read(HEAD)
        handle.seek(max(HEAD, file.stat().st_size - HEAD))
        both = start + handle.read(HEAD)
        return sum(word in both for word in (b'"images"', b'"annotations"', b'"categories"')) > 1
    return False


def _read_file(file: Path, places: _Places, told: _Told) -> list[Photograph]:
    try:
        given = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise BadAnnotation(f"{file} is no JSON ({error}).", "Export it again.") from error
    lists = ("images", "annotations", "categories")
    if isinstance(given, dict):
        given = {key: given.get(key) or [] for key in lists}
    if not isinstance(given, dict) or not all(isinstance(given[key], list) for key in lists):
        raise BadAnnotation(
            f"{file} has no list of images.",
            "COCO JSON has images, annotations and categories; export it again.",
        )
    try:
        names = {str(c["id"]): str(c["name"]).strip() for c in given["categories"]}
        images = {str(i["id"]): i for i in given["images"]}
        files = {key: str(i["file_name"]) for key, i in images.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnnotation(
            f"{file} has an image or a category without {error}.", "Export it again."
        ) from error
    if len(images) < len(given["images"]):
        raise BadAnnotation(f"{file} gives two images one id.", "Export it again.")
    part = part_of(file.parent.name) or next(
        (p for w in file.stem.replace("_", " ").split() if (p := part_of(w))), None
    )
    photographs = {
        key: Photograph(places.find(name), str(file), part) for key, name in files.items()
    }
    told.missing += [p.path for p in photographs.values() if not Path(p.path).is_file()]
    for count, annotation in enumerate(given["annotations"], 1):
        where = f"{file} annotation {count}"
        key = str(annotation.get("image_id")) if isinstance(annotation, dict) else ""
        if key not in photographs:
            told.homeless += 1
            continue
        if annotation.get("iscrowd") in (1, True):
            told.crowds += 1
            continue
        _add(annotation, photographs[key], images[key], names, where, told)
    return list(photographs.values())


def _add(
    annotation: dict[str, Any],
    photograph: Photograph,
    image: dict[str, Any],
    names: dict[str, str],
    where: str,
    told: _Told,
) -> None:
    if photograph.path not in told.known:
        told.known[photograph.path] = told.stands(photograph.path)
    stands = told.known[photograph.path]
    if stands is None:
        return
    drawn = _box(annotation, where, told)
    label = names.get(str(annotation.get("category_id")))
    told.nameless += label is None
    wide, tall = (number(image.get(k, 0) or 0, where) for k in ("width", "height"))
    box = upright(drawn, (wide, tall), stands, photograph.path, where)
    if box is not drawn:
        told.turned.add(photograph.path)
    photograph.boxes.append((box, label))


def _box(annotation: dict[str, Any], where: str, told: _Told) -> Box:
    given = annotation.get("bbox")
    if isinstance(given, list) and len(given) == 4:
        return Box(*(number(v, where) for v in given))
    outline = annotation.get("segmentation")
    if isinstance(outline, list) and outline:
        rings = [ring for ring in outline if isinstance(ring, list)]
        flat = [number(v, where) for ring in rings for v in ring]
        if len(flat) >= 6 and len(flat) % 2 == 0:
            told.polygons += 1
            return around(flat[::2], flat[1::2])
    raise BadAnnotation(
        f"{where} has neither a box of four numbers nor a polygon.",
        "Give bbox: [x, y, width, height] in pixels; masks are not read.",
    )


class _Places:
    """Finds the images that a file names: beside it, below the folder, wherever the name is."""

    def __init__(self, file: Path, root: Path, within: Path | None) -> None:
        self._near = (file.parent, root, root / "images", file.parent / "images")
        self._root = root
        self._file = file
        self._within = within
        self._by_name: dict[str, str] | None = None

    def find(self, name: str) -> str:
        inside = [p for p in self._near if lies_inside(p / name, self._within)]
        if not inside:
            require_inside([self._near[0] / name], self._within, self._file.name)
        for folder in inside:
            if is_there(folder / name) and (folder / name).is_file():
                return str(folder / name)
        if self._by_name is None:
            self._by_name = {f.name: str(f) for f in images_below(self._root)}
        # A backslash parts folders on the machine that wrote it, and nothing here.
        plain = Path(name.replace("\\", "/")).name
        return self._by_name.get(plain, str(inside[0] / name))


def _part(folder: Path, root: Path) -> str | None:
    while folder not in (root, folder.parent):
        part = part_of(folder.name)
        if part:
            return part
        folder = folder.parent
    return None


def _notes(told: _Told, photographs: dict[str, Photograph]) -> Iterator[str]:
    missing = [Path(p).name for p in told.missing]
    yield from said(len(missing), f"images that are told of are not there: {few(missing)}.")
    bare = [Path(p.path).name for p in photographs.values() if not p.annotation]
    yield from said(len(bare), f"images are told of nowhere: {few(bare)}.")
    yield from said(told.nameless, "boxes are of a category without a name: they have no label.")
    yield from said(told.homeless, "annotations belong to no image and were left out.")
    yield from said(told.crowds, "regions are crowds (iscrowd), not one object: left out.")
    yield from told.notes()


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write a file for each part, beside its photographs, which lie there already."""
    numbers = {name: i for i, name in enumerate(classes, 1)}
    categories = [{"id": i, "name": n, "supercategory": "none"} for n, i in numbers.items()]
    for place in dict.fromkeys(Path(p.path).parent for p in photographs):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for p in photographs:
            if Path(p.path).parent != place:
                continue
            wide, tall = upright_size(p.path)
            image = {"id": len(images) + 1, "file_name": Path(p.path).name}
            images.append(image | {"width": wide, "height": tall})
            for box, label in p.boxes:
                annotation: dict[str, Any] = {"id": len(annotations) + 1}
                annotation |= {"image_id": len(images), "iscrowd": 0}
                annotation["bbox"] = [box.x, box.y, box.width, box.height]
                annotation["area"] = box.width * box.height
                if label is not None:
                    annotation["category_id"] = numbers[label]
                annotations.append(annotation)
        given = {"images": images, "annotations": annotations, "categories": categories}
        (place / SUFFIX).write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")


WRITER = Writer("{part}/{name}", write)
