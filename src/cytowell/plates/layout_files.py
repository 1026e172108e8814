"""Layouts as files: TOML, with a block of wells a specimen, or CSV, with a row a well."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from cytowell.errors import LayoutError, TitreError
from cytowell.plates.dilutions import TITRATES, factor_of
from cytowell.plates.layout import (
    EVERY,
    ROLES,
    SHAPES,
    TITRATED,
    Layout,
    Limits,
    Specimen,
    block,
    named,
    require,
    well_name,
)
from cytowell.registry import did_you_mean

READY = Path(__file__).with_name("layouts")
ALONG = ("columns", "rows")
COLUMNS = ("plate", "well", "sample", "role", "dilution", "log10_dilution", "titrates", "counts")

_SPECIMEN = ("name", "role", "titrates", "plate", "wells", "dilute", "first", "fold", "dilutions")
_TEXTS = ("name", "counts", "combine", "rule", "denominator", "interval", "rounding",
          "orientation")  # fmt: skip
_NUMBERS = ("volume", "reference_iu", "threshold")
_WHOLE = ("wells", "fields")


def ready_files() -> list[Path]:
    """Give the layouts that come with the package: a laboratory copies one and changes it."""
    return sorted(READY.glob("*.toml"))


def read_layout(source: str | Path) -> Layout:
    """Read a layout.

    Parameters
    ----------
    source
        A ``.toml`` or ``.csv`` file, or the name of a layout that comes with the package.

    Raises
    ------
    LayoutError
        Naming the file, what does not fit, and the remedy.
    """
    path = Path(source)
    if path.suffix.lower() not in (".toml", ".csv"):
        ready = [file.stem for file in ready_files()]
        if str(source) not in ready:
            raise LayoutError(
                f"There is no layout {str(source)!r}.",
                f"{did_you_mean(str(source), ready)} Or give a .toml or .csv file.",
            )
        path = READY / f"{source}.toml"
    try:
        if path.suffix.lower() == ".csv":
            return _from_table(pd.read_csv(path, dtype=str, keep_default_na=False), path.stem)
        return _from_toml(tomllib.loads(path.read_text(encoding="utf-8")), path.stem)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, pd.errors.ParserError) as error:
        raise LayoutError(f"{path} cannot be read as a layout ({error}).") from error
    except pd.errors.EmptyDataError as error:
        raise LayoutError(f"{path} is empty.", f"Columns: {', '.join(COLUMNS)}.") from error
    except TitreError as error:
        raise LayoutError(f"{path}: {error.problem}", error.remedy) from error


def _from_toml(given: Mapping[str, Any], stem: str) -> Layout:
    known = [f.name for f in fields(Layout) if f.name not in ("specimens", "given")]
    _refuse_unknown(given, [*known, "specimen"], "A layout")
    values: dict[str, Any] = {"name": stem}
    for names, kind in ((_TEXTS, str), (_NUMBERS, float), (_WHOLE, int)):
        values |= {n: _as(given[n], kind, n) for n in names if n in given}
    for name in ("wells", "counts"):
        if name not in values:
            raise LayoutError(f"{name} is not given.", _WHY[name])
    require(values["wells"], SHAPES, "wells")
    limits = _table(given.get("limits", {}), "limits")
    blocks = given.get("specimen", [])
    if not isinstance(blocks, list) or not all(isinstance(b, dict) for b in blocks):
        raise LayoutError("specimen is no list of tables.", "Write [[specimen]] before each.")
    return Layout(
        **values,
        specimens=tuple(_specimen(b, values["wells"]) for b in blocks),
        limits=_limits(limits),
        given=frozenset([*given, *(f"limits.{n}" for n in limits)]),
    )


_WHY = {
    "wells": "Say how many wells the plate has: wells = 96.",
    "counts": 'Say what a positive well is: counts = "infected" or "protected".',
}


def _limits(given: Mapping[str, Any]) -> Limits:
    _refuse_unknown(given, [f.name for f in fields(Limits)], "[limits]")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("back_titration", "reference"):
            ends = value if isinstance(value, list) and len(value) == 2 else [math.nan]
            pair = tuple(_as(v, float, name) for v in ends)
            if not pair[0] <= pair[-1]:
                raise LayoutError(f"limits.{name} = {value!r} is no range.", "Write [low, high].")
            values[name] = pair
        else:
            values[name] = _as(value, float if name == "virus_control" else int, name)
    return Limits(**values)


def _specimen(given: Mapping[str, Any], wells: int) -> Specimen:
    _refuse_unknown(given, _SPECIMEN, "[[specimen]]")
    name = _as(given.get("name", given.get("role", "")), str, "name")
    role = _as(given.get("role", ""), str, f"role of {name!r}")
    require(role, ROLES, f"role of {name!r}")
    places = block(_as(given.get("wells", ""), str, f"wells of {name!r}"), wells)
    dilute = _as(given.get("dilute", "columns"), str, "dilute")
    require(dilute, ALONG, f"dilute of {name!r}")
    along = [column if dilute == "columns" else row for row, column in places]
    steps = sorted(set(along))
    dilutions: tuple[float, ...] = ()
    if "dilutions" in given:
        written = given["dilutions"]
        if not isinstance(written, list) or len(written) != len(steps):
            raise LayoutError(
                f"{name!r} has wells in {len(steps)} {dilute} and not as many dilutions.",
                'Write dilutions = ["1:3", "1:9", ...], one for each.',
            )
        each = [math.log10(factor_of(w)) for w in written]
        dilutions = tuple(each[steps.index(a)] for a in along)
    elif "first" in given:
        first = math.log10(factor_of(given["first"]))
        fold = _as(given.get("fold", 10), float, f"fold of {name!r}")
        if not fold > 1:
            raise LayoutError(f"{name!r}: fold = {fold:g} dilutes nothing.", "It is above 1.")
        dilutions = tuple(first + math.log10(fold) * steps.index(a) for a in along)
    return _made(
        name,
        role,
        _as(given.get("titrates", ""), str, "titrates"),
        _as(given.get("plate", EVERY), str, "plate"),
        [named(row, column) for row, column in places],
        dilutions,
    )


def _made(
    name: str, role: str, titrates: str, plate: str, wells: list[str], dilutions: tuple[float, ...]
) -> Specimen:
    """Give a specimen, what it titrates by its role where that is not said."""
    if role in TITRATED and not dilutions:
        raise LayoutError(
            f"{name!r} has no dilutions.", 'Write first = "1:3" and fold = 3, or dilutions.'
        )
    what = titrates or ("virus" if role == "back-titration" else "serum")
    require(what, TITRATES, f"titrates of {name!r}")
    return Specimen(name, role, what, plate, tuple(wells), dilutions)


def _from_table(table: pd.DataFrame, stem: str) -> Layout:
    _refuse_unknown(dict.fromkeys(table.columns), COLUMNS, "A layout's table")
    for name in ("well", "sample", "role", "counts"):
        if name not in table.columns:
            raise LayoutError(f"There is no column {name}.", _WHY.get(name, "Add it."))
    counts = table["counts"].str.strip().unique().tolist()
    if len(counts) != 1:
        raise LayoutError(f"counts is {' and '.join(map(repr, counts))}.", _WHY["counts"])
    plates = [p or EVERY for p in table.get("plate", pd.Series([""] * len(table)))]
    wells = _smallest(table["well"].tolist())
    specimens = []
    for key, rows in table.assign(plate=plates).groupby(["plate", "sample"], sort=False):
        plate, name = map(str, key)
        roles = rows["role"].str.strip().unique().tolist()
        if len(roles) != 1:
            raise LayoutError(f"{name!r} is {' and '.join(roles)}.", "Give a sample one role.")
        require(roles[0], ROLES, f"role of {name!r}")
        titrates = rows["titrates"].str.strip().iloc[0] if "titrates" in rows else ""
        specimens.append(
            _made(
                name,
                roles[0],
                titrates,
                plate,
                [well_name(w, wells) for w in rows["well"]],
                _doses(rows),
            )
        )
    return Layout(stem, wells, counts[0], tuple(specimens), given=frozenset(["wells", "counts"]))


def _doses(rows: pd.DataFrame) -> tuple[float, ...]:
    for column, read in (
        ("log10_dilution", lambda text: -_exponent(text)),
        ("dilution", lambda text: math.log10(factor_of(text))),
    ):
        if column in rows.columns and rows[column].str.strip().ne("").any():
            as_log10: Callable[[str], float] = read
            return tuple(as_log10(text) for text in rows[column])
    return ()


def _exponent(text: str) -> float:
    try:
        exponent = float(text)
    except ValueError as error:
        raise LayoutError(
            f"log10_dilution {text!r} is no number.", "Write -2 for 1:100."
        ) from error
    if not exponent <= 0:
        raise LayoutError(
            f"log10_dilution {text!r} would be a concentration.", "Write -2 for 1:100."
        )
    return exponent


def _smallest(names: list[str]) -> int:
    """Give the smallest plate of 96 or more wells, or slide of 8, that has all these wells."""
    for wells in (8, 96, 384):
        try:
            for name in names:
                well_name(name, wells)
        except LayoutError:
            continue
        return wells
    well_name(next(iter(names)), 384)
    raise LayoutError("No plate has all of these wells.", "Wells are A1 to P24.")


def _refuse_unknown(given: Mapping[str, Any], known: Any, what: str) -> None:
    for name in given:
        if name not in known:
            raise LayoutError(f"{what} has no {name!r}.", did_you_mean(str(name), [*known]))


def _table(given: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise LayoutError(f"{name} is no table.", f"Write [{name}].")
    return given


def _as(value: Any, kind: type[Any], name: str) -> Any:
    """Give a value of this kind; whole numbers are numbers, true is none."""
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or isinstance(value, bool) or (kind is float and not math.isfinite(value)):
        words = {str: "a text", float: "a number", int: "a whole number"}[kind]
        raise LayoutError(f"{name} = {value!r} is not {words}.", "Mend it in the layout.")
    return kind(value)
