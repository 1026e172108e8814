from __future__ import annotations

import base64
import subprocess
import sys

import numpy as np
import pytest

from cytowell.evaluation import figures
from cytowell.evaluation.calibration import reliability


def _drawn(uri: str) -> str:
    head, _, body = uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(body).decode()


@pytest.mark.parametrize("many", [1, 2, 8, 20])
def test_confusion_matrix_shows_every_class(many: int) -> None:
    random = np.random.default_rng(0)
    names = [f"class {i}" for i in range(many)]
    counts = random.integers(0, 900, size=(many, many))
    drawn = _drawn(figures.confusion_matrix(names, counts.tolist()))
    for name in names:
        assert f">{name}<" in drawn
    assert str(counts[0, 0]) in drawn


def test_any_name_can_be_drawn() -> None:
    names = ["$x^2$", "_hidden", "白血球", "<b>&", "a" * 200, "Lymphozyt größer"]
    drawn = _drawn(figures.confusion_matrix(names, np.eye(6, dtype=int).tolist()))
    for shown in ("$x^2$", "_hidden", "白血球", "&lt;b&gt;&amp;", "Lymphozyt größer", "aaa…aaa"):
        assert shown in drawn
    assert "白血球" in _drawn(figures.class_balance({"train": {"白血球": 3, "b": 0}}))


def test_an_empty_class_is_no_division_by_zero() -> None:
    assert _drawn(figures.confusion_matrix(["a", "b"], [[0, 0], [2, 3]]))


def test_curves_of_one_point_of_growing_sizes_and_of_none() -> None:
    point = {
        "step": 10,
        "size": 96,
        "train_loss": 1.0,
        "train_accuracy": None,
        "validation_loss": 0.9,
        "validation_accuracy": 0.8,
    }
    assert "validation" in _drawn(figures.learning_curves([point]))
    drawn = _drawn(figures.learning_curves([point, point | {"step": 20, "size": 128}]))
    assert "96 px" in drawn
    assert "128 px" in drawn
    assert figures.learning_curves([]) == ""


def test_reliability_shows_counts() -> None:
    table = reliability(np.array([0.5, 0.99, 0.99]), np.array([True, True, False]))
    assert "Share right" in _drawn(figures.reliability_plot(table))
    assert _drawn(figures.reliability_plot(reliability(np.zeros(0), np.zeros(0, np.bool_))))


def test_balance_by_part() -> None:
    drawn = _drawn(figures.class_balance({"train": {"a": 30, "b": 7}, "test": {"a": 4}, "x": {}}))
    for shown in ("train", "test", "30", "7"):
        assert f">{shown}<" in drawn
    assert figures.class_balance({}) == ""


def test_pictures_are_the_same_again() -> None:
    first = figures.confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
    assert first == figures.confusion_matrix(["a", "b"], [[1, 2], [3, 4]])


def test_neither_pyplot_nor_torch_is_loaded() -> None:
    asked = (
        "import sys, cytowell.evaluation.report, cytowell.evaluation.metrics;"
        "sys.exit(bool({'matplotlib.pyplot', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    assert figures.percent_short(1.0) == "100 %"
    assert figures.percent_short(0.9999) == "99.9 %"
    assert figures.percent_short(0.0001) == "0.1 %"
    assert figures.percent_short(0.5) == "50 %"


def test_long_names_stay_apart() -> None:
    names = [f"Promyelozyt, Typ {i} (größer, atypisch)" for i in range(3)]
    drawn = _drawn(figures.confusion_matrix(names, np.eye(3, dtype=int).tolist()))
    assert all(f"Typ {i}" in drawn for i in range(3))
