"""Cytowell: calls for cell and well photographs that a laboratory can sign.

The public names are the way of an image; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cytowell.learners.estimator import CellClassifier
    from cytowell.plates.grid import find_wells
    from cytowell.runs.adapt import adapt
    from cytowell.runs.compare import compare
    from cytowell.runs.drift import drift
    from cytowell.runs.judge import judge as evaluate
    from cytowell.runs.run import check, train
    from cytowell.runs.smear import smear
    from cytowell.runs.suggest import suggest
    from cytowell.runs.titres import titre
    from cytowell.runtime.bundle import Bundle, load
    from cytowell.serving.app import serve
    from cytowell.sources import read
    from cytowell.sources.convert import convert
    from cytowell.sources.fetch import fetch
    from cytowell.sources.samples import write_samples
    from cytowell.splits import split
    from cytowell.types import Box, Dataset, Findings, Predictions, Sample, Split

__version__ = "0.1.0"

_HOMES = {
    "read": "cytowell.sources:read",
    "convert": "cytowell.sources.convert:convert",
    "fetch": "cytowell.sources.fetch:fetch",
    "write_samples": "cytowell.sources.samples:write_samples",
    "find_wells": "cytowell.plates.grid:find_wells",
    "check": "cytowell.runs.run:check",
    "split": "cytowell.splits:split",
    "train": "cytowell.runs.run:train",
    "adapt": "cytowell.runs.adapt:adapt",
    "compare": "cytowell.runs.compare:compare",
    "evaluate": "cytowell.runs.judge:judge",
    "suggest": "cytowell.runs.suggest:suggest",
    "drift": "cytowell.runs.drift:drift",
    "smear": "cytowell.runs.smear:smear",
    "titre": "cytowell.runs.titres:titre",
    "serve": "cytowell.serving.app:serve",
    "load": "cytowell.runtime.bundle:load",
    "Bundle": "cytowell.runtime.bundle:Bundle",
    "CellClassifier": "cytowell.learners.estimator:CellClassifier",
    "Box": "cytowell.types:Box",
    "Dataset": "cytowell.types:Dataset",
    "Findings": "cytowell.types:Findings",
    "Predictions": "cytowell.types:Predictions",
    "Sample": "cytowell.types:Sample",
    "Split": "cytowell.types:Split",
}

__all__ = [
    "Box",
    "Bundle",
    "CellClassifier",
    "Dataset",
    "Findings",
    "Predictions",
    "Sample",
    "Split",
    "adapt",
    "check",
    "compare",
    "convert",
    "drift",
    "evaluate",
    "fetch",
    "find_wells",
    "load",
    "read",
    "serve",
    "smear",
    "split",
    "suggest",
    "titre",
    "train",
    "write_samples",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cytowell' has no attribute {name!r}")
    value = importlib.import_module("cytowell.registry").part(_HOMES[name], name)
    globals()[name] = value
    return value
