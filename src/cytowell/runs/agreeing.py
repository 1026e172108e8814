"""Two tables, two readers: their calls or titres joined, compared and shown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import cytowell
from cytowell.errors import BadTable, RunError
from cytowell.evaluation.agreement import (
    FOLD,
    CallAgreement,
    TitreAgreement,
    agree_on_calls,
    agree_on_titres,
    bland_altman,
)
from cytowell.evaluation.figures import confusion_matrix
from cytowell.evaluation.pages import environment
from cytowell.sources.table import read_texts
from cytowell.storage import replacing_folder, sha256, write_text

KEYS = (("plate", "well"), ("path", "object"), ("path",), ("plate", "sample"), ("sample",))
CALLS = ("label", "positive")
TITRES = ("value", "iu_per_ml", "titre")
_TITRE = "titre as a number"

CENSORED = ("<", ">", "\u2264", "\u2265", "not bracketed")
"""How a titre begins that the dilutions do not bracket: a bound, or not even that."""

MISSING = ("", "invalid", "toxic", "none", "nan")
"""What is reported where there is no titre."""

Agreement = CallAgreement | TitreAgreement


def compare_readers(
    first: str | Path, second: str | Path, fold: float = FOLD
) -> tuple[Agreement, dict[str, Any]]:
    """Compare two tables of calls, or two of titres.

    Parameters
    ----------
    first, second
        With ``label`` or ``positive`` by ``plate, well`` or ``path``; or with ``value`` (what
        `cytowell titre` writes) by ``sample``.
    fold
        Dilution step within which two titres agree.

    Returns
    -------
    tuple
        The agreement, and what was compared: files, hashes, key, column, rows of one table alone.

    Raises
    ------
    BadTable, CountError
        Naming the tables and what does not fit.
    """
    paths = [Path(first), Path(second)]
    frames = [read_texts(p) for p in paths]
    shared = set(frames[0].columns) & set(frames[1].columns)
    column = next((c for c in (*TITRES, *CALLS) if c in shared), None)
    if column is None:
        raise BadTable(
            f"{paths[0]} and {paths[1]} share neither calls nor titres.",
            f"Both need a column {', '.join((*CALLS, *TITRES))}.",
        )
    key = next((k for k in KEYS if set(k) <= shared), None)
    if key is None:
        raise BadTable(
            f"{paths[0]} and {paths[1]} share no column that says which row is which.",
            "Both need plate and well, path, or sample.",
        )
    frames = [_of_tests(f) for f in frames]
    for path, frame in zip(paths, frames, strict=True):
        twice = frame.duplicated(list(key))
        if twice.any():
            said = " ".join(frame.loc[twice, list(key)].iloc[0])
            raise BadTable(f"{path}: {said} is there twice.", "Leave one row of each.")
    if column in TITRES:
        _require_one_unit(frames)
        frames = [f.assign(**{_TITRE: _numbers(f, column)}) for f in frames]
    both = frames[0].merge(frames[1], on=list(key), suffixes=("_a", "_b"))
    about: dict[str, Any] = {
        "files": [p.name for p in paths],
        "sha256": [sha256(p) for p in paths],
        "key": list(key),
        "column": column,
        "alone": [len(frame) - len(both) for frame in frames],
    }
    if column in TITRES:
        mine, others = both[f"{_TITRE}_a"].tolist(), both[f"{_TITRE}_b"].tolist()
        return agree_on_titres(mine, others, fold), about
    called = (both[f"{column}_a"] != "") & (both[f"{column}_b"] != "")
    some = both[called]
    about["uncalled"] = int((~called).sum())
    return agree_on_calls(some[f"{column}_a"].tolist(), some[f"{column}_b"].tolist()), about


def _of_tests(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave controls out: the reference serum agrees with itself."""
    return frame[frame["role"] == "test"] if "role" in frame.columns else frame


def _require_one_unit(frames: Sequence[pd.DataFrame]) -> None:
    units = {u for f in frames if "unit" in f.columns for u in f["unit"].unique() if u}
    if len(units) > 1:
        raise BadTable(
            f"The titres are in {' and '.join(sorted(units))}.", "Compare one unit at a time."
        )


def _numbers(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Give titres: a number where one was measured, NaN where there is none, None where censored.

    Measured is what is reported as a number; a titre that the dilutions do not bracket, on one side
    or on both, has a value that its rule assumed.
    """
    shown = frame["reported"] if "reported" in frame.columns else frame[column]
    out: list[float | None] = []
    for value, said in zip(frame[column], shown, strict=True):
        reported = str(said).strip().lower()
        try:
            number = float(value)
        except ValueError:
            if value.strip() and not value.strip().lower().startswith(CENSORED):
                comma = " Write 4.5 and not 4,5." if "," in value else ""
                raise BadTable(f"{column}: {value!r} is no titre.", f"Mend it.{comma}") from None
            number = math.nan
            reported = reported or value.strip().lower()
        if reported.startswith(CENSORED):
            out.append(None)
        elif reported in MISSING:
            out.append(math.nan)
        else:
            out.append(number)
    return pd.Series(out, index=frame.index, dtype=object)


def write_agreement(out: str | Path, found: Agreement, about: dict[str, Any]) -> Path:
    """Write ``results.json`` and ``report.html`` into a new folder."""
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "results.json").is_file():
        raise RunError(f"{folder} holds something else.", "Choose another --out.")
    told = found.to_json() | {"about": about, "version": cytowell.__version__}
    with replacing_folder(folder) as beside:
        write_text(beside / "results.json", json.dumps(told, indent=1) + "\n")
        picture = (
            bland_altman(found)
            if isinstance(found, TitreAgreement)
            else confusion_matrix(list(found.classes), found.counts, "objects")
        )
        page = (
            environment()
            .get_template("agreement.html.j2")
            .render(told=told, picture=picture, lines=in_words(found))
        )
        write_text(beside / "report.html", page)
    return folder


def _bias(found: TitreAgreement) -> list[str]:
    ratio = 10**found.bias
    if found.bias_low is None or found.bias_high is None:
        return [
            f"A is {ratio:.2f} times B in every pair; {found.n} pairs that all differ alike do not "
            "say how far others may."
        ]
    return [
        f"A is {ratio:.2f} times B on average "
        f"({10**found.bias_low:.2f} to {10**found.bias_high:.2f}).",
        f"95 % of pairs are expected between {10 ** found.lower[0]:.2f} and "
        f"{10 ** found.upper[0]:.2f} times.",
    ]


def _left_out(found: TitreAgreement) -> list[str]:
    """Say which pairs are not compared, and what that means for the figures."""
    said = []
    if found.censored:
        said.append(
            f"{found.censored} pairs are left out because the dilutions of one reader or both do "
            "not bracket the end point (<, > or not bracketed). Bias and limits hold for titres "
            "that both readers can measure."
        )
    if found.missing:
        said.append(f"{found.missing} pairs are left out because one reader has no titre.")
    return said


def in_words(found: Agreement) -> list[str]:
    """Say how well two readers agree."""
    if isinstance(found, TitreAgreement):
        return [
            f"{100 * found.within:.1f} % of {found.n} pairs "
            f"({100 * found.within_low:.1f} to {100 * found.within_high:.1f}) lie within one step "
            f"of {found.fold:g}-fold.",
            *_bias(found),
            *_left_out(found),
        ]
    kappa = "Kappa cannot be computed: both only ever said one and the same."
    if found.kappa is not None:
        kappa = (
            f"Cohen's kappa {found.kappa:.3f} ({found.kappa_low:.3f} to {found.kappa_high:.3f})."
        )
    return [
        f"{100 * found.agreed:.1f} % of {found.n} calls "
        f"({100 * found.agreed_low:.1f} to {100 * found.agreed_high:.1f}) are the same.",
        kappa,
    ]
