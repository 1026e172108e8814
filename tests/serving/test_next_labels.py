from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cytowell
from cytowell.serving.desk import Desk
from cytowell.serving.house import House
from cytowell.serving.kept import Said
from cytowell.serving.pages.next_labels import A_ROUND, next_labels
from cytowell.serving.pages.review import queue_of
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Store


@pytest.fixture
def house(bundle: Path, store: Store, tmp_path: Path) -> Iterator[House]:
    desk = Desk({"cells": cytowell.load(bundle)}, workers=1)
    yield House(desk, Sittings(store, tmp_path / "sittings"), tmp_path)
    desk.close()


def test_round_after_round_the_next_ones_are_others_and_come_first_in_review(
    house: House, cells: Path
) -> None:
    files = sorted(cells.rglob("*.jpg"))
    truth = [f.parent.name for f in files]
    made = house.name_photographs(files, sorted(set(truth)), "cells")
    named: set[int] = set()
    for number in range(3):
        page = next_labels(house, "en", made)
        following = house.label_next[made]
        assert not named & set(following)
        queue = [k.position for k in queue_of(house, made, every=False)]
        assert queue[: len(following)] == following
        assert len(following) == min(A_ROUND, len(files) - len(named))
        assert page.count("<figure") == len(following)
        assert ("cross-validated" in page) == (number > 0)
        for position in following:
            house.sittings.say(made, position, Said(1, truth[position], "me", "", ""))
        named |= set(following)


def test_what_a_call_says_of_the_training_images_is_kept_with_it(house: House, cells: Path) -> None:
    name = next(iter(house.desk.bundles))
    made = house.call(sorted(cells.rglob("*.jpg"))[:12], name, "none", "cells")
    sentence, _ = house.compared(made)
    assert "training images" in sentence or "trained on" in sentence
    assert house.compared("not-there") == ("", False)
