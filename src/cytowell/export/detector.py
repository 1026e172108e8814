"""A trained detector as a bundle: boxes said in the graph, and the gate that PyTorch agrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch

from cytowell.errors import ParityError
from cytowell.export.onnx import halve, traced
from cytowell.runtime.detector import FAINTEST, Detector
from cytowell.runtime.detector_facts import DetectorFacts
from cytowell.types import Pixels

SCORES = 1e-3
"""Largest difference of a certainty that is rounding and no mistake."""

PIXELS = 0.1
"""The same of a box's edge, where the certainty is more than next to nothing."""


def export_detector(
    network: Any, facts: DetectorFacts, photographs: Sequence[Pixels], half: bool = False
) -> Detector:
    """Export a network for square input of `facts.reading.side` pixels, and prove it.

    Parameters
    ----------
    network
        Gives corners (N, M, 4) and scores (N, M, C) of uint8 (N, side, side, 3).
    photographs
        Letterboxed real ones, (side, side, 3).
    half
        Store weights in half precision; the network's must be rounded to it already.

    Raises
    ------
    ParityError
        If PyTorch and ONNX Runtime do not say the same of them.
    """
    network = network.eval()
    side = facts.reading.side
    model = traced(network, torch.zeros(2, side, side, 3, dtype=torch.uint8), ["corners", "scores"])
    if half:
        halve(model)
    onnx.checker.check_model(model)
    detector = Detector(facts, model.SerializeToString())
    moved = unsure = 0.0
    for pixels in photographs:
        block = np.array(pixels[None])
        with torch.no_grad():
            corners, scores = (t.numpy() for t in network(torch.from_numpy(block)))
        ours = detector.raw(block)
        unsure = max(unsure, float(np.abs(scores - ours[1]).max()))
        said = scores.max(axis=-1) >= FAINTEST
        moved = max(moved, float(np.abs(corners - ours[0])[said].max(initial=0.0)))
    if not (unsure <= SCORES and moved <= PIXELS):
        raise ParityError(
            "The exported detector does not say what was trained: certainties differ by "
            f"{unsure:.1e}, edges by {moved:.2f} pixels.",
            "No bundle was written. Please report this with the recipe.toml of the run.",
        )
    proof = (
        f"PyTorch against ONNX Runtime: {len(photographs)} photographs, largest difference of a "
        f"certainty {unsure:.1e}, of an edge {moved:.1e} pixels."
    )
    facts.origin["parity"] = proof
    return detector
