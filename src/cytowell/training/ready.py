"""What a network's training needs beside photographs, looked at before any of them is."""

from __future__ import annotations

import torch

from cytowell.errors import RecipeError
from cytowell.learners.contract import silent
from cytowell.models.build import build
from cytowell.training.recipe import Finetune
from cytowell.training.sides import fitting_phases

PACKAGED = ("efficientnet-lite0",)
"""Networks whose weights the train extra installs, and which take every side."""


def require_ready(s: Finetune) -> None:
    """Refuse settings that this machine, or the network that they name, cannot follow.

    Raises
    ------
    RecipeError
        If the accelerator is not there, or the network cannot take a side.
    UnknownName, WeightsUnavailable
        If there is no such network, or there are no weights for it.
    """
    _require_accelerator(s)
    if s.backbone in PACKAGED and not s.weights:
        return
    for one in (s, s.for_images(0)):
        fitting_phases(build(s.backbone, s.weights).eval(), one, silent)


def _require_accelerator(s: Finetune) -> None:
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    there["gpu"] = there["cuda"] or there["mps"]
    if not there.get(s.accelerator, True):
        raise RecipeError(
            f'accelerator = "{s.accelerator}", and PyTorch finds none on this machine.',
            'Use accelerator = "auto" or "cpu", or install PyTorch for your GPU.',
        )
    count = torch.cuda.device_count()
    on_cuda = s.accelerator in ("cuda", "gpu", "auto") and there["cuda"]
    if on_cuda and s.devices > count:
        raise RecipeError(
            f"devices = {s.devices}, and there are {count} GPUs.", f"Use 1 to {count}."
        )
