"""Figures of found boxes, by hand and against what COCO's program says itself."""

from __future__ import annotations

import numpy as np
import pytest

from cytowell.errors import BadTable
from cytowell.evaluation.detection import Seen, confusion, evaluate_boxes
from cytowell.types import Box


def seen(truth: list[tuple[Box, int]], found: list[tuple[Box, int, float]]) -> Seen:
    return Seen(
        tuple(b for b, _ in truth),
        np.array([k for _, k in truth], dtype=np.int64),
        tuple(b for b, _, _ in found),
        np.array([k for _, k, _ in found], dtype=np.int64),
        np.array([s for _, _, s in found], dtype=np.float64),
    )


ONE, TWO, FAR = Box(10, 10, 20, 20), Box(50, 10, 20, 30), Box(200, 200, 10, 10)


def test_all_found_is_one() -> None:
    whole = seen([(ONE, 0), (TWO, 1)], [(ONE, 0, 0.9), (TWO, 1, 0.8)])
    metrics = evaluate_boxes([whole] * 3, ("red", "white"), 0.5)
    assert metrics["map50"] == {"value": 1.0, "low": pytest.approx(0.025 ** (1 / 3)), "high": 1.0}
    assert metrics["map50_95"]["value"] == pytest.approx(1.0)
    assert metrics["confusion"] == [[3, 0, 0], [0, 3, 0], [0, 0, 0]]
    assert [r["count_error"]["value"] for r in metrics["per_class"]] == [0, 0]


def test_half_found_by_hand() -> None:
    """Precision is 1 up to a recall of a half and 0 beyond: 51 of COCO's 101 points."""
    part = seen([(ONE, 0), (TWO, 0)], [(ONE, 0, 0.9), (FAR, 0, 0.8)])
    row = evaluate_boxes([part], ("red",), 0.5)["per_class"][0]
    assert row["ap50"]["value"] == pytest.approx(51 / 101)
    assert (row["precision"], row["recall"], row["count_error"]["value"]) == (0.5, 0.5, 0)


def test_loose_boxes_count_at_a_half_and_not_beyond() -> None:
    loose = seen([(ONE, 0)], [(Box(10, 10, 20, 29), 0, 0.9)])
    row = evaluate_boxes([loose], ("red",), 0.5)["per_class"][0]
    assert row["ap50"]["value"] == pytest.approx(1.0)
    assert row["ap50_95"]["value"] == pytest.approx(0.4)


def test_a_photograph_that_is_drawn_twice_counts_twice() -> None:
    good, bad = seen([(ONE, 0)], [(ONE, 0, 0.9)]), seen([(ONE, 0)], [(FAR, 0, 0.95)])
    metrics = evaluate_boxes([good, bad] * 10, ("red",), 0.5)
    found = metrics["map50"]
    assert found["low"] < found["value"] < found["high"]


def test_nothing_found_and_empty_photographs() -> None:
    metrics = evaluate_boxes([seen([(ONE, 0)], []), seen([], [])], ("red", "white"), 0.5)
    assert metrics["map50"]["value"] == 0
    assert metrics["per_class"][0]["precision"] is None
    assert metrics["per_class"][1]["ap50"] is None
    with pytest.raises(BadTable, match="no object"):
        evaluate_boxes([seen([], [(ONE, 0, 0.5)])], ("red",), 0.5)


def test_more_than_a_hundred_boxes_count() -> None:
    boxes = [Box(10.0 * (i % 20), 10.0 * (i // 20), 9, 9) for i in range(300)]
    plate = seen([(b, 0) for b in boxes], [(b, 0, 0.9) for b in boxes])
    assert evaluate_boxes([plate], ("well",), 0.5)["map50_95"]["value"] == pytest.approx(1.0)


def test_confusion_says_what_was_found_as_what() -> None:
    mixed = seen([(ONE, 0), (TWO, 1)], [(ONE, 1, 0.9), (FAR, 0, 0.8), (TWO, 1, 0.2)])
    counts = confusion([mixed], 2, 0.5)
    assert counts.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("count", [1, 3])
def test_photographs_that_are_all_alike_are_no_certainty(count: int) -> None:
    """Perfect, empty or half right: none of them has an interval without width."""
    perfect = seen([(ONE, 0)], [(ONE, 0, 0.9)])
    missed = seen([(ONE, 0)], [(FAR, 0, 0.9)])
    half = seen([(ONE, 0), (TWO, 0)], [(ONE, 0, 0.9)])
    for photograph in (perfect, missed, half):
        metrics = evaluate_boxes([photograph] * count, ("red",), 0.5)
        row = metrics["per_class"][0]
        for figure in (metrics["map50"], metrics["map50_95"], row["ap50"]):
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
            assert figure["high"] - figure["low"] > 0.5
        error = row["count_error"]
        assert 0 <= error["low"] <= error["value"] < error["high"]


def test_a_class_on_one_photograph_is_measured_by_one() -> None:
    other = seen([(TWO, 1)], [(TWO, 1, 0.9)])
    metrics = evaluate_boxes([seen([(ONE, 0)], [(ONE, 0, 0.9)]), *[other] * 9], ("a", "b"), 0.5)
    lone, common = (row["ap50"] for row in metrics["per_class"])
    assert lone["low"] == pytest.approx(0.025)
    assert common["low"] == pytest.approx(0.025 ** (1 / 9))
