"""A path to a Dataset. Each module knows one layout; none knows another."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cytowell import registry
from cytowell.errors import AmbiguousLabels, DatasetError, EmptyDataset
from cytowell.sources import (
    coco,
    cutouts,
    cvat,
    geojson,
    labelme,
    labelstudio,
    objects,
    table,
    voc,
    yolo,
)
from cytowell.sources.archive import unpack
from cytowell.sources.boundary import require_inside
from cytowell.sources.names import with_groups, with_proposal, with_roboflow_groups
from cytowell.storage import is_there
from cytowell.types import Dataset

SYNTHETIC_MARK = "SYNTHETIC.txt"
"""A file of this name beside images says that they were generated."""

TABLE = "samples.csv"
"""A folder that holds a table of this name is read through it."""


def read(
    path: str | Path,
    source: str | None = None,
    group_pattern: str = "",
    into: str | Path | None = None,
    within: str | Path | None = None,
) -> Dataset:
    """Read photographs and what is known of them.

    Parameters
    ----------
    path
        A folder of class folders, a CSV or Parquet table, an ``.npz`` in MedMNIST layout,
        annotated photographs (YOLO, COCO, Pascal VOC), or a zip of any of these.
    source
        A registered source; chosen by what `path` is without it.
    group_pattern
        A regular expression whose first bracket, found in a file's name or else in its path below
        `path`, is its group (slide, donor, plate).
    into
        A new folder into which an archive is unpacked; the cache without it.
    within
        The folder out of which nothing may be named, as where a stranger has sent `path`. An
        archive never names anything outside of itself.

    Raises
    ------
    EmptyDataset
        If nothing is there.
    AmbiguousLabels
        If two labels differ only by case or space.
    DatasetError
        If a grouping fixes the label, or something outside is named.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=8)["wells"]
    >>> data = cytowell.read(folder)
    >>> len(data), data.classes, data.has_groups
    (16, ('negative', 'positive'), True)
    """
    place = Path(path)
    if not is_there(place):
        raise EmptyDataset(
            f"{path} is not there, or may not be looked into.",
            "Check the spelling of the path, and your right to read it.",
        )
    packed = place.suffix.lower() == ".zip" and place.is_file()
    unpacked = unpack(place, None if into is None else Path(into)) if packed else None
    place = unpacked or place
    name = source or _layout(place)
    sorted_by_hand = (
        name == "table" and place.is_dir() and not source and cutouts.was_sorted(place, TABLE)
    )
    if sorted_by_hand:
        name = "folders"
    where = place / TABLE if name == "table" and place.is_dir() else place
    reader = registry.load("sources", name)
    bounds = unpacked or (None if within is None else Path(within))
    judges = bounds is not None and "within" in inspect.signature(reader).parameters
    dataset: Dataset = reader(where, within=bounds) if judges else reader(where)
    require_inside(dataset.paths, bounds, str(path))
    if sorted_by_hand:
        dataset = cutouts.with_rows(dataset, place, TABLE)
    dataset = cutouts.with_written_groups(dataset)
    if not dataset.samples:
        raise EmptyDataset(
            f"{path} holds no images.", "JPEG, PNG, TIFF, BMP, WebP, HEIC, CZI and ND2 are read."
        )
    check_labels(dataset.classes, str(path))
    dataset = with_roboflow_groups(dataset)
    if group_pattern:
        dataset = with_groups(dataset, group_pattern, place if place.is_dir() else place.parent)
    else:
        dataset = with_proposal(dataset)
    beside = place if place.is_dir() else place.parent
    marked = any((d / SYNTHETIC_MARK).exists() for d in (beside, beside.parent))
    return replace(dataset, origin=str(path), synthetic=dataset.synthetic or marked)


def _layout(place: Path) -> str:
    """Tell a registered source by what lies there."""
    if place.is_dir():
        return _folder_layout(place)
    suffix = place.suffix.lower()
    if suffix == ".json" and labelstudio.is_one(place):
        return "label-studio"
    if suffix in (".csv", ".tsv") and objects.is_one(place):
        return "objects"
    for name, suffixes in _FILES.items():
        if suffix in suffixes:
            return name
    raise DatasetError(
        f"{place} is neither a folder, a table, an .npz, a zip nor annotations.",
        "Give a folder with one folder per class, a .csv or .parquet table, or a YOLO, COCO or "
        "Pascal VOC export.",
    )


_FILES = {
    "table": table.SUFFIXES,
    "npz": (".npz",),
    "coco": (".json",),
    "yolo": (".yaml", ".yml"),
    "cvat": (".xml",),
    "geojson": (".geojson",),
}


def _folder_layout(place: Path) -> str:
    if (place / TABLE).is_file():
        return "table"
    for name, looks_like in _ANNOTATED.items():
        if looks_like(place):
            return name
    return "folders"


_ANNOTATED = {
    "yolo": yolo.looks_like,
    "coco": coco.looks_like,
    "cvat": cvat.looks_like,  # its XML begins like VOC's
    "voc": voc.looks_like,
    "label-studio": labelstudio.looks_like,
    "labelme": labelme.looks_like,
    "geojson": geojson.looks_like,
    "objects": objects.looks_like,
}


def check_labels(classes: Sequence[str], where: str) -> None:
    """Refuse labels that differ only by case or space: nobody can tell if they are one class."""
    folded: dict[str, str] = {}
    for label in classes:
        same = unicodedata.normalize("NFKC", label).casefold()
        key = " ".join(same.replace("_", " ").replace("-", " ").split())
        if key in folded and folded[key] != label:
            raise AmbiguousLabels(
                f"{where} has the labels {folded[key]!r} and {label!r}.",
                "Give both the same spelling, or names that differ by more than case or space.",
            )
        folded[key] = label
