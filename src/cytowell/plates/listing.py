"""Found wells as a table and as a picture, for people and for the next tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from PIL import Image

from cytowell.images import Preprocessing, open_upright
from cytowell.images.overlay import COLOURS, Mark, draw
from cytowell.plates.grid import FIELD, Wells

COLUMNS = ("photo", "plate", "well", "x", "y", "width", "height", "confidence", "reason",
           "orientation")  # fmt: skip


def rows(path: str, wells: Wells) -> list[dict[str, Any]]:
    """Give a row per well: pixels of the upright photograph, (x, y) the upper left corner.

    A photograph without wells is one row with its `reason`; on a plate that is not whole, not
    alone or not upright, every row says so there. `well` is "" where nothing tells which well it
    is, and `orientation` says where A1 of the plate was taken to be.
    """
    if not wells.boxes:
        return [{"photo": path, "plate": "", "well": "", "confidence": 0.0, "reason": wells.reason}]
    listed = zip(
        wells.boxes, wells.plates, wells.names, wells.confidence, wells.orientations, strict=True
    )
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
            "orientation": where,
        }
        for box, plate, name, sure, where in listed
    ]


def table(found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Give rows as a table with `COLUMNS`."""
    return pd.DataFrame(list(found), columns=COLUMNS)


def drawn(path: str, wells: Wells, record: Preprocessing | None = None) -> Image.Image:
    """Give the photograph with its wells drawn on.

    The first well is drawn strong in another colour on every plate: whoever sees A1 in the wrong
    corner turns the plate.
    """
    marks = [
        Mark(box, "" if name == FIELD else name, COLOURS[1 if name == "A1" else 0], True,
             name in ("A1", FIELD))
        for box, name in zip(wells.boxes, wells.names, strict=True)
    ]  # fmt: skip
    return draw(open_upright(path, record), marks, wells.reason)
