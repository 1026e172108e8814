"""What other microscopes do to a photograph, and scenes in which there is nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason='needs the extra: pip install "cytowell[train]"')

from cytowell.errors import RecipeError
from cytowell.training.degrade import degrade, empty
from cytowell.training.detection_recipe import Detection
from cytowell.training.scenes import Annotated, batch, show
from cytowell.types import Box


def test_a_degraded_photograph_shows_the_same_things_in_the_same_places() -> None:
    pixels = np.full((96, 128, 3), 200, np.uint8)
    pixels[20:60, 30:80] = (90, 40, 120)
    there = np.zeros((96, 128), dtype=bool)
    there[24:56, 34:76] = True
    away = np.ones((96, 128), dtype=bool)
    away[14:66, 24:86] = False
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = degrade(pixels, rng).astype(float).mean(axis=2)
        assert made.shape == (96, 128)
        contrast = made[away].mean() - made[there].mean()
        assert abs(contrast) > 10
    one, again = (degrade(pixels, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_an_empty_scene_has_no_edge() -> None:
    for seed in range(20):
        scene = empty(64, np.random.default_rng(seed))
        assert scene.shape == (64, 64, 3)
        assert scene.dtype == np.uint8
        blocks = scene.astype(float).mean(axis=2).reshape(8, 8, 8, 8).mean(axis=(1, 3))
        steps = [np.abs(np.diff(blocks, axis=axis)).max() for axis in (0, 1)]
        assert max(steps) < 30


def test_a_recipe_that_asks_for_nothing_shows_the_scenes_that_it_showed(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (10, 200, 30)).save(tmp_path / "a.png")
    one = Annotated(str(tmp_path / "a.png"), (Box(8, 8, 20, 20),), np.zeros(1, dtype=np.int64))
    shown = show([one, one], 64, tmp_path / "scenes.npy")
    rows = np.array([0, 1])
    plain = Detection(phases=((64, 1),), mosaic=0.0, zoom=0.0)
    images, targets = batch(shown, rows, 64, plain, 0.0, 5)
    assert (targets[:, :, 3] > 0).all()
    nothing = dataclasses.replace(plain, empty=0.5)
    shares = [(batch(shown, rows, 64, nothing, 0.0, seed)[1][:, :, 3] > 0).float().mean()
              for seed in range(60)]  # fmt: skip
    assert 0.3 < float(np.mean(shares)) < 0.7
    worn, there = batch(shown, rows, 64, dataclasses.replace(plain, degrade=1.0), 0.0, 5)
    np.testing.assert_array_equal(there[:, :, 0], targets[:, :, 0])
    assert not np.array_equal(worn, images)
    for name in ("empty", "degrade"):
        with pytest.raises(RecipeError, match=name):
            Detection(**{name: 1.5})  # type: ignore[arg-type]
