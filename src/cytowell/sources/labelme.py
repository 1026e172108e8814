"""LabelMe: a JSON file beside each photograph, with shapes in pixels."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cytowell.errors import BadAnnotation
from cytowell.images import upright_size
from cytowell.sources.annotations import (
    Photograph,
    Told,
    Writer,
    around,
    dataset_of,
    few,
    head_of,
    number,
    require_images,
    said,
    text_of,
    upright,
)
from cytowell.sources.beside import Beside
from cytowell.sources.walk import walk
from cytowell.types import Box, Dataset

HEAD = 1 << 20


def looks_like(folder: Path) -> bool:
    """Whether a folder holds a JSON file with shapes."""
    return any(
        _is_one(f) for f in list(folder.glob("*.json"))[:3] + list(folder.glob("*/*.json"))[:3]
    )


def _is_one(file: Path) -> bool:
    head = head_of(file, HEAD)
    return b'"shapes"' in head and (b'"imagePath"' in head or b'"version"' in head)


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a folder of photographs and LabelMe files.

    Raises
    ------
    BadAnnotation
        If a file is no JSON, or its shapes were drawn at another size.
    EmptyDataset
        If there is no image.
    """
    root = path if path.is_dir() else path.parent
    beside, told = Beside(root, within), Told()
    found: dict[str, Photograph] = {}
    for file in (f for f in walk(root) if f.suffix.lower() == ".json" and _is_one(f)):
        try:
            given = json.loads(text_of(file))
            shapes, named = given["shapes"], str(given.get("imagePath") or f"{file.stem}.jpg")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadAnnotation(
                f"{file} is no LabelMe file ({error}).", "Save it again."
            ) from error
        place = beside.find(named, file.parent)
        p = found.setdefault(place, Photograph(place, str(file)))
        _fill(p, shapes, given, file, told)
    for image in beside.images:
        found.setdefault(str(image), Photograph(str(image)))
    require_images(found, path)
    missing = [Path(p).name for p in found if not Path(p).is_file()]
    notes = [*said(len(missing), f"images that are told of are not there: {few(missing)}.")]
    return dataset_of([found[k] for k in sorted(found)], (*notes, *told.notes()))


def _fill(p: Photograph, shapes: Any, given: Any, file: Path, told: Told) -> None:
    stands = told.stands(p.path) if shapes else None
    if stands is None:
        return
    size = tuple(number(given.get(k) or 0, str(file)) for k in ("imageWidth", "imageHeight"))
    for count, shape in enumerate(shapes, 1):
        where = f"{file} shape {count}"
        drawn = _box(shape, where, told)
        if drawn is None:
            continue
        box = upright(drawn, (size[0], size[1]), stands, p.path, where)
        if box is not drawn:
            told.turned.add(p.path)
        p.boxes.append((box, str(shape.get("label") or "").strip() or None))


def _box(shape: Any, where: str, told: Told) -> Box | None:
    kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else ""
    points = shape.get("points") if isinstance(shape, dict) else None
    if not isinstance(points, list) or not all(isinstance(q, list) and len(q) == 2 for q in points):
        raise BadAnnotation(f"{where} has no points.", "Save it again.")
    xs, ys = ([number(q[i], where) for q in points] for i in (0, 1))
    if kind == "circle" and len(points) == 2:
        radius = math.dist((xs[0], ys[0]), (xs[1], ys[1]))
        return Box(xs[0] - radius, ys[0] - radius, 2 * radius, 2 * radius)
    if len(points) < 2 or kind in ("point", "points", "line", "linestrip"):
        return None
    told.polygons += kind == "polygon"
    return around(xs, ys)


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write a file beside each photograph; boxes are rectangles."""
    for p in photographs:
        wide, tall = upright_size(p.path)
        shapes: list[dict[str, Any]] = [
            {
                "label": label or "",
                "points": [[b.x, b.y], [b.x + b.width, b.y + b.height]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
            }
            for b, label in p.boxes
        ]
        given: dict[str, Any] = {
            "version": "5.0.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(p.path).name,
            "imageData": None,
            "imageHeight": tall,
            "imageWidth": wide,
        }
        text = json.dumps(given, ensure_ascii=False, indent=1)
        Path(p.path).with_suffix(".json").write_text(text, encoding="utf-8")


WRITER = Writer("{part}/{name}", write)
