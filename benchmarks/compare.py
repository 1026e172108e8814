"""What a comparison does beside its table, on a few real images: protocols, control, choice, Ray.

    python benchmarks/compare.py [--per-class 40] [--only families] [--out runs/compare]

Learners of seconds by folds, shuffles and a hold-out, with the control that must fall to chance,
the diagnosis and a choice; one network with three optimisers, SMOTE on its features; a search for
settings; networks of other families from nothing, which show that they learn and nothing of what
they are worth; and the same cells as tasks of Ray. Of so few images no figure says which learner
is better.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import cytowell
from cytowell.runs.candidates import Fit
from cytowell.runs.compare import Comparison, Question, compare
from cytowell.runs.protocols import Protocol
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
                "efficientnet_b1@nothing",
                "convnext_atto@nothing",
                "cnn+mobilenet-v2@nothing",
            ),
            HOLDOUT,
            fit=Fit(side=64, epochs=2, views=1),
        ),
    ),
    (
        "transformers",
        Question(("vit_tiny_patch16_224@nothing",), HOLDOUT, fit=Fit(side=224, epochs=2, views=1)),
    ),
    ("Ray", Question(("logistic-regression", "knn", "svm"), HOLDOUT, engine="ray")),
)


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
    if not {"joblib", "Ray"} <= set(done):
        return
    column = "test_accuracy"
    same = done["joblib"].table[column].equals(done["Ray"].table[column])
    print(f"\nRay and joblib: {'the same' if same else 'NOT the same'} accuracies")


if __name__ == "__main__":
    main()
