"""Out-of-fold logits of learners that take minutes: a training for each fold of whole groups.

What a fold's bundle says of the groups that it was not trained on calibrates the bundle that is
delivered, which is trained on all of them, and makes its figures.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cytowell.learners.contract import Makings, Said, Ticked
from cytowell.learners.linear import folds
from cytowell.runs.assemble import logits_of
from cytowell.runs.parts import FOLDS
from cytowell.storage import write_with
from cytowell.types import Dataset, FloatArray, IntArray, Split

Fit = Callable[[Split, Path], Makings]
"""Trains on the training part of a split, with its checkpoints in that folder."""


def out_of_fold_logits(
    fit: Fit, dataset: Dataset, made: Split, folder: Path, said: Said, ticked: Ticked
) -> FloatArray:
    """Give logits (M, C) of the training part by bundles that were trained on its other groups.

    Finished folds are kept in ``folder/folds`` and are not trained again.

    Parameters
    ----------
    dataset
        With the unit that may not be torn apart as each sample's group.

    Returns
    -------
    numpy.ndarray
        NaN for an image of a class that comes from one group alone.
    """
    rows, seed = made.train, made.seed
    labels, groups = dataset.labels[rows], dataset.groups[rows]
    logits = np.full((len(rows), len(dataset.classes)), np.nan)
    cuts = folds(labels, groups, min(FOLDS, len(np.unique(groups))), seed)
    for number, (learn, test) in enumerate(cuts, start=1):
        test = test[np.isin(labels[test], labels[learn])]
        if not len(test):
            continue
        place = folder / "folds" / str(number)
        key = _key(dataset, rows[learn], rows[test], seed)
        found = _kept(place / "logits.npz", key)
        if found is None:
            said(f"training without fold {number} of {len(cuts)}, for figures that hold")
            parts = np.full(len(dataset), "excluded", dtype="<U10")
            parts[rows[learn]] = "train"
            makings = fit(replace(made, parts=parts), place)
            found = logits_of(makings, dataset, rows[learn], rows[test], seed, ticked)
            _keep(place, key, found)
        logits[test] = found
    return logits


def _key(dataset: Dataset, learn: IntArray, test: IntArray, seed: int) -> str:
    said = [dataset.take(learn).digest(), dataset.take(test).row_keys(), seed]
    return hashlib.sha256(json.dumps(said).encode(errors="surrogateescape")).hexdigest()


def _kept(file: Path, key: str) -> FloatArray | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            found: FloatArray = stored["logits"]
            return found
    except (OSError, ValueError, KeyError):
        return None


def _keep(place: Path, key: str, logits: FloatArray) -> None:
    """Keep the answer, and give back the space of what was trained for it."""
    for part in ("checkpoints", "tensorboard"):
        shutil.rmtree(place / part, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)

    def write(beside: Path) -> None:
        with beside.open("wb") as stream:
            np.savez(stream, logits=logits, key=np.array(key))

    write_with(place / "logits.npz", write)
