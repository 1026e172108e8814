"""Differential counts: of white cells, with intervals, and corrected for a classifier's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from statsmodels.stats.proportion import multinomial_proportions_confint

from cytowell.errors import CountError
from cytowell.evaluation.cell_kinds import in_words, is_immature, kind_of
from cytowell.evaluation.misclassification import KnownErrors, joined, true_cells
from cytowell.types import FloatArray

CONFIDENCE = 0.95
INTERVALS = ("goodman", "sison-glaz")
FEW, USUAL = 100, 200
"""White cells below which a count is few; what laboratories count."""


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
        What the class was taken for, one of `cell_kinds.TAKEN_FOR`.
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
    """

    name: str
    lines: tuple[Line, ...]
    white: int
    undecided: int
    unread: int
    immature: float | None
    notes: tuple[str, ...]


def differential(
    name: str,
    calls: Sequence[str],
    decided: Sequence[bool],
    classes: Sequence[str],
    *,
    kinds: Mapping[str, str] | None = None,
    errors: KnownErrors | None = None,
    reviewed: Sequence[str] = (),
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
    errors
        The classifier's known errors, which are taken out of the shares.
    reviewed
        Of each image: "" where nobody reviewed it, else whether the classifier had `decided` it or
        left it `undecided`. A person's call is not corrected.
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
    tally = _tally(calls, decided, reviewed or [""] * len(calls), classes)
    counts, undecided = tally.counts, int(tally.undecided.sum())
    unread = sum(not call for call in calls)
    what = [kind_of(c, kinds) for c in classes]
    white = np.array([k == "white" for k in what])
    total = int(counts[white].sum())
    low, high = _intervals(counts, white, interval)
    corrected = None
    if errors is not None and total:
        corrected = _corrected(tally, errors, white, seed)
    lines = [
        _line(
            c,
            what[i],
            int(counts[i]),
            total,
            (float(low[i]), float(high[i])),
            None if corrected is None else corrected[:, i],
            ranges or {},
        )
        for i, c in enumerate(classes)
    ]
    young = [i for i, c in enumerate(classes) if white[i] and is_immature(c)]
    immature = 100.0 * float(counts[young].sum()) / total if young and total else None
    notes = (
        in_words(classes, kinds),
        *_notes(total, undecided, unread, len(calls)),
        *_correction_notes(errors, int(tally.reviewed.sum())),
    )
    return Differential(name, tuple(lines), total, undecided, unread, immature, notes)


def _line(
    name: str,
    kind: str,
    count: int,
    white: int,
    ends: tuple[float, float],
    corrected: FloatArray | None,
    ranges: Mapping[str, tuple[float, float]],
) -> Line:
    if kind not in ("white", "erythroblast") or not white:
        return Line(name, count, None, None, None, kind=kind, review=_review(name, kind, None, {}))
    share = 100.0 * count / white
    if corrected is None:
        return Line(name, count, share, *ends, kind=kind, review=_review(name, kind, share, ranges))
    better, low, high = (float(v) for v in corrected)
    review = _review(name, kind, better, ranges)
    return Line(name, count, share, *ends, better, low, high, kind, review)


@dataclass(frozen=True)
class _Tally:
    """Cells of a slide by class, each (C,): decided ones, of these a person's, undecided ones.

    `open_share` is the share of what the classifier left undecided that nobody reviewed.
    """

    counts: npt.NDArray[np.int64]
    reviewed: npt.NDArray[np.int64]
    undecided: npt.NDArray[np.int64]
    open_share: float


def _tally(
    calls: Sequence[str], decided: Sequence[bool], reviewed: Sequence[str], classes: Sequence[str]
) -> _Tally:
    index = {c: i for i, c in enumerate(classes)}
    counts, by_hand, undecided = (np.zeros(len(classes), dtype=np.int64) for _ in range(3))
    settled = 0
    for call, sure, looked in zip(calls, decided, reviewed, strict=True):
        if call and sure:
            counts[index[call]] += 1
            by_hand[index[call]] += bool(looked)
            settled += looked == "undecided"
        elif call:
            undecided[index[call]] += 1
    left = int(undecided.sum())
    return _Tally(counts, by_hand, undecided, left / (left + settled) if left + settled else 1.0)


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


def _corrected(
    tally: _Tally, errors: KnownErrors, white: npt.NDArray[np.bool_], seed: int
) -> FloatArray:
    """Correct what the classifier called, and leave what a person called as it is."""
    called = tally.counts - tally.reviewed
    if errors.undecided is None:
        called = called + tally.undecided
    shares = true_cells(called, errors, tally.open_share, seed)
    if tally.reviewed.any():
        shares = joined(shares, int(called.sum()), tally.reviewed, seed)
    whole = shares[:, white].sum(axis=1, keepdims=True)
    shares = 100 * shares / np.maximum(whole, 1e-12)
    tail = 100 * (1 - CONFIDENCE) / 2
    limits = np.percentile(shares[1:], [tail, 100 - tail], axis=0)
    return np.concatenate([shares[:1], limits])


def _review(
    name: str, kind: str, share: float | None, ranges: Mapping[str, tuple[float, float]]
) -> str:
    said = []
    if kind == "unknown":
        said.append("the name does not say what it is, so it is in no share")
    if share is not None and name in ranges:
        low, high = ranges[name]
        if not low <= share <= high:
            said.append(f"outside of {low:g} to {high:g}")
    if share and is_immature(name):
        said.append("immature granulocytes")
    return f"for review: {', '.join(said)}" if said else ""


def _notes(total: int, undecided: int, unread: int, images: int) -> list[str]:
    said = []
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
    return said


def _correction_notes(errors: KnownErrors | None, reviewed: int) -> list[str]:
    if errors is None:
        return ["Not corrected for the classifier's errors."]
    if errors.undecided is not None:
        how = "of decided calls that the bundle holds, and by how often it declines each class."
    else:
        how = (
            "of all calls that the bundle holds: the correction is of all calls of the slide, "
            "those that were not decided on too."
        )
    said = [f"Corrected by the confusion matrix {how}"]
    if reviewed:
        said.append(f"{reviewed} cells were called by a person and are not corrected.")
    return said
