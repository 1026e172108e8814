"""Any backbone by name: the table's, else timm's, else the hub's."""

from __future__ import annotations

from cytowell import registry
from cytowell.models.backbone import Backbone, Provenance, Stages, timm_body
from cytowell.models.weights import from_hub, load_into


def build(name: str, weights: str = "", stages: Stages | None = None) -> Backbone:
    """Build a backbone with pretrained weights.

    Parameters
    ----------
    name
        A registered name, any timm name, or ``hf-hub:owner/model``.
    weights
        A file or bundle to start from; without it the cache, the hub or a weight package.
    """
    if name in registry.names("backbones"):
        backbone: Backbone = registry.load("backbones", name)(weights, stages)
        return backbone
    body, record = timm_body(name) if weights else (None, {})
    if body is not None:
        source = load_into(body, weights)
    else:
        timm_name = name if name.startswith("hf-hub:") else _known(name)
        body = from_hub(timm_name)
        record = dict(body.pretrained_cfg)  # type: ignore[arg-type]
        source = f"hub, {record.get('hf_hub_id') or name}"
    mean = tuple(255.0 * m for m in record.get("mean", (0.485, 0.456, 0.406)))
    std = tuple(255.0 * s for s in record.get("std", (0.229, 0.224, 0.225)))
    provenance = Provenance(name, source, str(record.get("license") or "not stated"))
    return Backbone(body, mean, std, provenance, stages)


def _known(name: str) -> str:
    timm_body(name)
    return name
