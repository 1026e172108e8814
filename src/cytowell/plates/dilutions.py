"""Dilutions as people write them, and a series of wells that were counted at each of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytowell.errors import TitreError
from cytowell.types import FloatArray, IntArray

COUNTS = ("infected", "protected")
TITRATES = ("virus", "serum")

_RATIO = re.compile(r"^\s*1\s*[:/]\s*(\d+(?:\.\d+)?)\s*$")

FARTHEST = 100.0
"""log10 of the largest dilution factor that anybody makes, and more."""

MOST_WELLS = 1_000_000
"""Wells of one dilution, at most: a typing error beyond."""

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
    """

    dilutions: FloatArray
    affected: IntArray
    wells: IntArray
    titrates: str = "virus"

    @staticmethod
    def of(
        positives: Sequence[float],
        wells: Sequence[float] | float,
        log10_dilutions: Sequence[float],
        counts: str,
        titrates: str = "",
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

        Raises
        ------
        TitreError
            Naming what does not fit, and the remedy.
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
        )
        if series.shares[-1] > series.shares[0]:
            other = "serum" if titrated == "virus" else "virus"
            raise TitreError(
                f"More wells are {counts} where the {titrated} is more diluted.",
                f"If a {other} was diluted, say --titrates {other}; else check --counts.",
            )
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


def _require(given: str, known: Sequence[str], flag: str) -> None:
    if given not in known:
        raise TitreError(
            f"{flag} {given or 'is not given'}: nobody can tell which wells were counted."
            if flag == "--counts"
            else f"{flag} {given} is not known.",
            f"Say {flag} {' or '.join(known)}.",
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
