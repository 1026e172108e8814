"""Found wells as a table and as a picture, for people and for the next tool."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cytowell.errors import RecipeError
from cytowell.images import open_upright
from cytowell.images.overlay import COLOURS, Mark, draw
from cytowell.plates.grid import FIELD, Wells
from cytowell.storage import replacing

COLUMNS = ("photo", "plate", "well", "x", "y", "width", "height", "confidence", "reason")


def rows(path: str, wells: Wells) -> list[dict[str, Any]]:
    """Give a row per well: pixels of the upright photograph, (x, y) the upper left corner.

    A photograph without wells is one row with its `reason`; on a plate that is not whole, not
    alone or not upright, every row says so there.
    """
    if not wells.boxes:
        return [{"photo": path, "plate": "", "well": "", "confidence": 0.0, "reason": wells.reason}]
    listed = zip(wells.boxes, wells.plates, wells.names, wells.confidence, strict=True)
    return [
        {
            "photo": path,
            "plate": plate,
            "well": name,
            "x": round(box.x, 1),
            "y": round(box.y, 1),
            "width": round(box.width, 1),
            "height": round(box.height, 1),
            "confidence": round(float(sure), 3),
            "reason": wells.reason,
        }
        for box, plate, name, sure in listed
    ]


def write(found: Sequence[dict[str, Any]], out: Path | None) -> None:
    """Write rows as CSV or Parquet, whole or not at all; print them as CSV without a file.

    Raises
    ------
    RecipeError
        If the file's ending is neither.
    """
    frame = pd.DataFrame(list(found), columns=COLUMNS)
    if out is None:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise RecipeError(f"{out} has no known ending.", "Use .csv or .parquet.")
    with replacing(out) as beside:
        if out.suffix.lower() == ".parquet":
            frame.to_parquet(beside, index=False)
        else:
            frame.to_csv(beside, index=False, lineterminator="\n")


def save_overlay(path: str, wells: Wells, folder: Path, drawn: set[Path]) -> None:
    """Write the photograph with its wells drawn on, as a JPEG without metadata.

    The first well is drawn strong in another colour on every plate: whoever sees A1 in the wrong
    corner turns the plate.

    Parameters
    ----------
    drawn
        What was written before: two photographs of one name get a file each.
    """
    marks = [
        Mark(box, "" if name == FIELD else name, COLOURS[1 if name == "A1" else 0], True,
             name in ("A1", FIELD))
        for box, name in zip(wells.boxes, wells.names, strict=True)
    ]  # fmt: skip
    picture = draw(open_upright(path), marks, wells.reason)
    stem = Path(path.split("::")[0]).stem
    number, out = 1, folder / f"{stem}.jpg"
    while out in drawn:
        number += 1
        out = folder / f"{stem}-{number}.jpg"
    drawn.add(out)
    with replacing(out) as beside:
        picture.save(beside, "JPEG", quality=88)
