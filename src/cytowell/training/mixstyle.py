"""MixStyle: the style of one image's early maps is lent to another's.

Zhou et al. 2021 (arXiv 2104.02008). Mean and deviation of early maps carry light, stain and camera;
mixed between the images of a batch, they show styles between the laboratories that there are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ALPHA = 0.3
"""Both parameters of the Beta distribution that the share is drawn from: mostly near 0 or 1."""


def attach(body: nn.Module, probability: float) -> None:
    """Mix styles after the body's first two stages while it trains; nothing of it is exported.

    Parameters
    ----------
    body
        A timm network that names its stages (`feature_info`); of others nothing is changed.
    probability
        Of each batch at each stage.
    """
    info: Any = getattr(body, "feature_info", None)
    stages = (info if isinstance(info, list) else getattr(info, "info", None)) or []
    modules = dict(body.named_modules())
    for stage in stages[:2]:
        place = modules.get(str(stage.get("module")))
        if place is not None:
            place.register_forward_hook(_Mixing(probability))


class _Mixing:
    """A forward hook; a class, so that a network can be copied with it."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, module: nn.Module, _: Any, maps: Tensor) -> Tensor:
        if not module.training or maps.ndim != 4 or torch.rand(()) >= self.probability:
            return maps
        return mixed(maps)


def mixed(maps: Tensor) -> Tensor:
    """Give maps (N, C, H, W) with means and deviations between their own and another image's."""
    mean = maps.mean(dim=(2, 3), keepdim=True)
    deviation = (maps.var(dim=(2, 3), keepdim=True) + 1e-6).sqrt()
    mean, deviation = mean.detach(), deviation.detach()
    share = torch.distributions.Beta(ALPHA, ALPHA).sample((len(maps), 1, 1, 1)).to(maps.device)
    other = torch.randperm(len(maps), device=maps.device)
    new_mean = share * mean + (1 - share) * mean[other]
    new_deviation = share * deviation + (1 - share) * deviation[other]
    return (maps - mean) / deviation * new_deviation + new_mean
