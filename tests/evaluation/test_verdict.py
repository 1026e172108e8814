from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cytowell.evaluation.metrics import evaluate
from cytowell.evaluation.promise import promise
from cytowell.evaluation.verdict import (
    CAUTION,
    number_range,
    percent,
    percent_range,
    promised,
    verdict,
)
from cytowell.types import Predictions, Sample

Maker = Callable[..., Predictions]


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.985, "98.5 %"), (1.0, "100 %"), (0.0, "0 %"), (0.99996, "99.996 %"), (None, "not defined")],
)
def test_percent(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_ranges() -> None:
    entry = {"value": 0.9851, "low": 0.9815, "high": 0.9881}
    assert percent_range(entry) == "98.5 % (98.2 to 98.8)"
    assert percent_range(entry, 2) == "98.51 % (98.15 to 98.81)"
    assert percent_range({"value": 0.5, "low": None, "high": None}) == "50.0 %"
    assert percent_range(None) == "not defined"
    assert number_range(entry) == "0.985 (0.982 to 0.988)"
    assert number_range({"value": None, "low": 7.25, "high": None}) == "not defined (at least 7.25)"
    assert number_range({"value": 0.99993, "low": None, "high": None}) == "0.9999"


def test_the_verdict_speaks_of_all_that_matters(make: Maker) -> None:
    calls = make(400, ("lymphocyte", "monocyte", "platelet"))
    said = " ".join(verdict(evaluate(calls, resamples=50), calls))
    assert "Of 100 images about" in said
    assert "95 % interval" in said
    assert "The weakest class is" in said
    assert "most often confused are" in said
    assert "cannot decide" in said
    assert "probabilities" in said
    assert CAUTION not in said


def test_a_rare_class_that_is_never_found_is_said(make: Maker) -> None:
    calls = make(400)
    rows = np.flatnonzero((calls.truth != 2) | (np.cumsum(calls.truth == 2) <= 5))
    rare = calls.take(rows)
    rare = replace(rare, probabilities=rare.probabilities * [1, 1, 0])
    said = verdict(evaluate(rare, resamples=20), rare)
    assert CAUTION + "not one of the 5 images of c is recognised." in said
    assert any("fewer than 30 images judge c (5)" in s for s in said)


def test_what_is_missing_is_said(make: Maker) -> None:
    calls = make(40)
    calls = calls.take(calls.truth != 1)
    samples = (Sample("x.png"), Sample("y.png", "unicorn"), *calls.samples[2:])
    calls = replace(calls, samples=samples, errors=("",) * 3 + ("bad",) + ("",) * (len(calls) - 4))
    said = " ".join(verdict(evaluate(calls, resamples=20), calls))
    assert "no image of b was judged" in said
    assert "unicorn" in said
    assert "could not be read" in said
    assert "have no label" in said
    assert "images were judged; see how wide" in said


def test_few_groups_are_said(make: Maker) -> None:
    calls = make(300, groups=[f"plate {i % 3}" for i in range(300)])
    assert any("only 3 groups" in s for s in verdict(evaluate(calls, resamples=20), calls))


def test_flawless_one_wrong_and_none(make: Maker) -> None:
    calls = make(120)
    flawless = replace(calls, probabilities=np.eye(3)[calls.truth])
    said = verdict(evaluate(flawless, resamples=20), flawless)
    assert said[0].startswith("All 120 judged images are called rightly")
    assert "may be as low as 96.9 %" in said[0]
    shifted = np.eye(3)[calls.truth]
    shifted[0] = np.roll(shifted[0], 1)
    almost = replace(calls, probabilities=shifted)
    assert any("One call is wrong" in s for s in verdict(evaluate(almost, resamples=20), almost))
    nothing = calls.take(range(0))
    assert verdict(evaluate(nothing), nothing)[0].startswith("Nothing can be said")


def test_overconfidence_and_the_positive_class_are_said(make: Maker) -> None:
    calls = make(600, ("negative", "positive"), sharp=1.0)
    boasting = replace(calls, probabilities=0.001 + 0.998 * np.eye(2)[calls.called])
    said = " ".join(verdict(evaluate(boasting, positive="positive", resamples=20), boasting))
    assert "must not be taken at face value" in said
    assert "too sure" in said
    assert "(sensitivity)" in said


def _promise(**changed: Any) -> dict[str, Any]:
    sure, right = np.tile([0.99, 0.01], (400, 1)), np.zeros(400, dtype=np.int64)
    return promise(sure, right).to_json() | changed


def test_what_was_promised_is_held_against_what_was_kept(make: Maker) -> None:
    metrics = evaluate(make(400, sharp=30.0), resamples=20)
    said = promised(_promise(), metrics)
    assert "at most 1.0 % are wrong (95.0 % confidence, from 400 images" in said
    assert "Kept: " in said
    wrong = evaluate(make(400, sharp=1.0, threshold=0.0), resamples=20)
    assert promised(_promise(), wrong).startswith(CAUTION)
    assert promised(None, metrics) == ""


def test_that_nothing_is_promised_is_said_with_what_it_takes(make: Maker) -> None:
    sure, right = np.tile([0.99, 0.01], (60, 1)), np.zeros(60, dtype=np.int64)
    metrics = evaluate(make(100), resamples=20)
    said = promised(promise(sure, right).to_json(), metrics)
    assert said.startswith("No promise is made that at most 1.0 %")
    assert "can promise 4.9 % at best; it takes at least 239 more" in said


def test_calls_of_a_rare_class_that_say_too_much_are_named(make: Maker) -> None:
    random = np.random.default_rng(0)
    truth = (random.random(2000) < 0.05).astype(int)
    rare = np.where(random.random(2000) < 0.06, 0.71, 0.02)
    samples = tuple(Sample(f"{i}.png", ("common", "rare")[t]) for i, t in enumerate(truth))
    calls = Predictions(
        samples,
        ("common", "rare"),
        np.stack([1 - rare, rare], axis=1),
        np.ones(2000, np.bool_),
        ("",) * 2000,
        ("",) * 2000,
    )
    said = verdict(evaluate(calls, resamples=20), calls)
    assert any("calls of rare have a mean probability of 71.0 %" in s for s in said)
    assert not any("calls of common" in s for s in said)


def test_an_absent_class_that_is_called_is_named(make: Maker) -> None:
    calls = make(300)
    some = calls.take(calls.truth != 2)
    said = verdict(evaluate(some, resamples=20), some)
    assert any("c was predicted without an image of it" in s and "1 of 3" in s for s in said)
