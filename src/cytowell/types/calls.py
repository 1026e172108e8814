"""Calls, aligned: the one table that everything downstream takes and returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell.errors import BadTable
from cytowell.types import notebook
from cytowell.types.data import BoolArray, Box, FloatArray, IntArray, Sample, printable

CALL_COLUMNS = ("path", "label", "probability", "decided", "reason", "error")

OBJECT = "object"
"""Further column that numbers what was found in a photograph; with it, where comes before what."""

KIND, KIND_PROBABILITY = "subclass", "subclass_probability"
"""Further columns of a bundle that tells kinds within its classes; the true one, where it is known,
is then called `truth_subclass`."""
FOUND = "found"
"""Further column that says which of the detector's classes an object is."""

COUNTED = "counted, not called"
"""Reason of an object that a detector found and that the classifier is not for."""

REPEATED = "the same cell as"
"""Beginning of the reason of a white cell that an overlapping field shows a second time."""

_PLACE = (OBJECT, "plate", "well", "x", "y", "width", "height", "score")
_SIDES = ("x", "y", "width", "height")


@dataclass(frozen=True)
class Call:
    """One row of `Predictions`.

    Attributes
    ----------
    label, probability
        The likeliest class and how probable it is; "" and NaN where nothing was called.
    decided
        Whether that passed the bundle's threshold; if not, `reason` says why.
    error
        Why the image could not be read, "" if it could.
    probabilities
        Of every class, by name.
    """

    sample: Sample
    label: str
    probability: float
    decided: bool
    reason: str
    error: str
    probabilities: Mapping[str, float]

    @property
    def path(self) -> str:
        """The photograph's path."""
        return self.sample.path

    def __repr__(self) -> str:
        what = self.error or f"{self.label or 'nothing'} {self.probability:.3f}"
        why = "" if self.decided or self.error else f", not decided: {self.reason}"
        return f"Call({printable(self.path)}: {what}{why})"


@dataclass(frozen=True)
class Predictions(Sequence[Call]):
    """Calls, aligned: row i of everything belongs to sample i.

    A sequence: `calls[0]` is a `Call`, `calls[:10]` are calls again.

    Attributes
    ----------
    samples
        What was called; their labels, where they have one, are the truth.
    classes
        Column names of `probabilities`.
    probabilities
        Calibrated, rows sum to 1; NaN where the image could not be read, where a photograph has
        nothing in it to be called, and where an object is counted only; shape (N, C).
    decided
        Whether the likeliest class passed the bundle's threshold; shape (N,).
    reasons
        Why it was not decided, "" where it was; length N.
    errors
        Why it could not be read, "" where it could; length N.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=2)["wells"]
    >>> calls = cytowell.load("blood").predict(cytowell.read(folder))
    >>> len(calls), calls[0].error
    (4, '')
    >>> calls.to_frame().columns[:4].tolist()
    ['path', 'label', 'probability', 'decided']
    >>> undecided = calls.take(~calls.decided)
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    probabilities: FloatArray
    decided: BoolArray
    reasons: tuple[str, ...]
    errors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Call | Predictions:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        shares = self.probabilities[row]
        best = int(np.argmax(shares)) if not np.isnan(shares).any() else -1
        return Call(
            self.samples[row],
            self.classes[best] if best >= 0 else "",
            float(shares[best]) if best >= 0 else float("nan"),
            bool(self.decided[row]),
            self.reasons[row],
            self.errors[row],
            dict(zip(self.classes, map(float, shares), strict=True)),
        )

    def __iter__(self) -> Iterator[Call]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        decided = int(self.decided.sum())
        failed = sum(1 for e in self.errors if e)
        empty = sum(1 for s in self.samples if s.nothing)
        parts = {
            "decided": decided,
            "not decided": len(self) - decided - failed - empty,
            "without an object to be called": empty,
            "unreadable": failed,
        }
        told = notebook.listed({k: n for k, n in parts.items() if n or k == "decided"})
        return f"Predictions({len(self)} calls: {told}; classes {', '.join(self.classes)})"

    def _repr_html_(self) -> str:
        """Give the first rows as a notebook shows them, each with a small picture."""
        shown = self[: notebook.ROWS]
        rows = [
            (
                printable(c.path),
                c.label,
                "" if np.isnan(c.probability) else f"{c.probability:.3f}",
                "yes" if c.decided else "no",
                printable(c.error or c.reason),
            )
            for c in shown
        ]
        pictures = [notebook.picture(s) for s in shown.samples]
        headings = ("path", "label", "probability", "decided", "reason or error")
        return notebook.page(repr(self), headings, rows, pictures, len(self) - len(rows))

    @property
    def readable(self) -> BoolArray:
        """Where there was an image, and it could be read; shape (N,)."""
        fine = zip(self.errors, self.samples, strict=True)
        return np.array([not e and not s.nothing for e, s in fine], dtype=np.bool_)

    @property
    def counted(self) -> BoolArray:
        """Where an object was found that the classifier is not for; shape (N,)."""
        return np.array([s.nothing == COUNTED for s in self.samples], dtype=np.bool_)

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
        name is taken gets the prefix `given_`. For objects that were found in photographs,
        `object, plate, well, x, y, width, height, score` follow `path`.

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
            told = any(KIND_PROBABILITY in s.extra for s in self.samples)
            columns["truth_subclass" if told else KIND] = [s.subclass for s in self.samples]
        if "box" in known or any(s.box is not None for s in self.samples):
            for name in _SIDES:
                sides = [getattr(s.box, name) if s.box else np.nan for s in self.samples]
                columns[name] = np.array(sides, dtype=np.float64)
        extras: dict[str, None] = {}
        for s in self.samples:
            extras.update(dict.fromkeys(s.extra))
        for name in extras:
            out = name
            while out in columns or (out != name and out in extras):
                out = f"given_{out}"
            columns[out] = [s.extra.get(name) for s in self.samples]
        if OBJECT in columns:
            # Whole numbers even where a photograph without objects has none.
            columns[OBJECT] = pd.array(columns[OBJECT], dtype="Int64")
            columns = {n: columns[n] for n in ("path", *_PLACE) if n in columns} | columns
        return pd.DataFrame(columns)

    def to_frame(self) -> pd.DataFrame:
        """Give the calls as a table; see `frame`."""
        return self.frame()

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
        true_kind = KIND
        if KIND_PROBABILITY in frame.columns:
            true_kind = "truth_subclass"
            known = (known - {KIND}) | {true_kind}
        boxes: list[Box | None] = [None] * len(frame)
        if set(_SIDES) <= set(frame.columns):
            known |= set(_SIDES)
            corners = frame[[*_SIDES]].to_numpy(dtype=np.float64)
            boxes = [None if np.isnan(c).any() else Box(*map(float, c)) for c in corners]
        texts = {
            name: frame[name].astype(object).where(frame[name].notna(), None).tolist()
            if name in frame.columns
            else [None] * len(frame)
            for name in ("path", "truth", "group", "split", true_kind, "reason", "error")
        }
        extras = frame[[c for c in frame.columns if c not in known]].to_dict("records")
        probabilities = frame[[f"p_{c}" for c in classes]].to_numpy(dtype=np.float64)
        empty = np.isnan(probabilities).all(axis=1) & np.array([not e for e in texts["error"]])
        samples = tuple(
            Sample(
                str(texts["path"][i]),
                texts["truth"][i],
                texts["group"][i],
                texts["split"][i],
                texts[true_kind][i],
                boxes[i],
                nothing=str(texts["reason"][i] or "") if empty[i] else "",
                extra={str(k): v for k, v in extras[i].items()},
            )
            for i in range(len(frame))
        )
        decided = frame["decided"].astype(str).str.lower() == "true"
        return Predictions(
            samples,
            classes,
            probabilities,
            decided.to_numpy(dtype=np.bool_),
            tuple(str(r or "") for r in texts["reason"]),
            tuple(str(e or "") for e in texts["error"]),
        )
