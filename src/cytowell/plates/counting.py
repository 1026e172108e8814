"""From a table of wells to counts per specimen: which wells are positive, and how surely."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cytowell.errors import BadTable, LayoutError, TitreError
from cytowell.plates.dilutions import factor_of
from cytowell.plates.layout import ROLES, Layout, Specimen, require, turned, well_name
from cytowell.registry import did_you_mean

SURE = 0.001
"""Probability of a misread well below which it is not carried on."""

_YES = {"1": True, "1.0": True, "true": True, "yes": True}
_NO = {"0": False, "0.0": False, "false": False, "no": False}

TOXIC = "toxic"


@dataclass(frozen=True)
class Well:
    """What was seen of one well.

    Attributes
    ----------
    fields
        Probability that each photographed field is positive, one for a typed-in well.
    positives
        Fields that are called positive.
    toxic
        Cells that the serum killed: the well says nothing.
    undecided, overridden, unread
        Fields on which the classifier declined, a person decided otherwise, nothing could be read.
    """

    fields: tuple[float, ...] = ()
    positives: int = 0
    toxic: bool = False
    undecided: int = 0
    overridden: int = 0
    unread: int = 0

    @property
    def chance(self) -> float:
        """Probability that any of its fields is positive: 1 - prod(1 - p)."""
        return 1.0 - math.prod(1.0 - p for p in self.fields)

    @property
    def positive(self) -> bool:
        """Whether a field is called positive, or several make it likelier than not together."""
        return self.positives > 0 or (len(self.fields) > 1 and self.chance > 0.5)

    @property
    def by_several(self) -> bool:
        """Whether it is positive though none of its fields is called so."""
        return self.positive and not self.positives


@dataclass(frozen=True)
class Count:
    """A specimen's wells, counted at each dilution.

    Attributes
    ----------
    plate, name, role, titrates
        As in the layout.
    log10_dilutions
        Exponents, negative for a dilution, rising dilution; (D,). Undiluted: (0,).
    positives, replicates
        (D,) counts; replicates are those that were seen.
    expected
        Replicates that the layout has, (D,).
    doubts
        (position of the dilution, whether it is called positive, probability that this is wrong) of
        each replicate whose call is not certain.
    toxic, undecided, overridden
        How many wells (or fields).
    by_several
        Wells that are positive by several fields together, none of which is called so.
    wells
        (position of the dilution, name, whether it is positive) of each well that was seen; none
        where dilutions were counted already.
    chambers
        (position of the dilution, positive, fields) of each chamber whose fields are replicates.
    """

    plate: str
    name: str
    role: str
    titrates: str
    log10_dilutions: tuple[float, ...]
    positives: tuple[int, ...]
    replicates: tuple[int, ...]
    expected: tuple[int, ...]
    doubts: tuple[tuple[int, bool, float], ...] = ()
    toxic: int = 0
    undecided: int = 0
    overridden: int = 0
    by_several: int = 0
    wells: tuple[tuple[int, str, bool], ...] = ()
    chambers: tuple[tuple[int, int, int], ...] = ()

    @property
    def missing(self) -> int:
        """Replicates that the layout has and nobody saw."""
        return sum(self.expected) - sum(self.replicates)


Plates = dict[str, dict[str, Well]]


def is_counted(table: pd.DataFrame) -> bool:
    """Whether a table has a row per dilution, counted already."""
    return {"sample", "replicates", "positive"} <= set(table.columns)


def read_wells(table: pd.DataFrame, layout: Layout, positive: str = "") -> Plates:
    """Give the wells of each plate.

    Parameters
    ----------
    table
        Columns ``well`` and ``plate`` (one plate without it), and either ``positive`` (0 or 1) or
        ``label`` with ``p_<class>``; ``error``, ``decided``, ``truth`` and ``note`` where there
        are. All texts. Several rows of one well are its fields.
    positive
        The class that is positive, where the table has labels.

    Raises
    ------
    BadTable, LayoutError
        Naming the column or the well.
    """
    if "well" not in table.columns:
        raise BadTable("There is no column well.", "Columns: plate, well, label or positive.")
    typed = "positive" in table.columns
    if not typed and "label" not in table.columns:
        raise BadTable(
            "These wells have no calls: there is neither a column label nor positive.",
            "Call them first: cytowell predict --find wells, or type positive = 0 or 1.",
        )
    if not typed:
        require_class(table, positive)
    columns = {str(c): table[c].tolist() for c in table.columns}
    empty = [""] * len(table)
    plates: Plates = {}
    names = columns.get("plate", ["1"] * len(table))
    for i, (plate, name) in enumerate(zip(names, columns["well"], strict=True)):
        row = {c: columns.get(c, empty)[i] for c in ("label", "positive", "error", "decided")}
        row |= {c: columns.get(c, empty)[i] for c in ("truth", "who", "note")}
        chance = columns.get(f"p_{positive}", empty)[i]
        wells = plates.setdefault(plate or "1", {})
        well = well_name(name, layout.wells)
        if well in wells and layout.fields == 1:
            raise BadTable(
                f"Well {well} of plate {plate or '1'} is there twice.",
                "Give each plate its own name, or say in the layout how many fields a well has.",
            )
        seen = _seen(row, chance, positive, typed, f"{plate or '1'} {well}")
        wells[well] = _joined(wells.get(well, Well()), seen)
    return plates


def require_class(table: pd.DataFrame, positive: str) -> None:
    """Refuse a table of calls of which nobody said what is positive, or says an unknown class."""
    classes = [str(c)[2:] for c in table.columns if str(c).startswith("p_")]
    known = classes or sorted({str(v) for v in table["label"] if v})
    if not positive:
        raise BadTable(
            "Nobody said which call is a positive well.",
            f"Give --positive NAME, or a --bundle that has a positive class. Known: "
            f"{', '.join(known)}.",
        )
    if positive not in known:
        raise BadTable(f"No well can be called {positive!r}.", did_you_mean(positive, known))


def counts_of(plate: str, wells: Mapping[str, Well], layout: Layout, turn: bool) -> list[Count]:
    """Count a plate's specimens; `turn` as if it had been photographed upside down.

    Raises
    ------
    LayoutError
        If the plate has wells that the layout does not know of, or none that it does.
    """
    here = layout.on(plate)
    owned = {well for s in here for well in s.wells}
    if turn:
        wells = {turned(name, layout.wells): well for name, well in wells.items()}
    if not turn and not owned & wells.keys():
        raise LayoutError(
            f"Plate {plate}: none of its {len(wells)} wells is in the layout {layout.name}.",
            f"The layout has {', '.join(sorted(owned)[:6])} ...",
        )
    return [_count(plate, s, wells, layout) for s in here if s.role != "blank"]


def read_counts(table: pd.DataFrame, layout: Layout) -> dict[str, list[Count]]:
    """Give the counts of each plate from a table with a row per dilution.

    Parameters
    ----------
    table
        Columns ``sample, role, log10_dilution`` (or ``dilution``), ``positive, replicates``, and
        ``plate`` and ``titrates`` where there are; all texts.
    """
    for name in ("sample", "role", "positive", "replicates"):
        if name not in table.columns:
            raise BadTable(f"There is no column {name}.", "Add it.")
    if not {"log10_dilution", "dilution"} & set(table.columns):
        raise BadTable("There is no column log10_dilution or dilution.", "Add one.")
    plates = table["plate"] if "plate" in table else pd.Series(["1"] * len(table))
    known = {s.name: s for s in layout.specimens}
    out: dict[str, list[Count]] = {}
    keyed = table.assign(plate=plates.replace("", "1").to_numpy())
    for key, rows in keyed.groupby(["plate", "sample"], sort=False):
        plate, sample = map(str, key)
        roles = rows["role"].str.strip().unique().tolist()
        if len(roles) != 1:
            raise BadTable(f"{sample!r} is {' and '.join(roles)}.", "Give a sample one role.")
        require(roles[0], ROLES, f"role of {sample!r}")
        count = _typed(plate, sample, roles[0], rows, known.get(sample))
        if layout.combine == "count" and layout.fields > 1:
            pairs = zip(count.positives, count.replicates, strict=True)
            count = replace(count, chambers=tuple((i, k, n) for i, (k, n) in enumerate(pairs)))
        out.setdefault(plate, []).append(count)
    return out


def _typed(plate: str, sample: str, role: str, rows: pd.DataFrame, known: Specimen | None) -> Count:
    exponents = []
    for i in range(len(rows)):
        row = rows.iloc[i]
        log10 = str(row.get("log10_dilution", "")).strip()
        written = str(row.get("dilution", "")).strip()
        if log10:
            exponents.append(number(log10, f"log10_dilution of {sample!r}"))
        elif written:
            exponents.append(-math.log10(factor_of(written)))
        else:
            exponents.append(0.0)
    k = [number(v, f"positive of {sample!r}") for v in rows["positive"]]
    n = [number(v, f"replicates of {sample!r}") for v in rows["replicates"]]
    for what, values in (("positive", k), ("replicates", n)):
        if any(v < 0 or v != round(v) for v in values):
            raise BadTable(f"{sample!r}: a {what} of {values} cannot be.", "Wells are 0, 1, 2 ...")
    if any(a > b for a, b in zip(k, n, strict=True)):
        raise BadTable(f"{sample!r}: more wells are positive than there are.", "Check the row.")
    order = np.argsort([-e for e in exponents], kind="stable")
    given = str(rows["titrates"].iloc[0]).strip() if "titrates" in rows else ""
    usual = "virus" if role == "back-titration" else "serum"
    replicates = tuple(int(n[i]) for i in order)
    return Count(
        plate,
        sample,
        role,
        given or (known.titrates if known else usual),
        tuple(float(exponents[i]) for i in order),
        tuple(int(k[i]) for i in order),
        replicates,
        replicates,
    )


def number(text: str, what: str) -> float:
    """Give a number written with a point.

    Raises
    ------
    BadTable
        With a word on decimal commas, where there is one.
    """
    try:
        value = float(str(text).strip())
    except ValueError as error:
        comma = " Write 4.5 and not 4,5." if "," in str(text) else ""
        raise BadTable(f"{what}: {str(text)!r} is no number.", f"Mend it.{comma}") from error
    if not math.isfinite(value):
        raise BadTable(f"{what}: {str(text)!r} is no number.", "Leave the row out.")
    return value


def _count(plate: str, s: Specimen, wells: Mapping[str, Well], layout: Layout) -> Count:
    doses = s.dilutions or (0.0,) * len(s.wells)
    steps = sorted({round(d, 6) for d in doses})
    index = {d: i for i, d in enumerate(steps)}
    k, n, expected = ([0] * len(steps) for _ in range(3))
    doubts: list[tuple[int, bool, float]] = []
    seen: list[tuple[int, str, bool]] = []
    chambers: list[tuple[int, int, int]] = []
    toxic = undecided = overridden = by_several = 0
    each = layout.fields if layout.combine == "count" else 1
    for name, dose in zip(s.wells, doses, strict=True):
        i = index[round(dose, 6)]
        expected[i] += each
        well = wells.get(name)
        if well is None:
            continue
        toxic += well.toxic
        undecided += well.undecided
        overridden += well.overridden
        if well.toxic or not well.fields:
            continue
        replicates = _replicates(well, layout.combine)
        for called, chance in replicates:
            n[i] += 1
            k[i] += called
            wrong = 1 - chance if called else chance
            if wrong > SURE:
                doubts.append((i, called, wrong))
        positive = sum(called for called, _ in replicates)
        if layout.combine == "any":
            by_several += well.by_several
            seen.append((i, name, positive > 0))
        else:
            seen.append((i, name, 2 * positive >= len(replicates)))
            if layout.fields > 1:
                chambers.append((i, positive, len(replicates)))
    return Count(
        plate, s.name, s.role, s.titrates, tuple(-d for d in steps), tuple(k), tuple(n),
        tuple(expected), tuple(doubts), toxic, undecided, overridden, by_several, tuple(seen),
        tuple(chambers),
    )  # fmt: skip


def _replicates(well: Well, combine: str) -> list[tuple[bool, float]]:
    """Give (called positive, probability of it being so) of the well, or of each of its fields."""
    if combine == "any":
        return [(well.positive, well.chance)]
    calls = sorted(well.fields, reverse=True)
    return [(i < well.positives, p) for i, p in enumerate(calls)]


def _joined(before: Well, seen: Well) -> Well:
    return Well(
        before.fields + seen.fields,
        before.positives + seen.positives,
        before.toxic or seen.toxic,
        before.undecided + seen.undecided,
        before.overridden + seen.overridden,
        before.unread + seen.unread,
    )


def _seen(row: Mapping[str, Any], chance: Any, positive: str, typed: bool, where: str) -> Well:
    """Read one row; the `truth` of a person (`who`) stands above the call."""
    toxic = str(row["note"]).strip().lower() == TOXIC
    if typed:
        text = str(row["positive"]).strip().lower()
        if not text:
            return Well(toxic=toxic, unread=1)
        if text not in _YES and text not in _NO:
            raise BadTable(f"Well {where}: positive = {text!r} is neither 1 nor 0.", "Mend it.")
        yes = text in _YES
        return Well((float(yes),), int(yes), toxic)
    label, truth = str(row["label"]).strip(), str(row["truth"]).strip()
    if str(row["who"]).strip():
        if not truth:  # a person looked, and nobody can decide
            return Well(toxic=toxic, unread=1)
        yes = truth == positive
        changed = int(truth != label)
        return Well((float(yes),), int(yes), toxic or truth.lower() == TOXIC, 0, changed)
    if row["error"] or not label:
        return Well(toxic=toxic, unread=1)
    yes = label == positive
    p = number(chance, f"well {where}: p_{positive}") if chance not in ("", None) else float(yes)
    undecided = int(str(row["decided"]).strip().lower() == "false")
    return Well((p,), int(yes), toxic or label.lower() == TOXIC, undecided)


def require_counts(layout: Layout, counts: str) -> None:
    """Refuse a command that says another polarity than the layout.

    Raises
    ------
    TitreError
        Naming both.
    """
    if counts and counts != layout.counts:
        raise TitreError(
            f"--counts {counts}, but the layout {layout.name} says that {layout.counts} wells "
            "are the positive ones.",
            "Leave --counts out, or mend the layout.",
        )


def sentence(layout: Layout, positive: str) -> str:
    """Say in words how positive wells were counted."""
    called = f"called {positive}" if positive else "marked positive"
    return f"Wells {called} were counted as {layout.counts}."
