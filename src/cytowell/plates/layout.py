"""What stands in which well: specimens, their dilutions, and by which rules they are reported."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from cytowell import registry
from cytowell.errors import LayoutError
from cytowell.plates.dilutions import COUNTS, SAME_STEP
from cytowell.plates.units import ADEQUATE, ROUNDINGS
from cytowell.plates.window import FORMATS
from cytowell.registry import did_you_mean

SHAPES = {8: (2, 4), **FORMATS}
"""Rows and columns by number of wells; 8 are the chambers of a slide."""

ROLES = (
    "test", "reference", "naive", "back-titration", "virus-control", "cell-control", "blank",
)  # fmt: skip
TITRATED = ("test", "reference", "naive", "back-titration")
"""Roles of which a titre is asked; of the others only which wells are infected."""

COMBINING = ("any", "count")
ORIENTATIONS = ("assumed", "confirm")
INTERVALS = ("shared-slope", "own")

EVERY = "*"

_WELL = re.compile(r"^([A-P])0*([1-9]\d?)$")


@dataclass(frozen=True)
class Limits:
    """What a run must keep to be valid. Each laboratory has its own; these are defaults.

    Attributes
    ----------
    cell_control
        Infected wells of the cell control, at most.
    virus_control
        Share of the virus control's wells that are infected, at least.
    back_titration
        TCID50 in a well of the undiluted challenge virus, lowest and highest; 30 to 300 in FAVN.
    naive
        Protected wells of a naive serum, at most.
    reference
        log10 D50 of the reference serum, lowest and highest; without it its control chart, where
        past results are given.
    """

    cell_control: int = 0
    virus_control: float = 1.0
    back_titration: tuple[float, float] = (30.0, 300.0)
    naive: int = 0
    reference: tuple[float, float] | None = None


@dataclass(frozen=True)
class Specimen:
    """What was put into some wells.

    Attributes
    ----------
    name, role, titrates
        The role is one of `ROLES`; `virus` or `serum` is what is diluted.
    plate
        Which plates it is on: a name, with ``*`` for any letters.
    wells
        Names of its wells.
    dilutions
        log10 of the dilution factor in each of them; none where nothing is diluted.
    """

    name: str
    role: str
    titrates: str
    plate: str
    wells: tuple[str, ...]
    dilutions: tuple[float, ...]


@dataclass(frozen=True)
class Layout:
    """A plate's layout and how its wells become results.

    Attributes
    ----------
    name, wells
        Of the assay; wells of a plate, 6 to 384, or the 8 chambers of a slide.
    counts
        What a positive well is, `infected` or `protected`: never assumed.
    fields, combine
        Photographs of one well that are expected; a well is positive if `any` is, or each field
        is a replicate of its own (`count`).
    volume
        mL of the dilution in each well, None where a titre per mL is not asked.
    rule, interval
        Which titre rule; whose interval: the rule's `own`, or that of curves with a `shared-slope`.
    rounding, reference_iu, threshold
        How titres become IU/mL; see `units`.
    limits
        Of validity.
    orientation
        Whether A1 may be `assumed` in the upper left where a plate's wells are found in its
        photograph, or somebody has to `confirm` how it lies.
    given
        Names of settings and limits that the file gave; the others are defaults and reported so.
    """

    name: str
    wells: int
    counts: str
    specimens: tuple[Specimen, ...]
    fields: int = 1
    combine: str = "any"
    volume: float | None = None
    rule: str = "spearman-karber"
    denominator: str = "n-1"
    interval: str = "shared-slope"
    rounding: str = "exact"
    reference_iu: float | None = None
    threshold: float = ADEQUATE
    limits: Limits = field(default_factory=Limits)
    orientation: str = "assumed"
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        require(self.wells, SHAPES, "wells")
        require(self.counts, COUNTS, "counts")
        require(self.combine, COMBINING, "combine")
        require(self.interval, INTERVALS, "interval")
        require(self.rounding, ROUNDINGS, "rounding")
        require(self.orientation, ORIENTATIONS, "orientation")
        if self.rule not in registry.names("titre-rules"):
            raise LayoutError(
                f"{self.name}: there is no titre rule {self.rule!r}.",
                did_you_mean(self.rule, [*registry.names("titre-rules")]),
            )
        if not 1 <= self.fields <= 1000:
            raise LayoutError(f"{self.name}: {self.fields} fields cannot be.", "Use 1 to 1000.")
        for name in ("volume", "reference_iu", "threshold"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e6:
                raise LayoutError(f"{self.name}: {name} = {value} cannot be.", "It is above 0.")
        _refuse_overlaps(self)

    @property
    def spans_plates(self) -> bool:
        """Whether a run is several plates, with its controls on one of them."""
        return any(s.plate != EVERY for s in self.specimens)

    def on(self, plate: str) -> tuple[Specimen, ...]:
        """Give the specimens of a plate: those of its own name before those of any."""
        named = [s for s in self.specimens if s.plate != EVERY and fnmatch.fnmatch(plate, s.plate)]
        return tuple(named or [s for s in self.specimens if s.plate == EVERY])

    def remarks(self) -> tuple[str, ...]:
        """Give what is odd about the layout, and may be meant."""
        said = []
        for plate in dict.fromkeys(s.plate for s in self.specimens):
            here = [s for s in self.specimens if s.plate == plate]
            used = sum(len(s.wells) for s in here)
            if used < self.wells:
                where = "" if plate == EVERY else f" of plate {plate}"
                said.append(f"{self.wells - used} of {self.wells} wells{where} stand for nothing")
        for s in self.specimens:
            doses, counts = np.unique(np.round(s.dilutions, 4), return_counts=True)
            if len(counts) and np.ptp(counts):
                said.append(f"{s.name}: {counts.min()} to {counts.max()} wells a dilution")
            if len(doses) > 1 and np.ptp(np.diff(doses)) > SAME_STEP:
                said.append(f"{s.name}: unequal steps")
        roles = {s.role for s in self.specimens}
        if {"test", "reference"} <= roles and self.reference_iu is None:
            said.append("the reference serum's IU/mL are not given, so no result is in IU/mL")
        return tuple(said)


def require(value: object, known: Collection[object], name: str) -> None:
    """Refuse a value that is none of those known."""
    names = [str(k) for k in known]
    if str(value) not in names:
        raise LayoutError(
            f"{name} = {value!r} is not known." if value != "" else f"{name} is not given.",
            f"Use {', '.join(names)}.",
        )


def well_name(name: str, wells: int) -> str:
    """Give a well's name as it is usually written: A1 for a01.

    Raises
    ------
    LayoutError
        If a plate of so many wells has none of this name.
    """
    match = _WELL.match(name.strip().upper())
    rows, columns = SHAPES[wells]
    if match is None or ord(match[1]) - ord("A") >= rows or int(match[2]) > columns:
        last = f"{chr(ord('A') + rows - 1)}{columns}"
        raise LayoutError(
            f"A plate of {wells} has no well {name.strip()!r}.", f"Wells are A1 to {last}."
        )
    return f"{match[1]}{int(match[2])}"


def block(text: str, wells: int) -> list[tuple[int, int]]:
    """Give (row, column) of the wells of ``A1:D6``, ``A1`` or several with commas, row by row."""
    places: list[tuple[int, int]] = []
    for part in text.split(","):
        corners = [_place(well_name(corner, wells)) for corner in part.split(":")]
        if len(corners) > 2:
            raise LayoutError(f"{part!r} is no block of wells.", "Write it as A1:D6.")
        (top, left), (bottom, right) = corners[0], corners[-1]
        if bottom < top or right < left:
            raise LayoutError(
                f"{part!r} is no block of wells.", "Write upper left corner:lower right corner."
            )
        places += itertools.product(range(top, bottom + 1), range(left, right + 1))
    return places


def named(row: int, column: int) -> str:
    """Give the name of the well in this row and column, counted from 0."""
    return f"{chr(ord('A') + row)}{column + 1}"


def turned(well: str, wells: int) -> str:
    """Give the well that stands where `well` does when the plate is turned by 180 degrees."""
    row, column = _place(well)
    rows, columns = SHAPES[wells]
    return named(rows - 1 - row, columns - 1 - column)


def _place(well: str) -> tuple[int, int]:
    return ord(well[0]) - ord("A"), int(well[1:]) - 1


def _refuse_overlaps(layout: Layout) -> None:
    for plate in dict.fromkeys(s.plate for s in layout.specimens):
        owner: dict[str, str] = {}
        for well, name in _owned(layout, plate):
            if well in owner:
                twice = "twice for" if owner[well] == name else f"for {owner[well]!r} and"
                raise LayoutError(
                    f"{layout.name}: well {well} stands {twice} {name!r}.",
                    "Give each well to one specimen.",
                )
            owner[well] = name
    keys = [(s.plate, s.name) for s in layout.specimens]
    for key in keys:
        if keys.count(key) > 1:
            raise LayoutError(
                f"{layout.name}: there are two specimens {key[1]!r}.", "Give each its own name."
            )
    if not layout.specimens:
        raise LayoutError(f"{layout.name}: no well stands for anything.", "Add a [[specimen]].")


def _owned(layout: Layout, plate: str) -> Iterator[tuple[str, str]]:
    for s in layout.specimens:
        if s.plate == plate:
            yield from ((well, s.name) for well in s.wells)
