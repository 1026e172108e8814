"""CVAT for images 1.1: one XML file with boxes and polygons in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import defusedxml.ElementTree

from cytowell.errors import BadAnnotation
from cytowell.images import upright_size
from cytowell.sources.annotations import (
    LONGEST,
    Photograph,
    Told,
    Writer,
    around,
    dataset_of,
    few,
    head_of,
    number,
    part_of,
    require_images,
    said,
    upright,
)
from cytowell.sources.beside import Beside
from cytowell.types import Box, Dataset

FILE = "annotations.xml"


def looks_like(folder: Path) -> bool:
    """Whether a folder holds an XML file of this kind."""
    return file_of(folder) is not None


def file_of(folder: Path) -> Path | None:
    """Give the XML file of a folder, None if there is none."""
    return next((f for f in sorted(folder.glob("*.xml")) if b"<annotations" in head_of(f)), None)


def read(path: Path, within: Path | None = None) -> Dataset:
    """Read an export with its images beside or below it.

    Raises
    ------
    BadAnnotation
        If it is no such XML, or its boxes were drawn at another size.
    EmptyDataset
        If there is no image.
    """
    root = path if path.is_dir() else path.parent
    file = (file_of(path) if path.is_dir() else path) or path / FILE
    beside, told = Beside(root, within), Told()
    found: dict[str, Photograph] = {}
    for image in _tree(file).iter("image"):
        place = beside.find(image.get("name") or "")
        part = part_of(image.get("subset") or "")
        p = found.setdefault(place, Photograph(place, str(file), part))
        _fill(p, image, str(file), told)
    for other in beside.images:
        found.setdefault(str(other), Photograph(str(other)))
    require_images(found, path)
    missing = [Path(p).name for p in found if not Path(p).is_file()]
    notes = [*said(len(missing), f"images that are told of are not there: {few(missing)}.")]
    return dataset_of(found.values(), (*notes, *told.notes()))


def _tree(file: Path) -> ElementTree.Element:
    try:
        if file.stat().st_size > LONGEST:
            raise BadAnnotation(f"{file} is too large for annotations.", "Export it again.")
        tree: ElementTree.Element = defusedxml.ElementTree.fromstring(
            file.read_bytes(), forbid_dtd=True
        )
    except (
        defusedxml.DefusedXmlException, ElementTree.ParseError, ValueError, LookupError, OSError,
    ) as error:  # fmt: skip
        raise BadAnnotation(f"{file} is no XML of CVAT ({error}).", "Export it again.") from error
    return tree


def _fill(p: Photograph, image: ElementTree.Element, where: str, told: Told) -> None:
    shapes = [e for e in image if e.tag in ("box", "polygon", "ellipse")]
    stands = told.stands(p.path) if shapes else None
    if stands is None:
        return
    wide, tall = (number(image.get(k) or 0, where) for k in ("width", "height"))
    for shape in shapes:
        drawn = _box(shape, where, told)
        box = upright(drawn, (wide, tall), stands, p.path, where)
        if box is not drawn:
            told.turned.add(p.path)
        p.boxes.append((box, (shape.get("label") or "").strip() or None))


def _box(shape: ElementTree.Element, where: str, told: Told) -> Box:
    def of(key: str) -> float:
        return number(shape.get(key), where)

    if shape.tag == "box":
        left, top, right, bottom = (of(k) for k in ("xtl", "ytl", "xbr", "ybr"))
        return Box(left, top, right - left, bottom - top)
    if shape.tag == "ellipse":
        x, y, rx, ry = (of(k) for k in ("cx", "cy", "rx", "ry"))
        return Box(x - rx, y - ry, 2 * rx, 2 * ry)
    told.polygons += 1
    pairs = [q.split(",") for q in (shape.get("points") or "").split(";") if q]
    if len(pairs) < 3 or any(len(q) != 2 for q in pairs):
        raise BadAnnotation(f"{where} has a polygon without points.", "Export it again.")
    return around([number(q[0], where) for q in pairs], [number(q[1], where) for q in pairs])


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write one XML file for all photographs."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for count, p in enumerate(photographs):
        wide, tall = upright_size(p.path)
        name = Path(p.path).relative_to(folder).as_posix()
        about = {"id": str(count), "name": name, "width": str(wide), "height": str(tall)}
        image = ElementTree.SubElement(root, "image", about)
        if p.split:
            image.set("subset", p.split)
        for b, label in p.boxes:
            corners = {"xtl": b.x, "ytl": b.y, "xbr": b.x + b.width, "ybr": b.y + b.height}
            given = {"label": label or "", "occluded": "0"} | {
                k: f"{v!r}" for k, v in corners.items()
            }
            ElementTree.SubElement(image, "box", given)
    ElementTree.ElementTree(root).write(folder / FILE, encoding="utf-8", xml_declaration=True)


WRITER = Writer("{part}/{name}", write)
