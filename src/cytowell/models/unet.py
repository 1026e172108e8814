"""U-Net as a classifier: encoder, decoder with skips, and what both know averaged for the head.

Ronneberger et al. 2015 (arXiv 1505.04597) for the shape. For classification the means of the
bottleneck (what is there) and of the decoder's last map (what is where, in detail) stand side by
side. The decoder may be asked to paint the image again while it learns: an auxiliary target that
needs no labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from cytowell.models.backbone import Backbone, Stages
from cytowell.models.cnn import Block, FromNothing, from_nothing

WIDTHS = (32, 64, 128, 256)


class Up(nn.Module):
    """Double the side, lay the encoder's map of that side beside it, convolve both."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(before, after, 2, 2)
        self.mix = Block(2 * after, after)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Give (N, after, H, W) of the skip's side."""
        grown = self.grow(x)
        if grown.shape[2:] != skip.shape[2:]:
            # An odd side was halved downwards: repeat the border.
            missing = [skip.shape[i] - grown.shape[i] for i in (3, 2)]
            grown = F.pad(grown, (0, missing[0], 0, missing[1]), mode="replicate")
        mixed: Tensor = self.mix(torch.cat([grown, skip], dim=1))
        return mixed


class UNetBody(FromNothing):
    """Gives the decoder's last map (N, 32, H / 2, W / 2) and the bottleneck (N, 256, ...)."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
        self.down = nn.ModuleList(Block(before, after, 2) for before, after in pairs)
        backwards = zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        self.up = nn.ModuleList(Up(before, after) for before, after in backwards)
        self.paint = nn.Conv2d(WIDTHS[0], 3, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give decoder and bottleneck maps."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        bottleneck = x
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(x, skip)
        return x, bottleneck

    def repaint(self, maps: list[Tensor], normalised: Tensor) -> Tensor:
        """Give the mean squared error of the image painted from the decoder's map, a number."""
        painted = self.paint(maps[0])
        wanted = F.interpolate(normalised, size=painted.shape[2:], mode="area")
        return F.mse_loss(painted, wanted)


def unet(weights: str = "", stages: Stages | None = None) -> Backbone:
    """U-Net classifier: 2 million parameters, 288 features, from nothing or a given file."""
    backbone = from_nothing("unet", UNetBody(), weights)
    backbone.stages = Stages((), ("decoder", "last"))
    return backbone
