"""Scenes keep boxes where their objects are, whatever is done to the photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason='needs the extra: pip install "cytowell[train]"')

from cytowell.training.detection_recipe import Detection
from cytowell.training.recipe import Augmentation
from cytowell.training.scenes import Annotated, Shown, batch, show
from cytowell.types import Box

BARE = Augmentation(brightness=0, contrast=0, saturation=0, stain=0)
SIDE = 96


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Photographs of two sizes, each with a red and a blue rectangle on white, and one empty."""
    folder = tmp_path_factory.mktemp("photographs")
    photographs = []
    for number, (width, height) in enumerate([(160, 120), (90, 150), (100, 100)]):
        pixels = np.full((height, width, 3), 255, dtype=np.uint8)
        boxes = (Box(20, 30, 24, 16), Box(60, 70, 20, 28)) if number < 2 else ()
        for box, colour in zip(boxes, ((255, 0, 0), (0, 0, 255)), strict=False):
            x, y = int(box.x), int(box.y)
            pixels[y : y + int(box.height), x : x + int(box.width)] = colour
        file = folder / f"{number}.png"
        Image.fromarray(pixels).save(file)
        photographs.append(Annotated(str(file), boxes, np.arange(len(boxes))))
    return show(photographs, SIDE, folder / "scenes.npy")


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_lie_on_their_objects(shown: Shown, mosaic: float) -> None:
    s = Detection(augmentation=BARE)
    boxes = 0
    for mark in range(60):
        images, targets = batch(shown, np.array([0, 1]), SIDE, s, mosaic, mark)
        for pixels, rows in zip(images.numpy(), targets.numpy(), strict=True):
            red = (pixels[0] > 180) & (pixels[2] < 90)
            blue = (pixels[2] > 180) & (pixels[0] < 90)
            for label, x, y, w, h in rows[rows[:, 3] > 0]:
                left, top = round(float(x - w / 2)), round(float(y - h / 2))
                right, bottom = round(float(x + w / 2)), round(float(y + h / 2))
                # A pixel at the edge is half one colour, half the other.
                inside = (red, blue)[int(label)][top + 1 : bottom - 1, left + 1 : right - 1]
                assert inside.size == 0 or inside.mean() > 0.9
                boxes += 1
            seen = (red.sum() + blue.sum()) / 2
            claimed = float((rows[:, 3] * rows[:, 4]).sum()) / 2
            assert claimed >= 0.6 * seen - 60
    assert boxes > 100


def test_an_empty_photograph_is_a_scene_without_boxes(shown: Shown) -> None:
    images, targets = batch(shown, np.array([2]), SIDE, Detection(), 0.0, 1)
    assert images.shape == (1, 3, SIDE, SIDE)
    assert float(targets.abs().sum()) == 0.0


def test_a_mark_draws_the_same_scene_again(shown: Shown) -> None:
    rows, s = np.array([0, 1]), Detection()
    first, second = (batch(shown, rows, SIDE, s, 0.6, 5) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    other, _ = batch(shown, rows, SIDE, s, 0.6, 6)
    assert (other != first[0]).any()


def test_letters_are_not_mirrored(shown: Shown) -> None:
    s = Detection(zoom=0.0, augmentation=replace(BARE, flip=False))
    for mark in range(10):
        _, targets = batch(shown, np.array([0]), SIDE, s, 0.0, mark)
        red, blue = targets[0, 0], targets[0, 1]
        assert red[1] < blue[1]
        assert red[2] < blue[2]
