"""FCOS (Tian et al. 2019, arXiv 1904.01355): torchvision's head and loss on EfficientNet-Lite0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.ops import FeaturePyramidNetwork

from cytowell.models.build import build
from cytowell.models.weights import load_into

STRIDES = (8, 16, 32)
WIDTH = 64
"""Channels of the pyramid and the head: few classes, and a processor to run on."""

DEPTH = 2
"""Convolutions of the head."""

REACH = 64.0
"""Distances from a place to a box's edges, in strides, at most."""


class _Pyramid(nn.Module):
    """Maps at an eighth, a sixteenth and a thirty-second of the input, as wide as each other."""

    out_channels = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.backbone = build("efficientnet-lite0")
        with torch.no_grad():
            widths = [m.shape[1] for m in self._stages(torch.zeros(1, 3, 64, 64))]
        self.pyramid = FeaturePyramidNetwork(widths, WIDTH)

    def _stages(self, images: Tensor) -> list[Tensor]:
        by_name = zip(
            self.backbone.stages.names,
            self.backbone.maps(self.backbone.normalise(images)),
            strict=True,
        )
        return [m for name, m in by_name if name in {str(s) for s in STRIDES}]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.pyramid(
            {str(i): m for i, m in enumerate(self._stages(images))}
        )
        return found


class Fcos(nn.Module):
    """A network that learns by `losses` and says boxes when it is called.

    Parameters
    ----------
    classes
        How many are told apart.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        pyramid = _Pyramid()
        self.origin = pyramid.backbone.provenance.weights
        self.body: Any = FCOS(
            pyramid,
            classes,
            anchor_generator=AnchorGenerator(
                tuple((s,) for s in STRIDES), ((1.0,),) * len(STRIDES)
            ),
            head=FCOSHead(WIDTH, 1, classes, DEPTH),
        )

    def losses(self, images: Tensor, targets: Tensor, exact: bool) -> Tensor:
        """Give the loss of a batch; see `Yolox.losses` (its boxes are exact from the start)."""
        outputs, places = self._said(images)
        told = []
        for rows in targets:
            real = rows[rows[:, 3] > 0]
            middle, half = real[:, 1:3], real[:, 3:] / 2
            boxes = torch.cat([middle - half, middle + half], dim=1)
            told.append({"boxes": boxes, "labels": real[:, 0].long()})
        anchors = torch.cat([a for a, _ in places])
        counts = [len(a) for a, _ in places]
        parts = self.body.compute_loss(told, outputs, [anchors] * len(images), counts)
        loss: Tensor = sum(parts.values())
        return loss

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give corners (N, M, 4) in pixels and scores (N, M, C) of uint8 (N, side, side, 3)."""
        outputs, places = self._said(pixels.permute(0, 3, 1, 2).float())
        stride = torch.cat([s for _, s in places])
        anchors = torch.cat([a for a, _ in places])
        middle = (anchors[:, :2] + anchors[:, 2:]) / 2
        reach = outputs["bbox_regression"].clamp(0.0, REACH) * stride
        corners = torch.cat([middle - reach[..., :2], middle + reach[..., 2:]], dim=-1)
        sure = torch.sigmoid(outputs["cls_logits"]) * torch.sigmoid(outputs["bbox_ctrness"])
        return corners, sure.sqrt()

    def start_from(self, weights: str, images: list[Tensor]) -> str:
        """Take weights from a detector bundle of this network."""
        return load_into(self, weights)

    def _said(self, images: Tensor) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        """Give the head's outputs, and anchors with their strides for each map."""
        maps = list(self.body.backbone(images).values())
        return self.body.head(maps), list(_anchors(maps, images.device))


def _anchors(maps: list[Tensor], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Give squares as wide as the stride, their middles where each place of a map looks."""
    for seen, stride in zip(maps, STRIDES, strict=True):
        rows, columns = int(seen.shape[-2]), int(seen.shape[-1])
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        middle = (torch.stack([x.reshape(-1), y.reshape(-1)], dim=1).float() + 0.5) * stride
        half = stride / 2
        wide = torch.full((rows * columns, 1), float(stride))
        yield torch.cat([middle - half, middle + half], dim=1).to(device), wide.to(device)


def lite0(classes: int) -> Fcos:
    """Build it with EfficientNet-Lite0's ImageNet weights."""
    return Fcos(classes)
