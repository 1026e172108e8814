"""Whatever is declared of a setting holds: its range, its words, what is written and read back."""

from __future__ import annotations

import dataclasses
import pickle
import tomllib
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from cytowell.errors import RecipeError
from cytowell.images import CellView
from cytowell.learners.settings import Classical, Frozen
from cytowell.settings import (
    changed,
    describe,
    essence,
    field_of,
    is_settings,
    reference,
    setting,
    settings,
    span,
    to_toml,
)
from cytowell.training.detection_recipe import Detection
from cytowell.training.recipe import Augmentation, Finetune

CLASSES = (Augmentation, Finetune, Detection, Frozen, Classical, CellView)


@settings
class Inner:
    """A table inside."""

    angle: Annotated[float, setting("Turns.", low=-5, high=5, unit="degrees")] = 1.0


@settings
class Outer:
    """A table."""

    word: Annotated[Literal["red", "green"], setting("A colour.")] = "red"
    share: Annotated[float, setting("A share.", above=0, high=1)] = 0.5
    inner: Annotated[Inner, setting("Inside.")] = Inner()
    later: Annotated[int, setting("Came later.", added=True)] = 0


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_says_what_it_does(cls: Any) -> None:
    for name in cls.__pydantic_fields__:
        assert describe(cls, name)[0].isupper() or " " in describe(cls, name), name
        assert f"`{name}`" in reference(cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_both_ends_of_every_range_hold_and_nothing_beyond(cls: Any) -> None:
    for name, field in cls.__pydantic_fields__.items():
        for mark in field.metadata:
            for bound, beyond in (("ge", -1), ("le", 1)):
                end = getattr(mark, bound, None)
                if end is None:
                    continue
                end = type(getattr(cls(), name))(end)
                assert getattr(dataclasses.replace(cls(), **{name: end}), name) == end
                with pytest.raises(RecipeError, match=f"^{name} = .* is out of range"):
                    dataclasses.replace(cls(), **{name: end + beyond})


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("value", [{"a": 1}, object(), b"x", 1 + 2j])
def test_no_value_of_another_kind_is_taken(cls: Any, value: Any) -> None:
    for name in cls.__pydantic_fields__:
        with pytest.raises(RecipeError):
            dataclasses.replace(cls(), **{name: value})


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_written_comes_back(cls: Any) -> None:
    text = to_toml(cls(), "here")
    assert changed(cls(), tomllib.loads(text)["here"]) == cls()
    assert pickle.loads(pickle.dumps(cls())) == cls()
    assert hash(cls()) == hash(cls())


@tries(max_examples=60, deadline=None)
@given(
    rate=st.floats(1e-7, 1.0),
    erase=st.floats(0, 1),
    weights=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
    phases=st.lists(
        st.tuples(st.integers(32, 4096), st.integers(1, 10**6)), min_size=1, max_size=3
    ),
)
def test_any_settings_come_back_as_they_were(
    rate: float, erase: float, weights: str, phases: list[tuple[int, int]]
) -> None:
    made = Finetune(
        rate=rate, weights=weights, phases=tuple(phases), augmentation=Augmentation(erase=erase)
    )
    assert changed(Finetune(), tomllib.loads(to_toml(made, "f"))["f"]) == made


def test_every_fault_is_named_at_once_with_where_it_stands() -> None:
    with pytest.raises(RecipeError) as refused:
        changed(Outer(), {"word": "gren", "share": 0.0}, "outer.")
    said = str(refused.value)
    assert "outer.word = 'gren' is not known. Did you mean 'green'? Use red or green." in said
    assert "outer.share = 0.0 is out of range. Use more than 0 to 1." in said
    with pytest.raises(RecipeError, match=r"outer\.inner\.angle = 7 .* Use -5 to 5 degrees\."):
        changed(Outer(), {"inner": {"angle": 7}}, "outer.")
    with pytest.raises(RecipeError, match=r"'outer\.inner\.angel'.* Did you mean 'angle'"):
        changed(Outer(), {"inner": {"angel": 7}}, "outer.")


def test_a_field_that_came_later_decides_nothing_at_its_default() -> None:
    assert "later" not in essence(Outer())
    assert essence(Outer(later=3))["later"] == 3
    assert essence(Outer())["inner"] == {"angle": 1.0}


def test_ranges_are_told_as_a_reader_writes_them() -> None:
    assert span(field_of(Outer, "share")) == "more than 0 to 1"
    assert span(field_of(Finetune, "small_below")) == "0 images or more"
    assert span(field_of(Finetune, "memory")) == "0 to 1000000"
    assert span(field_of(Finetune, "crop")) == "0.1 to 1"
    assert is_settings(Outer)
    assert not is_settings(int)
