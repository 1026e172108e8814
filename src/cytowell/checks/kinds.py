"""Kinds of photographs where no groups are named: of two stains, lights, cameras or days.

Images of one kind resemble one another as images of one slide do. Figures of labels that are all of
one kind say nothing of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cytowell.checks.issues import findings
from cytowell.checks.labelled import cautions
from cytowell.checks.scan import Scan
from cytowell.types import BoolArray, Dataset, Findings, FloatArray, file_of

APART = 5.0
"""Ashman's D (distance of means over root mean square deviation) from which values fall in two:
halves of a normal distribution have 2.6, of an even one 3.5."""

LEAST, LEAST_SHARE = 4, 0.04
"""Photographs, and share of all, that make a kind."""

MOST = 5
"""Values of a name, size, camera or day up to which they are kinds and not just different."""

MEASURED = {
    "stain": ("red_green", "blue_green", "saturation"),
    "light": ("brightness_perc_99", "brightness_perc_95"),
    "sharpness": ("sharpness",),
}
"""What is measured of photographs, and the columns of `Scan.facts` that show it."""


def check(dataset: Dataset, scan: Scan) -> Findings:
    """Find kinds of photographs where no groups are named, and say whether labels miss one.

    A difference that goes with the classes is one of classes: it makes no kinds.
    """
    what, kinds = kinds_of(dataset, scan)
    said = _remarks(dataset, what, kinds)
    said += [] if _misses(dataset, kinds) else cautions(dataset, scan)
    made = findings(dataset, {}, remarks=said)
    return replace(made, kinds=tuple(kinds.tolist()) if what else (), cautions=tuple(said))


def kinds_of(dataset: Dataset, scan: Scan) -> tuple[str, npt.NDArray[np.str_]]:
    """Give in what photographs differ ("" for nothing), and the kind of each sample, "" for none.

    Of several differences the one that labels miss comes first, else the one that parts the
    photographs most evenly.
    """
    none = np.full(len(dataset), "", dtype="<U64")
    if dataset.has_groups or len(scan.paths) < 2 * LEAST:
        return "", none
    found = []
    for what, values in _values(scan).items():
        kinds = np.where(values == "", "", values)[scan.photograph]
        names, counts = np.unique(kinds[kinds != ""], return_counts=True)
        if len(names) >= 2 and not _of_classes(dataset, kinds):
            missed = len(set(kinds[(dataset.labels >= 0) & (kinds != "")])) == 1
            found.append((missed, counts.min() / counts.sum(), what, kinds))
    if not found:
        return "", none
    _, _, what, kinds = max(found, key=lambda one: one[:2])
    return what, kinds


def _values(scan: Scan) -> dict[str, npt.NDArray[np.str_]]:
    """Give by difference the kind of each photograph, "" for none; (P,)."""
    facts = scan.facts
    out: dict[str, npt.NDArray[np.str_]] = {}
    for what, columns in MEASURED.items():
        for column in columns:
            values = facts[column].to_numpy(dtype=np.float64)
            upper = two_kinds(values)
            if upper is not None:
                low, high = (f"{what} {side}" for side in ("lower", "higher"))
                named = np.where(upper, high, low)
                out[f"{what} ({column.replace('_', ' ')})"] = np.where(
                    np.isfinite(values), named, ""
                )
    sizes = [f"{w}x{h}" for w, h in zip(facts["width"], facts["height"], strict=True)]
    words = [re.split(r"[_\-. ]", Path(file_of(p)).name, maxsplit=1)[0] for p in scan.paths]
    told: dict[str, Iterable[Any]] = {
        "size": sizes,
        "camera": facts["camera"],
        "day": facts["taken"],
        "file name": words,
    }
    for what, said in told.items():
        named = np.array([str(v) for v in said], dtype="<U64")
        named[~scan.readable] = ""
        if _few_values(named):
            out[what] = named
    return out


def two_kinds(values: FloatArray) -> BoolArray | None:
    """Give which values belong to the upper of two kinds, None where they are of one.

    The cut leaves least variance on its sides; the sides have to lie `APART` (Ashman et al. 1994,
    doi 10.1086/117248), and neither may be a few stray values.

    Examples
    --------
    >>> two_kinds(np.array([0.1, 0.2, 0.15, 0.12, 0.9, 0.95, 0.92, 0.97])).tolist()
    [False, False, False, False, True, True, True, True]
    """
    known = np.sort(values[np.isfinite(values)])
    n = len(known)
    least = max(LEAST, int(np.ceil(LEAST_SHARE * n)))
    if n < 2 * least:
        return None
    at = np.arange(least, n - least + 1)
    sums, squares = np.cumsum(known), np.cumsum(known**2)
    low, high = sums[at - 1] / at, (sums[-1] - sums[at - 1]) / (n - at)
    of_low = squares[at - 1] / at - low**2
    of_high = (squares[-1] - squares[at - 1]) / (n - at) - high**2
    best = int(np.argmin(at * of_low + (n - at) * of_high))
    spread = np.sqrt(max(0.0, (of_low[best] + of_high[best]) / 2))
    if high[best] - low[best] < max(APART * spread, 1e-6):
        return None
    upper: BoolArray = values >= known[at[best]]
    return upper


def _few_values(named: npt.NDArray[np.str_]) -> bool:
    names, counts = np.unique(named[named != ""], return_counts=True)
    least = max(LEAST, LEAST_SHARE * len(named))
    return 2 <= len(names) <= MOST and bool((counts >= least).all())


def _of_classes(dataset: Dataset, kinds: npt.NDArray[np.str_]) -> bool:
    """Whether kinds part the classes: no class has labelled images of two of them."""
    inside = (dataset.labels >= 0) & (kinds != "")
    if len(set(kinds[inside])) < 2:
        return not inside.any()
    return not any(len(set(kinds[inside & (dataset.labels == c)])) > 1
                   for c in range(len(dataset.classes)))  # fmt: skip


def _remarks(dataset: Dataset, what: str, kinds: npt.NDArray[np.str_]) -> list[str]:
    if not what:
        return []
    names, counts = np.unique(kinds[kinds != ""], return_counts=True)
    shown = ", ".join(f"{n}: {c} images" for n, c in zip(names, counts, strict=True))
    said = f"The photographs fall into {len(names)} kinds of {what} ({shown})"
    labelled = set(kinds[(dataset.labels >= 0) & (kinds != "")])
    missing = _misses(dataset, kinds)
    if not missing:
        return [f"{said}. No groups are named: look at figures across kinds."]
    example = dataset.paths[int(np.flatnonzero(kinds == missing[0])[0])]
    one = "all labelled ones are of one" if len(labelled) == 1 else "labels miss some of them"
    return [
        f"{said}; {one}. No figure holds for {', '.join(missing)}: label images of it too, such as "
        f"{example}."
    ]


def _misses(dataset: Dataset, kinds: npt.NDArray[np.str_]) -> list[str]:
    """Give the kinds of which no photograph has a label."""
    labelled = set(kinds[dataset.labels >= 0])
    return [str(n) for n in np.unique(kinds[kinds != ""]) if n not in labelled]
