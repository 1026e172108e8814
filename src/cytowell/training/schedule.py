"""How fast each layer learns, and when: optimisers, rates by depth, rates over time."""

from __future__ import annotations

import math
from typing import Any

import torch

from cytowell.models.classifier import Classifier
from cytowell.training.detection_recipe import Detection
from cytowell.training.recipe import Finetune

PLATEAU_PATIENCE = 2
"""Answers without progress after which `plateau` lowers the rate."""

PLATEAU_FACTOR = 0.3
"""What it is multiplied by."""


def optimizer_of(network: Classifier, s: Finetune) -> Any:
    """Make the optimiser that the recipe names."""
    groups = parameter_groups(network, s)
    given: dict[str, Any] = {"lr": s.rate, "weight_decay": s.weight_decay}
    if s.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True, **given)
    if s.optimizer == "adam":
        return torch.optim.Adam(groups, fused=True, **given)
    if s.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, momentum=s.momentum, **given)
    return torch.optim.SGD(groups, momentum=s.momentum, nesterov=s.momentum > 0, **given)


def rate_at(step: int, s: Finetune, lowered: float) -> float:
    """Give the head's rate at a step.

    Parameters
    ----------
    lowered
        What `plateau` has multiplied the rate by so far.
    """
    if s.schedule == "one-cycle":
        return one_cycle(step / s.steps, s)
    if s.schedule == "cosine":
        return s.rate * (0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * step / s.steps)))
    return s.rate * lowered


def one_cycle(progress: float, s: Finetune | Detection) -> float:
    """Give the rate: cosine up over the warm-up, cosine down to a five-hundredth over the rest.

    One-cycle policy, Smith & Topin 2018 (arXiv 1708.07120).
    """
    if progress < s.warmup:
        return s.rate * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / s.warmup)))
    fall = (progress - s.warmup) / (1 - s.warmup)
    return s.rate * (0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * fall)))


def parameter_groups(network: Classifier, s: Finetune) -> list[dict[str, Any]]:
    """Give parameters with their share of the rate by depth; no decay on norms and biases.

    Layers below the depth `frozen_depth` keep their weights and are in no group: no gradient is
    computed for them, which saves much of a step, for the first layers have the largest maps.
    """
    groups = []
    for depth, parameters, pace in network.backbone.depth_groups():
        still = depth < s.frozen_depth
        for parameter in parameters:
            parameter.requires_grad_(not still)
        if not still:
            groups.append((pace * (s.stem_rate + (1 - s.stem_rate) * depth), parameters))
    heads = [p for n, p in network.named_parameters() if not n.startswith("backbone.")]
    groups.append((1.0, heads))
    out: list[dict[str, Any]] = []
    for share, parameters in groups:
        for decays in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decays]
            if chosen:
                decay = s.weight_decay if decays else 0.0
                out.append({"params": chosen, "weight_decay": decay, "share": share})
    return out
