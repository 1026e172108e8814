"""From smear photographs to a differential count: find, measure, call, count, report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import cytowell
from cytowell.errors import CytowellError, EmptyDataset, RecipeError, RunError
from cytowell.evaluation.differential import Differential
from cytowell.evaluation.smear_page import SmearSlide, WhiteCell, write_smear_page
from cytowell.images import Preprocessing, upright_size
from cytowell.images import load as load_pixels
from cytowell.images.planes import PIXEL_SIZE, sensible
from cytowell.registry import did_you_mean
from cytowell.runs.counts import ALL, Counted, count_of
from cytowell.runs.run import Voice
from cytowell.runtime.bundle import Bundle, load
from cytowell.runtime.calls import shape
from cytowell.runtime.finding import CellFinder, finder, objects
from cytowell.runtime.overlap import seen_twice
from cytowell.runtime.overlays import Overlays
from cytowell.runtime.ruler import RED_CELL, Ruler, ruler_of, whole_cells
from cytowell.sources.paths import named
from cytowell.storage import replacing_folder, write_with
from cytowell.types import COUNTED, FOUND, KIND, REPEATED, FloatArray, Predictions, Sample

CONTRADICTION = 0.25
"""Share by which a calibration and the red cells may differ before it is said."""

RED, PLATELETS = "RBC", "Platelets"
FOLDER = "slide"
"""With this column, photographs of which no table names the slide are of the folder they lie in."""


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


@dataclass(frozen=True)
class SmearResults:
    """The calls, counts and measures of smear photographs.

    Attributes
    ----------
    calls
        A row for each object, in the order of the photographs.
    counts
        Differential counts by slide.
    measures
        By the slide's name.
    """

    calls: Predictions
    counts: Counted
    measures: dict[str, SlideMeasures]
    bundle: Bundle
    options: SmearOptions = field(default_factory=SmearOptions)

    @property
    def slides(self) -> tuple[Differential, ...]:
        """The differential count of each slide."""
        return self.counts.slides

    def to_frame(self) -> pd.DataFrame:
        """Give the calls as ``calls.csv`` holds them."""
        return shape(self.calls.frame(frozenset({"group", "box"})))

    def save(self, out: str | Path) -> Path:
        """Write ``calls.csv``, ``count.csv``, ``overlays/`` and ``report.html``; give the folder.

        Raises
        ------
        RunError
            If the folder holds something else.
        """
        folder = Path(out)
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "count.csv").is_file():
            raise RunError(f"{folder} holds something else.", "Choose another --out.")
        record = self.bundle.facts.preprocessing
        with replacing_folder(folder) as beside:
            for name, frame in (("calls", self.to_frame()), ("count", self.counts.frame())):
                write_with(beside / f"{name}.csv", _csv(frame))
            overlays = Overlays(beside / "overlays", record)
            overlays(self.calls)
            overlays.flush()
            self.write_report(beside / "report.html")
        return folder

    def write_report(self, path: Path, trail: str = "") -> None:
        """Write the page; a server adds the last hash of its audit trail."""
        made_with = {
            "Bundle": f"{self.bundle.name} {self.bundle.digest[:16]}",
            "Detector": self.options.detector or "smear, which comes along",
            "Version": f"cytowell {cytowell.__version__}",
        } | ({"Audit trail ends with": trail} if trail else {})
        pages = [_page_of(s, self) for s in self.slides]
        record = self.bundle.facts.preprocessing

        def picture(row: int) -> Image.Image | None:
            try:
                return Image.fromarray(load_pixels(self.calls.samples[row], record))
            except CytowellError:
                return None

        write_smear_page(path, pages, made_with, picture, self.bundle.facts.synthetic)


def _page_of(slide: Differential, results: SmearResults) -> SmearSlide:
    """Give what the page says of one slide."""
    calls, by, measured = results.calls, results.options.by, results.measures[slide.name]
    cells = []
    for i, (s, label) in enumerate(zip(calls.samples, calls.labels, strict=True)):
        mine = not by or s.extra.get(by) == slide.name
        if not label or not mine:
            continue
        cells.append(
            WhiteCell(
                label,
                str(s.extra.get(KIND) or ""),
                float(calls.probabilities[i].max()),
                bool(calls.decided[i]),
                calls.reasons[i],
                f"{Path(s.path).name} {s.extra.get('object')}",
                i,
            )
        )
    return SmearSlide(
        slide,
        measured.fields,
        measured.red_cells,
        measured.platelets,
        measured.repeated,
        _scale(measured),
        tuple(cells),
        measured.cautions,
    )


def _scale(measured: SlideMeasures) -> str:
    if measured.pixel_size is None:
        return "not known"
    source = {
        "given": "as given",
        "file": "from the photographs' metadata",
        "red cells": f"from {measured.ruler.cells} whole red cells",
    }[measured.source]
    return f"{measured.pixel_size:.4g} µm per pixel, {source}"


def _csv(frame: pd.DataFrame) -> Any:
    return lambda f: frame.to_csv(f, index=False, lineterminator="\n")


def smear(
    photographs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    by: str = "",
    bundle: Bundle | str | Path = "blood",
    detector: str = "",
    pixel_size: float | None = None,
    red_cell: float = RED_CELL,
    voice: Voice | None = None,
) -> SmearResults:
    """Find the cells of smear photographs, call the white ones and count them.

    Parameters
    ----------
    photographs
        Files, folders, globs, or a table with a column `path`; one or many.
    out
        A folder for ``calls.csv``, ``count.csv``, ``overlays/`` and ``report.html``; nothing is
        written without it.
    by
        Column that tells slides apart; `slide` takes the folder where no table names the slide.
    bundle
        A classifier of white cells.
    detector
        A detector bundle; the shipped one, for white cells, red cells and platelets, without.
    pixel_size
        Micrometres per pixel, where they are known.
    red_cell
        Diameter of a red cell in micrometres: the ruler where nothing else says the scale.

    Raises
    ------
    EmptyDataset
        If no photograph is named.
    RecipeError
        If a size is impossible, or there is no such column.
    """
    several = [photographs] if isinstance(photographs, str | Path) else list(photographs)
    samples, _, _ = named([str(p) for p in several])
    options = SmearOptions(by, detector, pixel_size, red_cell)
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle)
    results = read_smear(list(samples), loaded, options, voice)
    if out is not None:
        results.save(out)
    return results


def read_smear(
    photographs: Sequence[Sample],
    bundle: Bundle,
    options: SmearOptions | None = None,
    voice: Voice | None = None,
) -> SmearResults:
    """Give the calls, counts and measures of photographs; nothing is written. See `smear`."""
    how, heard = options or SmearOptions(), voice or Voice()
    if not photographs:
        raise EmptyDataset("No photograph was named.", "Give smear photographs or folders.")
    slides = _slides(photographs, how.by)
    find = finder("cells", detector=how.detector)
    assert isinstance(find, CellFinder)
    record = bundle.facts.preprocessing
    found = [*_found(photographs, find, bundle, heard)]
    measures: dict[str, SlideMeasures] = {}
    for name in dict.fromkeys(slides.values()):
        rows = [i for i, s in enumerate(found) if slides[s.path] == name]
        mine, measured = _measured([found[i] for i in rows], find, record, how)
        measures[name] = measured
        for i, sample in zip(rows, mine, strict=True):
            own = {how.by: name} if how.by else {}
            found[i] = replace(sample, extra={**sample.extra, **own})
    parts, done = [], 0
    total = sum(not s.nothing for s in found)
    for calls in bundle.stream(found):
        parts.append(_with_sizes(calls))
        done += sum(not s.nothing for s in calls.samples)
        heard.ticked(done, total, "calling white cells")
    calls = Predictions.join(parts)
    texts = shape(calls.frame(frozenset({"group", "box"}))).astype(object)
    counts = count_of(texts.where(texts.notna(), "").astype(str), how.by, None)
    return SmearResults(calls, counts, measures, bundle, how)


def _slides(photographs: Sequence[Sample], by: str) -> dict[str, str]:
    """Give each photograph's slide."""
    if not by:
        return {s.path: ALL for s in photographs}
    known = [name for s in photographs for name in s.extra]
    if by == "group":
        return {s.path: s.group or s.path for s in photographs}
    if by not in known and by != FOLDER:
        raise RecipeError(
            f"The photographs have no column {by!r}.",
            f"{did_you_mean(by, [*dict.fromkeys(known)])} --by slide takes the folder that each "
            "photograph lies in.",
        )
    return {s.path: str(s.extra.get(by) or Path(s.path).parent.name or ALL) for s in photographs}


def _found(
    photographs: Sequence[Sample], find: CellFinder, bundle: Bundle, heard: Voice
) -> Iterator[Sample]:
    """Give every object of the photographs, in their order."""
    seen: set[str] = set()
    for sample in objects(
        photographs, find, bundle.facts.preprocessing, bundle.facts.calls or ("WBC",)
    ):
        if sample.path not in seen:
            seen.add(sample.path)
            heard.ticked(len(seen), len(photographs), "finding cells")
        yield sample


def _measured(
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


def _with_sizes(calls: Predictions) -> Predictions:
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
