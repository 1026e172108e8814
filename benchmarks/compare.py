"""What a comparison does beside its table, on a few real images: protocols, control, choice, Ray.

    python benchmarks/compare.py [--per-class 40] [--only families] [--out runs/compare]

Learners of seconds by folds, shuffles and a hold-out, with the control that must fall to chance,
the diagnosis and a choice; one network with three optimisers, SMOTE on its features; losses,
samplings and schedules of a recipe; a search for settings; networks of other families from nothing,
which show that they learn and nothing of what they are worth; the blood-cells replay; and cells and
calls as tasks of Ray. Of so few images no figure says which learner is better.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cytowell
from cytowell.evaluation.verdict import percent_range
from cytowell.runs.calling import call_in_parts
from cytowell.runs.candidates import Fit
from cytowell.runs.compare import Comparison, Question, compare
from cytowell.runs.protocols import Protocol
from cytowell.runs.recipe import make
from cytowell.runs.replay import replay
from cytowell.types import Dataset
from machine import data_folder

HOLDOUT = (Protocol("holdout"),)
ALL = (Protocol("folds", 3), Protocol("shuffles", 3), Protocol("holdout"))
CHEAP = ("frozen:imagenet", "random-forest", "svm", "logistic-regression", "gradient-boosting")

STEPS: tuple[tuple[str, Question], ...] = (
    (
        "protocols, control, diagnosis, choice",
        Question(CHEAP, ALL, diagnose=True, permutation_control=True, choose=True),
    ),
    (
        "optimisers, SMOTE",
        Question(
            ("finetune",),
            HOLDOUT,
            ("adam", "rmsprop", "sgd"),
            Fit(side=64, epochs=6, views=1, balance="smote"),
        ),
    ),
    ("search", Question(("logistic-regression", "knn"), HOLDOUT, tune=5)),
    ("joblib", Question(("logistic-regression", "knn", "svm"), HOLDOUT, jobs=2)),
    (
        "families",
        Question(
            (
                "mobilenet-v3@nothing",
                "efficientnetv2-s@nothing",
                *(f"efficientnet_b{n}@nothing" for n in range(1, 8)),
                "convnext_atto@nothing",
                "cnn+mobilenet-v2@nothing",
            ),
            HOLDOUT,
            fit=Fit(side=64, epochs=16, views=1),
        ),
    ),
    (
        "transformers",
        Question(
            (
                "vit_tiny_patch16_224@nothing",
                "vit_small_patch14_dinov2@nothing",
                "swin_tiny_patch4_window7_224@nothing",
            ),
            HOLDOUT,
            fit=Fit(side=112, epochs=8, views=1),
        ),
    ),
    ("Ray", Question(("logistic-regression", "knn", "svm"), HOLDOUT, engine="ray")),
)


SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "focal loss": {"loss": "focal"},
    "class weights": {"class_weights": "balanced"},
    "balanced sampling": {"sampling": "balanced"},
    "cosine": {"schedule": "cosine"},
    "plateau": {"schedule": "plateau"},
}
"""What each recipe changes, for one and the same network."""


def settings(data: Dataset, out: Path) -> None:
    """Train one network by recipes that differ in one setting each."""
    for name, changed in SETTINGS.items():
        recipe = make("finetune", "quick")[0]
        chosen = replace(recipe.settings, phases=((64, 60),), small_phases=(), **changed)
        folder = out / name.replace(" ", "-")
        run = cytowell.train(data, folder, replace(recipe, settings=chosen), resume=True)
        print(f"  {name}: {percent_range(run.metrics['accuracy'], 1)}", flush=True)


def replayed(data: Dataset, out: Path) -> None:
    """Replay the blood cells' project, small; networks start from nothing."""
    fit = Fit(side=96, epochs=1, weights="nothing")
    for name, answer in replay("blood-cells", data, out, fit).items():
        print(f"  {name}: {len(answer.table)} rows, {answer.words[0]}")
        for _, row in answer.table[answer.table["error"] != ""].iterrows():
            print(f"    {row['learner']}: {row['error']}")


def called(data: Dataset, out: Path) -> None:
    """Call the images by the shipped bundle on this machine, and in parts on a Ray cluster."""
    done = call_in_parts(data.samples, "blood", out / "parts", size=64)
    parts = pd.read_parquet(out / "parts")
    here = cytowell.load("blood").predict([s.path for s in data.samples])
    same = list(here.labels) == list(parts["label"])
    same &= list(here.decided) == list(parts["decided"])
    print(f"  {done.photographs} in parts: {'the same' if same else 'NOT the same'} calls")


MORE: dict[str, Callable[[Dataset, Path], None]] = {
    "settings of a recipe": settings,
    "replay of blood-cells": replayed,
    "calls by Ray": called,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-class", type=int, default=40)
    parser.add_argument("--only", default="", help="the step that begins so")
    parser.add_argument("--out", default="runs/compare")
    given = parser.parse_args()
    whole = cytowell.read(data_folder("pbc"))
    rng = np.random.default_rng(7)
    rows = [
        rng.permutation(np.flatnonzero(whole.labels == c))[: given.per_class]
        for c in range(len(whole.classes))
    ]
    data = whole.take(np.sort(np.concatenate(rows)))
    print(f"{len(data)} images of PBC, {given.per_class} a class, by image")
    done: dict[str, Comparison] = {}
    for name, question in STEPS:
        if not name.startswith(given.only):
            continue
        start = time.monotonic()
        done[name] = compare(data, Path(given.out) / name.split(",")[0], question)
        print(f"\n{name}, {time.monotonic() - start:.0f} s")
        for _, row in done[name].table.iterrows():
            said = row["diagnosis"] or row["error"]
            print(f"  {row['learner']}: {row['test_accuracy']:.3f}  {said}")
        for sentence in done[name].words:
            print(f"  {sentence}")
        if (choice := done[name].choice) is not None:
            print(f"  {choice.sentence}")
    if {"joblib", "Ray"} <= set(done):
        column = "test_accuracy"
        same = done["joblib"].table[column].equals(done["Ray"].table[column])
        print(f"\nRay and joblib: {'the same' if same else 'NOT the same'} accuracies")
    for name, step in MORE.items():
        if name.startswith(given.only):
            start = time.monotonic()
            print(f"\n{name}")
            step(data, Path(given.out) / name.split()[0])
            print(f"  {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
