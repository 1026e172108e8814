"""What is known before anything is called: boxes, samples, data sets, findings, splits."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell.errors import SplitError
from cytowell.storage import sha256

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

PARTS = ("train", "validation", "test", "excluded")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright photograph; (x, y) is its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to be called: a photograph, or a box in one.

    `path` is a file, or ``file.npz::name/index`` for an image in an array. `group` is what must
    not be torn apart by a split (photograph, slide, plate, donor). `nothing` says why there is
    nothing in the photograph to be called, where somebody has looked: it has a row and no call.
    `error` says why nobody could look. `extra` keeps every further column of the table that named
    it.
    """

    path: str
    label: str | None = None
    group: str | None = None
    split: str | None = None
    subclass: str | None = None
    box: Box | None = None
    nothing: str = ""
    error: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


NPZ_MARK = ".npz::"
"""What parts the file from the image in it, in a sample's path."""


def file_of(path: str) -> str:
    """Give the file that a sample's path opens: all of it, or what stands before the array."""
    at = path.find(NPZ_MARK)
    return path if at < 0 else path[: at + len(NPZ_MARK) - 2]


@dataclass(frozen=True)
class Dataset:
    """Photographs and what is known of them.

    Attributes
    ----------
    samples
        In reading order, which never depends on the file system's.
    classes
        Sorted labels of the samples.
    origin
        What was read, as the user named it.
    notes
        Sentences that the reader wants the user to see (proposals, refusals, what was skipped).
    synthetic
        Whether the images were generated; shown wherever figures of them appear.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    origin: str = ""
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The photographs' paths, one for each sample."""
        return tuple(sample.path for sample in self.samples)

    @cached_property
    def labels(self) -> IntArray:
        """Class index of each sample, -1 where it has no label; shape (N,)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index.get(s.label or "", -1) for s in self.samples], dtype=np.int64)

    @cached_property
    def groups(self) -> npt.NDArray[np.str_]:
        """Group of each sample; one without a group is its own photograph; shape (N,)."""
        return np.array([s.group if s.group is not None else s.path for s in self.samples])

    @property
    def has_groups(self) -> bool:
        """Whether anything says that samples belong together."""
        return len(np.unique(self.groups)) < len(self) or any(
            s.group is not None for s in self.samples
        )

    @cached_property
    def subclasses(self) -> tuple[str, ...]:
        """Sorted sub-class names, empty where none are known."""
        return tuple(sorted({s.subclass for s in self.samples if s.subclass}))

    def take(self, indices: Iterable[int] | IntArray | BoolArray) -> Dataset:
        """Give the samples at these positions (or where a mask is true), classes unchanged."""
        chosen = np.asarray(indices)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        return replace(self, samples=tuple(self.samples[int(i)] for i in chosen))

    def frame(self) -> pd.DataFrame:
        """Give one row per sample: path, label, group, split, subclass, then further columns."""
        rows = []
        for s in self.samples:
            row: dict[str, Any] = {
                "path": s.path,
                "label": s.label,
                "group": s.group,
                "split": s.split,
                "subclass": s.subclass,
            }
            if s.box is not None:
                row |= {"x": s.box.x, "y": s.box.y, "width": s.box.width, "height": s.box.height}
            rows.append(row | dict(s.extra))
        return pd.DataFrame(rows)

    def row_keys(self) -> tuple[str, ...]:
        """Give all that decides what each sample is, as text: the file's bytes, never its place.

        Whatever is kept for samples is kept by these, not by their positions, so that it never
        comes back for others: a table may name them in any order.
        """
        return tuple(_row_key(s) for s in self.samples)

    def in_order(self) -> Dataset:
        """Give the same samples in the one order that does not depend on the table's rows."""
        keys = self.row_keys()
        return self.take(sorted(range(len(self)), key=lambda i: keys[i]))

    def digest(self) -> str:
        """Hash the rows, whatever their order and the folder's place."""
        return _digest(self.row_keys())


@dataclass(frozen=True)
class Findings:
    """What the checks found: one row per sample, two columns per issue.

    Attributes
    ----------
    table
        `path`, then `<issue>_score` (0 worst, 1 clean) and `is_<issue>` for every issue.
    blocking
        Sentences that stop a training until they are mended.
    remarks
        Sentences about the data as a whole (class balance, leakage, chains of near copies).
    duplicate_sets
        For each sample an id that copies share, "" for a sample without one; a split keeps a set
        on one side.
    excluded
        Samples that cannot be learnt from (unreadable, two labels), True where so; shape (N,).
    kinds
        For each sample the kind of photograph that it is ("" for none), where no groups are named
        and photographs fall into kinds; empty where they do not.
    cautions
        Those remarks that belong on top of a report: what the labels do not stand for.
    """

    table: pd.DataFrame
    blocking: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    duplicate_sets: tuple[str, ...] = ()
    excluded: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    kinds: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def issues(self) -> tuple[str, ...]:
        """Names of the issues that were looked for."""
        return tuple(c[3:] for c in self.table.columns if c.startswith("is_"))

    def frame(self) -> pd.DataFrame:
        """Give the table as it is saved: with `duplicate_set` and `excluded`, if they are known."""
        saved = self.table.copy()
        if len(self.duplicate_sets) == len(saved):
            saved["duplicate_set"] = list(self.duplicate_sets)
        if len(self.excluded) == len(saved):
            saved["excluded"] = self.excluded
        if self.kinds:
            saved["kind"] = list(self.kinds)
        return saved

    @staticmethod
    def from_frame(
        saved: pd.DataFrame, blocking: Sequence[str] = (), remarks: Sequence[str] = ()
    ) -> Findings:
        """Read a saved table back."""
        sets: tuple[str, ...] = ()
        excluded = np.zeros(0, dtype=np.bool_)
        if "duplicate_set" in saved.columns:
            named = saved["duplicate_set"]
            sets = tuple(
                "" if gone else str(n) for n, gone in zip(named, named.isna(), strict=True)
            )
        if "excluded" in saved.columns:
            excluded = saved["excluded"].to_numpy(dtype=np.bool_)
        kinds = tuple(saved["kind"].fillna("").astype(str)) if "kind" in saved.columns else ()
        table = saved.drop(columns=["duplicate_set", "excluded", "kind"], errors="ignore")
        return Findings(table, tuple(blocking), tuple(remarks), sets, excluded, kinds)

    def counts(self) -> dict[str, int]:
        """Give the number of samples that show each issue."""
        return {issue: int(self.table[f"is_{issue}"].sum()) for issue in self.issues}


@dataclass(frozen=True)
class Split:
    """Who learns, who calibrates, who judges.

    Attributes
    ----------
    parts
        One of `PARTS` for each sample of the data set, in its order; shape (N,).
    paths
        The samples' paths, so that a saved split can be laid on the same data again.
    how
        A sentence that says how it was made.
    """

    parts: npt.NDArray[np.str_]
    paths: tuple[str, ...]
    how: str = ""
    seed: int = 0

    def where(self, *parts: str) -> IntArray:
        """Give the positions of the samples in these parts."""
        return np.flatnonzero(np.isin(self.parts, parts)).astype(np.int64)

    @property
    def train(self) -> IntArray:
        """Positions of those that the network learns from."""
        return self.where("train")

    @property
    def validation(self) -> IntArray:
        """Positions of those that stop it, and set temperature and thresholds."""
        return self.where("validation")

    @property
    def test(self) -> IntArray:
        """Positions of those that judge and do nothing else."""
        return self.where("test")

    def digest(self) -> str:
        """Hash of who is where, independent of the folder's place."""
        places = _from_common_folder(self.paths)
        return _digest(f"{p}|{q}" for p, q in zip(places, self.parts, strict=True))

    def frame(self) -> pd.DataFrame:
        """Give the split as a table: path, split."""
        return pd.DataFrame({"path": list(self.paths), "split": self.parts})

    @staticmethod
    def from_frame(frame: pd.DataFrame, dataset: Dataset) -> Split:
        """Lay a saved split on a data set.

        Raises
        ------
        SplitError
            If a sample of the data set has no row, or a part has an unknown name.
        """
        if not {"path", "split"} <= set(frame.columns):
            raise SplitError(
                "A split file needs the columns path and split.",
                "Feed back the split.csv of a run, or write those two columns.",
            )
        known: dict[str, list[str]] = {}
        for path, part in zip(frame["path"].astype(str), frame["split"].astype(str), strict=True):
            known.setdefault(path, []).append(part)
        wanted, taken = Counter(dataset.paths), Counter[str]()
        names, own = ({Path(p).name: p for p in paths} for paths in (known, wanted))
        unique = len(names) == len(known) and len(own) == len(wanted)
        parts = []
        for path in dataset.paths:
            elsewhere = names.get(Path(path).name, "") if unique else ""
            rows = known.get(path, known.get(elsewhere, []))
            if not rows:
                raise SplitError(
                    f"{path} has no row in the split file.",
                    "Use the split of this data set, or leave --split away to have one made.",
                )
            if len(set(rows)) > 1 and len(rows) != wanted[path]:
                raise SplitError(
                    f"{path} has {len(rows)} rows in the split file that disagree.",
                    "Leave one of them, or one for each of its boxes, in their order.",
                )
            part = rows[taken[path]] if len(rows) == wanted[path] else rows[0]
            taken[path] += 1
            if part not in PARTS:
                raise SplitError(
                    f"{path} has the part {part!r} in the split file.",
                    f"Parts are {', '.join(PARTS)}.",
                )
            parts.append(part)
        return Split(np.array(parts), dataset.paths, how="as given in a split file")


def _digest(lines: Iterable[str]) -> str:
    # A name that is not UTF-8 on disk is hashed by its own bytes.
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()


def _row_key(s: Sample) -> str:
    file, _, member = s.path.partition("::")
    box = None if s.box is None else (s.box.x, s.box.y, s.box.width, s.box.height)
    extra = sorted((str(k), str(v)) for k, v in s.extra.items())
    row = (Path(file).name, member, content(file), s.label, s.group, s.split, s.subclass, box,
           s.nothing, extra)  # fmt: skip
    # A name that is not UTF-8 on disk is spelt out by its own bytes.
    return json.dumps(row, default=str)


def content(path: str) -> str:
    """Hash a file's bytes, again only if it has changed; "" where there is none."""
    try:
        found = Path(path).stat()
        return _content(path, found.st_size, found.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1 << 18)
def _content(path: str, size: int, changed: int) -> str:
    return sha256(path)


def _from_common_folder(paths: Sequence[str]) -> list[str]:
    """Give paths as from the deepest folder that holds all of them."""
    try:
        common = os.path.commonpath([str(Path(p).parent) for p in paths])
    except ValueError:
        return [Path(p).name for p in paths]
    return [os.path.relpath(p, common or ".") for p in paths]


def printable(name: str) -> str:
    """Give a file's name as text; bytes of it that are not UTF-8 are spelt out."""
    return name.encode(errors="backslashreplace").decode()


def fields_of(samples: Iterable[Sample]) -> frozenset[str]:
    """Give which of truth, group, split, subclass and box any of the samples has."""
    found = set()
    for s in samples:
        for name, value in (
            ("truth", s.label),
            ("group", s.group),
            ("split", s.split),
            ("subclass", s.subclass),
            ("box", s.box),
        ):
            if value is not None:
                found.add(name)
    return frozenset(found)
