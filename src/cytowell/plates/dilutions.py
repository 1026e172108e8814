"""Dilutions as people write them, and a series of wells that were counted at each of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytowell.errors import TitreError
from cytowell.plates.trend import SIGNIFICANT, contradicting, open_ends, rising
from cytowell.types import FloatArray, IntArray

COUNTS = ("infected", "protected")
TITRATES = ("virus", "serum")

_RATIO = re.compile(r"^\s*1\s*[:/]\s*(\d+(?:\.\d+)?)\s*$")

FARTHEST = 100.0
"""log10 of the largest dilution factor that anybody makes, and more."""

MOST_WELLS = 1_000_000
"""Wells of one dilution, at most: a typing error beyond."""

INTRACLASS = 0.1
"""Correlation of two fields of one chamber that is assumed where it cannot be estimated: chambers
that differ by about 0.7 (a standard deviation) in log odds. No published figure is at hand."""

SAME_STEP = 1e-3
"""Difference of two steps, in log10, that is rounding."""


def factor_of(written: str | float) -> float:
    """Give the factor of a dilution written as 1:9, 1/9 or 9.

    Raises
    ------
    TitreError
        If it is none of these, or stands for a concentration.
    """
    text = str(written).strip()
    ratio = _RATIO.match(text)
    try:
        factor = float(ratio.group(1) if ratio else text)
    except ValueError as error:
        comma = " Write 4.5 and not 4,5." if "," in text else ""
        raise TitreError(
            f"{text!r} is no dilution.", f"Write it as 1:9, 1/9 or 9.{comma}"
        ) from error
    if not math.isfinite(factor) or factor < 1:
        raise TitreError(
            f"{text!r} would be a concentration.",
            "A factor is 1 or more; 1 is the undiluted sample.",
        )
    return factor


@dataclass(frozen=True)
class Series:
    """Wells counted at a row of dilutions.

    Attributes
    ----------
    dilutions
        log10 of the dilution factor, rising; (N,).
    affected
        Wells at each dilution in which the *undiluted sample's* effect shows, so that they become
        fewer as it is diluted: infected ones of a virus, protected ones of a serum. (N,).
    wells
        Wells that were looked at, (N,).
    titrates
        What was diluted, `virus` or `serum`.
    chambers
        (position of the dilution, affected, fields) of each chamber whose fields were counted as
        wells: fields of one chamber are alike. Empty where each well stands for itself.
    """

    dilutions: FloatArray
    affected: IntArray
    wells: IntArray
    titrates: str = "virus"
    chambers: tuple[tuple[int, int, int], ...] = ()

    @staticmethod
    def of(
        positives: Sequence[float],
        wells: Sequence[float] | float,
        log10_dilutions: Sequence[float],
        counts: str,
        titrates: str = "",
        chambers: tuple[tuple[int, int, int], ...] = (),
    ) -> Series:
        """Check a series as it was written down.

        Parameters
        ----------
        positives
            Wells that are what `counts` says.
        wells
            Wells at each dilution; one number for all of them.
        log10_dilutions
            Exponents, negative for a dilution: -2 is 1:100, 0 the undiluted sample.
        counts
            `infected` or `protected`: which wells were counted.
        titrates
            What is diluted, `virus` or `serum`; without it a virus if infected wells were counted
            and a serum if protected ones were.
        chambers
            As in the attributes; positions are of dilutions that rise.

        Raises
        ------
        TitreError
            Naming what does not fit, and the remedy. Counts that rise with the dilution are another
            question; single wells that contradict a fall are not (`trend.rising`).
        """
        _require(counts, COUNTS, "--counts")
        titrated = titrates or ("virus" if counts == "infected" else "serum")
        _require(titrated, TITRATES, "--titrates")
        x = np.asarray(log10_dilutions, dtype=np.float64)
        k = np.asarray(positives, dtype=np.float64)
        n = np.asarray(wells, dtype=np.float64)
        if n.ndim and n.shape != k.shape:
            raise TitreError(
                f"There are {len(k)} counts and {len(n)} numbers of wells.",
                "Give one number of wells for all, or one for each.",
            )
        n = np.broadcast_to(n, k.shape)
        _refuse(x, k, n)
        affected = k if (counts == "infected") == (titrated == "virus") else n - k
        order = np.argsort(-x, kind="stable")
        series = Series(
            -x[order] + 0.0,
            affected[order].astype(np.int64),
            n[order].astype(np.int64),
            titrated,
            chambers,
        )
        _refuse_rising(series)
        return series

    def __post_init__(self) -> None:
        if len(self.dilutions) < 2:
            raise TitreError(
                f"{len(self.dilutions)} dilution(s) say nothing of an end point.",
                "Count at two dilutions at least.",
            )

    @property
    def step(self) -> float:
        """The usual distance of two dilutions, in log10."""
        return float(np.median(np.diff(self.dilutions)))

    @property
    def shares(self) -> FloatArray:
        """Share of affected wells at each dilution."""
        return self.affected / self.wells

    @property
    def effect(self) -> str:
        """What the sample does to a well: `infected` of a virus, `protected` of a serum."""
        return "infected" if self.titrates == "virus" else "protected"

    @property
    def open_ends(self) -> tuple[bool, bool]:
        """Whether the end point may lie below, and above, the dilutions; see `trend.open_ends`."""
        return open_ends(self.affected.tolist(), self.wells.tolist(), 1 / design_effect(self))

    @property
    def contradicting(self) -> tuple[tuple[int, int], ...]:
        """Which wells keep the counts from falling; see `trend.contradicting`."""
        return contradicting(self.affected.tolist(), self.wells.tolist())

    def contradicting_words(self) -> tuple[str, ...]:
        """Say which wells keep the counts from falling: 1 of 4 protected at 1:729."""
        other = {"infected": "protected", "protected": "infected"}
        return tuple(
            f"{abs(off)} of {self.wells[i]} {self.effect if off > 0 else other[self.effect]} "
            f"at 1:{10 ** self.dilutions[i]:.4g}"
            for i, off in self.contradicting
        )

    def counted(self) -> str:
        """Write the counts down: 4 of 4 at 1:3, 2 of 4 at 1:9."""
        rows = zip(self.affected, self.wells, self.dilutions, strict=True)
        return ", ".join(f"{k} of {n} at 1:{10**x:.4g}" for k, n, x in rows)

    @property
    def flags(self) -> tuple[str, ...]:
        """What is odd about the series, whatever rule is used."""
        shares, found = self.shares, []
        if shares.max() == 0:
            found.append("none_affected")
        if shares.min() == 1:
            found.append("all_affected")
        if shares[0] < 1 or shares[-1] > 0:
            found.append("not_bracketed")
        if (np.diff(shares) > 1e-9).any():
            found.append("not_monotone")
        if np.ptp(np.diff(self.dilutions)) > SAME_STEP:
            found.append("unequal_steps")
        if np.ptp(self.wells):
            found.append("unequal_wells")
        return tuple(found)


def design_effect(series: Series) -> float:
    """Give by how much fields of one chamber, which are alike, multiply the variance of a share.

    1 + (m - 1) r, m fields and an intraclass correlation of `INTRACLASS` (Kish 1965, *Survey
    Sampling*, section 5.4).
    """
    if not series.chambers:
        return 1.0
    fields = np.array([n for _, _, n in series.chambers], dtype=float)
    return 1 + (float((fields**2).sum() / fields.sum()) - 1) * INTRACLASS


def _require(given: str, known: Sequence[str], flag: str) -> None:
    if given not in known:
        raise TitreError(
            f"{flag} {given or 'is not given'}: nobody can tell which wells were counted."
            if flag == "--counts"
            else f"{flag} {given} is not known.",
            f"Say {flag} {' or '.join(known)}.",
        )


def _refuse_rising(series: Series) -> None:
    chance = rising(series.affected.tolist(), series.wells.tolist())
    if chance < SIGNIFICANT:
        other = "serum" if series.titrates == "virus" else "virus"
        raise TitreError(
            f"More wells are {series.effect} where the {series.titrates} is more diluted: "
            f"{series.counted()} (Cochran-Armitage test for a rising trend: p = {chance:.2g}).",
            f"If a {other} was diluted, say --titrates {other}; else check --counts.",
        )


def _refuse(x: FloatArray, k: FloatArray, n: FloatArray) -> None:
    if len(x) != len(k):
        raise TitreError(
            f"There are {len(k)} counts and {len(x)} dilutions.", "Give one count per dilution."
        )
    for name, values in (("count", k), ("number of wells", n), ("dilution", x)):
        if not np.isfinite(values).all():
            raise TitreError(f"A {name} is no number.", "Leave a dilution out that was not read.")
    for name, values in (("count", k), ("number of wells", n)):
        if (values != np.round(values)).any() or (values < 0).any():
            odd = values[(values != np.round(values)) | (values < 0)][0]
            raise TitreError(f"A {name} of {odd:g} cannot be.", "Wells are counted: 0, 1, 2 ...")
    if (n > MOST_WELLS).any():
        raise TitreError(f"{n.max():g} wells cannot be.", "Check --replicates.")
    if (n < 1).any():
        raise TitreError("A dilution has no wells.", "Leave it out.")
    if (k > n).any():
        i = int(np.argmax(k > n))
        raise TitreError(
            f"{k[i]:g} of {n[i]:g} wells are counted at 10^{x[i]:g}.",
            "Check the counts and --replicates.",
        )
    if (x < -FARTHEST).any():
        raise TitreError(f"Nobody dilutes to 10^{x.min():g}.", "Check the exponents.")
    if (x > 0).any():
        raise TitreError(
            f"10^{x.max():g} would be a concentration.",
            "Exponents of dilutions are negative: write -3 for 1:1000.",
        )
    if len(np.unique(x)) < len(x):
        raise TitreError("A dilution is given twice.", "Add its wells together.")
