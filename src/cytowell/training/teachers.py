"""What other networks say of the training images, for one network to learn from (distillation).

Hinton, Vinyals & Dean 2015 (arXiv 1503.02531). The teachers look at each image once, as they would
in service; their probabilities are averaged, so several of them are an ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cytowell.errors import DatasetError, RecipeError
from cytowell.learners.contract import Ticked
from cytowell.runtime.bundle import Bundle, load
from cytowell.types import Dataset, FloatArray


def opened(teachers: Sequence[str], classes: tuple[str, ...]) -> list[Bundle]:
    """Open the bundles that are to teach.

    Raises
    ------
    RecipeError
        If one tells other classes apart.
    """
    found = [load(teacher) for teacher in teachers]
    for bundle in found:
        if set(bundle.classes) != set(classes):
            other = sorted(set(bundle.classes) ^ set(classes))
            raise RecipeError(
                f"The teacher {bundle.name} tells other classes apart ({', '.join(other)}).",
                "A teacher has the classes of the data.",
            )
    return found


def taught(bundles: Sequence[Bundle], dataset: Dataset, ticked: Ticked) -> FloatArray:
    """Give the mean probabilities (N, C) of bundles, classes in the data set's order.

    Raises
    ------
    DatasetError
        If an image cannot be read.
    """
    total = np.zeros((len(dataset), len(dataset.classes)))
    for number, bundle in enumerate(bundles):
        ticked(number, len(bundles), "what the teachers say")
        calls = bundle.predict(list(dataset.samples))
        place = [bundle.classes.index(name) for name in dataset.classes]
        total += calls.probabilities[:, place]
    if lost := np.flatnonzero(~np.isfinite(total).all(axis=1)).tolist():
        raise DatasetError(
            f"A training image cannot be read: {dataset.samples[lost[0]].path}.",
            "Run cytowell check, and mend or remove what it lists.",
        )
    return total / len(bundles)
