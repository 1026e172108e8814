"""The findings table: what one check found, and how several become one table.

Every check gives `Findings` of its own issues; `join` lays them side by side. One row per sample,
`path` first, then `<issue>_score` (0 worst, 1 clean) and `is_<issue>`, and `why` last: the reason
in words, for whoever reads the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cytowell.errors import DatasetError
from cytowell.types import BoolArray, Dataset, Findings, FloatArray, IntArray

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""


@dataclass(frozen=True)
class Issue:
    """One thing that can be wrong with a sample.

    Attributes
    ----------
    score
        0 worst, 1 clean; shape (N,).
    flagged
        Where it is bad enough to be named; shape (N,).
    why
        The reason in words for each flagged sample, by position; may be left empty.
    """

    score: FloatArray
    flagged: BoolArray
    why: Mapping[int, str]


def flags(flagged: npt.NDArray[np.bool_], why: Mapping[int, str]) -> Issue:
    """Make an issue that is there or is not: score 0 or 1."""
    return Issue(np.where(flagged, 0.0, 1.0), np.asarray(flagged, dtype=np.bool_), why)


def findings(
    dataset: Dataset,
    issues: Mapping[str, Issue],
    blocking: Sequence[str] = (),
    remarks: Sequence[str] = (),
    sets: Sequence[str] | None = None,
    excluded: BoolArray | None = None,
) -> Findings:
    """Make the table of one check."""
    columns: dict[str, object] = {"path": list(dataset.paths)}
    reasons: list[list[str]] = [[] for _ in range(len(dataset))]
    for name, issue in issues.items():
        columns[f"{name}_score"] = np.clip(issue.score, 0.0, 1.0)
        columns[f"is_{name}"] = issue.flagged
        for position in np.flatnonzero(issue.flagged):
            reasons[position].append(issue.why.get(int(position), name.replace("_", " ")))
    columns["why"] = ["; ".join(r) for r in reasons]
    return Findings(
        pd.DataFrame(columns),
        tuple(blocking),
        tuple(remarks),
        tuple(sets) if sets is not None else ("",) * len(dataset),
        excluded if excluded is not None else np.zeros(len(dataset), dtype=np.bool_),
    )


def join(dataset: Dataset, parts: Mapping[str, Findings]) -> Findings:
    """Lay the tables of several checks side by side.

    An issue that two checks found keeps the worse score; copies that either found share a set.

    Parameters
    ----------
    parts
        Name of each check to what it found.

    Raises
    ------
    DatasetError
        If a check gave a table that has not one row per sample.
    """
    table = pd.DataFrame({"path": list(dataset.paths)})
    excluded = np.zeros(len(dataset), dtype=np.bool_)
    reasons: list[list[str]] = [[] for _ in range(len(dataset))]
    pairs: list[npt.NDArray[np.int64]] = []
    for name, part in parts.items():
        _check_rows(dataset, name, part)
        for issue in part.issues:
            score = part.table[f"{issue}_score"].to_numpy(dtype=np.float64)
            flagged = part.table[f"is_{issue}"].to_numpy(dtype=np.bool_)
            if f"is_{issue}" in table:
                score = np.minimum(score, table[f"{issue}_score"].to_numpy())
                flagged = flagged | table[f"is_{issue}"].to_numpy()
            table[f"{issue}_score"] = score
            table[f"is_{issue}"] = flagged
        for position, words in enumerate(part.table.get("why", ())):
            if words:
                reasons[position].append(str(words))
        if len(part.excluded):
            excluded |= part.excluded
        if len(part.duplicate_sets):
            pairs.append(pairs_of(part.duplicate_sets))
    table["why"] = ["; ".join(r) for r in reasons]
    linked = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
    return Findings(
        table,
        tuple(s for part in parts.values() for s in part.blocking),
        tuple(s for part in parts.values() for s in part.remarks),
        name_sets(components(len(dataset), linked)),
        excluded,
        next((part.kinds for part in parts.values() if part.kinds), ()),
        tuple(s for part in parts.values() for s in part.cautions),
    )


def _check_rows(dataset: Dataset, name: str, part: Findings) -> None:
    if list(part.table.get("path", ())) != list(dataset.paths):
        raise DatasetError(
            f"The check {name!r} gave a table that does not fit the data set of {len(dataset)}.",
            "Give one row per sample, in the data set's order, with its path in the column path.",
        )
    for issue in part.issues:
        if f"{issue}_score" not in part.table:
            raise DatasetError(
                f"The check {name!r} gave is_{issue} without {issue}_score.",
                "Give both columns for every issue; the score is 0 at worst and 1 when clean.",
            )


def components(count: int, pairs: npt.NDArray[np.int64]) -> IntArray:
    """Give the number of the connected component of each of `count` things; pairs (P, 2)."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def pairs_of(sets: Sequence[str]) -> npt.NDArray[np.int64]:
    """Give pairs (P, 2) of positions that tie every set to its first member."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(s, i), i) for i, s in enumerate(sets) if s]
    return np.array([p for p in pairs if p[0] != p[1]], dtype=np.int64).reshape(-1, 2)


def name_sets(component: IntArray) -> tuple[str, ...]:
    """Name every component of two or more by its first member's place; "" for the others."""
    if not len(component):
        return ()
    _, first, inverse, counts = np.unique(
        component, return_index=True, return_inverse=True, return_counts=True
    )
    return tuple(f"set-{first[k]}" if counts[k] > 1 else "" for k in inverse)


def shown(names: Sequence[str], most: int = 3) -> str:
    """List a few names for a sentence."""
    listed = ", ".join(names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
