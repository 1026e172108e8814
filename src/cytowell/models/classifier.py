"""A backbone with its linear head, and a second head for sub-classes while it learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cytowell.models.backbone import Backbone
from cytowell.types import FloatArray


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
    """

    def __init__(
        self,
        backbone: Backbone,
        features: int,
        classes: int,
        subclasses: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        self.second = nn.Linear(features, subclasses) if subclasses else None

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give logits (N, C), and of sub-classes (N, S) if there are any, from (N, 3, H, W)."""
        features = self.dropout(self.backbone.pooled(self.backbone.normalise(image)))
        return self.head(features), None if self.second is None else self.second(features)

    def set_head(self, weight: FloatArray, bias: FloatArray) -> None:
        """Start the head from a linear probe: weight (C, D), bias (C,)."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight).float())
            self.head.bias.copy_(torch.from_numpy(bias).float())
