"""Cells that overlapping fields of one slide show twice.

Two fields overlap where one shift lays a cell and its whole neighbourhood, red cells and all, over
those of another photograph. A cell alone would not do: two lymphocytes can look alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cytowell.errors import ImageError
from cytowell.images import open_upright
from cytowell.images.record import Preprocessing
from cytowell.types import Sample

CELL_SIDE = 24
"""Side, in pixels, at which two cells are compared; their neighbourhoods are at the same scale."""

ALIKE = 0.8
"""Correlation of two cells from which their neighbourhoods are compared."""

SAME_FIELD = 0.7
"""Correlation of two neighbourhoods from which they are one; of different fields it is below .4."""

SHIFT = 3
"""Pixels by which a cell's place may differ between two fields."""

AROUND = 2.0
"""How far a neighbourhood reaches from the cell's middle, in sides of the cell."""

_Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Cell:
    """A cell at the common scale: its photograph, its middle there, and its pixels."""

    row: int
    path: str
    x: float
    y: float
    pixels: _Grey


def seen_twice(cells: Sequence[Sample], record: Preprocessing | None = None) -> dict[int, int]:
    """Find cells of one slide that are shown again in a later photograph.

    Parameters
    ----------
    cells
        Boxes of one slide's white cells, in the order of its photographs.

    Returns
    -------
    dict
        Position of each repeated cell to that of the cell that it repeats.
    """
    if len({s.path for s in cells}) < 2:
        return {}
    # Never enlarged: boxes of some pixels would make every photograph a huge one.
    scale = min(1.0, CELL_SIDE / float(np.median([_side(s) for s in cells])))
    fields: dict[str, _Grey] = {}
    for path in dict.fromkeys(s.path for s in cells):
        with contextlib.suppress(ImageError):  # gone since it was searched: its calls will say so
            fields[path] = _grey(path, scale, record)
    found = [
        _Cell(i, s.path, *_middle(s, scale), _patch(fields[s.path], *_middle(s, scale)))
        for i, s in enumerate(cells)
        if s.path in fields
    ]
    if not found:
        return {}
    vectors = np.stack([_normed(c.pixels) for c in found])
    # A detector's box is off by some pixels from field to field; one cell's shifts at a time.
    alike = np.stack([np.max(vectors @ _shifted(fields[c.path], c).T, axis=1) for c in found])
    repeats: dict[int, int] = {}
    for later in range(len(found)):
        for earlier in np.argsort(-alike[later, :later], kind="stable"):
            one, other = found[int(earlier)], found[later]
            if alike[later, earlier] < ALIKE:
                break
            if one.path == other.path or one.row in repeats:
                continue
            if _same_field(fields[one.path], one, fields[other.path], other):
                repeats[other.row] = one.row
                break
    return repeats


def _shifted(field: _Grey, cell: _Cell) -> _Grey:
    """Give the cell's pixels under every shift by a few pixels, each normed; (S, P)."""
    return np.stack(
        [
            _normed(_patch(field, cell.x + right, cell.y + down))
            for down in range(-SHIFT, SHIFT + 1)
            for right in range(-SHIFT, SHIFT + 1)
        ]
    )


def _side(sample: Sample) -> float:
    assert sample.box is not None, "only boxes are compared"
    return max(sample.box.width, sample.box.height, 1.0)


def _middle(sample: Sample, scale: float) -> tuple[float, float]:
    box = sample.box
    assert box is not None, "only boxes are compared"
    return (box.x + box.width / 2) * scale, (box.y + box.height / 2) * scale


def _grey(path: str, scale: float, record: Preprocessing | None) -> _Grey:
    image = open_upright(path, record).convert("L")
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32)


def _patch(field: _Grey, x: float, y: float) -> _Grey:
    """Cut a square about a point; what lies beyond the edge repeats it."""
    rows = np.clip(np.arange(CELL_SIDE) + round(y - CELL_SIDE / 2), 0, field.shape[0] - 1)
    columns = np.clip(np.arange(CELL_SIDE) + round(x - CELL_SIDE / 2), 0, field.shape[1] - 1)
    patch: _Grey = field[np.ix_(rows, columns)]
    return patch


def _normed(pixels: _Grey) -> _Grey:
    flat = pixels.ravel() - pixels.mean()
    normed: _Grey = flat / max(float(np.linalg.norm(flat)), 1e-6)
    return normed


def _same_field(one_field: _Grey, one: _Cell, other_field: _Grey, other: _Cell) -> bool:
    """Whether the shift from one cell to the other lays their neighbourhoods over one another."""
    reach = round(AROUND * CELL_SIDE)
    best = 0.0
    ax, ay = round(one.x), round(one.y)
    for down in range(-SHIFT, SHIFT + 1):
        for right in range(-SHIFT, SHIFT + 1):
            bx, by = round(other.x) + right, round(other.y) + down
            left, up = min(reach, ax, bx), min(reach, ay, by)
            wide = min(reach, one_field.shape[1] - ax, other_field.shape[1] - bx)
            tall = min(reach, one_field.shape[0] - ay, other_field.shape[0] - by)
            if min(left + wide, up + tall) < CELL_SIDE // 2:
                continue
            first = one_field[ay - up : ay + tall, ax - left : ax + wide].copy()
            second = other_field[by - up : by + tall, bx - left : bx + wide].copy()
            # The cell itself is known to be alike: what lies around it decides.
            for part in (first, second):
                half = CELL_SIDE // 2
                part[max(0, up - half) : up + half, max(0, left - half) : left + half] = part.mean()
            best = max(best, float(_normed(first) @ _normed(second)))
    return best >= SAME_FIELD
