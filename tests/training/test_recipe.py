"""A recipe that cannot be run is refused before anything is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cytowell.errors import RecipeError, UnknownName
from cytowell.training.recipe import PRESETS, Augmentation, Finetune, preset


@pytest.mark.parametrize("name", PRESETS)
def test_presets_grow_and_end_at_their_size(name: str) -> None:
    s = preset(name)
    sizes = [size for size, _ in s.phases]
    assert sizes == sorted(sizes)
    assert s.size == sizes[-1]
    assert s.steps == sum(steps for _, steps in s.phases)
    assert hash(s) == hash(preset(name))


def test_an_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'standard'"):
        preset("standart")


@pytest.mark.parametrize(
    "change",
    [
        {"phases": ()},
        {"phases": ((16, 10),)},
        {"phases": ((96, 0),)},
        {"class_weights": "fair"},
        {"crop": "tight"},
        {"crop": 0.0},
        {"crop": 1.5},
        {"batch": 0},
        {"small_batch": 1},
        {"evaluations": 0},
        {"patience": 0},
        {"ema": 1.0},
        {"ema": -0.1},
        {"warmup": 1.0},
        {"rate": 0.0},
        {"dropout": 1.0},
        {"stem_rate": -1.0},
        {"label_smoothing": 1.0},
        {"devices": 0},
        {"views": 3},
    ],
)
def test_a_field_that_cannot_hold_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        replace(Finetune(), **change)


def test_one_view_where_a_mirror_image_is_something_else() -> None:
    assert Finetune(views=4).mirrored == 4
    assert Finetune(views=4, augmentation=Augmentation(flip=False)).mirrored == 1


def test_a_recipe_is_a_value() -> None:
    assert Finetune() == Finetune(augmentation=Augmentation())
    assert replace(Finetune(), crop=0.83).crop == 0.83


def test_few_images_have_phases_of_their_own() -> None:
    standard = preset("standard")
    assert standard.for_images(standard.small_below) is standard
    small = standard.for_images(100)
    assert small.phases == standard.small_phases
    assert small.for_images(100) is small
    with pytest.raises(RecipeError, match="phases"):
        replace(standard, small_phases=((16, 5),))
