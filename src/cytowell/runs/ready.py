"""What can be known to fail is looked at first, before any photograph is."""

from __future__ import annotations

import importlib.util

from cytowell import registry
from cytowell.errors import MissingExtra, RecipeError, how_to_install
from cytowell.learners.settings import CLASSICAL
from cytowell.models.names import require_backbone, require_weights
from cytowell.runs.recipe import NETWORKS, Recipe
from cytowell.training.recipe import Finetune

NEEDED = ("torch", "timm", "lightning")


def require_names(recipe: Recipe) -> None:
    """Refuse, within a moment, what the names in a recipe show to be impossible.

    Raises
    ------
    RecipeError
        If the learner makes no bundle.
    MissingExtra
        If what it needs is not installed.
    UnknownName, WeightsUnavailable
        If there is no such network, or no such file.
    """
    own = recipe.settings
    if recipe.learner in NETWORKS:
        for module in NEEDED:
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(
                    f"{recipe.learner!r} needs {module}, which is not installed.",
                    f"{how_to_install('train')}; or use --learner frozen.",
                )
        if isinstance(own, Finetune):
            require_backbone(own.backbone)
            require_weights(own.weights)
    elif recipe.learner in CLASSICAL:
        _require_linear(recipe)


def require_ready(recipe: Recipe) -> None:
    """Refuse what this machine cannot do: `require_names`, then weights, sides and accelerator."""
    require_names(recipe)
    if isinstance(recipe.settings, Finetune):
        registry.part("cytowell.training.ready:require_ready")(recipe.settings)
        return
    learner = registry.load("learners", recipe.learner)
    if recipe.learner not in CLASSICAL and not getattr(learner, "exports", True):
        raise RecipeError(
            f"{recipe.learner} makes no bundle.", "Measure it with cytowell compare --learners."
        )


def _require_linear(recipe: Recipe) -> None:
    """Refuse a classical learner that no bundle could hold: a bundle's head is linear."""
    remedy = (
        f"Measure it with cytowell compare --learners {recipe.learner}; for a bundle use "
        "--learner frozen, finetune or logistic-regression."
    )
    if recipe.learner != "logistic-regression":
        raise RecipeError(
            f"{recipe.learner} makes no bundle: a bundle is a network with a linear head.", remedy
        )
    if recipe.settings.input != "features":
        raise RecipeError(
            "logistic-regression on descriptors makes no bundle: they come from no network.",
            'Use input = "features", or --backbone imagenet.',
        )
