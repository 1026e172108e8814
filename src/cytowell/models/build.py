"""Any backbone by name: the table's, two of them side by side, timm's, the hub's, a folder's."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from cytowell import registry
from cytowell.errors import RecipeError, WeightsUnavailable
from cytowell.images.record import INTERPOLATION
from cytowell.models.backbone import Backbone, Provenance, Stages, timm_body
from cytowell.models.names import PLACES
from cytowell.models.weights import NOTHING, from_hub, load_into, weights_file

TIMM = "timm:"
"""What may stand before a name of timm's; the checkpoint's whole preprocessing is then its own."""

NEAREST = {"lanczos": "bicubic", "hamming": "bilinear", "random": "bilinear", "nearest": "box"}
"""Interpolations that timm's records name and images here are not resized by, and what stands in
for them."""


@dataclass(frozen=True)
class Config:
    """Where a checkpoint lies, and timm's name of its network by the ``config.json`` there."""

    folder: Path
    architecture: str


def build(name: str, weights: str = "", stages: Stages | None = None) -> Backbone:
    """Build a backbone.

    Parameters
    ----------
    name
        A registered name; any timm name, with or without ``timm:`` before it; a checkpoint as
        ``hf-hub:owner/model``; a folder with ``config.json`` and weights as the hub has them; or
        two names with ``+`` between them, which look at each image side by side.
    weights
        A file or bundle to start from, or `nothing` for random numbers, which has to be said;
        without it the cache, the hub or a weight package.
    """
    if name in registry.names("backbones"):
        backbone: Backbone = registry.load("backbones", name)(weights, stages)
        return backbone
    if "+" in name and not name.startswith(PLACES) and config_of(name) is None:
        both: Backbone = registry.part("cytowell.models.hybrid:hybrid")(name, weights)
        return both
    return from_timm(name, weights, stages)


def from_timm(name: str, weights: str = "", stages: Stages | None = None) -> Backbone:
    """Build a network of timm's, of the hub's or of a folder's.

    Raises
    ------
    RecipeError
        If the weights are of another network by the ``config.json`` beside them, or its images
        have not three channels.
    """
    asked, given = name.removeprefix(TIMM), weights not in ("", NOTHING)
    config = config_of(name)
    if config is not None:
        asked, weights = f"local-dir:{config.folder}", weights or str(config.folder)
    elif given and (config := config_of(weights)) is not None:
        _require_same(asked, weights, config)
        asked = f"local-dir:{config.folder}"
    if weights or not asked.startswith("hf-hub:"):
        body, record = timm_body(asked)
        _cut(body)
    if weights == NOTHING:
        source = NOTHING
    elif weights:
        source = load_into(body, weights)
    else:
        body = from_hub(asked)
        _cut(body)
        # PyTorch types every attribute of a module as a tensor or a module; timm's is a dict.
        record = dict(body.pretrained_cfg)  # type: ignore[arg-type]
        source = f"hub, {record.get('hf_hub_id') or name}"
    # What timm knows of the network's usual weights is no licence of a file that somebody gives.
    licence = record.get("license") if config is not None or not given else None
    provenance = Provenance(
        name, source, "none needed" if weights == NOTHING else str(licence or "not stated")
    )
    backbone = _as_recorded(body, record, provenance, stages)
    if name.startswith((TIMM, *PLACES)) or config is not None:
        where = f"{config.folder / 'config.json'}" if config is not None else "timm's record"
        if asked.startswith("hf-hub:"):
            where = "the hub's record"
        _take_preprocessing(backbone, record, where)
    return backbone


def config_of(place: str) -> Config | None:
    """Read ``config.json`` in a folder, or beside a weights file; None where timm wrote none.

    Raises
    ------
    WeightsUnavailable
        If there is one that cannot be read.
    """
    named = Path(place.removeprefix("local-dir:"))
    folder = named if named.is_dir() else named.parent
    file = folder / "config.json"
    if not named.exists() or not file.is_file():
        if place.startswith("local-dir:"):
            raise WeightsUnavailable(
                f"{named} is no folder with config.json.", "Copy the whole checkpoint from the hub."
            )
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsUnavailable(f"{file} cannot be read ({error}).", "Copy it again.") from error
    if not isinstance(told, dict) or "architecture" not in told:
        return None  # another library's
    if not isinstance(told.get("pretrained_cfg", {}), dict):
        raise WeightsUnavailable(
            f"{file} cannot be read (its pretrained_cfg is no table).", "Copy it again."
        )
    return Config(folder, str(told["architecture"]))


def _require_same(asked: str, weights: str, config: Config) -> None:
    architecture = asked.removeprefix("timm/").split(".")[0]
    if not asked.startswith(PLACES) and architecture != config.architecture.split(".")[0]:
        raise RecipeError(
            f"{weights_file(weights)} is of {config.architecture}, by the config.json beside it, "
            f"and not of {architecture}.",
            f"Use --backbone {TIMM}{config.architecture}.",
        )


def _as_recorded(
    body: nn.Module, record: dict[str, Any], provenance: Provenance, stages: Stages | None
) -> Backbone:
    channels, *_, side = record.get("input_size", (3, 224, 224))
    if int(channels) != 3:
        raise RecipeError(
            f"{provenance.architecture} looks at images of {channels} channels.",
            "Choose a network for three, as red, green and blue.",
        )
    mean = tuple(255.0 * m for m in record.get("mean", (0.485, 0.456, 0.406)))
    std = tuple(255.0 * s for s in record.get("std", (0.229, 0.224, 0.225)))
    return Backbone(body, mean, std, provenance, stages, int(side))


def _take_preprocessing(backbone: Backbone, record: dict[str, Any], where: str) -> None:
    """Resize as the checkpoint's record says, and leave a sentence about all that was read."""
    wanted = str(record.get("interpolation") or "bilinear")
    used = wanted if wanted in INTERPOLATION else NEAREST.get(wanted, "bilinear")
    backbone.interpolation = used
    mean, std = (
        ", ".join(f"{v / 255:.3g}" for v in t.flatten().tolist())
        for t in (backbone.mean, backbone.std)
    )
    how = used if used == wanted else f"{used} in place of {wanted}"
    said = f"mean {mean}; deviation {std}; {how}; learnt at {backbone.side} px; read from {where}"
    backbone.provenance = replace(backbone.provenance, preprocessing=said)


def _cut(body: nn.Module) -> None:
    """Drop VGG's two fully connected layers: 120 million numbers behind the last map, unused."""
    if hasattr(body, "pre_logits"):
        body.pre_logits = nn.Identity()
