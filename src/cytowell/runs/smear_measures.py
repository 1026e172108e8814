"""What is measured on the photographs of one slide: scale, sizes, repeated cells, other objects."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cytowell.errors import CytowellError, RecipeError
from cytowell.images import Preprocessing, upright_size
from cytowell.images.planes import PIXEL_SIZE, sensible
from cytowell.runtime.finding import CellFinder
from cytowell.runtime.overlap import seen_twice
from cytowell.runtime.ruler import RED_CELL, Ruler, ruler_of, whole_cells
from cytowell.types import COUNTED, FOUND, REPEATED, FloatArray, Predictions, Sample

CONTRADICTION = 0.25
"""Share by which a calibration and the red cells may differ before it is said."""

RED, PLATELETS = "RBC", "Platelets"


@dataclass(frozen=True)
class SlideMeasures:
    """What was measured on the photographs of one slide.

    Attributes
    ----------
    pixel_size, source
        Micrometres per pixel and where they are from: `given`, `file`, `red cells` or "".
    ruler
        The size of the slide's whole red cells.
    red_cells, platelets, fields, repeated
        Objects that were found, photographs, and white cells that another field shows too.
    cautions
        What to know before the count is used.
    """

    pixel_size: float | None
    source: str
    ruler: Ruler
    red_cells: int
    platelets: int
    fields: int
    repeated: int
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class SmearOptions:
    """How a smear is read.

    Attributes
    ----------
    by
        Column that tells slides apart; `slide` takes the folder where no table names it.
    detector
        A detector bundle; the shipped one without.
    pixel_size
        Micrometres per pixel, where they are known; before the file's own and the red cells'.
    red_cell
        Diameter of a red cell in micrometres.
    """

    by: str = ""
    detector: str = ""
    pixel_size: float | None = None
    red_cell: float = RED_CELL

    def __post_init__(self) -> None:
        if self.pixel_size is not None and sensible(self.pixel_size) is None:
            raise RecipeError(
                f"A pixel of {self.pixel_size:g} micrometres is not possible.",
                "Give --pixel-size in micrometres per pixel, such as 0.1.",
            )
        if not 3 <= self.red_cell <= 15:
            raise RecipeError(
                f"A red cell of {self.red_cell:g} micrometres is not possible.", "Use 3 to 15."
            )


def measured(
    found: Sequence[Sample], find: CellFinder, record: Preprocessing, how: SmearOptions
) -> tuple[list[Sample], SlideMeasures]:
    """Measure one slide; give its objects with the scale, repeated cells marked."""
    ruler = ruler_of(_red_cells(found, find.detector.classes, record))
    from_red = ruler.pixel_size(how.red_cell)
    own = [float(s.extra[PIXEL_SIZE]) for s in found if s.extra.get(PIXEL_SIZE)]
    size, source = (how.pixel_size, "given") if how.pixel_size else (None, "")
    if size is None and own:
        size, source = own[0], "file"
    if size is None and from_red is not None:
        size, source = from_red, "red cells"
    white = [i for i, s in enumerate(found) if s.box is not None and not s.nothing]
    again = seen_twice([found[i] for i in white], record)
    out = list(found)
    for later, earlier in again.items():
        first = found[white[earlier]]
        what = f"{REPEATED} object {first.extra.get('object')} of {Path(first.path).name}"
        out[white[later]] = replace(found[white[later]], nothing=what)
    if size is not None:
        out = [
            s
            if s.box is None
            else replace(s, extra={**s.extra, PIXEL_SIZE: s.extra.get(PIXEL_SIZE) or size})
            for s in out
        ]
        if how.pixel_size:
            out = [
                replace(s, extra={**s.extra, PIXEL_SIZE: size}) if s.box is not None else s
                for s in out
            ]
    counts = Counter(str(s.extra.get(FOUND)) for s in found if s.nothing == COUNTED)
    fields = len({s.path for s in found})
    cautions = _cautions(size, source, from_red, ruler, how)
    return out, SlideMeasures(
        size,
        source,
        ruler,
        counts[RED],
        counts[PLATELETS],
        fields,
        len(again),
        tuple(cautions),
    )


def _red_cells(
    found: Sequence[Sample], classes: Sequence[str], record: Preprocessing
) -> Iterator[FloatArray]:
    """Give the diameters of each photograph's whole red cells."""
    if RED not in classes:
        return
    by_path: dict[str, list[Sample]] = {}
    for s in found:
        if s.box is not None and s.extra.get(FOUND):
            by_path.setdefault(s.path, []).append(s)
    for path, mine in by_path.items():
        try:
            size = upright_size(path, record)
        except CytowellError:
            continue
        boxes = [s.box for s in mine if s.box is not None]
        numbers = [classes.index(str(s.extra[FOUND])) for s in mine]
        labels = np.array(numbers, dtype=np.int64)
        yield whole_cells(boxes, labels, list(classes).index(RED), size)


def _cautions(
    size: float | None, source: str, from_red: float | None, ruler: Ruler, how: SmearOptions
) -> Iterator[str]:
    if size is None:
        yield (
            f"Nothing measures the scale ({ruler.cells} whole red cells were found): sizes in "
            "micrometres are not given."
        )
    elif source == "red cells":
        yield (
            f"The scale is that of {ruler.cells} red cells, taken as {how.red_cell:g} µm: in "
            "microcytosis or macrocytosis sizes are wrong by as much. Give --pixel-size."
        )
    elif from_red is not None and abs(math.log(size / from_red)) > math.log(1 + CONTRADICTION):
        yield (
            f"The scale ({source}) makes red cells {ruler.diameter or 0:.0f} px x {size:.3g} µm = "
            f"{(ruler.diameter or 0) * size:.1f} µm across: check the calibration, or the cells "
            "are far from normal."
        )


def with_sizes(calls: Predictions) -> Predictions:
    """Add the diameters of cell and nucleus in micrometres, where the scale is known."""
    samples = []
    for s in calls.samples:
        um, nucleus = s.extra.get(PIXEL_SIZE), s.extra.get("nucleus_px")
        cell = None
        if um and s.box is not None:
            cell = round(math.sqrt(s.box.width * s.box.height) * float(um), 2)
        own = round(float(nucleus) * float(um), 2) if um and nucleus else None
        samples.append(replace(s, extra={**s.extra, "cell_um": cell, "nucleus_um": own}))
    return replace(calls, samples=tuple(samples))
