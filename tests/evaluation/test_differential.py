"""Differential counts: shares of white cells, intervals, corrections."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cytowell.errors import CountError
from cytowell.evaluation.cell_kinds import kind_of
from cytowell.evaluation.differential import Differential, differential, exact
from cytowell.evaluation.misclassification import KnownErrors, true_cells

CLASSES = ("neutrophil", "lymphocyte", "ig", "erythroblast", "platelet")


def count(cells: dict[str, int], **more: Any) -> Differential:
    calls = [c for c, n in cells.items() for _ in range(n)]
    return differential("s", calls, [True] * len(calls), CLASSES, **more)


def line(found: Differential, name: str) -> Any:
    return next(x for x in found.lines if x.name == name)


def test_white_cells_are_the_denominator() -> None:
    found = count({"neutrophil": 60, "lymphocyte": 37, "ig": 3, "erythroblast": 8, "platelet": 50})
    assert found.white == 100
    assert line(found, "neutrophil").share == 60
    assert line(found, "erythroblast").share == 8, "per 100 white cells, not of all"
    assert line(found, "platelet").share is None
    assert line(found, "platelet").count == 50
    assert found.immature == 3
    assert "for review" in line(found, "ig").review
    assert sum(x.share or 0 for x in found.lines if x.kind == "white") == pytest.approx(100)


def test_undecided_cells_are_in_no_share() -> None:
    calls = ["neutrophil"] * 150 + ["lymphocyte"] * 50 + ["ig"] * 20 + [""] * 3
    sure = [True] * 200 + [False] * 20 + [False] * 3
    found = differential("s", calls, sure, CLASSES)
    assert found.white == 200
    assert found.undecided == 20
    assert found.unread == 3
    assert line(found, "ig").count == 0
    assert line(found, "neutrophil").share == 75
    said = " ".join(found.notes)
    assert "20 of 223 cells were not decided on" in said
    assert "Not corrected" in said
    assert "fewer than" not in said


@pytest.mark.parametrize(
    ("cells", "said"), [(40, "fewer than 100"), (150, "fewer than 200"), (0, "no differential")]
)
def test_few_cells_are_said_to_be_few(cells: int, said: str) -> None:
    assert said in " ".join(count({"neutrophil": cells, "platelet": 5}).notes)


@pytest.mark.parametrize(
    ("n", "k", "low", "high"),
    [(100, 0, 0, 4), (100, 1, 0, 6), (100, 5, 1, 12), (100, 10, 4, 18), (100, 20, 12, 30),
     (100, 50, 39, 61), (200, 10, 2, 10), (500, 25, 3, 8)],
)  # fmt: skip
def test_ruemkes_table(n: int, k: int, low: int, high: int) -> None:
    """Rounded outwards to whole percents; 9.003 of n = 200 is printed as 10."""
    under, over = exact(k, n)
    assert (math.floor(100 * under), math.ceil(100 * over)) == (low, high)


@pytest.mark.parametrize("method", ["goodman", "sison-glaz"])
def test_intervals_hold_all_classes_at_once(method: str) -> None:
    """Coverage of all white classes together is at least what is stated, about."""
    rng = np.random.default_rng(3)
    truth = np.array([0.6, 0.3, 0.1])
    held = 0
    for _ in range(300):
        k = rng.multinomial(200, truth)
        found = count(dict(zip(CLASSES[:3], k.tolist(), strict=True)), interval=method)
        limits = [(line(found, c).low, line(found, c).high) for c in CLASSES[:3]]
        held += all(a <= 100 * p <= b for (a, b), p in zip(limits, truth, strict=True))
    assert held / 300 > 0.91


def test_a_wrong_classifier_is_corrected() -> None:
    """A tenth of neutrophils called immature: the correction takes them back."""
    confusion = np.diag([900, 1000, 1000, 1000, 1000])
    confusion[0, 2] = 100
    found = count({"neutrophil": 540, "lymphocyte": 300, "ig": 160}, errors=KnownErrors(confusion))
    assert line(found, "ig").share == 16
    assert line(found, "ig").corrected == pytest.approx(10, abs=0.3)
    assert line(found, "neutrophil").corrected == pytest.approx(60, abs=0.3)
    for name in ("ig", "neutrophil"):
        x = line(found, name)
        assert x.corrected_low < x.corrected < x.corrected_high
    assert "Corrected by the confusion matrix" in " ".join(found.notes)


def test_the_correction_covers_with_its_own_uncertainty() -> None:
    rng = np.random.default_rng(5)
    truth = np.array([0.55, 0.3, 0.1, 0.05])
    matrix = np.array([[0.9, 0.0, 0.1, 0.0], [0.0, 0.98, 0.02, 0.0], [0.2, 0.05, 0.75, 0.0],
                       [0.0, 0.02, 0.0, 0.98]])  # fmt: skip
    classes = CLASSES[:4]
    white = truth[:3] / truth[:3].sum()
    held = []
    for _ in range(60):
        confusion = np.stack([rng.multinomial(150, row) for row in matrix])
        k = rng.multinomial(400, truth @ matrix)
        calls = np.repeat(classes, k).tolist()
        found = differential("s", calls, [True] * 400, classes, errors=KnownErrors(confusion))
        for c, p in zip(classes[:3], white, strict=True):
            x = line(found, c)
            held.append(x.corrected_low <= 100 * p <= x.corrected_high)
    assert np.mean(held) > 0.88


def test_a_class_that_was_not_met_may_still_be_there() -> None:
    confusion = np.diag([1000] * 5)
    found = count({"neutrophil": 100}, errors=KnownErrors(confusion))
    assert line(found, "lymphocyte").corrected_high > 0.5


RATES = np.array([[0.95, 0.03, 0.02], [0.04, 0.94, 0.02], [0.05, 0.05, 0.9]])
DECIDES = np.array([0.5, 0.65, 0.7])
TRUTH = np.array([0.6, 0.3, 0.1])


def errors_of(rng: np.random.Generator, each: int) -> KnownErrors:
    """Give what a test part of so many images a class shows: 57 % decided, some classes less."""
    decided = rng.binomial(each, DECIDES)
    confusion = np.stack([rng.multinomial(n, row) for n, row in zip(decided, RATES, strict=True)])
    return KnownErrors(confusion, each - decided)


def test_a_classifier_that_declines_some_classes_more_shifts_no_corrected_share() -> None:
    called = (TRUTH * DECIDES) @ RATES
    confusion = np.rint(1e6 * DECIDES[:, None] * RATES).astype(np.int64)
    errors = KnownErrors(confusion, np.rint(1e6 * (1 - DECIDES)).astype(np.int64))
    counts = np.rint(1e5 * called).astype(np.int64)
    calls = np.repeat(CLASSES[:3], counts).tolist() + ["neutrophil"] * 43_000
    sure = [True] * int(counts.sum()) + [False] * 43_000
    found = differential("s", calls, sure, CLASSES[:3], errors=errors)
    for name, share in zip(CLASSES[:3], TRUTH, strict=True):
        assert line(found, name).corrected == pytest.approx(100 * share, abs=0.2)
    assert line(found, "neutrophil").share < 55, "as called, the class that is declined is too few"
    assert "how often it declines" in " ".join(found.notes)


@pytest.mark.parametrize("each", [10, 100])
def test_corrected_intervals_cover_with_a_small_test_part_too(each: int) -> None:
    rng = np.random.default_rng(each)
    called = (TRUTH * DECIDES) @ RATES
    held = []
    for _ in range(150):
        counts = rng.multinomial(200, called / called.sum())
        cells = true_cells(counts, errors_of(rng, each), draws=200)
        shares = cells / cells.sum(axis=1, keepdims=True)
        low, high = np.percentile(shares[1:], [2.5, 97.5], axis=0)
        held.append((low <= TRUTH) & (high >= TRUTH))
    assert np.mean(held) >= 0.92


def test_a_matrix_of_all_calls_corrects_all_calls() -> None:
    """The classifier calls all it declines immature: of decided calls alone that could not be."""
    confusion = np.diag([800, 1000, 1000, 1000, 1000])
    confusion[0, 2] = 200
    calls = ["neutrophil"] * 48 + ["lymphocyte"] * 40 + ["ig"] * 12
    sure = [True] * 88 + [False] * 12
    found = differential("s", calls, sure, CLASSES, errors=KnownErrors(confusion))
    assert line(found, "neutrophil").share == pytest.approx(100 * 48 / 88)
    assert line(found, "neutrophil").corrected == pytest.approx(60, abs=0.5)
    assert "not decided on too" in " ".join(found.notes)


def test_what_a_person_called_is_not_corrected() -> None:
    """A person named every cell that was declined; nothing is left to be guessed."""
    confusion = np.diag([500, 1000, 1000, 1000, 1000])
    errors = KnownErrors(confusion, np.array([500, 0, 0, 0, 0]))
    calls = ["neutrophil"] * 30 + ["lymphocyte"] * 40 + ["neutrophil"] * 30
    by_hand = [""] * 70 + ["undecided"] * 30
    found = differential("s", calls, [True] * 100, CLASSES, errors=errors, reviewed=by_hand)
    assert line(found, "neutrophil").corrected == pytest.approx(60, abs=0.5)
    assert "30 cells were called by a person" in " ".join(found.notes)
    alone = differential(
        "s", calls, [True] * 100, CLASSES, errors=errors, reviewed=["decided"] * 100
    )
    for found_line in (line(found, "neutrophil"), line(alone, "neutrophil")):
        assert found_line.corrected_low < 55, "a hundred cells are still a sample of the slide"
        assert found_line.corrected_high > 65
    left = differential("s", calls, [True] * 70 + [False] * 30, CLASSES, errors=errors)
    assert line(left, "neutrophil").corrected == pytest.approx(60, abs=0.5)


def test_ninehundred_red_blood_cells_are_in_no_share() -> None:
    cells = {"neutrophils": 60, "lymphocytes": 40, "red blood cells": 900, "blob": 5}
    calls = [c for c, n in cells.items() for _ in range(n)]
    found = differential("s", calls, [True] * len(calls), tuple(cells))
    assert found.white == 100
    assert line(found, "neutrophils").share == 60
    assert line(found, "red blood cells").share is None
    assert line(found, "blob").share is None
    assert "not known: blob" in found.notes[0]
    assert "does not say what it is" in line(found, "blob").review


def test_reference_ranges_ask_for_review() -> None:
    ranges = {"neutrophil": (40.0, 75.0), "lymphocyte": (20.0, 45.0)}
    found = count({"neutrophil": 90, "lymphocyte": 10}, ranges=ranges)
    assert line(found, "neutrophil").review == "for review: outside of 40 to 75"
    assert not any("diagnos" in x.review for x in found.lines)
    with pytest.raises(CountError, match="no class"):
        count({"neutrophil": 1}, ranges={"basophil": (0, 1)})


def test_what_a_class_is() -> None:
    assert kind_of("NRBC", {}) == "erythroblast"
    assert kind_of("Platelets", {}) == "platelet"
    assert kind_of("RBC", {}) == "red cell"
    assert kind_of("eosinophil", {}) == "white"
    assert kind_of("smudge cell", {}) == "other"
    assert kind_of("PLT", {"PLT": "platelet"}) == "platelet"


def test_what_cannot_be_counted() -> None:
    with pytest.raises(CountError, match="'basophil' is no class"):
        differential("s", ["basophil"], [True], CLASSES)
    with pytest.raises(CountError, match="goodman or sison-glaz"):
        count({"neutrophil": 3}, interval="wald")
