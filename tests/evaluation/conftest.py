from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cytowell.types import Predictions, Sample

Maker = Callable[..., Predictions]


@pytest.fixture
def make() -> Maker:
    def build(
        n: int = 400,
        classes: Sequence[str] = ("a", "b", "c"),
        seed: int = 0,
        sharp: float = 3.0,
        groups: Sequence[str] | None = None,
        threshold: float = 0.7,
    ) -> Predictions:
        random = np.random.default_rng(seed)
        truth = random.integers(len(classes), size=n)
        logits = random.normal(size=(n, len(classes)))
        logits[np.arange(n), truth] += sharp * random.random(n)
        grown = np.exp(logits)
        probabilities = grown / grown.sum(axis=1, keepdims=True)
        samples = tuple(
            Sample(f"cells/{i}.png", classes[t], groups[i] if groups else None)
            for i, t in enumerate(truth)
        )
        decided = probabilities.max(axis=1) >= threshold
        reasons = tuple("" if d else "below the threshold" for d in decided)
        return Predictions(samples, tuple(classes), probabilities, decided, reasons, ("",) * n)

    return build
