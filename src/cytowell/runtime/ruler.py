"""The ruler that every smear carries: how large its red cells are in pixels.

A red cell of a healthy adult is 7.5 micrometres across in a smear (Bain, Blood Cells, 5th ed.); in
microcytosis 6, in macrocytosis 9: a calibration of the microscope is better wherever there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cytowell.types import Box, FloatArray, IntArray

RED_CELL = 7.5
"""Diameter of a red cell in micrometres, unless somebody says otherwise."""

EDGE = 0.01
"""Share of a photograph's longer side that must lie between a whole cell and the border."""

TOUCHING = 0.25
"""Share of a cell's own box that another may cover: boxes of round neighbours overlap at their
corners. Between .1 and .5 the median changes by less than 2 % on every source of TXL."""

LONGISH = 1.35
"""Longer side of a whole cell's box by its shorter one, at most."""

FEWEST = 3
"""Cells from which on a median is a measure."""


@dataclass(frozen=True)
class Ruler:
    """The size of red cells in the photographs of one slide.

    Attributes
    ----------
    diameter
        Median in pixels, None where fewer than `FEWEST` cells are whole.
    cells, photographs
        Whole cells that were measured, and photographs with any.
    spread
        Robust standard deviation of the cells' diameters, as a share of the median: 1.4826 times
        the median absolute deviation.
    """

    diameter: float | None
    cells: int
    photographs: int
    spread: float | None

    def pixel_size(self, red_cell: float = RED_CELL) -> float | None:
        """Give micrometres per pixel, None where nothing was measured.

        Parameters
        ----------
        red_cell
            Diameter of a red cell in micrometres.
        """
        return None if self.diameter is None else red_cell / self.diameter


def whole_cells(
    boxes: Sequence[Box],
    labels: IntArray,
    label: int,
    size: tuple[int, int],
    touching: float = TOUCHING,
) -> FloatArray:
    """Give the diameters in pixels of a photograph's whole cells of one class; (M,).

    A cell is whole where the border does not cut it and no other object covers it. Its diameter is
    the geometric mean of its box's sides.

    Parameters
    ----------
    boxes, labels
        Everything that was found in the photograph, and what it is.
    label
        The class that is measured.
    size
        Width and height of the photograph.
    touching
        Share of a cell's own box that another may cover.
    """
    if not len(boxes):
        return np.zeros(0)
    rows = np.array([[b.x, b.y, b.width, b.height] for b in boxes], dtype=np.float64)
    low, high = rows[:, :2], rows[:, :2] + rows[:, 2:]
    edge = EDGE * max(size)
    inside = (low >= edge).all(axis=1) & (high <= np.array(size) - edge).all(axis=1)
    sides = rows[:, 2:]
    even = sides.max(axis=1) <= LONGISH * sides.min(axis=1)
    out = []
    for i in np.flatnonzero((np.asarray(labels) == label) & inside & even):
        both = np.minimum(high[i], high) - np.maximum(low[i], low)
        covered = np.clip(both, 0, None).prod(axis=1)
        covered[i] = 0.0
        if covered.max(initial=0.0) <= touching * sides[i].prod():
            out.append(float(np.sqrt(sides[i].prod())))
    return np.array(out)


def ruler_of(diameters: Iterable[FloatArray]) -> Ruler:
    """Pool the whole red cells of the photographs of one slide.

    Parameters
    ----------
    diameters
        Of each photograph, as `whole_cells` gives them.
    """
    parts = [part for part in diameters if len(part)]
    every = np.concatenate(parts) if parts else np.zeros(0)
    if len(every) < FEWEST:
        return Ruler(None, len(every), len(parts), None)
    median = float(np.median(every))
    spread = 1.4826 * float(np.median(np.abs(every - median))) / median
    return Ruler(median, len(every), len(parts), spread)
