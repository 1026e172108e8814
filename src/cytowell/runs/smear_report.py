"""From a table of calls of smear photographs to what the smear's page says, a slide at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cytowell.evaluation.calls_page import is_counted, stands
from cytowell.evaluation.differential import Differential
from cytowell.evaluation.smear_page import SmearSlide, WhiteCell
from cytowell.runs.smear_measures import PLATELETS, RED, SlideMeasures
from cytowell.types import FOUND, KIND, REPEATED

Row = Mapping[str, Any]


def is_smear(rows: Sequence[Row]) -> bool:
    """Whether calls are of photographs in which white cells were found and others counted."""
    return any(is_counted(r) and r.get(FOUND) in (RED, PLATELETS) for r in rows)


def slides_of(
    rows: Sequence[Row],
    counts: Sequence[Differential],
    by: str = "",
    measures: Mapping[str, SlideMeasures] | None = None,
) -> list[SmearSlide]:
    """Give what the page says of each slide.

    Parameters
    ----------
    rows
        The calls, as a file of them holds them; a person's `truth` (with `who`) stands above them.
    counts
        The differential counts of the same rows.
    measures
        What was measured on each slide, where that is known.
    """
    out = []
    for count in counts:
        mine = [i for i, r in enumerate(rows) if not by or str(r.get(by) or "") == count.name]
        counted = [str(rows[i].get(FOUND)) for i in mine if is_counted(rows[i])]
        repeated = sum(str(rows[i].get("reason") or "").startswith(REPEATED) for i in mine)
        known = (measures or {}).get(count.name)
        out.append(
            SmearSlide(
                count,
                len({rows[i]["path"] for i in mine}),
                counted.count(RED),
                counted.count(PLATELETS),
                repeated,
                _scale(known),
                tuple(_cell(i, rows[i]) for i in mine if _is_called(rows[i])),
                known.cautions if known else (),
            )
        )
    return out


def _is_called(row: Row) -> bool:
    return bool(row.get("label")) and not is_counted(row)


def _cell(number: int, row: Row) -> WhiteCell:
    final = stands(row)
    probability = row.get("probability")
    return WhiteCell(
        final or str(row["label"]),
        str(row.get(KIND) or "") if final == row["label"] else "",
        1.0 if row.get("who") else float(probability or 0),
        bool(final),
        str(row.get("reason") or ""),
        f"{Path(str(row['path'])).name} {row.get('object') or ''}".strip(),
        number,
    )


def _scale(measured: SlideMeasures | None) -> str:
    if measured is None or measured.pixel_size is None:
        return "not measured"
    source = {
        "given": "as given",
        "file": "from the photographs' metadata",
        "red cells": f"from {measured.ruler.cells} whole red cells",
    }[measured.source]
    return f"{measured.pixel_size:.4g} µm per pixel, {source}"
