"""Differential counts: of white cells, with intervals, and corrected for a classifier's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from statsmodels.stats.proportion import multinomial_proportions_confint

from cytowell.errors import CountError
from cytowell.types import FloatArray

CONFIDENCE = 0.95
INTERVALS = ("goodman", "sison-glaz")
RESAMPLES = 2000
FEW, USUAL = 100, 200
"""White cells below which a count is few; what laboratories count."""

_KINDS = {
    "erythroblast": {"erythroblast", "erythroblasts", "nrbc", "normoblast", "normoblasts"},
    "platelet": {"platelet", "platelets", "thrombocyte", "thrombocytes"},
    "red cell": {"rbc", "redbloodcell", "redcell", "erythrocyte", "erythrocytes"},
    "other": {"artifact", "artefact", "smudge", "smudgecell", "background", "unknown", "other"},
}
_IMMATURE = {
    "ig", "immaturegranulocyte", "immaturegranulocytes", "promyelocyte", "myelocyte",
    "metamyelocyte", "promyelocytes", "myelocytes", "metamyelocytes",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One class of a differential count.

    Attributes
    ----------
    name, count
        Decided cells of this class.
    share, low, high
        Of 100 white cells, each 0..100; an erythroblast's may be more. None without white cells.
    corrected, corrected_low, corrected_high
        The same, the classifier's known errors taken out; None where that was not asked.
    kind
        `white`, `erythroblast`, `platelet`, `red cell`, `other`.
    review
        Why a person should look: outside of a reference range, immature granulocytes; "".
    """

    name: str
    count: int
    share: float | None
    low: float | None
    high: float | None
    corrected: float | None = None
    corrected_low: float | None = None
    corrected_high: float | None = None
    kind: str = "white"
    review: str = ""


@dataclass(frozen=True)
class Differential:
    """The count of one slide.

    Attributes
    ----------
    name
        The slide.
    white, undecided, unread
        Decided white cells (the denominator), cells on which the classifier declined, and images
        without a call.
    immature
        Immature granulocytes of 100 white cells, None if no class is one.
    notes
        What to know before it is used, in words.
    found
        Objects that a detector counted and that were not called: class and number of each.
    """

    name: str
    lines: tuple[Line, ...]
    white: int
    undecided: int
    unread: int
    immature: float | None
    notes: tuple[str, ...]
    found: tuple[tuple[str, int], ...] = ()


def kind_of(name: str, kinds: Mapping[str, str]) -> str:
    """Give what a class is: as somebody said, else by its usual names, else a white cell."""
    if name in kinds:
        return kinds[name]
    plain = _plain(name)
    return next((kind for kind, known in _KINDS.items() if plain in known), "white")


def is_immature(name: str) -> bool:
    """Whether a class is one of immature granulocytes, by its usual names."""
    return _plain(name) in _IMMATURE


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def differential(
    name: str,
    calls: Sequence[str],
    decided: Sequence[bool],
    classes: Sequence[str],
    *,
    kinds: Mapping[str, str] | None = None,
    confusion: npt.NDArray[np.integer] | None = None,
    interval: str = "goodman",
    ranges: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 7,
) -> Differential:
    """Count one slide.

    Parameters
    ----------
    calls, decided
        Of each image, "" where there is no call.
    classes
        Every class that could have been called; calls of others are an error.
    kinds
        What a class is, where its name does not say so.
    confusion
        Counts of a test part (C, C), truth down, calls across, in the order of `classes`: the
        shares are corrected by it.
    interval
        One of `INTERVALS`: Goodman 1965 (*Technometrics* 7:247) or Sison & Glaz 1995 (*JASA*
        90:366), both simultaneous over the white cells' classes.
    ranges
        Lowest and highest usual share of a class in 100 white cells.

    Raises
    ------
    CountError
        If a call is no class, or a range is of none.
    """
    strange = sorted(set(calls) - set(classes) - {""})
    if strange:
        raise CountError(f"{strange[0]!r} is no class of these.", f"Known: {', '.join(classes)}.")
    if interval not in INTERVALS:
        raise CountError(f"interval = {interval!r} is not known.", f"Use {' or '.join(INTERVALS)}.")
    for known in ranges or {}:
        if known not in classes:
            raise CountError(f"A range is given for {known!r}, which is no class.", "Mend it.")
    counts, undecided, unread = _tally(calls, decided, classes)
    what = [kind_of(c, kinds or {}) for c in classes]
    white = np.array([k == "white" for k in what])
    total = int(counts[white].sum())
    low, high = _intervals(counts, white, interval)
    corrected = None
    if confusion is not None and total:
        corrected = correct(counts, np.asarray(confusion), white, seed)
    lines = []
    for i, c in enumerate(classes):
        counted = what[i] in ("white", "erythroblast") and total > 0
        better = None if corrected is None or not counted else corrected[:, i]
        share = 100.0 * float(counts[i]) / total if counted else None
        lines.append(
            Line(
                c,
                int(counts[i]),
                share,
                None if not counted else float(low[i]),
                None if not counted else float(high[i]),
                None if better is None else float(better[0]),
                None if better is None else float(better[1]),
                None if better is None else float(better[2]),
                what[i],
                _review(c, share if better is None else float(better[0]), ranges or {}),
            )
        )
    young = [i for i, c in enumerate(classes) if white[i] and is_immature(c)]
    immature = 100.0 * float(counts[young].sum()) / total if young and total else None
    notes = _notes(total, undecided, unread, len(calls), what, confusion is not None, classes)
    return Differential(name, tuple(lines), total, undecided, unread, immature, tuple(notes))


def _tally(
    calls: Sequence[str], decided: Sequence[bool], classes: Sequence[str]
) -> tuple[npt.NDArray[np.int64], int, int]:
    """Give decided cells by class, undecided ones and images without a call."""
    index = {c: i for i, c in enumerate(classes)}
    counts = np.zeros(len(classes), dtype=np.int64)
    undecided = 0
    for call, sure in zip(calls, decided, strict=True):
        if call and sure:
            counts[index[call]] += 1
        elif call:
            undecided += 1
    return counts, undecided, sum(not call for call in calls)


def _intervals(
    counts: npt.NDArray[np.integer], white: npt.NDArray[np.bool_], method: str
) -> tuple[FloatArray, FloatArray]:
    """Give limits in 100 white cells; of erythroblasts by the exact binomial of all nucleated."""
    low, high = np.zeros(len(counts)), np.zeros(len(counts))
    total = int(counts[white].sum())
    if not total:
        return low, high
    if white.sum() > 1:
        limits = multinomial_proportions_confint(counts[white], 1 - CONFIDENCE, method=method)
        if (limits[:, 1] <= limits[:, 0]).any():
            # Where all cells are of one class, Sison & Glaz leave no width.
            limits = multinomial_proportions_confint(
                counts[white], 1 - CONFIDENCE, method="goodman"
            )
        low[white], high[white] = 100 * limits[:, 0], 100 * limits[:, 1]
    else:
        low[white], high[white] = 100.0, 100.0
    for i in np.flatnonzero(~white):
        under, over = exact(int(counts[i]), total + int(counts[i]))
        # Of 100 nucleated cells to of 100 white ones: odds.
        low[i] = 100 * under / (1 - under)
        high[i] = 100 * over / (1 - over) if over < 1 else np.inf
    return low, high


def exact(count: int, total: int) -> tuple[float, float]:
    """Give the exact binomial limits of one share, as Ruemke's table rounds them outwards.

    Clopper & Pearson 1934; Ruemke 1979 (*The imprecision of counting cells*).
    """
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return low, high


def correct(
    counts: npt.NDArray[np.integer],
    confusion: npt.NDArray[np.integer],
    white: npt.NDArray[np.bool_],
    seed: int,
) -> FloatArray:
    """Take a classifier's known errors out of counts.

    The likeliest true shares pi with calls ~ multinomial(pi M), M the confusion matrix by rows
    (misclassification as in Rogan & Gladen 1978 for two classes), by expectation-maximisation. The
    limits are those of shares and of rows of the matrix that are drawn from their posteriors
    (Dirichlet, Jeffreys' prior for the shares).

    Returns
    -------
    numpy.ndarray
        (3, C): share of 100 white cells, its lower and its upper limit.
    """
    rng = np.random.default_rng(seed)
    rows = confusion + 0.5 * np.eye(len(confusion))
    # Half a cell more of each class: one that was not met may still be there.
    drawn = counts.sum() * rng.dirichlet(counts + 0.5, RESAMPLES)
    matrices = np.stack(
        [rng.dirichlet(row + 1e-3, RESAMPLES) for row in rows], axis=1
    )  # (R, C, C), each row a truth
    every = np.concatenate([[counts], drawn]).astype(np.float64)
    matrix = np.concatenate([[rows / rows.sum(axis=1, keepdims=True)], matrices])
    shares = _unmixed(every, matrix)
    whole = shares[:, white].sum(axis=1, keepdims=True)
    shares = 100 * shares / np.maximum(whole, 1e-12)
    tail = 100 * (1 - CONFIDENCE) / 2
    limits = np.percentile(shares[1:], [tail, 100 - tail], axis=0)
    return np.concatenate([shares[:1], limits])


def _unmixed(counts: FloatArray, matrix: FloatArray) -> FloatArray:
    """Give the likeliest true shares (R, C) of counts (R, C) called through matrices (R, C, C)."""
    share = np.full(counts.shape, 1.0 / counts.shape[1])
    for _ in range(200):
        called = np.einsum("rt,rtc->rc", share, matrix)
        weight = counts / np.maximum(called, 1e-12)
        share = share * np.einsum("rtc,rc->rt", matrix, weight)
        share /= share.sum(axis=1, keepdims=True)
    return share


def _review(name: str, share: float | None, ranges: Mapping[str, tuple[float, float]]) -> str:
    said = []
    if share is not None and name in ranges:
        low, high = ranges[name]
        if not low <= share <= high:
            said.append(f"outside of {low:g} to {high:g}")
    if share and is_immature(name):
        said.append("immature granulocytes")
    return f"for review: {', '.join(said)}" if said else ""


def _notes(
    total: int,
    undecided: int,
    unread: int,
    images: int,
    what: Sequence[str],
    corrected: bool,
    classes: Sequence[str],
) -> list[str]:
    counted = [c for c, k in zip(classes, what, strict=True) if k == "white"]
    said = [f"White cells: {', '.join(counted) or 'no class'}."]
    if not total:
        said.append("No white cell was decided on: there is no differential count.")
    elif total < FEW:
        said.append(f"Only {total} white cells: fewer than {FEW}.")
    elif total < USUAL:
        said.append(f"{total} white cells: fewer than {USUAL}.")
    if undecided:
        said.append(f"{undecided} of {images} cells were not decided on; they are in no share.")
    if unread:
        said.append(f"{unread} of {images} images have no call.")
    said.append(
        "Corrected by the confusion matrix that the bundle holds."
        if corrected
        else "Not corrected for the classifier's errors."
    )
    return said
