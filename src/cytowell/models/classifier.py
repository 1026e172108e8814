"""A backbone with its linear head, and what stands beside the head while it learns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from cytowell.models.backbone import Backbone
from cytowell.types import FloatArray


class Answers(NamedTuple):
    """What a batch of N images is answered by.

    `logits` (N, C) are the head's; `second` (N, S) those of sub-classes; `embedding` (N, P) of
    length 1, for contrasts; `repainted` is the error of an image painted again, a number. None
    where the network has no such part, or is not learning.
    """

    logits: Tensor
    second: Tensor | None = None
    embedding: Tensor | None = None
    repainted: Tensor | None = None


class Classifier(nn.Module):
    """Logits from pixels.

    Parameters
    ----------
    backbone
        Gives the features.
    features, classes, subclasses
        D, C and the number of sub-classes (0 for none).
    dropout
        Before both heads.
    projection
        Width of the embedding for supervised contrasts (0 for none). The head then listens to
        the features without moving them: what it knows is shown, the contrast alone teaches.
    """

    def __init__(
        self,
        backbone: Backbone,
        features: int,
        classes: int,
        subclasses: int = 0,
        dropout: float = 0.0,
        projection: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        self.second = nn.Linear(features, subclasses) if subclasses else None
        self.project = None
        if projection:
            # Khosla et al. 2020 (arXiv 2004.11362), section 3.1: one hidden layer, dropped after.
            self.project = nn.Sequential(
                nn.Linear(features, features),
                nn.ReLU(inplace=True),
                nn.Linear(features, projection),
            )

    def forward(self, image: Tensor) -> Answers:
        """Answer pixels (N, 3, H, W)."""
        normalised = self.backbone.normalise(image)
        maps = self.backbone.last_maps(normalised)
        pooled = self.backbone.pool(maps)
        embedding = None
        heard = pooled
        if self.project is not None:
            heard = pooled.detach()
            if self.training:
                embedding = F.normalize(self.project(pooled), dim=1)
        features = self.dropout(heard)
        second = None if self.second is None else self.second(features)
        repainted = None
        if self.training and hasattr(self.backbone.body, "repaint"):
            # For the type checker an attribute of a module is a tensor; this one is a method.
            repainted = self.backbone.body.repaint(maps, normalised)  # type: ignore[operator]
        return Answers(self.head(features), second, embedding, repainted)

    def set_head(self, weight: FloatArray, bias: FloatArray) -> None:
        """Start the head from a linear probe: weight (C, D), bias (C,)."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight).float())
            self.head.bias.copy_(torch.from_numpy(bias).float())
