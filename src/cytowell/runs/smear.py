"""From smear photographs to a differential count: find, measure, call, count, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

import cytowell
from cytowell.checks.issues import shown
from cytowell.errors import CytowellError, EmptyDataset, RecipeError, RunError
from cytowell.evaluation.differential import Differential
from cytowell.evaluation.smear_page import write_smear_page
from cytowell.images import load as load_pixels
from cytowell.registry import did_you_mean
from cytowell.runs.counts import ALL, Counted, count_of
from cytowell.runs.run import Voice
from cytowell.runs.smear_measures import SlideMeasures, SmearOptions, with_sizes
from cytowell.runs.smear_measures import measured as measured_slide
from cytowell.runs.smear_report import slides_of
from cytowell.runs.training_images import overlap
from cytowell.runtime.bundle import Bundle, load
from cytowell.runtime.calls import shape
from cytowell.runtime.drift import Drift, DriftMonitor
from cytowell.runtime.finding import CellFinder, finder, objects
from cytowell.runtime.overlays import Overlays
from cytowell.runtime.ruler import RED_CELL
from cytowell.sources.paths import named
from cytowell.storage import replacing_folder, write_with
from cytowell.types import Predictions, Sample

WRITTEN = {"calls.csv", "count.csv", "overlays", "report.html"}
"""What a folder of results holds; one that holds anything else is left alone."""

FOLDER = "slide"
"""With this column, photographs of which no table names the slide are of the folder they lie in."""


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
    drift
        The white cells against the bundle's training images; None where none was called.
    """

    calls: Predictions
    counts: Counted
    measures: dict[str, SlideMeasures]
    bundle: Bundle
    options: SmearOptions = field(default_factory=SmearOptions)
    drift: Drift | None = None

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
        if folder.is_dir() and {p.name for p in folder.iterdir()} - WRITTEN:
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
        pages = slides_of(records_of(self.to_frame()), self.slides, self.options.by, self.measures)
        record = self.bundle.facts.preprocessing

        def picture(row: int) -> Image.Image | None:
            try:
                return Image.fromarray(load_pixels(self.calls.samples[row], record))
            except CytowellError:
                return None

        compared = (self.drift.sentence, self.drift.differs) if self.drift else ("", False)
        write_smear_page(path, pages, made_with, picture, self.bundle.facts.synthetic, compared)


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table's rows; what is empty is None."""
    table = frame.astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    return [{str(k): v for k, v in row.items()} for row in rows]


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

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "smear")["smear"]
    >>> counted = cytowell.smear(sorted(folder.glob("*.jpg"))[:2], "results")
    >>> counted.measures["all"].fields
    2
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
    known = overlap(
        bundle.name,
        bundle.facts.training_images,
        [s.path for s in photographs],
        bundle.facts.preprocessing,
        heard,
    )
    taught = {p for p, k in zip(known.paths, known.rows, strict=True) if k}
    if known:
        heard.said(str(known))
    find = finder("cells", detector=how.detector)
    assert isinstance(find, CellFinder)
    record = bundle.facts.preprocessing
    found = [*_found(photographs, find, bundle, heard)]
    measures: dict[str, SlideMeasures] = {}
    for name in dict.fromkeys(slides.values()):
        rows = [i for i, s in enumerate(found) if slides[s.path] == name]
        mine, measured = measured_slide([found[i] for i in rows], find, record, how)
        mine_known = [p for p in dict.fromkeys(found[i].path for i in rows) if p in taught]
        if mine_known:
            measured = replace(measured, cautions=(*measured.cautions, _known(mine_known, bundle)))
        measures[name] = measured
        for i, sample in zip(rows, mine, strict=True):
            own = {how.by: name} if how.by else {}
            found[i] = replace(sample, extra={**sample.extra, **own})
    parts, done = [], 0
    total = sum(not s.nothing for s in found)
    monitor = DriftMonitor(bundle)
    for calls in bundle.stream(found, watch=monitor.add):
        parts.append(with_sizes(calls))
        done += sum(not s.nothing for s in calls.samples)
        heard.ticked(done, total, "calling white cells")
    calls = Predictions.join(parts)
    texts = shape(calls.frame(frozenset({"group", "box"}))).astype(object)
    counts = count_of(texts.where(texts.notna(), "").astype(str), how.by, None)
    compared = monitor.result() if len(monitor) else None
    return SmearResults(calls, counts, measures, bundle, how, compared)


def _known(paths: Sequence[str], bundle: Bundle) -> str:
    names = shown([Path(p).name for p in paths])
    return (
        f"{len(paths)} of the photographs trained or calibrated {bundle.name!r}, they or copies of "
        f"them ({names}): their calls are no test of it."
    )


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
