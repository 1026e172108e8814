"""A pretrained network as a backbone for learners without PyTorch: how the shipped one was made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cytowell.export.onnx import round_to_half, to_onnx
from cytowell.images import Preprocessing
from cytowell.models.build import build
from cytowell.storage import replacing_folder


def export_backbone(name: str, out: Path, size: int = 224, weights: str = "") -> None:
    """Write ``backbone.onnx`` and ``backbone.json`` of a pretrained network.

    Its weights are stored in half precision.
    """
    backbone = build(name, weights).eval()
    backbone.fit_to(size)
    round_to_half(backbone)
    exported = to_onnx(backbone, size, half=True)
    origin = backbone.provenance
    record = {
        "preprocessing": Preprocessing(
            size=size, interpolation=backbone.interpolation
        ).to_json(),
        "maps": [[m.name, m.start, m.stop] for m in exported.maps],
        "origin": {
            "architecture": origin.architecture,
            "weights": origin.weights,
            "licence": origin.licence,
        },
        "sha256": hashlib.sha256(exported.model).hexdigest(),
    }
    with replacing_folder(out) as beside:
        (beside / "backbone.onnx").write_bytes(exported.model)
        (beside / "backbone.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
