"""The gate: PyTorch and ONNX Runtime on the same real images, or no bundle."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from cytowell.errors import ParityError
from cytowell.models.classifier import Classifier
from cytowell.runtime.head import Head
from cytowell.runtime.session import Session
from cytowell.types import FloatArray, Pixels

LARGEST = 1e-3
"""Largest difference of a logit that is rounding and no mistake."""

MARGIN = 2e-3
"""A call whose first and second logit lie further apart may not change."""

BLOCK = 16
"""Images that are looked at together."""


@dataclass(frozen=True)
class Parity:
    """What was measured: images, largest difference of logits, calls that changed."""

    images: int
    largest: float
    changed: int

    def __str__(self) -> str:
        return (
            f"{self.images} images, largest difference of a logit {self.largest:.1e}, "
            f"{self.changed} calls changed"
        )


def prove(network: Classifier, session: Session, head: Head, pixels: Pixels) -> Parity:
    """Compare both on pixels (N, size, size, 3).

    Raises
    ------
    ParityError
        If a logit differs by more than `LARGEST`, or a call beyond `MARGIN` changed. It says
        whether the export is at fault or a network whose own logits hang on the last digits.
    """
    network.eval()
    blocks = [np.array(pixels[i : i + BLOCK]) for i in range(0, len(pixels), BLOCK)]
    a = _logits(network, blocks)
    b = np.concatenate([head.logits(session.features(block)) for block in blocks])
    largest = float(np.abs(a - b).max())
    ordered = np.sort(a, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > MARGIN
    changed = int(np.sum((a.argmax(axis=1) != b.argmax(axis=1)) & clear))
    result = Parity(len(a), largest, changed)
    if not largest <= LARGEST or changed:
        own = float(np.abs(a - _logits(copy.deepcopy(network).double(), blocks)).max())
        if own > LARGEST and largest <= 10 * own:
            raise ParityError(
                f"The network has learnt too little to be exported: it makes so much of a rounding "
                f"error that PyTorch differs from itself at double precision by {own:.1e}, and "
                f"ONNX Runtime from PyTorch by {largest:.1e}.",
                "No bundle was written. Train for more epochs, at a lower rate, or from "
                "pretrained weights.",
            )
        raise ParityError(
            f"The exported network does not compute what was trained: {result}.",
            "No bundle was written. Please report this with the recipe.toml of the run.",
        )
    return result


def _logits(network: Classifier, blocks: list[Pixels]) -> FloatArray:
    """Give a network's logits (N, C) of blocks of pixels (n, size, size, 3)."""
    with torch.no_grad():
        answers = [network(torch.from_numpy(b).permute(0, 3, 1, 2)).logits for b in blocks]
    return torch.cat(answers).numpy().astype(np.float64)
