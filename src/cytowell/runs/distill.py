"""The networks of a comparison's folds as teachers of one: an ensemble, at the cost of a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cytowell.errors import RecipeError
from cytowell.runs.recipe import Recipe
from cytowell.runs.run import Run, Voice
from cytowell.runtime.bundle import load
from cytowell.types import Dataset

if TYPE_CHECKING:
    from cytowell.runs.compare import Question


def require_distillable(question: Question) -> None:
    """Refuse what leaves no networks of folds on this machine.

    Raises
    ------
    RecipeError
        With what to ask for.
    """
    if not question.choose:
        raise RecipeError("--distill teaches the network that is chosen.", "Add --choose.")
    if question.protocols[0].name != "folds":
        raise RecipeError(
            "--distill needs the networks of several folds.", "Add --folds 5, and no other first."
        )
    if question.engine != "local":
        raise RecipeError(
            f"--distill keeps networks on this machine, and --engine {question.engine} does not.",
            "Use --engine local.",
        )


def taught_by(
    teachers: Sequence[Path], recipe: Recipe, heard: Voice
) -> tuple[Recipe, tuple[Path, ...]]:
    """Give the recipe with these teachers, and those of them that teach: none where it trains none.

    What each learnt differs by its fold, which is what an ensemble lives on.
    """
    if not hasattr(recipe.settings, "teachers"):
        return recipe, ()
    if not teachers:
        return recipe, ()
    heard.said(f"{len(teachers)} networks of the folds teach the one that is delivered")
    names = tuple(str(place.resolve()) for place in teachers)
    return replace(recipe, settings=replace(recipe.settings, teachers=names)), tuple(teachers)


def together(teachers: Sequence[Path], test: Dataset, run: Run) -> str:
    """Say how right the ensemble and the one that it taught are on the same test images."""
    total = np.zeros((len(test), len(test.classes)))
    for teacher in teachers:
        bundle = load(teacher)
        place = [bundle.classes.index(name) for name in test.classes]
        total += bundle.predict(list(test.samples)).probabilities[:, place]
    right = float(np.mean(total.argmax(axis=1) == test.labels))
    accuracy = run.metrics["accuracy"]
    own = accuracy["value"] if isinstance(accuracy, dict) else accuracy
    return (
        f"Distilled from {len(teachers)} networks of the folds: together they are right on "
        f"{right:.1%} of {len(test)} test images, the one that is delivered on {own:.1%}."
    )
