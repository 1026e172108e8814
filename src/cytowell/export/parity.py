"""The gate: PyTorch and ONNX Runtime on the same real images, or no bundle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cytowell.errors import ParityError
from cytowell.models.classifier import Classifier
from cytowell.runtime.head import Head
from cytowell.runtime.session import Session
from cytowell.types import Pixels

LARGEST = 1e-3
"""Largest difference of a logit that is rounding and no mistake."""

MARGIN = 2e-3
"""A call whose first and second logit lie further apart may not change."""


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
        If a logit differs by more than `LARGEST`, or a call beyond `MARGIN` changed.
    """
    network.eval()
    theirs, ours = [], []
    with torch.no_grad():
        for i in range(0, len(pixels), 16):
            block = np.array(pixels[i : i + 16])
            logits = network(torch.from_numpy(block).permute(0, 3, 1, 2)).logits
            theirs.append(logits.numpy().astype(np.float64))
            ours.append(head.logits(session.features(block)))
    a, b = np.concatenate(theirs), np.concatenate(ours)
    largest = float(np.abs(a - b).max())
    ordered = np.sort(a, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > MARGIN
    changed = int(np.sum((a.argmax(axis=1) != b.argmax(axis=1)) & clear))
    result = Parity(len(a), largest, changed)
    if not largest <= LARGEST or changed:
        raise ParityError(
            f"The exported network does not compute what was trained: {result}.",
            "No bundle was written. Please report this with the recipe.toml of the run.",
        )
    return result
