"""Pascal VOC: one XML file a photograph, corners in pixels; parts in `ImageSets/Main`.

`xmin` to `xmax` is taken as it stands, as edges in pixels from 0: most tools write them so, and
what is read is written again to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import defusedxml.ElementTree

from cytowell.errors import BadAnnotation
from cytowell.images import SUFFIXES, upright_size
from cytowell.sources.annotations import (
    LONGEST,
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
    upright,
)
from cytowell.sources.walk import PARTS, walk
from cytowell.types import Box, Dataset

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def looks_like(folder: Path) -> bool:
    """Whether a folder, its `Annotations` or its parts hold XML files of annotations."""
    places = [folder / "Annotations", folder, *(folder / part for part in PARTS)]
    files = (next(place.glob("*.xml"), None) for place in places if place.is_dir())
    return any(f is not None and b"<annotation" in head_of(f) for f in files)


def read(path: Path) -> Dataset:
    """Read a folder of XML files and photographs, in VOC's own layout or side by side.

    Raises
    ------
    BadAnnotation
        If a file is no VOC XML, or its boxes were drawn at another size.
    EmptyDataset
        If there is no image.
    """
    images = images_below(path)
    by_stem = {f.stem: f for f in images}
    beside = {f.with_suffix("") for f in images}
    parts = _lists(path)
    told = Told()
    photographs: dict[str, Photograph] = {}
    for file in (f for f in walk(path) if f.suffix.lower() == ".xml"):
        tree = _tree(file)
        if tree is None:
            continue
        place = _image(file, tree, by_stem, beside)
        if not place.is_file():
            told.missing.append(file.name)
        p = photographs.setdefault(str(place), Photograph(str(place), str(file)))
        _fill(p, tree, file, told)
    for image in images:
        photographs.setdefault(str(image), Photograph(str(image)))
    for p in photographs.values():
        p.split = parts.get(Path(p.path).stem) or _folder_part(Path(p.path), path)
    require_images(list(photographs), path)
    ordered = [photographs[k] for k in sorted(photographs)]
    return dataset_of(ordered, _notes(told, photographs))


def _tree(file: Path) -> ElementTree.Element | None:
    """Parse one file; None if it is XML of another kind."""
    try:
        if file.stat().st_size > LONGEST:
            raise BadAnnotation(f"{file} is too large to be an annotation.", "Export it again.")
        # Entities are how a small XML file becomes a large one, in whichever encoding.
        tree = defusedxml.ElementTree.fromstring(file.read_bytes(), forbid_dtd=True)
    except defusedxml.DefusedXmlException as error:
        raise BadAnnotation(
            f"{file} declares entities or a document type.", "Export it again as Pascal VOC."
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise BadAnnotation(f"{file} is no XML ({error}).", "Export it again.") from error
    return tree if tree.tag == "annotation" else None


def _image(
    file: Path, tree: ElementTree.Element, by_stem: dict[str, Path], beside: set[Path]
) -> Path:
    """Give the photograph of a file: beside it, by its own name, or by what it says."""
    named = Path((tree.findtext("filename") or "").strip())
    stem = file.with_suffix("")
    if stem in beside:
        return next(stem.with_suffix(s) for s in (by_stem[file.stem].suffix, *SUFFIXES)
                    if stem.with_suffix(s).is_file())  # fmt: skip
    for key in (file.stem, named.stem):
        if key in by_stem:
            return by_stem[key]
    return file.parent / (named.name or f"{file.stem}.jpg")


def _fill(p: Photograph, tree: ElementTree.Element, file: Path, told: Told) -> None:
    objects = list(tree.iter("object"))
    stands = told.stands(p.path) if objects else None
    if stands is None:
        return
    wide, tall = (number(tree.findtext(f"size/{k}") or 0, str(file)) for k in ("width", "height"))
    for count, thing in enumerate(objects, 1):
        where = f"{file} object {count}"
        drawn = _box(thing, where, told)
        label = (thing.findtext("name") or "").strip() or None
        told.nameless += label is None
        box = upright(drawn, (wide, tall), stands, p.path, where)
        if box is not drawn:
            told.turned.add(p.path)
        p.boxes.append((box, label))


def _box(thing: ElementTree.Element, where: str, told: Told) -> Box:
    corners = thing.find("bndbox")
    if corners is not None:
        left, top, right, bottom = (
            number((corners.findtext(k) or "nothing").strip(), f"{where} {k}") for k in _CORNERS
        )
        return Box(left, top, right - left, bottom - top)
    outline = thing.find("polygon")
    if outline is not None:
        xs = [number(e.text, where) for e in outline if e.tag.startswith("x")]
        ys = [number(e.text, where) for e in outline if e.tag.startswith("y")]
        if len(xs) >= 3 and len(xs) == len(ys):
            told.polygons += 1
            return around(xs, ys)
    raise BadAnnotation(
        f"{where} has neither a bndbox nor a polygon.", "Export it again as Pascal VOC."
    )


def _lists(root: Path) -> dict[str, str]:
    """Give the part of each stem that `ImageSets/Main` lists."""
    parts: dict[str, str] = {}
    for file in sorted((root / "ImageSets" / "Main").glob("*.txt")):
        part = part_of(file.stem)
        if part is None:
            continue
        for line in text_of(file).splitlines():
            if line.split():
                parts[line.split()[0]] = part
    return parts


def _folder_part(image: Path, root: Path) -> str | None:
    for name in image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ():
        part = part_of(name)
        if part:
            return part
    return None


def _notes(told: Told, photographs: dict[str, Photograph]) -> Iterator[str]:
    missing = told.missing
    yield from said(len(missing), f"XML files have no image: {few(missing)}.")
    bare = [Path(p.path).name for p in photographs.values() if not p.annotation]
    yield from said(len(bare), f"images have no XML file: {few(bare)}.")
    yield from said(told.nameless, "boxes have no class name: they have no label.")
    yield from told.notes()


def write(folder: Path, photographs: Sequence[Photograph], classes: Sequence[str]) -> None:
    """Write XML files and lists of parts for photographs that lie in `folder` already.

    Parameters
    ----------
    classes
        Not needed: every object carries its name.
    """
    lists: dict[str, list[str]] = {}
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    for p in photographs:
        image = Path(p.path)
        wide, tall = upright_size(p.path)
        tree = ElementTree.Element("annotation")
        _put(tree, "folder", image.parent.name)
        _put(tree, "filename", image.name)
        size = ElementTree.SubElement(tree, "size")
        for name, value in (("width", wide), ("height", tall), ("depth", 3)):
            _put(size, name, value)
        for box, label in p.boxes:
            thing = ElementTree.SubElement(tree, "object")
            _put(thing, "name", label or "")
            corners = ElementTree.SubElement(thing, "bndbox")
            edges = (box.x, box.y, box.x + box.width, box.y + box.height)
            for name, edge in zip(_CORNERS, edges, strict=True):
                _put(corners, name, int(edge) if edge == int(edge) else edge)
        ElementTree.indent(tree)
        file = folder / "Annotations" / f"{image.stem}.xml"
        ElementTree.ElementTree(tree).write(file, encoding="utf-8")
        if p.split:
            lists.setdefault("val" if p.split == "validation" else p.split, []).append(image.stem)
    for name, stems in lists.items():
        file = folder / "ImageSets" / "Main" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


def _put(tree: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(tree, name).text = str(value)


WRITER = Writer("JPEGImages/{name}", write)
