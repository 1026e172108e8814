"""A small convolutional network from nothing: the honest floor of every comparison."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cytowell.errors import WeightsUnavailable
from cytowell.models.backbone import Backbone, Layers, Provenance, Stages
from cytowell.models.weights import NOTHING, load_into

WIDTHS = (32, 64, 128, 256)
"""Channels of the stages; each halves the side."""

MEAN, STD = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)


class Block(nn.Sequential):
    """Two convolutions with group norm (Wu & He 2018, arXiv 1803.08494): no batch statistics."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.GroupNorm(8, after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.GroupNorm(8, after),
            nn.ReLU(inplace=True),
        )


class FromNothing(nn.Module):
    """A body without pretrained weights: all its layers learn at the same rate."""

    def depth_groups(self) -> Iterator[Layers]:
        """Give all parameters as one group, as deep as the head."""
        yield Layers(1.0, list(self.parameters()))


class PlainBody(FromNothing):
    """Four stages; gives the last map (N, 256, H / 16, W / 16)."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
        self.stages = nn.Sequential(*[Block(before, after, 2) for before, after in pairs])

    def forward_features(self, x: Tensor) -> Tensor:
        """Give the last map."""
        last: Tensor = self.stages(x)
        return last


def cnn(weights: str = "", stages: Stages | None = None) -> Backbone:
    """CNN: 1.2 million parameters, 256 features, always from nothing or a given file."""
    return from_nothing("cnn", PlainBody(), weights)


def from_nothing(name: str, body: nn.Module, weights: str) -> Backbone:
    """Wrap a body that no registry has weights for.

    Raises
    ------
    WeightsUnavailable
        If a given file does not hold its tensors.
    """
    for module in body.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    source = NOTHING if weights in ("", NOTHING) else load_into(body, weights)
    provenance = Provenance(name, source, "none needed")
    backbone = Backbone(body, MEAN, STD, provenance, Stages(), 96)
    with torch.no_grad():
        try:
            backbone.pooled(torch.zeros(1, 3, 32, 32))
        except RuntimeError as error:  # a file of another network that happened to fit
            raise WeightsUnavailable(f"{weights} does not fit {name}.", "Give another.") from error
    return backbone
