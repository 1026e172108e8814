"""From a table of calls to titres: runs of plates, their results as table, JSON and page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import cytowell
from cytowell.errors import BadTable, LayoutError, RunError, TitreError
from cytowell.evaluation.plate_page import write_plate_page
from cytowell.plates.assay import RunResult, Titre, assay, assay_plates
from cytowell.plates.counting import Plates, is_counted, read_counts, read_wells, sentence
from cytowell.plates.layout import Layout
from cytowell.plates.layout_files import read_layout
from cytowell.sources.table import read_texts
from cytowell.storage import replacing_folder, sha256, write_text, write_with
from cytowell.types import Predictions

LOINC = {"IU/mL": ("6524-3", "70858-6")}
"""Rabies virus neutralising antibody: units per volume, and presence (loinc.org)."""

PAGED = 40
"""Runs that a page shows; a table holds all of them."""


@dataclass(frozen=True)
class Titration:
    """The results of a table: one or many runs.

    Attributes
    ----------
    layout, positive
        What the wells stand for, and which call is a positive well ("" for typed-in ones).
    runs
        In the order of the table.
    wells
        Wells of each run's plates; none where dilutions were counted already.
    source
        The table's name and its SHA-256; empty of one in memory.
    compared
        A sentence on the photographs against the training images, and whether they differ; empty
        where no photograph was called here.
    """

    layout: Layout
    positive: str
    runs: tuple[RunResult, ...]
    wells: tuple[Plates, ...]
    source: tuple[str, str]
    compared: tuple[str, bool] = ("", False)

    @property
    def sentence(self) -> str:
        """How positive wells were counted, in words."""
        return sentence(self.layout, self.positive)

    def frame(self) -> pd.DataFrame:
        """Give a row per specimen of every run."""
        return pd.DataFrame([row(t, run, self.layout) for run in self.runs for t in run.titres])

    def to_json(self) -> dict[str, Any]:
        """Give everything, as ``results.json`` holds it."""
        layout = self.layout
        return {
            "layout": layout.name,
            "counts": layout.counts,
            "counted": self.sentence,
            "rule": layout.rule,
            "denominator": layout.denominator if layout.rule == "spearman-karber" else None,
            "interval": layout.interval,
            "rounding": layout.rounding,
            "drift": {"sentence": self.compared[0], "differs": self.compared[1]},
            "reference_iu_per_ml": layout.reference_iu,
            "threshold_iu_per_ml": layout.threshold,
            "volume_ml": layout.volume,
            "defaults": [n for n in _SETTINGS if n not in layout.given],
            "source": {"file": self.source[0], "sha256": self.source[1]},
            "made": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
            "version": cytowell.__version__,
            "runs": [_run(run, layout) for run in self.runs],
        }


_SETTINGS = ("rule", "interval", "rounding", "reference_iu", "threshold", "volume")


def read_titration(
    table: str | Path,
    layout: Layout,
    positive: str = "",
    history: Sequence[float] = (),
    ticked: Callable[[int, int], None] = lambda done, of: None,
) -> Titration:
    """Compute every run of a table of wells, or of counted dilutions.

    Parameters
    ----------
    table
        CSV or Parquet; see `plates.counting`. A column ``run`` tells runs of several plates apart.
    positive
        The class that is a positive well, where the table has calls.
    history
        log10 D50 of the reference serum in past runs.

    Raises
    ------
    BadTable, LayoutError, TitreError
        Naming the file and what does not fit.
    """
    path = Path(table)
    try:
        found = titration_of(read_texts(path), layout, positive, history, ticked)
    except (BadTable, LayoutError, TitreError) as error:
        # The reader names the file already.
        said = error.problem if str(path) in error.problem else f"{path}: {error.problem}"
        raise type(error)(said, error.remedy) from error
    return replace(found, source=(path.name, sha256(path)))


def titre(
    calls: Predictions, layout: str | Path | Layout, positive: str = "", **changes: Any
) -> Titration:
    """Compute titres of called wells; the last line of the way of an image.

    Parameters
    ----------
    calls
        Of wells: each sample has its ``plate`` and ``well`` among its own columns.
    layout
        A layout, its file, or the name of one that comes along.
    positive
        The class that is a positive well. It is never guessed.
    changes
        Settings of the layout, such as ``reference_iu=0.5`` or ``rule="reed-muench"``.

    Raises
    ------
    BadTable, LayoutError, TitreError
        Naming what does not fit.

    Examples
    --------
    >>> import cytowell
    >>> import pandas as pd
    >>> from cytowell.types import Predictions
    >>> folder = cytowell.write_samples("demo", "titres", per_class=1)["titres"]
    >>> wells = pd.read_csv(folder / "wells.csv")
    >>> wells["p_positive"] = (wells["state"] == "positive").astype(float)
    >>> wells["p_negative"] = 1 - wells["p_positive"]
    >>> calls = Predictions.from_frame(wells.assign(decided=True))  # as bundle.predict gives them
    >>> titres = cytowell.titre(calls, "favn", "positive")
    >>> titres.runs[0].valid
    True
    """
    if not len(calls):
        raise BadTable("There are no calls.", "Call the wells first: cytowell predict.")
    plan = layout if isinstance(layout, Layout) else read_layout(layout)
    frame = calls.frame().astype(object)
    frame["decided"] = ["true" if d else "false" for d in calls.decided]
    texts = frame.where(frame.notna(), "").astype(str)
    return titration_of(texts, settings(plan, changes), positive)


def titration_of(
    frame: pd.DataFrame,
    layout: Layout,
    positive: str = "",
    history: Sequence[float] = (),
    ticked: Callable[[int, int], None] = lambda done, of: None,
) -> Titration:
    """Compute every run of a table in memory, all of it texts; see `read_titration`."""
    runs: list[RunResult] = []
    wells: list[Plates] = []
    if is_counted(frame):
        for part in _runs(frame, layout):
            counts = read_counts(part, layout)
            results = [c for plate in counts.values() for c in plate]
            runs.append(assay(results, layout, history))
            wells.append(Plates())
    else:
        parts = [*_runs(frame, layout)]
        for i, part in enumerate(parts):
            plates = read_wells(part, layout, positive)
            runs.append(assay_plates(plates, layout, history))
            wells.append(plates)
            ticked(i + 1, len(parts))
    return Titration(layout, positive, tuple(runs), tuple(wells), ("", ""))


def _runs(frame: pd.DataFrame, layout: Layout) -> Iterator[pd.DataFrame]:
    """Give the rows of each run: those of a plate, unless the layout spans several."""
    key = "run" if "run" in frame.columns else "plate"
    if key not in frame.columns or (key == "plate" and layout.spans_plates):
        yield frame
        return
    for _, part in frame.groupby(key, sort=False):
        yield part


def past(folder: str | Path) -> list[tuple[str, float]]:
    """Give date and log10 D50 of the reference serum in every valid run of a folder's results.

    Parameters
    ----------
    folder
        Holds ``results.json`` files, at any depth.

    Raises
    ------
    BadTable
        If there is none, or one cannot be read.
    """
    found = []
    files = sorted(Path(folder).rglob("*.json"))
    for file in files:
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            for run in told["runs"]:
                for result in run["results"] if run["valid"] else []:
                    if result["role"] == "reference" and result["log10_d50"] is not None:
                        found.append((str(told["made"]), float(result["log10_d50"])))
        except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise BadTable(
                f"{file} holds no results of a run ({type(error).__name__}: {error}).",
                "Keep only results.json files of cytowell titre in the folder.",
            ) from error
    if not files:
        raise BadTable(f"{folder} holds no results.", "It should hold results.json files.")
    return sorted(found)


def row(titre: Titre, run: RunResult, layout: Layout) -> dict[str, Any]:
    """Give a specimen's result as a row of the table."""
    estimate, count = titre.estimate, titre.count
    return {
        "plate": count.plate,
        "sample": count.name,
        "role": count.role,
        "reported": titre.reported,
        "value": titre.value,
        "low": titre.value_low,
        "high": titre.value_high,
        "unit": titre.unit,
        "verdict": titre.verdict,
        "valid": run.valid,
        "log10_d50": None if estimate is None else estimate.log10_d50,
        "log10_low": titre.low,
        "log10_high": titre.high,
        "rule": layout.rule,
        "interval": titre.interval,
        "log10_dilutions": " ".join(f"{x:.4g}" for x in count.log10_dilutions),
        "positives": " ".join(map(str, count.positives)),
        "replicates": " ".join(map(str, count.replicates)),
        "misread_low": titre.misread_low,
        "misread_high": titre.misread_high,
        "misreading": titre.misreading,
        "flags": " ".join(titre.flags),
        "contradicting": "; ".join(titre.contradicting),
        "error": titre.error,
    }


def _run(run: RunResult, layout: Layout) -> dict[str, Any]:
    results = []
    for titre in run.titres:
        told = row(titre, run, layout)
        told |= {
            "log10_dilutions": list(titre.count.log10_dilutions),
            "positives": list(titre.count.positives),
            "replicates": list(titre.count.replicates),
            "flags": list(titre.flags),
            "contradicting": list(titre.contradicting),
        }
        if titre.unit in LOINC and titre.count.role == "test":
            told["loinc"], told["loinc_presence"] = LOINC[titre.unit]
        results.append(told)
    return {
        "plates": list(run.plates),
        "valid": run.valid,
        "reasons": list(run.reasons),
        "checks": [asdict(check) for check in run.checks],
        "results": results,
    }


def write_results(
    out: str | Path, titration: Titration, history: Sequence[tuple[str, float]] = ()
) -> Path:
    """Write ``results.csv``, ``results.json`` and ``report.html`` into a new folder.

    Parameters
    ----------
    history
        Date and log10 D50 of the reference serum in past runs, for the control chart.

    Raises
    ------
    RunError
        If the folder holds something else.
    """
    write_results_of(out, lambda _: titration, history)
    return Path(out)


def write_results_of(
    out: str | Path,
    make: Callable[[Path], Titration],
    history: Sequence[tuple[str, float]] = (),
    trail: str = "",
) -> Titration:
    """Write the results of what `make` computes; it may leave files of its own in the folder.

    Parameters
    ----------
    trail
        Last hash of a server's trail, which the page prints.
    """
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "results.json").is_file():
        raise RunError(f"{folder} holds something else.", "Choose another --out.")
    with replacing_folder(folder) as beside:
        titration = make(beside)
        frame = titration.frame()
        write_with(
            beside / "results.csv", lambda f: frame.to_csv(f, index=False, lineterminator="\n")
        )
        told = {**titration.to_json(), "trail": trail}
        write_text(beside / "results.json", json.dumps(told, indent=1) + "\n")
        drawn = [(wells, titration.layout) for wells in titration.wells[:PAGED]]
        write_plate_page(beside / "report.html", told, drawn, history)
    return titration


def settings(layout: Layout, changes: Mapping[str, Any]) -> Layout:
    """Give the layout with settings of the command line, which count as given."""
    given = {k: v for k, v in changes.items() if v is not None and v != ""}
    return replace(layout, **given, given=layout.given | given.keys())
