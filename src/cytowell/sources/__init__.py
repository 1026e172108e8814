"""A path to a Dataset. Each module knows one layout; none knows another."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cytowell import registry
from cytowell.errors import AmbiguousLabels, DatasetError, EmptyDataset
from cytowell.sources import coco, table, voc, yolo
from cytowell.sources.archive import require_inside, unpack
from cytowell.storage import is_there
from cytowell.types import Dataset, Sample

SYNTHETIC_MARK = "SYNTHETIC.txt"
"""A file of this name beside images says that they were generated."""

TABLE = "samples.csv"
"""A folder that holds a table of this name is read through it."""

_ROBOFLOW = re.compile(r"^(?P<stem>.+)\.rf\.[0-9a-f]{8,}$", re.IGNORECASE)


def read(
    path: str | Path,
    source: str | None = None,
    group_pattern: str = "",
    into: str | Path | None = None,
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
        A regular expression whose first bracket, found in a file's name, is its group (slide,
        donor, plate).
    into
        A new folder into which an archive is unpacked; the cache without it.

    Raises
    ------
    EmptyDataset
        If nothing is there.
    AmbiguousLabels
        If two labels differ only by case or space.
    DatasetError
        If a grouping fixes the label.
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
    where = place / TABLE if name == "table" and place.is_dir() else place
    reader = registry.load("sources", name)
    if unpacked and name == "yolo":
        # Its settings may name any folder of this machine; those of an archive may not.
        dataset: Dataset = reader(where, within=unpacked)
    else:
        dataset = reader(where)
    if unpacked:
        require_inside(dataset.paths, unpacked, place=str(path))
    if not dataset.samples:
        raise EmptyDataset(
            f"{path} holds no images.", "JPEG, PNG, TIFF, BMP, WebP and HEIC are read."
        )
    check_labels(dataset.classes, str(path))
    dataset = _with_roboflow_groups(dataset)
    if group_pattern:
        dataset = _with_groups(dataset, group_pattern)
    else:
        dataset = _with_proposal(dataset)
    beside = place if place.is_dir() else place.parent
    marked = any((d / SYNTHETIC_MARK).exists() for d in (beside, beside.parent))
    return replace(dataset, origin=str(path), synthetic=dataset.synthetic or marked)


def _layout(place: Path) -> str:
    """Tell a registered source by what lies there."""
    if place.is_dir():
        return _folder_layout(place)
    suffix = place.suffix.lower()
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
}


def _folder_layout(place: Path) -> str:
    if (place / TABLE).is_file():
        return "table"
    for name, looks_like in _ANNOTATED.items():
        if looks_like(place):
            return name
    return "folders"


_ANNOTATED = {"yolo": yolo.looks_like, "coco": coco.looks_like, "voc": voc.looks_like}


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


def roboflow_stem(path: str) -> str | None:
    """Give the photograph that a Roboflow file is a copy of, None if it is no such file."""
    found = _ROBOFLOW.match(Path(path).stem)
    return found["stem"] if found else None


def _with_roboflow_groups(dataset: Dataset) -> Dataset:
    stems = [roboflow_stem(s.path) for s in dataset.samples]
    if not any(stems):
        return dataset
    samples = tuple(
        replace(s, group=stem) if stem and s.group is None else s
        for s, stem in zip(dataset.samples, stems, strict=True)
    )
    note = "Roboflow file names: copies of one photograph are one group."
    return replace(dataset, samples=samples, notes=(*dataset.notes, note))


def _with_groups(dataset: Dataset, pattern: str) -> Dataset:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"{pattern!r} is no regular expression ({error}).") from error
    if expression.groups < 1:
        raise DatasetError(
            f"{pattern!r} has no bracket.", "Put the part that names the group in brackets."
        )
    groups = []
    for s in dataset.samples:
        found = expression.search(Path(s.path).name)
        if found is None:
            raise DatasetError(
                f"{s.path} does not match the group pattern {pattern!r}.",
                "Widen the pattern, or give groups in a table's column.",
            )
        groups.append(found[1])
    if _fixes_label(dataset.samples, groups):
        raise DatasetError(
            f"The group pattern {pattern!r} gives groups that tell the label "
            f"(such as {groups[0]!r}, always {dataset.samples[0].label!r}).",
            "They are names of classes, not of slides or donors: choose another pattern.",
        )
    samples = tuple(replace(s, group=g) for s, g in zip(dataset.samples, groups, strict=True))
    return replace(dataset, samples=samples)


def _fixes_label(samples: Sequence[Sample], groups: Sequence[str]) -> bool:
    """Whether groups are labels in disguise: each has one label, and there are few of them."""
    labels = defaultdict(set)
    for s, g in zip(samples, groups, strict=True):
        labels[g].add(s.label)
    classes = {s.label for s in samples}
    pure = all(len(found) == 1 for found in labels.values())
    return pure and len(classes) > 1 and len(labels) <= 3 * len(classes)


def _with_proposal(dataset: Dataset) -> Dataset:
    """Propose, never take, a grouping that the file names suggest."""
    if any(s.group is not None for s in dataset.samples) or len(dataset) < 10:
        return dataset
    tokens = [re.split(r"[_\-. ]", Path(s.path).name, maxsplit=1)[0] for s in dataset.samples]
    kinds = set(tokens)
    if not 2 <= len(kinds) <= len(tokens) / 3 or _fixes_label(dataset.samples, tokens):
        return dataset
    note = (
        f"File names begin with {len(kinds)} different words (such as {sorted(kinds)[0]!r}). If "
        "these name slides, plates or donors, say so: --group-pattern '^([^_. -]+)'."
    )
    return replace(dataset, notes=(*dataset.notes, note))
