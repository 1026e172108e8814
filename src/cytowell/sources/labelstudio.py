"""Label Studio's JSON: tasks with an image and results in per cent of its sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
)
from cytowell.sources.beside import Beside
from cytowell.types import Box, Dataset

FILE = "label-studio.json"
LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")


def looks_like(folder: Path) -> bool:
    """Whether a folder holds a JSON file of tasks."""
    return file_of(folder) is not None


def file_of(folder: Path) -> Path | None:
    """Give the file of tasks of a folder, None if there is none."""
    return next((f for f in sorted(folder.glob("*.json")) if is_one(f)), None)


def is_one(file: Path) -> bool:
    """Whether a JSON file is a list of tasks."""
    head = head_of(file, 1 << 16)
    return head.lstrip().startswith(b"[") and b'"data"' in head and b'"image"' in head


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a JSON export with its images beside or below it.

    Results of annotations are taken, of tasks without any those of no prediction: what a model has
    said is no label.

    Raises
    ------
    BadAnnotation
        If it is no such file.
    EmptyDataset
        If there is no image.
    """
    root = path if path.is_dir() else path.parent
    file = file_of(path) if path.is_dir() else path
    beside, told, turned = Beside(root, within), Told(), 0
    found: dict[str, Photograph] = {}
    try:
        tasks = json.loads(text_of(file)) if file else []
        for task in tasks:
            images = [v for v in task["data"].values() if isinstance(v, str)]
            named = task["data"].get("image") or (images[0] if images else "")
            place = beside.find(str(named))
            p = found.setdefault(place, Photograph(place, str(file)))
            for result in _results(task):
                box = _box(result, p, f"{file} task {task.get('id')}", told)
                turned += bool(result["value"].get("rotation"))
                if box is not None:
                    named_so = (result["value"][k] for k in LABELS if k in result["value"])
                    names: list[Any] = next(named_so, [])
                    p.boxes.append((box, str(names[0]).strip() if names else None))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadAnnotation(f"{file} is no export of tasks ({error!r}).", "Export JSON.") from error
    for image in beside.images:
        found.setdefault(str(image), Photograph(str(image)))
    require_images(found, path)
    missing = [Path(p).name for p in found if not Path(p).is_file()]
    notes = [
        *said(len(missing), f"images that are told of are not there: {few(missing)}."),
        *said(turned, "boxes are turned: they are taken as if they stood upright."),
    ]
    return dataset_of(found.values(), (*notes, *told.notes()))


def _results(task: Any) -> Iterator[Any]:
    for annotation in task.get("annotations") or task.get("completions") or []:
        if not annotation.get("was_cancelled"):
            yield from (r for r in annotation.get("result", []) if "value" in r)


def _box(result: Any, p: Photograph, where: str, told: Told) -> Box | None:
    stands = told.stands(p.path)
    if stands is None:
        return None
    (wide, tall), _ = stands
    value = result["value"]
    if isinstance(value.get("points"), list):
        told.polygons += 1
        xs = [number(q[0], where) * wide / 100 for q in value["points"]]
        ys = [number(q[1], where) * tall / 100 for q in value["points"]]
        return around(xs, ys)
    if "radiusX" in value:
        x, y, rx, ry = (number(value[k], where) for k in ("x", "y", "radiusX", "radiusY"))
        value = {"x": x - rx, "y": y - ry, "width": 2 * rx, "height": 2 * ry}
    if not {"x", "y", "width", "height"} <= set(value):
        return None
    x, y, w, h = (number(value[k], where) for k in ("x", "y", "width", "height"))
    return Box(x * wide / 100, y * tall / 100, w * wide / 100, h * tall / 100)


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write tasks that Label Studio imports, with their annotations."""
    tasks = []
    for count, p in enumerate(photographs, 1):
        wide, tall = upright_size(p.path)
        results = [
            {
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": wide,
                "original_height": tall,
                "image_rotation": 0,
                "value": {
                    "x": 100 * b.x / wide,
                    "y": 100 * b.y / tall,
                    "width": 100 * b.width / wide,
                    "height": 100 * b.height / tall,
                    "rotation": 0,
                    "rectanglelabels": [label] if label else [],
                },
            }
            for b, label in p.boxes
        ]
        named = Path(p.path).relative_to(folder).as_posix()
        image = f"/data/local-files/?d={named}"
        tasks.append({"id": count, "data": {"image": image}, "annotations": [{"result": results}]})
    (folder / FILE).write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")


WRITER = Writer("{part}/{name}", write)
