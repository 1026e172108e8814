"""Any backbone by name: the table's, two of them side by side, else timm's, else the hub's."""

from __future__ import annotations

from torch import nn

from cytowell import registry
from cytowell.models.backbone import Backbone, Provenance, Stages, timm_body
from cytowell.models.weights import NOTHING, from_hub, load_into


def build(name: str, weights: str = "", stages: Stages | None = None) -> Backbone:
    """Build a backbone.

    Parameters
    ----------
    name
        A registered name, any timm name, ``hf-hub:owner/model``, or two names with ``+`` between
        them, which look at each image side by side.
    weights
        A file or bundle to start from, or `nothing` for random numbers, which has to be said;
        without it the cache, the hub or a weight package.
    """
    if name in registry.names("backbones"):
        backbone: Backbone = registry.load("backbones", name)(weights, stages)
        return backbone
    if "+" in name and not name.startswith("hf-hub:"):
        both: Backbone = registry.part("cytowell.models.hybrid:hybrid")(name, weights)
        return both
    return from_timm(name, weights, stages)


def from_timm(name: str, weights: str = "", stages: Stages | None = None) -> Backbone:
    """Build a network of timm's or of the hub's."""
    if weights or not name.startswith("hf-hub:"):
        body, record = timm_body(name)
        _cut(body)
    if weights == NOTHING:
        source = NOTHING
    elif weights:
        source = load_into(body, weights)
    else:
        body = from_hub(name)
        _cut(body)
        # PyTorch types every attribute of a module as a tensor or a module; timm's is a dict.
        record = dict(body.pretrained_cfg)  # type: ignore[arg-type]
        source = f"hub, {record.get('hf_hub_id') or name}"
    mean = tuple(255.0 * m for m in record.get("mean", (0.485, 0.456, 0.406)))
    std = tuple(255.0 * s for s in record.get("std", (0.229, 0.224, 0.225)))
    licence = "none needed" if weights == NOTHING else str(record.get("license") or "not stated")
    provenance = Provenance(name, source, licence)
    side = int(record.get("input_size", (3, 224, 224))[-1])
    return Backbone(body, mean, std, provenance, stages, side)


def _cut(body: nn.Module) -> None:
    """Drop VGG's two fully connected layers: 120 million numbers behind the last map, unused."""
    if hasattr(body, "pre_logits"):
        body.pre_logits = nn.Identity()
