"""Do two readers agree: on calls (kappa), on titres (Bland-Altman)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student

from cytowell.errors import CountError
from cytowell.evaluation.figures import BLUE, GREY, ORANGE, draw_svg
from cytowell.evaluation.intervals import wilson
from cytowell.types import FloatArray, IntArray

CONFIDENCE = 0.95
FOLD = 3.0
"""Dilution step within which two titres agree, unless another is said."""

DRAWS = 4000
"""Of the posterior of kappa: its limits are known to about 0.01."""

LEAST = 3
"""Pairs below which no agreement is computed."""

SAME = 1e-9
"""Standard deviation of log10 differences that is nought but for rounding."""


@dataclass(frozen=True)
class CallAgreement:
    """Two readers' calls of the same objects.

    Attributes
    ----------
    n, classes, counts
        Objects, and how often which call met which (C, C), first reader down.
    agreed, agreed_low, agreed_high
        Share of equal calls, with Wilson's interval.
    kappa, kappa_low, kappa_high
        Cohen 1960 (*Educ. Psychol. Meas.* 20:37), limits as in `kappa_limits`; None where both only
        ever said one and the same.
    """

    n: int
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    agreed: float
    agreed_low: float
    agreed_high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None

    def to_json(self) -> dict[str, Any]:
        """Give the figures with their intervals."""
        return {
            "kind": "calls",
            "n": self.n,
            "classes": list(self.classes),
            "counts": [list(row) for row in self.counts],
            "agreed": {"value": self.agreed, "low": self.agreed_low, "high": self.agreed_high},
            "kappa": {"value": self.kappa, "low": self.kappa_low, "high": self.kappa_high},
        }


Limit = tuple[float, float | None, float | None]
"""A limit of agreement with its interval."""


@dataclass(frozen=True)
class TitreAgreement:
    """Two readers' titres of the same specimens, compared on log10.

    Attributes
    ----------
    n, censored, missing
        Pairs compared; pairs left out because a titre is not bracketed by its dilutions (``< x``);
        other pairs left out because a titre is missing (invalid, toxic).
    within, within_low, within_high, fold
        Share of pairs that differ by at most one dilution step of `fold`, with Wilson's interval.
    bias, bias_low, bias_high
        Mean of log10 A - log10 B and its 95 % interval.
    lower, upper
        Limits of agreement, bias +- 1.96 standard deviations, each (value, low, high): Bland &
        Altman 1986 (*Lancet* i:307), their intervals as in Bland & Altman 1999. Where all pairs
        differ alike there are no intervals: a sample without spread says nothing of the spread.
    means, differences
        log10 of the geometric mean and difference of each pair, for the picture.
    """

    n: int
    censored: int
    missing: int
    within: float
    within_low: float
    within_high: float
    fold: float
    bias: float
    bias_low: float | None
    bias_high: float | None
    lower: Limit
    upper: Limit
    means: tuple[float, ...]
    differences: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the figures with their intervals."""

        def entry(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
            return {"value": value, "low": low, "high": high}

        return {
            "kind": "titres",
            "n": self.n,
            "censored": self.censored,
            "missing": self.missing,
            "fold": self.fold,
            "within_one_step": entry(self.within, self.within_low, self.within_high),
            "bias_log10": entry(self.bias, self.bias_low, self.bias_high),
            "lower_limit_log10": entry(*self.lower),
            "upper_limit_log10": entry(*self.upper),
        }


def agree_on_calls(first: Sequence[str], second: Sequence[str]) -> CallAgreement:
    """Compare calls of the same objects, in the same order.

    Raises
    ------
    CountError
        If there are too few.
    """
    _require(len(first))
    classes = sorted({*first, *second})
    index = {c: i for i, c in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, ([index[c] for c in first], [index[c] for c in second]), 1)
    same = int(np.trace(counts))
    low, high = _wilson(same, len(first))
    kappa: tuple[float | None, float | None, float | None] = (None, None, None)
    if len(classes) > 1:
        kappa = (float(_kappas(counts[None].astype(np.float64))[0]), *kappa_limits(counts))
    return CallAgreement(
        len(first),
        tuple(classes),
        tuple(tuple(int(v) for v in row) for row in counts),
        same / len(first),
        low,
        high,
        *kappa,
    )


def _kappas(counts: FloatArray) -> FloatArray:
    """Give Cohen's kappa of tables (R, C, C)."""
    total = counts.sum(axis=(1, 2))
    same = np.trace(counts, axis1=1, axis2=2) / total
    chance = (counts.sum(axis=1) * counts.sum(axis=2)).sum(axis=1) / total**2
    found: FloatArray = (same - chance) / np.maximum(1 - chance, 1e-12)
    return found


def kappa_limits(counts: IntArray, seed: int = 7) -> tuple[float, float]:
    """Give the 95 % interval of kappa from how often which call met which (C, C).

    Equal tails of kappa's posterior given a multinomial table (Basu, Banerjee & Sen 2000, doi
    10.1111/j.0006-341X.2000.00577.x). The prior is Dirichlet, half an object on the diagonal and
    half beside it: agreement has Jeffreys' prior, whose intervals cover well with few objects
    (Brown, Cai & DasGupta 2001, doi 10.1214/ss/1009213286). The asymptotic standard error gave
    three perfect readings no width and nine of ten an upper limit of 1.16.
    """
    size = len(counts)
    beside = 0.5 / max(1, size * size - size)
    prior = np.where(np.eye(size, dtype=np.bool_), 0.5 / size, beside)
    weights = np.random.default_rng(seed).standard_gamma(
        (counts + prior).ravel(), (DRAWS, size * size)
    )
    drawn = _kappas(weights.reshape(DRAWS, size, size))
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = float(_kappas(counts[None].astype(np.float64))[0])
    return min(float(low), value), max(float(high), value)


def agree_on_titres(
    first: Sequence[float | None], second: Sequence[float | None], fold: float = FOLD
) -> TitreAgreement:
    """Compare titres of the same specimens, in the same order.

    None stands for a titre that its dilutions do not bracket: its number is a bound, and as a
    measurement it would pull bias and limits towards nought. NaN stands for none at all.

    Raises
    ------
    CountError
        If fewer than three pairs have numbers, or one is not above 0.
    """
    if not fold > 1:
        raise CountError(f"A step of {fold:g} is none.", "It is the factor of a dilution: 3.")
    every = [*zip(first, second, strict=True)]
    pairs = [(a, b) for a, b in every if a is not None and b is not None]
    values: FloatArray = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    values = values[~np.isnan(values).any(axis=1)]
    _require(len(values))
    if (values <= 0).any():
        raise CountError("A titre of 0 has no logarithm.", 'Write "< 0.03" for one below.')
    logs = np.log10(values)
    d: FloatArray = logs[:, 0] - logs[:, 1]
    n, bias, deviation = len(d), float(d.mean()), float(d.std(ddof=1))
    spread = deviation > SAME
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, n - 1))
    of_bias = reach * deviation / math.sqrt(n)
    of_limit = reach * deviation * math.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    near = int((np.abs(d) <= math.log10(fold) + 1e-9).sum())
    low, high = _wilson(near, n)
    ends = [bias + sign * 1.96 * deviation for sign in (-1, 1)]
    return TitreAgreement(
        n,
        len(every) - len(pairs),
        len(pairs) - n,
        near / n,
        low,
        high,
        fold,
        bias,
        _limit(bias, of_bias, spread)[1],
        _limit(bias, of_bias, spread)[2],
        _limit(ends[0], of_limit, spread),
        _limit(ends[1], of_limit, spread),
        tuple(logs.mean(axis=1).tolist()),
        tuple(d.tolist()),
    )


def _require(pairs: int) -> None:
    if pairs < LEAST:
        raise CountError(
            f"{pairs} pairs say nothing of agreement.",
            f"At least {LEAST} specimens or wells have to stand in both tables.",
        )


def _limit(value: float, reach: float, spread: bool) -> Limit:
    return (value, value - reach, value + reach) if spread else (value, None, None)


def _wilson(count: int, total: int) -> tuple[float, float]:
    found = wilson(count, total)
    assert found is not None
    return found


def bland_altman(found: TitreAgreement) -> str:
    """Draw differences over means, with bias and limits of agreement."""

    def draw() -> Figure:
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.subplots()
        axes.plot(found.means, found.differences, "o", color=BLUE, ms=4, alpha=0.7)
        for value, stroke, colour in (
            (found.bias, "-", ORANGE),
            (found.lower[0], "--", GREY),
            (found.upper[0], "--", GREY),
        ):
            axes.axhline(value, ls=stroke, color=colour, lw=1)
            axes.annotate(
                f"{value:+.2f}", (1.0, value), xycoords=("axes fraction", "data"),
                xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5,
            )  # fmt: skip
        for sign in (-1, 1):
            axes.axhline(sign * math.log10(found.fold), ls=":", color="#009E73", lw=0.9)
        axes.set_xlabel("log10 of the mean titre")
        axes.set_ylabel("log10 A \u2212 log10 B")
        return figure

    return draw_svg(draw)
