"""What is known before anything is called: boxes, samples, data sets, findings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell.storage import sha256
from cytowell.types import notebook

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright photograph; (x, y) is its upper left corner.

    Examples
    --------
    >>> from cytowell import Box
    >>> Box(x=10, y=20, width=30, height=40)
    Box(x=10, y=20, width=30, height=40)
    """

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

    Examples
    --------
    >>> from cytowell import Box, Sample
    >>> Sample("slide7.jpg", label="monocyte", group="slide 7", box=Box(10, 20, 30, 40)).group
    'slide 7'
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


GROUP_KEY = "cytowell group"
"""Keyword of a PNG's text that says to which group a cut-out belongs."""

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

    Examples
    --------
    >>> from cytowell import Dataset, Sample
    >>> data = Dataset((Sample("a.jpg", "positive"), Sample("b.jpg", "negative")),
    ...                ("negative", "positive"))
    >>> data.labels.tolist(), data.counts()
    ([1, 0], {'negative': 1, 'positive': 1})
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    origin: str = ""
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        boxes = sum(s.box is not None for s in self.samples)
        facts = [f"{len(self)} samples of {len(set(self.paths))} photographs"]
        facts += [f"{boxes} with a box"] if boxes else []
        facts += [notebook.listed(self.counts())] if self.classes else ["no labels"]
        facts += [f"{len(np.unique(self.groups))} groups"] if self.has_groups else ["no groups"]
        facts += ["synthetic"] if self.synthetic else []
        return f"Dataset({self.origin + ': ' if self.origin else ''}{'; '.join(facts)})"

    def _repr_html_(self) -> str:
        """Give the classes with their numbers and a picture of each, as a notebook shows them."""
        first: dict[str | None, Sample] = {}
        for s in self.samples:
            first.setdefault(s.label, s)
        counts = self.counts()
        names = [n for n in counts if n in first]
        pictures = [notebook.picture(first[n]) for n in names]
        rows = [(n, counts[n]) for n in names]
        return notebook.page(repr(self), ("class", "samples"), rows, pictures)

    def counts(self) -> dict[str, int]:
        """Give the number of samples of each class."""
        found = Counter(s.label for s in self.samples)
        return {name: found[name] for name in self.classes}

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

    def to_frame(self) -> pd.DataFrame:
        """Give one row per sample; see `frame`."""
        return self.frame()

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
        return digest_of(self.row_keys())


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

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=8)["wells"]
    >>> findings = cytowell.check(cytowell.read(folder))
    >>> findings.to_frame().columns[:2].tolist()
    ['path', 'unreadable_score']
    """

    table: pd.DataFrame
    blocking: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    duplicate_sets: tuple[str, ...] = ()
    excluded: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    kinds: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = {name: count for name, count in self.counts().items() if count}
        told = notebook.listed(found) or "no issue"
        blocked = f"; {len(self.blocking)} stop a training" if self.blocking else ""
        return f"Findings({len(self.table)} samples: {told}{blocked})"

    def _repr_html_(self) -> str:
        """Give how many samples show each issue, and what is said of all, as a notebook shows."""
        rows: list[tuple[object, object]] = [(n, c) for n, c in self.counts().items() if c]
        rows += [("stops a training", sentence) for sentence in self.blocking]
        rows += [("remark", sentence) for sentence in self.remarks]
        return notebook.page(repr(self), ("issue", "samples"), rows)

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

    def to_frame(self) -> pd.DataFrame:
        """Give the table as it is saved; see `frame`."""
        return self.frame()

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


def digest_of(lines: Iterable[str]) -> str:
    """Hash lines, whatever their order."""
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
