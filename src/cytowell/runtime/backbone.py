"""A network to take features from: a bundle's, the shipped one's, or any ONNX file of that kind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytowell.checks.training_images import TrainingImages
from cytowell.errors import BundleCorrupt, BundleError, BundleRefused
from cytowell.images import Preprocessing
from cytowell.runtime.bundle import MapSlice, load
from cytowell.runtime.sealed import complete
from cytowell.runtime.session import Session


@dataclass(frozen=True)
class FrozenBackbone:
    """A network, how it wants its images, and which features are means of which map.

    `training_images` is what is recorded of the images that taught it, None for nothing.
    """

    name: str
    model: bytes
    session: Session
    record: Preprocessing
    maps: tuple[MapSlice, ...]
    origin: dict[str, Any]
    digest: str
    training_images: TrainingImages | None = None


def open_backbone(place: Path, name: str) -> FrozenBackbone:
    """Open a bundle folder, a folder with ``backbone.onnx`` and ``backbone.json``, or an ONNX file.

    Raises
    ------
    BundleError
        If it is none of these.
    """
    if (place / "bundle.json").is_file():
        bundle = load(place)
        facts = bundle.facts
        return FrozenBackbone(
            name,
            bundle.model,
            bundle.session,
            facts.preprocessing,
            facts.maps,
            facts.origin,
            hashlib.sha256(bundle.model).hexdigest(),
            facts.training_images,
        )
    record: dict[str, Any] = {}
    if (place / "backbone.json").is_file():
        with complete(place / "backbone.json"):
            record = dict(json.loads((place / "backbone.json").read_text(encoding="utf-8")))
        place = place / "backbone.onnx"
    if place.suffix != ".onnx":
        raise BundleRefused(
            f"{place} is no bundle and no ONNX file.", "Give a bundle's folder or backbone.onnx."
        )
    try:
        model = place.read_bytes()
    except OSError as error:
        raise BundleError(f"{place} cannot be read.", "Check the path.") from error
    digest = hashlib.sha256(model).hexdigest()
    if record and record.get("sha256") != digest:
        raise BundleCorrupt(f"{place} was changed since it was made.", "Install it again.")
    session = Session(model, str(place))
    preprocessing = Preprocessing(size=session.size or 224)
    maps: tuple[MapSlice, ...] = ()
    if record:
        with complete(place):
            preprocessing = Preprocessing.from_json(record["preprocessing"])
            maps = tuple(MapSlice(*m) for m in record["maps"])
    return FrozenBackbone(
        name, model, session, preprocessing, maps, record.get("origin", {}), digest
    )
