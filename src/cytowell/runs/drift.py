"""From new photographs to whether they are still what a bundle was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cytowell.errors import BadTable, EmptyDataset
from cytowell.runs.run import Voice
from cytowell.runtime.bundle import Bundle, load
from cytowell.runtime.drift import Drift, DriftMonitor
from cytowell.runtime.finding import Finder, objects
from cytowell.sources.paths import named
from cytowell.storage import write_with
from cytowell.types import Sample

OWN = ("when", "photographs", "images", "differs", "sentence")
"""Columns of a history beside the classes."""

MIX = 0.01
"""Probability below which a mix of classes is said to be another than before."""


def drift(
    bundle: Bundle | str | Path,
    photographs: str | Path | Sequence[str | Path],
    *,
    find: Finder | None = None,
    history: str | Path = "",
    voice: Voice | None = None,
) -> Drift:
    """Compare photographs with the training images of a bundle.

    Parameters
    ----------
    photographs
        Files, folders, globs, or a table with a column `path`; one or many.
    find
        What is looked for in each photograph (`runtime.finding.finder`); none for pictures of one
        cell or well, and for tables with boxes.
    history
        CSV of earlier batches of this laboratory: the mix of classes is compared with them, and
        this batch is added.

    Raises
    ------
    EmptyDataset
        If no photograph is named, or none can be read.
    BadTable
        If the history is none, or is of other classes.

    Examples
    --------
    >>> import cytowell
    >>> wells = cytowell.write_samples("demo", "wells", per_class=20)["wells"]
    >>> cytowell.drift("blood", wells).differs
    True
    """
    several = [photographs] if isinstance(photographs, str | Path) else list(photographs)
    samples, _, _ = named([str(p) for p in several])
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle)
    past = read_history(history, loaded.classes) if history else None
    made = drift_of(loaded, samples, find, voice)
    if past is None:
        return made
    made = replace(made, history=mix_in_words(made, past))
    _add(Path(history), past, made)
    return made


def drift_of(
    bundle: Bundle,
    samples: Iterable[Sample],
    find: Finder | None = None,
    voice: Voice | None = None,
) -> Drift:
    """Compare samples with a bundle's training images; see `drift`.

    Raises
    ------
    EmptyDataset
        If there is none, or none can be read.
    """
    heard = voice or Voice()
    monitor = DriftMonitor(bundle)
    errors: list[str] = []
    named_any = False
    for batch in bundle.features(
        objects(samples, find, bundle.facts.preprocessing, bundle.facts.calls)
    ):
        named_any = True
        monitor.add(batch)
        errors += [e for e in batch.errors if e]
        heard.ticked(len(monitor), 0, "comparing")
    if not named_any:
        raise EmptyDataset("Nothing was named to be compared.", "Give photographs or folders.")
    if not len(monitor):
        first = f" {errors[0]}" if errors else ""
        raise EmptyDataset(
            f"None of the photographs shows anything that could be compared.{first}",
            "Give photographs like those that the bundle calls; of smears, with --find cells.",
        )
    if errors:
        heard.said(f"{len(errors)} could not be read, such as: {errors[0]}")
    return monitor.result()


def read_history(file: str | Path, classes: Sequence[str]) -> pd.DataFrame:
    """Read earlier batches; an empty table where there are none yet.

    Raises
    ------
    BadTable
        If it is no such table, or is of other classes.
    """
    columns = [*OWN, *classes]
    place = Path(file)
    if not place.exists():
        return pd.DataFrame(columns=columns)
    try:
        table = pd.read_csv(place, keep_default_na=False)
        counts = table[list(classes)].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise BadTable(
            f"{file} is no history of a bundle with the classes {', '.join(classes)}.",
            "Give --history another file: it is made where it is not there.",
        ) from error
    if (counts < 0).any().any() or set(table.columns) - set(columns):
        raise BadTable(
            f"{file} holds other columns than a history of this bundle, or negative counts.",
            "Give --history another file: it is made where it is not there.",
        )
    return table


def mix_in_words(made: Drift, past: pd.DataFrame) -> str:
    """Compare the mix of called classes with earlier batches (chi-square); information only."""
    if past.empty:
        return "This is the first batch of the history: its mix of classes is compared from now on."
    names = [n for n in made.mix if made.mix[n] or int(past[n].astype(int).sum())]
    before = np.array([int(past[n].astype(int).sum()) for n in names])
    now = np.array([made.mix[n] for n in names])
    if len(names) < 2 or not before.sum():
        return "The history holds no mix of classes to compare with."
    p = float(stats.chi2_contingency(np.stack([before, now]))[1])
    shares = now / now.sum() - before / before.sum()
    most = int(np.abs(shares).argmax())
    told = (
        f"{names[most]} {100 * now[most] / now.sum():.0f} % of the calls, "
        f"{100 * before[most] / before.sum():.0f} % in {len(past)} earlier batches"
    )
    if p < MIX:
        return f"The mix of classes is another than in the history: {told}."
    return f"The mix of classes is that of the history ({told})."


def _add(file: Path, past: pd.DataFrame, made: Drift) -> None:
    row = {
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "photographs": made.photographs,
        "images": made.images,
        "differs": str(made.differs).lower(),
        "sentence": made.sentence,
        **made.mix,
    }
    fresh = pd.DataFrame([row], columns=[*past.columns])
    table = fresh if past.empty else pd.concat([past, fresh])
    write_with(file, lambda f: table.to_csv(f, index=False, lineterminator="\n"))
