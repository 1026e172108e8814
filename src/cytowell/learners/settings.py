"""Settings of the learners that need no PyTorch; light to import, so that help has them at once."""

from __future__ import annotations

from typing import Annotated, Literal

from cytowell.errors import RecipeError
from cytowell.settings import setting, settings

INPUTS = ("descriptors", "features")
"""What a classical learner may see: plain descriptors, or features of a frozen network."""

CHECKPOINTS = ("timm:", "hf-hub:", "local-dir:")
"""What a name begins with that is a checkpoint of timm's, of the hub's or of a folder's."""

BALANCES = ("none", "balanced", "smote")

CLASSICAL = ("random-forest", "svm", "logistic-regression", "gradient-boosting", "knn")
"""Learners with the settings `Classical`."""


@settings
class Frozen:
    """Settings of the frozen learner.

    The first backbone weighs all crops, the others look at the one that was best for it: how much
    of a picture tells is a matter of the pictures, and the shipped networks take a pass each.
    """

    backbones: Annotated[
        tuple[str, ...],
        setting(
            "Registered bundles, bundle folders, ONNX files or checkpoints (timm:NAME@FILE); the "
            "best is kept.",
            example='["imagenet"]',
        ),
    ] = ("imagenet", "blood")
    crops: Annotated[
        tuple[float, ...],
        setting(
            "Shares of the shorter side that are weighed, 0.1 to 1; 1 is the whole picture.",
            example="[1.0, 0.7]",
        ),
    ] = (1.0, 0.83, 0.7, 0.6, 0.5)
    balance: Annotated[
        Literal["none", "balanced", "smote"],
        setting("balanced class weights, smote in feature space, or none."),
    ] = "balanced"
    strengths: Annotated[
        tuple[float, ...],
        setting(
            "Inverse regularisation strengths that are weighed, above 0.", example="[0.01, 0.1]"
        ),
    ] = (0.001, 0.003, 0.01, 0.03, 0.1)
    folds: Annotated[
        int,
        setting(
            "Of the cross-validation that gives figures where nothing is held back.",
            low=2,
            high=1000,
            unit="folds",
        ),
    ] = 5

    def __post_init__(self) -> None:
        if not self.backbones:
            raise RecipeError("backbones = [] is empty.", 'Name one, such as ["imagenet"].')
        if not self.strengths or not all(c > 0 for c in self.strengths):
            raise RecipeError(f"strengths = {self.strengths} cannot hold.", "Give numbers above 0.")
        if not self.crops or not all(0.1 <= c <= 1 for c in self.crops):
            raise RecipeError(f"crops = {self.crops} cannot hold.", "Give shares of 0.1 to 1.0.")


@settings
class Classical:
    """Settings of a classical learner."""

    input: Annotated[
        Literal["descriptors", "features"],
        setting("What it sees: plain descriptors, or features of a frozen network."),
    ] = "descriptors"
    backbones: Annotated[
        tuple[str, ...],
        setting(
            "Of features: registered bundles, bundle folders or ONNX files; the first that is "
            "there.",
            example='["imagenet"]',
        ),
    ] = ("imagenet",)
    balance: Annotated[
        Literal["none", "balanced", "smote"],
        setting("Class weights, where the learner has them, or smote on the rows it learns from."),
    ] = "none"
    strength: Annotated[
        float,
        setting(
            "C of svm and logistic-regression, trees of random-forest, rounds of "
            "gradient-boosting, neighbours of knn; 0 takes the usual value.",
            low=0,
            high=1e6,
        ),
    ] = 0.0
