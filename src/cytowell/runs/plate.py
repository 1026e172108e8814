"""From photographs of a plate to titres: which photograph is which well, calls, the titration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cytowell.errors import EmptyDataset, LayoutError
from cytowell.plates.assay import RunResult
from cytowell.plates.layout import SHAPES, Layout, well_name
from cytowell.plates.search import Expected
from cytowell.plates.window import FORMATS
from cytowell.runs.run import Voice
from cytowell.runs.titres import Titration, read_titration
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.calls import writer
from cytowell.runtime.drift import DriftMonitor
from cytowell.runtime.finding import finder, objects
from cytowell.types import Sample

WAYS = ("found", "named", "ordered", "table")

_IN_NAME = re.compile(r"(?<![A-Za-z0-9])([A-Pa-p])[-_ ]?0*([1-9]\d?)(?![0-9A-Za-z])")
_DIGITS = re.compile(r"(\d+)")


def way_of(samples: Sequence[Sample], wanted: str = "") -> str:
    """Give how photographs are told apart: as wanted, else by what they bring.

    A table with a column ``well`` says it; names that all hold a well's name (``plate1_A03.jpg``)
    do; else each photograph shows a whole plate, in which wells are found.

    Raises
    ------
    LayoutError
        If nothing of the kind is known.
    """
    if wanted:
        if wanted not in WAYS:
            raise LayoutError(f"--wells {wanted} is not known.", f"Use one of {', '.join(WAYS)}.")
        return wanted
    if all("well" in s.extra for s in samples):
        return "table"
    if all(_IN_NAME.search(Path(s.path).stem) for s in samples):
        return "named"
    return "found"


def place(
    samples: Sequence[Sample], way: str, layout: Layout, rotate: int | None = None
) -> list[Sample]:
    """Give a sample per photographed well, with ``plate`` and ``well`` among its columns.

    Parameters
    ----------
    way
        One of `WAYS`.
    rotate
        Degrees by which plates are turned clockwise, where wells are found; None where nobody
        has looked.

    Raises
    ------
    LayoutError
        If a well is none of the plate, or the photographs are too few or too many for their order
        to say which well is which.
    """
    if way == "found":
        return _found(samples, layout, rotate)
    if way == "named":
        return [_by_name(s, layout) for s in samples]
    if way == "ordered":
        return _in_order(samples, layout)
    out = []
    for s in samples:
        well = well_name(str(s.extra.get("well", "")), layout.wells)
        plate = str(s.extra.get("plate") or "1")
        out.append(_at(s, plate, well))
    return out


def _at(sample: Sample, plate: str, well: str) -> Sample:
    return replace(sample, extra={**sample.extra, "plate": plate, "well": well})


def _found(samples: Iterable[Sample], layout: Layout, rotate: int | None) -> list[Sample]:
    """Find wells; a plate bears its photograph's name, and a number where there are several."""
    if layout.orientation == "confirm" and rotate is None:
        raise LayoutError(
            f"{layout.name} demands that somebody confirms how its plates lie.",
            "Look at the photographs, and give --rotate 0, 90, 180 or 270: 0 is A1 upper left.",
        )
    expected = Expected(layout.wells if layout.wells in FORMATS else 0)
    out = _without_nameless(objects(samples, finder("wells", rotate, expected=expected)))
    names: dict[str, set[str]] = {}
    for s in out:
        names.setdefault(s.path, set()).add(str(s.extra.get("plate", "")))
    placed = []
    for s in out:
        stem = Path(s.path).stem
        number = str(s.extra.get("plate", ""))
        plate = f"{stem} {number}" if len(names[s.path]) > 1 else stem
        placed.append(_at(s, plate, str(s.extra.get("well", ""))))
    sizes: dict[str, int] = {}
    for s in placed:
        if not s.nothing and s.box is not None:
            sizes[str(s.extra["plate"])] = sizes.get(str(s.extra["plate"]), 0) + 1
    for plate, size in sizes.items():
        if size != layout.wells and (size in SHAPES or size > layout.wells):
            raise LayoutError(
                f"{plate}: a plate of {size} wells was found, the layout {layout.name} has "
                f"{layout.wells}.",
                "Give the layout of this plate.",
            )
    return placed


def _without_nameless(found: Iterable[Sample]) -> list[Sample]:
    """Give samples whose wells have names; a plate without is one with nothing to be called."""
    out: dict[tuple[str, str] | int, Sample] = {}
    for number, s in enumerate(found):
        if s.box is None or s.extra.get("well"):
            out[number] = s
            continue
        plate = str(s.extra.get("plate", ""))
        why = str(s.extra.get("note", "")) or "nothing tells which well is which"
        out.setdefault((s.path, plate), replace(s, box=None, nothing=why))
    return list(out.values())


def _by_name(sample: Sample, layout: Layout) -> Sample:
    path = Path(sample.path)
    matches = [*_IN_NAME.finditer(path.stem)]
    if not matches:
        raise LayoutError(f"{sample.path}: its name holds no well.", _NAME_IT)
    match = _the_well(sample.path, matches, layout.wells)
    well = well_name(match[1] + match[2], layout.wells)
    before = path.stem[: match.start()].strip("-_ .")
    return _at(sample, before or path.parent.name or "1", well)


_NAME_IT = "Name it like plate1_A03.jpg, or give a table with path, plate and well."


def _the_well(path: str, matches: Sequence[re.Match[str]], wells: int) -> re.Match[str]:
    """Give the part of a name that is its well, of several that could be.

    What the plate has no well of is none. Then the one with a capital letter, if the others have
    small ones and it is not the only one without a leading zero: A01 of A01_f1. Everything else is
    ambiguous, and a wrong well would be a wrong titre.
    """
    there = [m for m in matches if _is_well(m, wells)]
    found = {well_name(m[1] + m[2], wells): m for m in reversed(there or matches[:1])}
    if len(found) == 1:
        return next(iter(found.values()))
    capital = [m for m in found.values() if m[1].isupper()]
    if len(capital) == 1:
        others = [m for m in found.values() if m is not capital[0]]
        if len(capital[0][2]) > 1 or _padded(capital[0]) or not any(map(_padded, others)):
            return capital[0]
    raise LayoutError(
        f"{path}: its name holds several wells, {' and '.join([*found][::-1])}.", _NAME_IT
    )


def _is_well(match: re.Match[str], wells: int) -> bool:
    try:
        well_name(match[1] + match[2], wells)
    except LayoutError:
        return False
    return True


def _padded(match: re.Match[str]) -> bool:
    return match[0][len(match[1]) :].lstrip("-_ ").startswith("0")


def _in_order(samples: Sequence[Sample], layout: Layout) -> list[Sample]:
    """Tell wells by the order of the photographs' names, in which cameras count upwards.

    A folder is a plate; row by row, field by field.
    """
    folders: dict[str, list[Sample]] = {}
    for s in samples:
        folders.setdefault(str(Path(s.path).parent), []).append(s)
    out = []
    for folder, mine in folders.items():
        plate = Path(folder).name or "1"
        wells = sorted(
            {w for s in layout.on(plate) for w in s.wells}, key=lambda w: (w[0], int(w[1:]))
        )
        if len(mine) != len(wells) * layout.fields:
            raise LayoutError(
                f"{folder}: {len(mine)} photographs, but the layout {layout.name} has "
                f"{len(wells)} wells of {layout.fields} fields.",
                "Their order cannot say which well is which: name them, or give a table.",
            )
        mine.sort(key=lambda s: _natural(Path(s.path).name))
        out += [_at(s, plate, wells[i // layout.fields]) for i, s in enumerate(mine)]
    return out


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Give a sorting key in which 10 comes after 9."""
    return [(0, int(t)) if t.isdigit() else (1, t.lower()) for t in _DIGITS.split(name) if t]


def titrate_photographs(
    samples: Sequence[Sample],
    bundle: Bundle,
    layout: Layout,
    calls: Path,
    positive: str,
    history: Sequence[float] = (),
    voice: Voice | None = None,
) -> Titration:
    """Call wells and compute their plates.

    Parameters
    ----------
    samples
        What `place` gave.
    calls
        CSV that is written: a row per well or field, from which the titres are computed.

    Raises
    ------
    EmptyDataset
        If no photograph shows a well.
    """
    heard = voice or Voice()
    there = [s for s in samples if not s.nothing]
    bare = [s for s in samples if s.nothing]
    if not there:
        why = f" {bare[0].path}: {bare[0].nothing}." if bare else ""
        raise EmptyDataset(f"No photograph shows a well.{why}", "Give photographs of wells.")
    known = frozenset({"group", *({"box"} if any(s.box for s in there) else set())})
    done = 0
    monitor = DriftMonitor(bundle)
    with writer(calls, known) as write:
        for batch in bundle.stream(there, watch=monitor.add):
            write(batch)
            done += len(batch)
            heard.ticked(done, len(there), "calling wells")
    found = read_titration(calls, layout, positive, history)
    refused = tuple(
        RunResult((str(s.extra.get("plate", s.path)),), False, (), (s.nothing,), ()) for s in bare
    )
    source = (calls.name, _hash(sorted({s.path for s in samples})))
    compared = ("", False)
    if len(monitor):
        drift = monitor.result()
        compared = (drift.sentence, drift.differs)
        heard.said(drift.sentence)
    return replace(
        found,
        runs=found.runs + refused,
        wells=found.wells + ({},) * len(refused),
        source=source,
        compared=compared,
    )


def _hash(paths: Sequence[str]) -> str:
    """Give one SHA-256 of all photographs: of their names and bytes."""
    total = hashlib.sha256()
    for path in paths:
        total.update(Path(path).name.encode(errors="surrogateescape") + b"\0")
        try:
            total.update(hashlib.sha256(Path(path).read_bytes()).digest())
        except OSError:
            total.update(b"unreadable")
    return total.hexdigest()
