"""A pretrained network as a backbone for learners without PyTorch: how the shipped one was made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cytowell.errors import RecipeError
from cytowell.export.onnx import round_to_half, to_onnx
from cytowell.images import Preprocessing
from cytowell.models.build import build, config_of
from cytowell.models.weights import weights_file
from cytowell.storage import cache_folder, replacing_folder, sha256

SIDE = 224
"""At which a checkpoint is exported for frozen features, if its network takes it."""


def export_backbone(name: str, out: Path, size: int = 224, weights: str = "") -> None:
    """Write ``backbone.onnx`` and ``backbone.json`` of a pretrained network.

    Its weights are stored in half precision.
    """
    backbone = build(name, weights).eval()
    backbone.fit_to(size)
    if why := backbone.refusal(size):
        size = backbone.side
        if backbone.refusal(size):
            raise RecipeError(f"{name} takes no images of {SIDE} or {size} px ({why}).")
    round_to_half(backbone)
    exported = to_onnx(backbone, size, half=True)
    origin = backbone.provenance
    preprocessing = Preprocessing(size=size, interpolation=backbone.interpolation)
    record = {
        "preprocessing": preprocessing.to_json(),
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


def cached(name: str, weights: str = "") -> Path:
    """Give the folder of an exported checkpoint, exported now if it is not in the cache.

    The cache knows it by the contents of its files, so a file that changes is exported anew.
    """
    files = [weights_file(weights)] if weights else []
    config = config_of(weights or name)
    if config is not None:
        files += [config.folder / "config.json", weights_file(weights or str(config.folder))]
    key = hashlib.sha256(" ".join([name, *map(sha256, files)]).encode()).hexdigest()[:32]
    folder = cache_folder() / "backbones" / key
    if not (folder / "backbone.json").is_file():
        export_backbone(name, folder, SIDE, weights)
    return folder
