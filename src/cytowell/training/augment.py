"""Augmentation of a whole batch at once: one resampling, one colour pass, one rectangle.

torchvision's transforms draw one set of numbers for a batch, or run image by image at a fifth of
the network's own cost on a processor; here each image has its own numbers and the batch one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from cytowell import registry
from cytowell.errors import RecipeError
from cytowell.training.recipe import Augmentation

_TO_STAIN = torch.from_numpy(np.asarray(hed_from_rgb, dtype=np.float32))
_FROM_STAIN = torch.from_numpy(np.asarray(rgb_from_hed, dtype=np.float32))
_LUMA = torch.tensor([0.299, 0.587, 0.114])


def augment(
    pixels: Tensor,
    size: int,
    how: Augmentation,
    generator: torch.Generator,
    empty: float | None = None,
) -> Tensor:
    """Change each image of a batch in its own way.

    Parameters
    ----------
    pixels
        uint8 (N, S, S, 3), with S >= size: what lies around the network's view is there to be
        turned and shifted into it. On any device; the numbers are drawn on the processor, so that
        a seed says the same everywhere.
    size
        Side of the result.
    empty
        Intensity of what lies beyond the pixels, 0..255; None for their reflection.

    Returns
    -------
    Tensor
        float32 (N, 3, size, size), 0..255, channels last in memory.
    """
    n = pixels.shape[0]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        drawn = low + (high - low) * torch.rand(n, *shape, generator=generator)
        return drawn.to(pixels.device)

    images = pixels.permute(0, 3, 1, 2).float()
    side = pixels.shape[1]
    angle = uniform(-how.rotation, how.rotation) * (math.pi / 180)
    zoom = (1 + how.scale) ** uniform(-1, 1)
    scale = (size / side) / zoom
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if how.flip else torch.ones_like(zoom)
    theta = torch.empty(n, 2, 3, device=pixels.device)
    theta[:, 0, 0] = torch.cos(angle) * scale * mirror
    theta[:, 0, 1] = -torch.sin(angle) * scale
    theta[:, 1, 0] = torch.sin(angle) * scale * mirror
    theta[:, 1, 1] = torch.cos(angle) * scale
    if how.aspect:
        stretch = _stretched((1 + how.aspect) ** uniform(-1, 1), uniform(0, math.pi))
        theta[:, :, :2] = torch.bmm(stretch, theta[:, :, :2].clone())
    theta[:, :, 2] = uniform(-how.shift, how.shift, 2) * 2 * (size / side)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    beyond = 0.0 if empty is None else empty
    images = F.grid_sample(
        (images - beyond).contiguous(memory_format=torch.channels_last),
        grid,
        mode="bilinear",
        padding_mode="reflection" if empty is None else "zeros",
        align_corners=False,
    )
    images = images + beyond
    if how.laboratory:
        images = of_another_laboratory(images, how.laboratory, uniform)
    else:
        images = coloured(images, how, uniform)
    images = _erase(images, how.erase, generator)
    for name in how.own:
        images = _own(name, images, generator)
    return images.contiguous(memory_format=torch.channels_last)


def _own(name: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Let a laboratory's own augmentation change images, and hold it to what it was given.

    It is a function of float32 images (N, 3, S, S), 0..255, and of a generator on the processor
    from which all that is random is to be drawn: a seed then says the same again. It gives images
    of the same shape.
    """
    given: Any = registry.load("augmentations", name)(images, generator)
    wrong = ""
    if not isinstance(given, Tensor) or given.shape != images.shape:
        what = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        wrong = f"gave {what} for images of shape {tuple(images.shape)}"
    elif not bool(torch.isfinite(given).all()):
        wrong = "gave pixels that are no numbers"
    if wrong:
        raise RecipeError(
            f"The augmentation {name!r} {wrong}.", "Mend it, or leave it out of the recipe."
        )
    changed: Tensor = given.to(images.dtype)
    return changed


def coloured(images: Tensor, how: Augmentation, draw: Callable[..., Tensor]) -> Tensor:
    """Change stain, saturation, contrast and brightness of each image (N, 3, S, S), 0..255.

    Parameters
    ----------
    draw
        Gives uniform numbers of shape (N, ...) between two bounds.
    """
    n, place = images.shape[0], images.device
    flat = images.permute(0, 2, 3, 1).reshape(n, -1, 3)
    if how.stain:
        # Stains multiply in optical density: out = exp(-(density @ unmix @ diag(f) @ mix)).
        factor = draw(1 - how.stain, 1 + how.stain, 3)
        matrix = (_TO_STAIN.to(place) * factor[:, None, :]) @ _FROM_STAIN.to(place)
        density = torch.log(flat.add_(1.0).div_(256.0))
        flat = torch.exp(torch.bmm(density, matrix)).mul_(256.0).sub_(1.0)
    # Saturation, contrast and brightness are linear in the pixel: one matrix and one offset each.
    saturation = draw(1 - how.saturation, 1 + how.saturation, 1, 1)
    contrast = draw(1 - how.contrast, 1 + how.contrast, 1, 1)
    brightness = draw(1 - how.brightness, 1 + how.brightness, 1, 1)
    grey = _LUMA.to(place).view(1, 3, 1).expand(n, 3, 3)
    matrix = saturation * torch.eye(3, device=place) + (1 - saturation) * grey
    mean = flat.mean(dim=(1, 2), keepdim=True)
    offset = (1 - contrast) * mean * brightness
    flat = torch.baddbmm(offset, flat, matrix * contrast * brightness)
    flat = flat.clamp_(0.0, 255.0)
    side = images.shape[-1]
    return flat.view(n, side, side, 3).permute(0, 3, 1, 2)


def _stretched(factor: Tensor, direction: Tensor) -> Tensor:
    """Give matrices (N, 2, 2) that stretch along a direction and shrink across it as much."""
    along, across = torch.cos(direction), torch.sin(direction)
    turn = torch.stack([along, -across, across, along], dim=1).view(-1, 2, 2)
    sides = torch.diag_embed(torch.stack([factor, 1 / factor], dim=1))
    return turn.transpose(1, 2) @ sides @ turn


def of_another_laboratory(images: Tensor, strength: float, draw: Callable[..., Tensor]) -> Tensor:
    """Change each image (N, 3, S, S), 0..255, as another laboratory's would differ from it.

    Empty background stays nearly white: stains and gamma act on optical density, contrast on the
    distance from white, for the light is divided out before. At a strength of 1: stains by factors
    of 0.67 to 1.5, gamma exp(+-0.35) in all and exp(+-0.25) in each channel, channel mixing +-0.12,
    saturation 0.5 to 1.5, contrast 0.64 to 1.42, light left over 0.78 to 1.1; half of the images
    lose sharpness (down to 0.3 of the pixels) or gain some; noise up to 0.03 of the range.
    """
    n, _, side, _ = images.shape
    place, s = images.device, strength
    flat = (images / 255.0).permute(0, 2, 3, 1).reshape(n, -1, 3)
    factor = torch.exp(draw(-0.4, 0.4, 3) * s)
    matrix = (_TO_STAIN.to(place) * factor[:, None, :]) @ _FROM_STAIN.to(place)
    flat = torch.exp(torch.bmm(torch.log(flat.clamp(1 / 255, 1.0)), matrix)).clamp(1 / 255, 1.0)
    flat = flat ** torch.exp(draw(-0.35, 0.35, 1, 1) * s + draw(-0.25, 0.25, 1, 3) * s)
    mixed = torch.eye(3, device=place) + draw(-0.12, 0.12, 3, 3) * s
    flat = torch.bmm(flat, (mixed / mixed.sum(dim=2, keepdim=True)).transpose(1, 2))
    grey = flat @ _LUMA.to(place)[:, None]
    flat = grey + (flat - grey) * torch.exp(draw(-0.7, 0.4, 1, 1) * s)
    flat = 1 - (1 - flat) * torch.exp(draw(-0.45, 0.35, 1, 1) * s)
    flat = flat * (1 + draw(-0.12, 0.06, 1, 3) * s) * (1 + draw(-0.12, 0.05, 1, 1) * s)
    changed = flat.clamp(0, 1).view(n, side, side, 3).permute(0, 3, 1, 2)
    changed = _sharpness(changed, draw)
    strong = draw(0, 0.03, 1, 1, 1) * s
    # Noise of a uniform draw has the variance 1/12; its bounds are chosen for the same spread.
    changed = changed + strong * draw(-1.732, 1.732, 3, side, side)
    return changed.clamp(0, 1) * 255.0


def _sharpness(images: Tensor, draw: Callable[..., Tensor]) -> Tensor:
    """Make four in ten images coarser, by going through fewer pixels, and a quarter sharper."""
    side = images.shape[-1]
    images = images.clone()
    coarse, share, sharp, amount = draw(0, 1), draw(0.3, 0.9), draw(0, 1), draw(0, 2.5, 1, 1, 1)
    for i in torch.nonzero(coarse < 0.4).flatten().tolist():
        fewer = max(16, round(side * float(share[i])))
        small = F.interpolate(
            images[i : i + 1], size=(fewer, fewer), mode="bilinear", antialias=True
        )
        images[i : i + 1] = F.interpolate(small, size=(side, side), mode="bilinear")
    rows = sharp < 0.25
    if bool(rows.any()):
        some = images[rows]
        soft = F.avg_pool2d(F.pad(some, (1, 1, 1, 1), mode="replicate"), 3, 1)
        images[rows] = (some + (some - soft) * amount[rows]).clamp(0, 1)
    return images


def _erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    n, _, side, _ = images.shape
    draws = torch.rand(n, 6, generator=generator).tolist()
    for i, (p, area, ratio, y, x, grey) in enumerate(draws):
        if p >= probability:
            continue
        area, ratio = side * side * (0.02 + 0.2 * area), 0.4 + 2.0 * ratio
        height = min(side, max(1, round(math.sqrt(area * ratio))))
        width = min(side, max(1, round(math.sqrt(area / ratio))))
        top, left = int(y * (side - height + 1)), int(x * (side - width + 1))
        images[i, :, top : top + height, left : left + width] = 255.0 * grey
    return images
