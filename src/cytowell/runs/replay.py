"""The two source projects, step by step, each as one comparison after another with its reports.

Every step is a `Question`, so nothing here computes anything: it says what those projects asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cytowell.errors import UnknownName
from cytowell.registry import did_you_mean
from cytowell.runs.candidates import Fit
from cytowell.runs.compare import Comparison, Question, compare, no_wholes
from cytowell.runs.protocols import Protocol
from cytowell.runs.run import Voice
from cytowell.runtime.finding import finder, objects
from cytowell.types import Dataset


@dataclass(frozen=True)
class Step:
    """One question of a project: the folder of its answer, what it asks in words, and how."""

    name: str
    asks: str
    question: Question


CLASSICAL = ("random-forest", "svm", "logistic-regression", "gradient-boosting")

BLOOD = (
    "cnn", "unet", "resnet-50", "vgg-16", "densenet-201", "mobilenet-v2", "xception",
    "contrastive:efficientnet-lite0", "hybrid", "finetune",
)  # fmt: skip

HALVES = (Protocol("holdout", test=0.3),)

STEPS: dict[str, tuple[Step, ...]] = {
    # 224 px, 70/30 stratified, SMOTE, Adam; then the optimisers; then shuffling against folds.
    "blood-cells": (
        Step(
            "networks",
            "Which network is best on a stratified 70/30 hold-out, with SMOTE?",
            Question(BLOOD, HALVES, ("adam",), Fit(side=224, epochs=10, balance="smote")),
        ),
        Step(
            "optimisers",
            "Adam, RMSprop or SGD?",
            Question(
                ("mobilenet-v2", "finetune"),
                HALVES,
                ("adam", "rmsprop", "sgd"),
                Fit(side=224, epochs=10),
            ),
        ),
        Step(
            "shuffling",
            "What do one hold-out, shuffling and cross-validation each say, and does a control "
            "with shuffled labels fall to chance?",
            Question(
                ("frozen", "logistic-regression:features"),
                (Protocol("folds", 5), Protocol("shuffles", 5), Protocol("holdout")),
                fit=Fit(balance="smote"),
                permutation_control=True,
            ),
        ),
    ),
    # Wells found and cut out, four classical learners with diagnosis, three networks, the choice.
    "rabies-wells": (
        Step(
            "cropping",
            "Whole photographs, or the wells cut out of them?",
            Question(("frozen", "random-forest:features"), HALVES, fit=Fit(raw_and_cropped=True)),
        ),
        Step(
            "wells",
            "Do classical learners overfit, and which network is fit to ship?",
            Question(
                (*CLASSICAL, "efficientnet-lite0", "efficientnet-b0", "resnet-50", "mobilenet-v2"),
                HALVES,
                fit=Fit(side=224, epochs=30),
                diagnose=True,
                permutation_control=True,
                choose=True,
            ),
        ),
    ),
}


FINDS = {"rabies-wells": "wells"}
"""What a project looks for in photographs, unless the data brings boxes."""


def replay(
    name: str,
    dataset: Dataset,
    out: str | Path,
    fit: Fit | None = None,
    only: Sequence[str] = (),
    voice: Voice | None = None,
) -> dict[str, Comparison]:
    """Replay a project; give the comparison of each step by its name.

    Parameters
    ----------
    name
        `blood-cells` or `rabies-wells`.
    fit
        Its side, epochs, weights and seed replace the project's, where they are given.
    only
        Names of steps; all of them without it.

    Raises
    ------
    UnknownName
        If there is no such project or step.
    """
    heard = voice or Voice()
    if name not in STEPS:
        raise UnknownName(f"There is no project {name!r}.", did_you_mean(name, [*STEPS]))
    steps = {step.name: step for step in STEPS[name]}
    for wanted in only:
        if wanted not in steps:
            raise UnknownName(f"{name} has no step {wanted!r}.", did_you_mean(wanted, [*steps]))
    dataset = _found(dataset, FINDS.get(name, ""), heard)
    answers = {}
    for step in steps.values():
        if only and step.name not in only:
            continue
        if step.question.fit.raw_and_cropped and (why := no_wholes(dataset)):
            heard.said(f"{name}, {step.name} is left out. {why}")
            continue
        heard.said(f"{name}, {step.name}: {step.asks}")
        question = replace(step.question, fit=_laid(step.question.fit, fit))
        answers[step.name] = compare(dataset, Path(out) / step.name, question, heard)
    return answers


def _found(dataset: Dataset, what: str, heard: Voice) -> Dataset:
    """Give the data set with a box for what is found in each photograph."""
    look = finder(what) if what else None
    if look is None or any(s.box is not None for s in dataset.samples):
        return dataset
    found = tuple(objects(dataset.samples, look))
    boxed = sum(s.box is not None for s in found)
    heard.said(
        f"{boxed} {what} in {len(dataset)} photographs; where nothing is found, the whole "
        "photograph is looked at"
    )
    return replace(dataset, samples=tuple(replace(s, nothing="") for s in found))


def _laid(own: Fit, given: Fit | None) -> Fit:
    if given is None:
        return own
    return replace(
        own,
        preset=given.preset,
        side=given.side or own.side,
        epochs=given.epochs or own.epochs,
        weights=given.weights or own.weights,
        seed=given.seed,
        by_image=given.by_image,
    )
