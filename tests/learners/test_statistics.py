"""What training images look like in feature space, and what lies far from them."""

from __future__ import annotations

import numpy as np

from cytowell.learners.statistics import statistics_of
from cytowell.runtime.bundle import MapSlice

MAPS = (MapSlice("map_8", 0, 4), MapSlice("map_last", 4, 604))


def test_a_wide_map_does_not_drown_a_narrow_one() -> None:
    """Another kind of picture differs in four early features of 604, by eight deviations."""
    rng = np.random.default_rng(0)
    labels = np.arange(400, dtype=np.int64) % 2
    learnt, more = rng.normal(size=(400, 604)), rng.normal(size=(200, 604))
    other = rng.normal(size=(50, 604))
    other[:, :4] += 8.0
    found = statistics_of(learnt, labels, 2, maps=MAPS)
    assert found.axes.shape == (128, 604)
    assert found.distance(other).min() > found.distance(more).max()
    # Without the maps' names the wide one has nearly all of the components.
    blind = statistics_of(learnt, labels, 2)
    assert blind.distance(other).min() < blind.distance(more).max()
