from __future__ import annotations

import numpy as np
import pytest

from cytowell.checks import labels
from cytowell.errors import DatasetError
from cytowell.types import Dataset, FloatArray, Sample


def blobs() -> tuple[Dataset, FloatArray]:
    draw = np.random.default_rng(3)
    truth = np.repeat(np.arange(3), 40)
    logits = draw.normal(0, 0.7, (120, 3)) + 4.0 * np.eye(3)[truth]
    grown = np.exp(logits)
    given = truth.copy()
    given[[5, 50, 100]] = [1, 2, 0]
    samples = tuple(Sample(f"{i}.jpg", "abc"[k]) for i, k in enumerate(given))
    return Dataset(samples, ("a", "b", "c")), grown / grown.sum(axis=1, keepdims=True)


def test_planted_wrong_labels_are_doubted(capsys: pytest.CaptureFixture[str]) -> None:
    data, probabilities = blobs()
    found = labels.check(data, probabilities)
    flagged = set(np.flatnonzero(found.table["is_label"]))
    assert {5, 50, 100} <= flagged
    assert len(flagged) <= 5
    assert found.table["why"][5] == "looks like a"
    assert found.table["label_score"][5] < 0.1
    assert not found.excluded.any()
    assert "worth a second look" in found.remarks[0]
    assert capsys.readouterr().out == ""


def test_without_probabilities_nothing_is_looked_for() -> None:
    data, _ = blobs()
    assert labels.check(data).issues == ()


def test_rows_and_classes_that_are_missing_are_passed_over() -> None:
    data, probabilities = blobs()
    wide = np.column_stack([probabilities, np.zeros(120)])
    wide[5] = np.nan
    samples = (*data.samples[:50], Sample("50.jpg"), *data.samples[51:])
    found = labels.check(Dataset(samples, (*data.classes, "d")), wide)
    assert not found.table["is_label"][[5, 50]].any()
    assert found.table["is_label"][100]


def test_one_class_is_not_doubted() -> None:
    data = Dataset((Sample("1.jpg", "a"), Sample("2.jpg", "a")), ("a",))
    assert labels.check(data, np.ones((2, 1))).counts() == {"label": 0}


def test_probabilities_that_do_not_fit_are_refused() -> None:
    data, probabilities = blobs()
    with pytest.raises(DatasetError, match="one row per sample"):
        labels.check(data, probabilities[:-1])
