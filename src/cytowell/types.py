"""The values that every room speaks: frozen, aligned, saved and read back as tables.

A `Dataset` holds photographs and samples; a `Split` says who learns and who judges; `Findings` is
the one table of the checks; `Predictions` is the one table of calls. Pixels never live here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell.errors import BadTable, SplitError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

PARTS = ("train", "validation", "test", "excluded")
CALL_COLUMNS = ("path", "label", "probability", "decided", "reason", "error")


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
    not be torn apart by a split (photograph, slide, plate, donor). `extra` keeps every further
    column of the table that named it.
    """

    path: str
    label: str | None = None
    group: str | None = None
    split: str | None = None
    subclass: str | None = None
    box: Box | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


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

    def digest(self) -> str:
        """Hash what was learnt from: file names, sizes and labels, whatever the folder's place."""
        entries = []
        for s in self.samples:
            file = Path(s.path.split("::")[0])
            size = file.stat().st_size if file.exists() else 0
            member = s.path.split("::")[1] if "::" in s.path else ""
            entries.append(f"{file.name}|{member}|{size}|{s.label}|{s.box}")
        return _digest(entries)


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
    """

    table: pd.DataFrame
    blocking: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    duplicate_sets: tuple[str, ...] = ()
    excluded: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    @property
    def issues(self) -> tuple[str, ...]:
        """Names of the issues that were looked for."""
        return tuple(c[3:] for c in self.table.columns if c.startswith("is_"))

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
        return _digest(f"{Path(p).name}|{q}" for p, q in zip(self.paths, self.parts, strict=True))

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


@dataclass(frozen=True)
class Predictions:
    """Calls, aligned: row i of everything belongs to sample i.

    Attributes
    ----------
    samples
        What was called; their labels, where they have one, are the truth.
    classes
        Column names of `probabilities`.
    probabilities
        Calibrated, rows sum to 1; NaN where the image could not be read; shape (N, C).
    decided
        Whether the likeliest class passed the bundle's threshold; shape (N,).
    reasons
        Why it was not decided, "" where it was; length N.
    errors
        Why it could not be read, "" where it could; length N.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    probabilities: FloatArray
    decided: BoolArray
    reasons: tuple[str, ...]
    errors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def readable(self) -> BoolArray:
        """Where the image could be read; shape (N,)."""
        return np.array([not e for e in self.errors], dtype=np.bool_)

    @property
    def called(self) -> IntArray:
        """Index of the likeliest class, -1 with an error; shape (N,)."""
        best = np.argmax(np.nan_to_num(self.probabilities, nan=-1.0), axis=1)
        return np.where(self.readable, best, -1).astype(np.int64)

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the likeliest class, "" with an error; length N."""
        return tuple(self.classes[i] if i >= 0 else "" for i in self.called)

    @property
    def truth(self) -> IntArray:
        """Class index of each sample's own label, -1 where it has none; shape (N,)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index.get(s.label or "", -1) for s in self.samples], dtype=np.int64)

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        """Group of each sample, its path where it has none; shape (N,)."""
        return np.array([s.group if s.group is not None else s.path for s in self.samples])

    def take(self, indices: Sequence[int] | IntArray | BoolArray) -> Predictions:
        """Give the rows at these positions, or where a mask is true."""
        chosen = np.asarray(indices)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        rows = [int(i) for i in chosen]
        return Predictions(
            tuple(self.samples[i] for i in rows),
            self.classes,
            self.probabilities[rows],
            self.decided[rows],
            tuple(self.reasons[i] for i in rows),
            tuple(self.errors[i] for i in rows),
        )

    @staticmethod
    def join(parts: Sequence[Predictions]) -> Predictions:
        """Put batches of calls of one bundle end to end."""
        if not parts:
            raise BadTable("There are no calls to put together.")
        return Predictions(
            tuple(s for p in parts for s in p.samples),
            parts[0].classes,
            np.concatenate([p.probabilities for p in parts]),
            np.concatenate([p.decided for p in parts]),
            tuple(r for p in parts for r in p.reasons),
            tuple(e for p in parts for e in p.errors),
        )

    def frame(self, known: frozenset[str] = frozenset()) -> pd.DataFrame:
        """Give the calls as a table.

        Columns: `path, label, probability, decided, reason, error`, `p_<class>` for every class,
        then the samples' own columns. A sample's own label comes out as `truth`; a column whose
        name is taken gets the prefix `given_`.

        Parameters
        ----------
        known
            Which of `truth`, `group`, `split`, `subclass` and `box` are wanted even if no
            sample here has them, so that every batch of a long list has the same columns.
        """
        rows = len(self)
        columns: dict[str, Any] = {
            "path": [printable(s.path) for s in self.samples],
            "label": list(self.labels),
            "probability": np.max(self.probabilities, axis=1) if rows else np.zeros(0),
            "decided": self.decided,
            "reason": list(self.reasons),
            "error": [printable(e) for e in self.errors],
        }
        for i, name in enumerate(self.classes):
            columns[f"p_{name}"] = self.probabilities[:, i]
        if "truth" in known or any(s.label is not None for s in self.samples):
            columns["truth"] = [s.label for s in self.samples]
        if "group" in known or any(s.group is not None for s in self.samples):
            columns["group"] = [s.group for s in self.samples]
        if "split" in known or any(s.split is not None for s in self.samples):
            columns["split"] = [s.split for s in self.samples]
        if "subclass" in known or any(s.subclass is not None for s in self.samples):
            columns["subclass"] = [s.subclass for s in self.samples]
        if "box" in known or any(s.box is not None for s in self.samples):
            for name in ("x", "y", "width", "height"):
                columns[name] = [getattr(s.box, name) if s.box else None for s in self.samples]
        extras: dict[str, None] = {}
        for s in self.samples:
            extras.update(dict.fromkeys(s.extra))
        for name in extras:
            out = name
            while out in columns or (out != name and out in extras):
                out = f"given_{out}"
            columns[out] = [s.extra.get(name) for s in self.samples]
        return pd.DataFrame(columns)

    @staticmethod
    def from_frame(frame: pd.DataFrame) -> Predictions:
        """Read a table of calls as `frame` gives it, or a file of it.

        Raises
        ------
        BadTable
            If it has no `p_<class>` columns.
        """
        classes = tuple(c[2:] for c in frame.columns if c.startswith("p_"))
        if not classes or "path" not in frame.columns:
            raise BadTable("A table of calls has the columns path and p_<class>.")
        known = {*CALL_COLUMNS, "truth", "group", "split", "subclass", *(f"p_{c}" for c in classes)}
        sides = ("x", "y", "width", "height")
        boxes: list[Box | None] = [None] * len(frame)
        if set(sides) <= set(frame.columns):
            known |= set(sides)
            corners = frame[[*sides]].to_numpy(dtype=np.float64)
            boxes = [None if np.isnan(c).any() else Box(*map(float, c)) for c in corners]
        texts = {
            name: frame[name].astype(object).where(frame[name].notna(), None).tolist()
            if name in frame.columns
            else [None] * len(frame)
            for name in ("path", "truth", "group", "split", "subclass", "reason", "error")
        }
        extras = frame[[c for c in frame.columns if c not in known]].to_dict("records")
        samples = tuple(
            Sample(
                str(texts["path"][i]),
                texts["truth"][i],
                texts["group"][i],
                texts["split"][i],
                texts["subclass"][i],
                boxes[i],
                extra={str(k): v for k, v in extras[i].items()},
            )
            for i in range(len(frame))
        )
        decided = frame["decided"].astype(str).str.lower() == "true"
        return Predictions(
            samples,
            classes,
            frame[[f"p_{c}" for c in classes]].to_numpy(dtype=np.float64),
            decided.to_numpy(dtype=np.bool_),
            tuple(str(r or "") for r in texts["reason"]),
            tuple(str(e or "") for e in texts["error"]),
        )


def _digest(lines: Iterable[str]) -> str:
    # A name that is not UTF-8 on disk is hashed by its own bytes.
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()


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
