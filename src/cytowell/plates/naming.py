"""Which well is which: names of a plate's places, and where A1 was taken to be."""

from __future__ import annotations

import re
import string
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cytowell.errors import RecipeError
from cytowell.plates.window import Plate

CORNERS = {0: "upper left", 90: "upper right", 180: "lower right", 270: "lower left"}
"""Where A1 is, by the degrees that a plate is turned clockwise."""

_IN_NAME = re.compile(r"(?<![A-Za-z0-9])([A-Pa-p])[-_ ]?0*([1-9]\d?)(?![0-9A-Za-z])")
_WELL = re.compile(r"\s*([A-Pa-p])0*([1-9]|1\d|2[0-4])\s*")


def checked_well(name: str) -> str:
    """Give the name of a well as it is written in tables, such as B7.

    Raises
    ------
    RecipeError
        If it is none.
    """
    match = _WELL.fullmatch(name)
    if not match:
        raise RecipeError(f"{name!r} is no well.", "Name it like B7: a letter A-P, a number 1-24.")
    return match[1].upper() + match[2]


def well_in_name(path: str) -> str:
    """Give the well that a file's name holds (plate1_B07.jpg), "" for none or several."""
    found = {m[1].upper() + m[2] for m in _IN_NAME.finditer(Path(path).stem)}
    return found.pop() if len(found) == 1 else ""


def numbered(plates: list[Plate]) -> list[Plate]:
    """Give plates from left to right, and those that stand in one column from top to bottom."""
    columns: list[list[Plate]] = []
    for plate in sorted(plates, key=lambda p: float(p.centres[:, 0].mean())):
        middle = float(plate.centres[:, 0].mean())
        for column in columns:
            low, high = column[0].centres[:, 0].min(), column[0].centres[:, 0].max()
            if low <= middle <= high:
                column.append(plate)
                break
        else:
            columns.append([plate])
    return [p for c in columns for p in sorted(c, key=lambda p: float(p.centres[:, 1].mean()))]


def names_of(plate: Plate, rotate: int | None) -> tuple[npt.NDArray[np.str_], str, str]:
    """Give names of a plate's places (rows, columns), what must be said, and where A1 is.

    Names are "" where they are not known, and where A1 is then too.
    """
    verdict = plate.verdict
    rows, columns = plate.scores.shape
    if verdict.origin is None:
        return np.full((rows, columns), ""), "", ""
    named, said = well_names(verdict.shape, rotate or 0)
    row, column = verdict.origin
    corner = {
        (0, 0): "upper left", (0, -1): "upper right", (-1, 0): "lower left",
        (-1, -1): "lower right",
    }  # fmt: skip
    where = next(said for at, said in corner.items() if named[at] == "A1")
    how = "assumed" if rotate is None or said else "given"
    part = named[row : row + rows, column : column + columns]
    return part, said, f"A1 {where} ({how})"


def well_names(shape: tuple[int, int], rotate: int = 0) -> tuple[npt.NDArray[np.str_], str]:
    """Give the names of the wells of a window as it is seen, and what must be said of them.

    Parameters
    ----------
    shape
        Rows and columns in the photograph.
    rotate
        Degrees by which the plate is turned clockwise.

    Returns
    -------
    tuple
        Names (rows, columns), and a sentence, "" for a plate that lies across with A1 in the
        upper left, or as was asked for.
    """
    rows, columns = shape
    said = ""
    if rows > columns and rotate in (0, 180):
        rotate += 90
        where = "upper right" if rotate == 90 else "lower left"
        said = (
            f"the plate stands upright: A1 is taken as the {where}; it is turned by {rotate} "
            f"degrees, or else by {360 - rotate}"
        )
    elif rows <= columns and rotate in (90, 270):
        rotate -= 90
        said = "the plate lies across, so a quarter turn does not fit it: A1 is taken as the " + (
            "upper left" if rotate == 0 else "lower right"
        )
    row, column = np.mgrid[:rows, :columns]
    if rotate == 180:
        row, column = rows - 1 - row, columns - 1 - column
    elif rotate == 90:
        row, column = columns - 1 - column, row
    elif rotate == 270:
        row, column = column, rows - 1 - row
    letters = np.array([*string.ascii_uppercase])
    return np.char.add(letters[row], (column + 1).astype(str)), said
