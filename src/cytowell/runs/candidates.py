"""What is compared: a word of the command line becomes a learner with its settings.

``random-forest``            a classical learner on plain descriptors
``random-forest:features``   the same on features of the shipped network
``frozen``, ``frozen:F``     a linear head on frozen features, of the shipped networks or of F
``finetune``                 the default network, fine-tuned
``resnet-50``, any network   that network, fine-tuned; ``a+b`` is two of them side by side
``contrastive:NETWORK``      supervised contrasts first, then a linear head
``timm:NAME``, ``hf-hub:..`` any checkpoint by name, fine-tuned
``network@FILE``             any of these networks from weights of its own; ``@nothing`` from none
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cytowell import registry
from cytowell.errors import RecipeError, UnknownName
from cytowell.learners.classical import KNOBS
from cytowell.learners.settings import INPUTS
from cytowell.models.names import require_backbone
from cytowell.registry import did_you_mean
from cytowell.runs import recipe as recipes
from cytowell.runs.recipe import NETWORKS, Recipe

RATES = {"adamw": 1.0, "adam": 1.0, "rmsprop": 0.1, "sgd": 10.0}
"""Rates of other optimisers in proportion to AdamW's, as their users set them."""


@dataclass(frozen=True)
class Fit:
    """How candidates are made to fit a machine and a question; what is None is the preset's.

    Attributes
    ----------
    side, epochs
        Of networks: side of the images in pixels, and how often each image is seen.
    views
        Of networks: mirror images (1, 2 or 4) that each looks at.
    balance
        `none`, `balanced` or `smote`, for every candidate; None leaves each its own.
    weights
        What networks start from; `nothing` for random numbers.
    raw_and_cropped
        Have every candidate twice: on whole photographs, and on the boxes in them.

    Raises
    ------
    RecipeError
        For views or epochs that no network could do.
    """

    preset: str = "quick"
    side: int | None = None
    epochs: float | None = None
    views: int | None = None
    balance: str | None = None
    weights: str = ""
    seed: int = 7
    by_image: bool = False
    raw_and_cropped: bool = False

    def __post_init__(self) -> None:
        if self.views not in (None, 1, 2, 4):
            raise RecipeError(f"views = {self.views} is not known.", "Use 1, 2 or 4.")
        if self.epochs is not None:
            if not 0 < self.epochs < math.inf:
                raise RecipeError(f"epochs = {self.epochs} cannot be run.", "Use more than 0.")
            # Eight epochs are the same cell of the cache, said as 8 or as 8.0.
            object.__setattr__(self, "epochs", float(self.epochs))


@dataclass(frozen=True)
class Candidate:
    """One row of the table: its name, its recipe, and what it sees of an image."""

    name: str
    recipe: Recipe
    sees: str

    @property
    def network(self) -> bool:
        """Whether it trains a network."""
        return self.recipe.learner in NETWORKS


def candidates(
    words: Sequence[str], fit: Fit, optimisers: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """Turn words into candidates; networks once for each optimiser.

    Raises
    ------
    UnknownName
        With the nearest name that there is.
    """
    found: list[Candidate] = []
    for word in dict.fromkeys(w.strip() for w in words if w.strip()):
        made = _candidate(word, fit)
        if made.network and optimisers:
            found += [_with_optimiser(made, o) for o in optimisers]
        else:
            found.append(made)
    if not found:
        raise RecipeError("Nothing is to be compared.", "Give --learners frozen,random-forest,...")
    short = [_short(c.name) for c in found]
    if len(set(short)) == len(short):
        found = [replace(c, name=name) for c, name in zip(found, short, strict=True)]
    if fit.raw_and_cropped:
        found = [
            replace(c, name=f"{c.name} [{seen}]", recipe=replace(c.recipe, whole=seen == "whole"))
            for c in found
            for seen in ("whole", "cropped")
        ]
    return tuple(found)


def _short(name: str) -> str:
    """Leave the folders out of the weights' names."""
    said, at, weights = ("", "", "") if name.startswith("hf-hub:") else name.partition("@")
    return said + at + "+".join(Path(w).name for w in weights.split("+")) if at else name


def fitted(settings: Any, fit: Fit, images: int) -> Any:
    """Lay side and epochs on a network's settings, for a training part of so many images."""
    settings = settings.for_images(images)
    if fit.side is not None:
        settings = settings.at_side(fit.side)
    if fit.epochs is not None:
        settings = replace(settings, epochs=fit.epochs).for_images(images)
    return replace(settings, small_phases=())


def _candidate(word: str, fit: Fit) -> Candidate:
    hub = word.startswith("hf-hub:")
    named = hub or word.startswith("timm:")
    said, _, weights = (word, "", "") if hub else word.partition("@")
    name, _, detail = said.partition(":")
    learners = registry.names("learners")
    common: dict[str, Any] = {"seed": fit.seed, "by_image": fit.by_image}
    if named:
        name, detail = "finetune", said
    trains = name in NETWORKS or (name not in KNOBS and name not in learners)
    if weights and not trains:
        raise RecipeError(f"{word}: {name} starts from no weights.", "Leave out what follows @.")
    if name in KNOBS:
        seen = detail or "descriptors"
        if seen not in INPUTS:
            raise UnknownName(f"{word}: there is no input {seen!r}.", did_you_mean(seen, [*INPUTS]))
        made, _ = recipes.make(name, fit.preset, input=seen, balance=fit.balance, **common)
        return Candidate(word, made, seen)
    if name == "frozen":
        backbones = (detail,) if detail else None
        made, _ = recipes.make(name, fit.preset, backbones=backbones, balance=fit.balance, **common)
        return Candidate(word, made, "features")
    if name in learners and name not in NETWORKS:
        made, _ = recipes.make(name, fit.preset, **common)
        return Candidate(word, made, "its own")
    learner = name if name in NETWORKS else "finetune"
    network = detail if name in NETWORKS else said
    if network:
        _require_network(network, [*learners])
    made, _ = recipes.make(learner, fit.preset, backbone=network or None, **common)
    weights = weights or fit.weights or made.settings.weights
    settings = replace(
        made.settings,
        weights=weights,
        views=made.settings.views if fit.views is None else fit.views,
    )
    if fit.balance is not None:
        settings = replace(
            settings,
            class_weights="balanced" if fit.balance == "balanced" else "none",
            smote=fit.balance == "smote",
        )
    return Candidate(word, replace(made, settings=settings), "pixels")


def _require_network(name: str, learners: list[str]) -> None:
    """Refuse a name that neither the table nor timm knows."""
    try:
        require_backbone(name)
    except UnknownName as error:
        raise UnknownName(
            error.problem.replace("backbone", "learner and no network"),
            did_you_mean(name, [*learners, *registry.names("backbones")])
            if "Did you mean" not in error.remedy
            else error.remedy,
        ) from error


def _with_optimiser(made: Candidate, optimiser: str) -> Candidate:
    if optimiser not in RATES:
        raise UnknownName(
            f"There is no optimiser {optimiser!r}.", did_you_mean(optimiser, [*RATES])
        )
    settings = made.recipe.settings
    settings = replace(settings, optimizer=optimiser, rate=settings.rate * RATES[optimiser])
    recipe = replace(made.recipe, settings=settings)
    return replace(made, name=f"{made.name}/{optimiser}", recipe=recipe)


def essence(candidate: Candidate) -> dict[str, Any]:
    """Give all that decides what a candidate learns, as plain values."""
    return candidate.recipe.essence()
