"""What every network of this room looks like from outside: uint8 in, means of maps out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from cytowell.errors import RecipeError, UnknownName
from cytowell.models.names import PLACES, suggestion

FLIPS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((),),
    2: ((), (3,)),
    4: ((), (3,), (2,), (2, 3)),
}
"""Mirror images by their number: axes of (N, C, H, W) that are turned round."""


@dataclass(frozen=True)
class Provenance:
    """Where a network's numbers come from: name, weights and licence travel with the bundle."""

    architecture: str
    weights: str
    licence: str
    preprocessing: str = ""
    """Where normalisation, interpolation and side were read, where a checkpoint was named."""


@dataclass(frozen=True)
class Stages:
    """Which maps of the body are averaged into features.

    `taps` are indices into timm's feature stages; the last map is always there. Names are what
    the exported graph calls the maps.
    """

    taps: tuple[int, ...] = ()
    names: tuple[str, ...] = field(default=("last",))


UNNORMED = 0.1
"""Share of the rate for timm's networks without batch norm (VGG, vision transformers, ConvNeXt).

VGG-16 on PBC at 48 px after 75 steps: 41 % right at the full rate of 2e-3, 70 % at a quarter; at
this tenth 98.3 % after 8 epochs at 128 px."""


class Layers(NamedTuple):
    """Parameters of one depth, from 0 (stem) to 1 (last), and the share of the rate they bear."""

    depth: float
    parameters: list[nn.Parameter]
    pace: float = 1.0


class Backbone(nn.Module):
    """Normalise, run the body, average its maps.

    Parameters
    ----------
    body
        A timm network without classifier; it keeps its own pooling for features that are no maps.
        One of Cytowell's own may give several maps at once (a tuple); the head then listens to
        the means of all of them.
    mean, std
        Normalisation in units of pixel values 0..255, one number per channel.
    provenance
        What the bundle says about it.
    stages
        Maps to be averaged beside the last one; those of `taps_of` if not said.
    side
        The side in pixels that its weights were learnt at.

    Attributes
    ----------
    views
        1, 2 or 4 mirror images that are looked at, their maps turned back and averaged: what is
        the same thing mirrored is then called the same. Features stay means of maps.
    interpolation
        How images are resized for it.
    """

    views = 1
    interpolation = "bilinear"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        provenance: Provenance,
        stages: Stages | None = None,
        side: int = 224,
    ) -> None:
        super().__init__()
        self.body = body
        self.side = side
        self.provenance = provenance
        self.stages = taps_of(body) if stages is None else stages
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def refusal(self, side: int) -> str:
        """Give why the network, in eval mode, cannot take images of a side, "" if it can."""
        try:
            self.pooled(self.normalise(torch.zeros(1, 3, side, side, device=self.mean.device)))
        except Exception as error:  # each network has its own way to say so
            return (str(error) or type(error).__name__).splitlines()[0]
        return ""

    def fit_to(self, side: int) -> None:
        """Resample the positions of a network that takes images of one side only, if timm can.

        Vision transformers and Swin do: DINOv2's weights were learnt at 518 px, for which a
        laptop has no time. Those that resample at every call, which cannot be exported, have it
        done for good. A side of no whole number of patches is left to be refused: the pixels
        beyond the last one would never be seen.
        """
        body: Any = self.body
        patch = getattr(getattr(body, "patch_embed", None), "feat_ratio", lambda: 1)()
        if not hasattr(body, "set_input_size") or side % patch:
            return
        if getattr(body, "dynamic_img_size", False) or self.refusal(side):
            resample(body, side)

    def normalise(self, image: Tensor) -> Tensor:
        """Turn pixels (N, 3, H, W), 0..255 of any type, into the body's input."""
        return (image.float() - self.mean) / self.std

    def maps(self, normalised: Tensor) -> list[Tensor]:
        """Give the tapped maps and the last, each (N, C_i, H_i, W_i), if they are maps at all."""
        body: Any = self.body
        mirrored = self._mirrored(normalised)
        if not self.stages.taps:
            return [self._joined(m) for m in self._all(body.forward_features(mirrored))]
        last, tapped = body.forward_intermediates(mirrored, indices=list(self.stages.taps))
        return [self._joined(m) for m in (*tapped, self._last(last))]

    def pooled(self, normalised: Tensor) -> Tensor:
        """Give the head's features (N, D), the last columns of what is exported.

        They are spatial means of the last map, or the body's own pooling.
        """
        return self.pool(self.last_maps(normalised))

    def last_maps(self, normalised: Tensor) -> list[Tensor]:
        """Give what the head listens to: the last map, or all that the body gives at once."""
        body: Any = self.body
        return self._all(body.forward_features(self._mirrored(normalised)))

    def pool(self, maps: list[Tensor]) -> Tensor:
        """Average maps of all views over their area, side by side; (N, D)."""
        body: Any = self.body
        if maps[0].ndim == 4:
            return torch.cat([self._joined(m).mean(dim=(2, 3)) for m in maps], dim=1)
        return self._joined(body.forward_head(maps[0], pre_logits=True))

    def _all(self, given: Any) -> list[Tensor]:
        return [self._last(m) for m in (given if isinstance(given, tuple) else (given,))]

    def _mirrored(self, normalised: Tensor) -> Tensor:
        """Put all views of a batch one after another: (views * N, C, H, W)."""
        if self.views == 1:
            return normalised
        flips = FLIPS[self.views]
        return torch.cat([normalised.flip(list(f)) if f else normalised for f in flips])

    def _joined(self, seen: Tensor) -> Tensor:
        """Turn the views' maps back and average them; means of what is no map."""
        if self.views == 1:
            return seen
        views = seen.view(self.views, -1, *seen.shape[1:])
        if seen.ndim != 4:
            return views.mean(dim=0)
        back = [v.flip(list(f)) if f else v for v, f in zip(views, FLIPS[self.views], strict=True)]
        return torch.stack(back).mean(dim=0)

    def _last(self, features: Tensor) -> Tensor:
        """Put channels first, where the body has them last."""
        swapped = features.ndim == 4 and getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if swapped else features

    def depth_groups(self) -> Iterator[Layers]:
        """Give parameters with their depth, for discriminative rates."""
        body: Any = self.body
        if hasattr(body, "depth_groups"):
            yield from body.depth_groups()
            return
        matcher = timm.models.group_parameters(body, body.group_matcher(coarse=False), reverse=True)
        last = max(matcher.values()) or 1
        layers: dict[int, list[nn.Parameter]] = {}
        for name, parameter in body.named_parameters():
            layers.setdefault(min(matcher[name], last), []).append(parameter)
        normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in body.modules())
        for depth in sorted(layers):
            yield Layers(depth / last, layers[depth], 1.0 if normed else UNNORMED)


def taps_of(body: Any) -> Stages:
    """Give the stages at an eighth, a sixteenth and a thirty-second of the input, where there are.

    Early maps carry over to other stains and microscopes better than the last; which of them a
    head listens to is decided by evidence, not here.
    """
    info = getattr(getattr(body, "feature_info", None), "info", None) or getattr(
        body, "feature_info", None
    )
    if not isinstance(info, list) or not hasattr(body, "forward_intermediates"):
        return Stages()
    last = {int(stage["reduction"]): i for i, stage in enumerate(info)}
    taps = [i for reduction, i in sorted(last.items()) if reduction in (8, 16, 32)]
    if taps and info[taps[-1]]["num_chs"] == getattr(body, "num_features", 0):
        taps = taps[:-1]
    names = tuple(f"{info[i]['reduction']}" for i in taps)
    return Stages(tuple(taps), (*names, "last"))


def resample(body: Any, side: int) -> None:
    """Resample a body's positions for images of a side; one that cannot is left to be refused."""
    # Each network has its own way to say that it cannot, and timm's arithmetic warns.
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        body.set_input_size(img_size=side)


def timm_body(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Build a timm network without weights and classifier; give it and its record.

    Raises
    ------
    UnknownName
        With the nearest name that timm has.
    """
    architecture = name.removeprefix("timm/")
    if not name.startswith(PLACES) and not timm.is_model(architecture.split(".")[0]):
        raise UnknownName(f"There is no backbone {name!r}.", suggestion(architecture))
    try:
        body = timm.create_model(architecture, pretrained=False, num_classes=0)
    except Exception as error:
        raise RecipeError(f"timm cannot build {name!r} ({error}).", "Choose another.") from error
    record = dict(body.pretrained_cfg)
    return body, record
