"""QuPath's GeoJSON: a file of the photograph's name, with outlines in pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cytowell.errors import BadAnnotation
from cytowell.sources.annotations import (
    Photograph,
    Told,
    Writer,
    around,
    dataset_of,
    few,
    number,
    require_images,
    said,
    text_of,
)
from cytowell.sources.beside import Beside
from cytowell.sources.walk import walk
from cytowell.types import Box, Dataset


def looks_like(folder: Path) -> bool:
    """Whether a folder holds GeoJSON."""
    return any(f.suffix.lower() == ".geojson" for f in walk(folder))


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read a folder of photographs with a GeoJSON file each.

    Raises
    ------
    BadAnnotation
        If a file is no GeoJSON.
    EmptyDataset
        If there is no image.
    """
    root = path if path.is_dir() else path.parent
    beside, told = Beside(root, within), Told()
    stems: dict[str, list[Path]] = {}
    for image in beside.images:
        stems.setdefault(image.stem, []).append(image)
    found: dict[str, Photograph] = {}
    files = [path] if path.is_file() else [f for f in walk(root) if f.suffix.lower() == ".geojson"]
    for file in files:
        same = stems.get(file.stem) or stems.get(Path(file.stem).stem, [])
        near = [f for f in same if f.parent == file.parent] or same
        place = str(near[0]) if len(near) == 1 else beside.find(f"{file.stem}.jpg", file.parent)
        p = found.setdefault(place, Photograph(place, str(file)))
        try:
            given = json.loads(text_of(file))
            p.boxes += list(_boxes(given, str(file), told))
        except (
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            AttributeError,
            RecursionError,
        ) as error:
            raise BadAnnotation(
                f"{file} is no GeoJSON of objects ({error!r}).", "Export it again from QuPath."
            ) from error
    for image in beside.images:
        found.setdefault(str(image), Photograph(str(image)))
    require_images(found, path)
    missing = [Path(p).name for p in found if not Path(p).is_file()]
    notes = [*said(len(missing), f"images that are told of are not there: {few(missing)}.")]
    return dataset_of([found[k] for k in sorted(found)], (*notes, *told.notes()))


def _boxes(given: Any, where: str, told: Told) -> Iterator[tuple[Box, str | None]]:
    features = given.get("features", [given]) if isinstance(given, dict) else given
    for feature in features:
        shape = feature["geometry"]
        rings = {"Polygon": 1, "MultiPolygon": 2}.get(shape["type"], 0)
        if not rings:
            continue
        parts = [shape["coordinates"]] if rings == 1 else shape["coordinates"]
        points = [q for part in parts for q in part[0]]
        xs, ys = ([number(q[i], where) for q in points] for i in (0, 1))
        box = around(xs, ys)
        corners = {(x, y) for x in (box.x, box.x + box.width) for y in (box.y, box.y + box.height)}
        told.polygons += not set(zip(xs, ys, strict=True)) <= corners
        kind = (feature.get("properties") or {}).get("classification") or {}
        name = kind.get("name") or " ".join(kind.get("names", []))
        yield box, str(name).strip() or None


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write a file beside each photograph; boxes are rectangles."""
    for p in photographs:
        features = []
        for b, label in p.boxes:
            x, y, right, bottom = b.x, b.y, b.x + b.width, b.y + b.height
            ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
            properties: dict[str, Any] = {"objectType": "annotation"}
            if label:
                properties["classification"] = {"name": label}
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": properties,
                }
            )
        text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
        Path(p.path).with_suffix(".geojson").write_text(text, encoding="utf-8")


WRITER = Writer("{part}/{name}", write)
