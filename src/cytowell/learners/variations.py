"""Labelled cells as another laboratory would show them: what a head of few labels is fitted on too.

Ten cells a class say little of how a class varies. Each is seen again in narrower and wider windows
and in other colours, through the same network; what is called, and what is judged, is never varied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cytowell.errors import CytowellError, DatasetError
from cytowell.images import Preprocessing, load_many
from cytowell.learners.contract import Ticked, unticked
from cytowell.learners.features import cached_rows, content_key
from cytowell.runtime.backbone import FrozenBackbone
from cytowell.runtime.pipeline import Batch
from cytowell.types import FloatArray, Pixels, Sample

VERSION = "variations 1"
"""Changes when the same sample would be varied otherwise."""

VARIATIONS = (
    (0.85, False),
    (1.18, False),
    (0.88, True),
    (0.96, True),
    (1.05, True),
    (1.14, True),
)
"""Of each: factor of the window, and whether colours vary."""

MIXED, GAIN, DENSITY = 0.06, 0.18, 0.12
"""Standard deviations of how channels of optical density mix into one another, of the logarithm of
each channel's factor, and of that of all."""

BATCH = 32


def with_variations(
    network: FrozenBackbone,
    record: Preprocessing,
    samples: Sequence[Sample],
    features: npt.NDArray[np.float32],
    ticked: Ticked = unticked,
) -> npt.NDArray[np.float32]:
    """Give features (N, V, D) of samples in the view of single cells: as they are, then varied.

    Parameters
    ----------
    features
        (N, D), of the samples as they are.
    """
    assert record.cell is not None, "only what has a nucleus has a window of its size"
    rows = [features]
    for number, (factor, colours) in enumerate(VARIATIONS):
        window = float(np.clip(factor * record.cell.window, 1.0, 10.0))
        seen = replace(record, cell=replace(record.cell, window=window))

        def compute(
            missing: Sequence[Sample],
            seen: Preprocessing = seen,
            number: int = number if colours else -1,
        ) -> Iterator[Batch]:
            return _seen(network, seen, missing, number)

        maker = f"{network.digest} {VERSION} {number if colours else 'as it is'}"
        rows.append(cached_rows(maker, seen, samples, compute, ticked))
    return np.stack(rows, axis=1)


def _seen(
    network: FrozenBackbone, record: Preprocessing, samples: Sequence[Sample], number: int
) -> Iterator[Batch]:
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        pixels = []
        for sample, read in zip(part, load_many(part, record), strict=True):
            if isinstance(read, CytowellError):
                raise DatasetError(
                    f"An image cannot be learnt from: {read}",
                    "Run cytowell check, and mend or remove what it lists.",
                )
            pixels.append(read if number < 0 else recoloured(read, content_key(sample), number))
        yield Batch(tuple(part), ("",) * len(part), network.session.features(np.stack(pixels)))


def recoloured(pixels: Pixels, key: bytes, number: int) -> Pixels:
    """Give a picture in other colours: always the same for one content and number."""
    rng = np.random.default_rng([number, int.from_bytes(key[:8], "big")])
    mixing: FloatArray = np.eye(3) + rng.normal(0, MIXED, (3, 3))
    factors = np.exp(rng.normal(0, GAIN, 3) + rng.normal(0, DENSITY))
    density = -np.log((pixels.astype(np.float64) + 1) / 256)
    varied = np.clip((density @ mixing.T) * factors, 0, None)
    shown: Pixels = np.clip(np.exp(-varied) * 256 - 1, 0, 255).astype(np.uint8)
    return shown
