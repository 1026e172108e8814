"""Annotated photographs from one format to another: what was read is written again, boxes exact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cytowell import registry
from cytowell.errors import DatasetError
from cytowell.images import NPZ_MARK, open_upright
from cytowell.sources import read, table
from cytowell.sources.annotations import Photograph, Writer, photographs_of
from cytowell.storage import explaining, is_there, replacing_folder, require_free, write_frame
from cytowell.types import Dataset, file_of

TABLES = (".csv", ".parquet")
_FOLDERS = {"train": "train", "validation": "valid", "test": "test"}

Ticked = Callable[[int, int], None]


def convert(
    data: str | Path | Dataset,
    out: str | Path,
    to: str = "yolo",
    label: str = "",
    ticked: Ticked | None = None,
) -> Dataset:
    """Write annotated photographs in another format, photographs included.

    Parameters
    ----------
    data
        Whatever `read` takes, or a table of found wells or of calls: a call becomes the class of
        its box, to be corrected in an annotation tool.
    out
        A new folder, or a table (.csv, .parquet) that leaves the photographs where they are.
    to
        `yolo`, `coco`, `voc`, `label-studio`, `cvat`, `labelme`, `geojson` or `objects`.
    label
        Class of boxes that have none.

    Returns
    -------
    Dataset
        What was written.

    Raises
    ------
    UnknownName
        If there is no such format.
    DatasetError
        If there is no box, or `out` holds something already.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "plates", per_class=1)["plates"]
    >>> cytowell.convert(folder, "in_coco", to="coco").classes
    ('dark', 'negative', 'positive')
    >>> cytowell.read("in_coco").classes
    ('dark', 'negative', 'positive')
    """
    dataset = data if isinstance(data, Dataset) else _read(Path(data))
    if not any(s.box is not None for s in dataset.samples):
        raise DatasetError(
            f"{dataset.origin or 'The data set'} has no boxes.",
            "Give YOLO, COCO or VOC annotations, or a table with x, y, width and height.",
        )
    if label:
        named = tuple(
            replace(s, label=label) if s.box is not None and s.label is None else s
            for s in dataset.samples
        )
        classes = tuple(sorted({s.label for s in named if s.label is not None}))
        dataset = replace(dataset, samples=named, classes=classes)
    target = Path(out)
    if target.suffix.lower() in TABLES:
        # The table may lie elsewhere: it names the photographs from the root.
        frame = dataset.frame()
        frame["path"] = [str(Path(p).absolute()) for p in dataset.paths]
        write_frame(frame, target)
        return dataset
    writer: Writer = registry.load("writers", to)
    require_free(target)
    with replacing_folder(target) as beside:
        photographs = _place(photographs_of(dataset), beside, writer.place, ticked)
        writer.write(beside, photographs, dataset.classes)
    return dataset


def _read(path: Path) -> Dataset:
    """Read annotated photographs; in a table of calls the call is the label."""
    if path.suffix.lower() not in table.SUFFIXES:
        return read(path)
    dataset = table.read_to_call(path)
    samples = tuple(
        replace(s, label=str(s.extra["label"])) if s.label is None and s.extra.get("label") else s
        for s in dataset.samples
    )
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    return replace(dataset, samples=samples, classes=classes, origin=str(path))


def _place(
    photographs: list[Photograph], folder: Path, template: str, ticked: Ticked | None
) -> list[Photograph]:
    """Copy photographs to where the format wants them; stems are told apart."""
    parted = any(p.split for p in photographs)
    taken: set[str] = set()
    placed = []
    for count, p in enumerate(photographs, 1):
        inside = NPZ_MARK in p.path
        name = Path(file_of(p.path))
        stem = f"{name.stem}-{p.path.rsplit('/', 1)[-1]}" if inside else name.stem
        number, free = 1, stem
        while free.casefold() in taken:
            number += 1
            free = f"{stem}-{number}"
        taken.add(free.casefold())
        suffix = ".png" if inside else name.suffix
        part = _FOLDERS.get(p.split or "", "rest") if parted else ""
        target = folder / template.format(part=part or ".", name=free + suffix)
        with explaining(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if inside:
                open_upright(p.path).save(target)
            elif is_there(name):
                shutil.copyfile(name, target)
            else:
                raise DatasetError(
                    f"{p.path} is not there, so it cannot be written elsewhere.",
                    "Copy it back, or take its rows out.",
                )
        placed.append(replace(p, path=str(target)))
        if ticked is not None:
            ticked(count, len(photographs))
    return placed
