"""What a comparison says: the table, the cells, the sentences, and the page drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from cytowell.evaluation.comparison import (
    Pair,
    accuracy_interval,
    corrected_t_p,
    in_words,
    inseparable,
    pairs,
)
from cytowell.evaluation.comparison_page import write_page
from cytowell.evaluation.diagnosis import diagnosis
from cytowell.evaluation.metrics import evaluate
from cytowell.storage import write_with
from cytowell.types import Dataset, FloatArray, IntArray, Predictions

TABLE = (
    "learner", "train_accuracy", "test_accuracy", "test_low", "test_high", "macro_f1",
    "balanced_accuracy", "ece", "gap", "diagnosis", "fit_seconds", "images_per_second",
    "parameters", "bundle_megabytes", "error", "sees", "weights",
)  # fmt: skip

CELLS = (
    "learner", "protocol", "fold", "seed", "permuted", "train_accuracy", "validation_accuracy",
    "test_accuracy", "macro_f1", "test_images", "fit_seconds", "images_per_second", "error",
)  # fmt: skip

LEAK = 0.001
"""Chance of a false alarm of the control, for each candidate."""


@dataclass(frozen=True)
class Told:
    """A comparison as tables and sentences.

    Attributes
    ----------
    words
        The verdict, then what each protocol and the control say.
    pairs
        One row per two candidates: difference, p, Holm-adjusted p, and over folds the corrected
        t-test's p.
    spread
        One row per candidate and protocol: mean, standard deviation, lowest and highest accuracy.
    """

    dataset: Dataset
    table: pd.DataFrame
    cells: pd.DataFrame
    words: tuple[str, ...]
    pairs: pd.DataFrame
    spread: pd.DataFrame
    cliques: tuple[tuple[str, ...], ...]
    ranks: dict[str, float]
    protocol: str
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    choice: str = ""


def tell(
    dataset: Dataset, question: Any, candidates: Sequence[Any], done: Sequence[Any], units: IntArray
) -> Told:
    """Turn cells into the table, the tests and the sentences."""
    first = question.protocols[0]
    mine = [d for d in done if not d.cell.permuted]
    by_name = {
        c.name: [d for d in mine if d.cell.candidate.name == c.name and _is(d, first.name)]
        for c in candidates
    }
    groups = units.astype(str)
    rows = [_row(dataset, c, by_name[c.name], groups) for c in candidates]
    table = pd.DataFrame(rows, columns=list(TABLE))
    whole = [c.name for c in candidates if not table.set_index("learner").at[c.name, "error"]]
    judged, right = _right(dataset, {n: by_name[n] for n in whole})
    compared = pairs([right[n] for n in whole], groups[judged]) if whole else []
    cells = pd.DataFrame([_cell_row(dataset, d) for d in done], columns=list(CELLS))
    spread = _spread(cells)
    words = _words(table, whole, compared, spread, done, groups)
    if question.tune:
        words = (
            *words,
            f"Settings were searched in {question.tune} trials inside each division, on its own "
            "training and validation images; no image that it tests had a say.",
        )
    if dataset.synthetic:
        words = ("These images are synthetic: the figures say how the tool works.", *words)
    return Told(
        dataset,
        table,
        cells,
        words,
        _pair_table(whole, compared, by_name),
        spread,
        tuple(tuple(whole[i] for i in s) for s in inseparable(len(whole), compared)),
        _ranks(cells, whole, first.name),
        str(first),
    )


def write(folder: Path, told: Told) -> None:
    """Write ``table.csv``, ``cells.csv``, ``pairs.csv``, ``curves.csv`` and ``report.html``."""
    files = {"table": told.table, "cells": told.cells, "pairs": told.pairs, "spread": told.spread}
    if len(told.curves):
        files["curves"] = told.curves
    for name, frame in files.items():
        _save(folder / f"{name}.csv", frame)
    write_page(folder / "report.html", told)


def _save(path: Path, frame: pd.DataFrame) -> None:
    write_with(path, lambda beside: frame.to_csv(beside, index=False, lineterminator="\n"))


def _is(d: Any, protocol: str) -> bool:
    return bool(d.cell.protocol == protocol)


def _row(
    dataset: Dataset, candidate: Any, done: Sequence[Any], groups: npt.NDArray[np.str_]
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(TABLE, float("nan"))
    failed = [d.answer.error for d in done if d.answer.error]
    row |= {"learner": candidate.name, "sees": candidate.sees, "diagnosis": "", "weights": ""}
    row["error"] = failed[0] if failed else ""
    if failed or not done:
        return row
    test_rows = np.concatenate([d.cell.test for d in done])
    truth = dataset.labels[test_rows]
    probabilities = np.concatenate([d.answer.probabilities for d in done])
    figures = [_figures(dataset, d) for d in done]
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    accuracy = float(right.mean())
    low, high = accuracy_interval(right, test_rows, groups[test_rows], len(done), mean_learnt(done))
    train = float(np.mean([d.answer.train_accuracy for d in done]))
    chance = float(np.bincount(truth).max() / len(truth))
    return row | {
        "train_accuracy": train,
        "test_accuracy": accuracy,
        "test_low": low,
        "test_high": high,
        "macro_f1": float(np.mean([f["macro_f1"] for f in figures])),
        "balanced_accuracy": float(np.mean([f["balanced_accuracy"] for f in figures])),
        "ece": float(np.mean([f["ece"] for f in figures])),
        "gap": train - accuracy,
        "diagnosis": diagnosis(train, accuracy, high, low, chance),
        "fit_seconds": float(np.mean([d.answer.fit_seconds for d in done])),
        "images_per_second": float(np.median([d.answer.images_per_second for d in done])),
        "parameters": done[0].answer.parameters,
        "bundle_megabytes": done[0].answer.bundle_megabytes,
        "weights": done[0].answer.weights,
    }


def mean_learnt(done: Sequence[Any]) -> float:
    """Give the mean number of images that the cells learnt from."""
    return float(np.mean([len(d.cell.train) for d in done]))


def _figures(dataset: Dataset, d: Any) -> dict[str, float]:
    part = dataset.take(d.cell.test)
    n = len(part)
    calls = Predictions(
        part.samples,
        dataset.classes,
        d.answer.probabilities,
        np.ones(n, dtype=np.bool_),
        ("",) * n,
        ("",) * n,
    )
    found = evaluate(calls, resamples=2)
    names = ("accuracy", "macro_f1", "balanced_accuracy", "ece")
    return {name: float(found[name]["value"]) for name in names}


def _cell_row(dataset: Dataset, d: Any) -> dict[str, Any]:
    figures = {"accuracy": float("nan"), "macro_f1": float("nan")}
    if not d.answer.error and not d.cell.permuted:
        figures = _figures(dataset, d)
    if not d.answer.error and d.cell.permuted:
        figures["accuracy"] = _accuracy(d)
    return {
        "learner": d.cell.candidate.name,
        "protocol": d.cell.protocol,
        "fold": d.cell.fold,
        "seed": d.cell.seed,
        "permuted": d.cell.permuted,
        "train_accuracy": d.answer.train_accuracy,
        "validation_accuracy": d.answer.validation_accuracy,
        "test_accuracy": figures["accuracy"],
        "macro_f1": figures["macro_f1"],
        "test_images": len(d.cell.test),
        "fit_seconds": d.answer.fit_seconds,
        "images_per_second": d.answer.images_per_second,
        "error": d.answer.error,
    }


def _right(
    dataset: Dataset, by_name: dict[str, list[Any]]
) -> tuple[IntArray, dict[str, FloatArray]]:
    """Give the images that all candidates judged, and how often each was right on each."""
    judged = np.zeros(0, dtype=np.int64)
    found = {}
    for name, done in by_name.items():
        sums, counts = np.zeros(len(dataset)), np.zeros(len(dataset))
        for d in done:
            called = d.answer.probabilities.argmax(axis=1)
            np.add.at(sums, d.cell.test, called == dataset.labels[d.cell.test])
            np.add.at(counts, d.cell.test, 1)
        judged = np.flatnonzero(counts).astype(np.int64)
        found[name] = sums[judged] / counts[judged]
    return judged, found


def _pair_table(
    names: Sequence[str], compared: Sequence[Pair], by_name: dict[str, list[Any]]
) -> pd.DataFrame:
    rows = []
    for p in compared:
        a, b = by_name[names[p.first]], by_name[names[p.second]]
        over = float("nan")
        if len(a) > 1:
            difference = np.array([_accuracy(x) - _accuracy(y) for x, y in zip(a, b, strict=True)])
            tested = float(np.mean([len(x.cell.test) for x in a]))
            over = corrected_t_p(difference, tested, mean_learnt(a))
        rows.append(
            {
                "first": names[p.first],
                "second": names[p.second],
                "difference": p.difference,
                "p": p.p,
                "holm": p.adjusted,
                "test": p.test,
                "corrected_t_p": over,
            }
        )
    columns = ["first", "second", "difference", "p", "holm", "test", "corrected_t_p"]
    return pd.DataFrame(rows, columns=columns)


def _accuracy(d: Any) -> float:
    return float(np.mean(d.answer.probabilities.argmax(axis=1) == d.truth))


def _spread(cells: pd.DataFrame) -> pd.DataFrame:
    known = cells[~cells["permuted"] & (cells["error"] == "")]
    found = known.groupby(["learner", "protocol"], sort=False)["test_accuracy"]
    frame = found.agg(["count", "mean", "std", "min", "max"]).reset_index()
    return frame.rename(columns={"count": "cells"})


def _ranks(cells: pd.DataFrame, names: Sequence[str], protocol: str) -> dict[str, float]:
    """Give each candidate's mean rank over cells, 1 for the best."""
    known = cells[(cells["protocol"] == protocol) & ~cells["permuted"]]
    wide = known[known["learner"].isin(names)].pivot_table(
        index="fold", columns="learner", values="test_accuracy"
    )
    means = wide.rank(axis=1, ascending=False).mean()
    return {name: float(means[name]) for name in names}


def _words(
    table: pd.DataFrame,
    whole: Sequence[str],
    compared: Sequence[Pair],
    spread: pd.DataFrame,
    done: Sequence[Any],
    groups: npt.NDArray[np.str_],
) -> tuple[str, ...]:
    words = []
    if whole:
        accuracies = table.set_index("learner").loc[list(whole), "test_accuracy"].tolist()
        words.append(in_words(whole, accuracies, compared))
    failed = table.loc[table["error"] != "", "learner"].tolist()
    if failed:
        words.append(f"Could not be computed: {', '.join(failed)}; the table says why.")
    if spread["protocol"].nunique() > 1:
        words += _protocol_words(spread)
    control = [d for d in done if d.cell.permuted and not d.answer.error]
    if control:
        words.append(control_words(control, groups))
    return tuple(words)


def _protocol_words(spread: pd.DataFrame) -> list[str]:
    words = []
    for name, rows in spread.groupby("protocol", sort=False):
        wide = rows["std"].mean()
        means = f"{rows['mean'].min():.3f} to {rows['mean'].max():.3f}"
        if rows["cells"].max() == 1:
            words.append(
                f"{name}: one division, mean accuracies {means}; it cannot say how far another "
                "division would have come out."
            )
        else:
            words.append(
                f"{name}: mean accuracies {means}; from one division to the next a candidate's "
                f"accuracy varies by {wide:.3f} (standard deviation, mean of candidates)."
            )
    return words


def control_words(control: Sequence[Any], groups: npt.NDArray[np.str_]) -> str:
    """Say whether the control fell to chance: with labels shuffled nothing is left to learn.

    Each candidate is held against always calling the commonest class, by a one-sided binomial test
    at 0.001 in which the images of a unit that share a label are one trial.
    """
    names = list(dict.fromkeys(d.cell.candidate.name for d in control))
    leaks, figures = [], []
    for name in names:
        mine = [d for d in control if d.cell.candidate.name == name]
        right = np.concatenate([d.answer.probabilities.argmax(axis=1) == d.truth for d in mine])
        truth = np.concatenate([d.truth for d in mine])
        rows = groups[np.concatenate([d.cell.test for d in mine])]
        trials = len(np.unique(np.stack([rows, truth.astype(str)]), axis=1).T)
        chance = float(np.bincount(truth).max() / len(truth))
        share = float(right.mean())
        p = binomtest(round(share * trials), trials, chance, alternative="greater").pvalue
        figures.append(f"{name} {share:.1%} (chance {chance:.1%})")
        if p < LEAK:
            leaks.append(name)
    shown = "; ".join(figures)
    if leaks:
        return (
            f"THERE IS A LEAK: with shuffled labels {shown}. Something of the test images was "
            "known in training: copies, images of one slide or donor on both sides, or a label in "
            "the picture. The figures of this comparison cannot be believed."
        )
    return f"Control with shuffled labels: {shown}. It fell to chance, as it must."
