from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from cytowell.errors import RecipeError, UnknownName
from cytowell.evaluation.calibration import expected_calibration_error
from cytowell.evaluation.intervals import wilson
from cytowell.evaluation.metrics import evaluate, evaluate_by
from cytowell.types import Predictions, Sample

Maker = Callable[..., Predictions]


def _value(found: dict[str, Any], name: str) -> float:
    value = found[name]["value"]
    assert isinstance(value, float)
    return value


def _only_numbers(found: dict[str, Any]) -> None:
    json.dumps(found, allow_nan=False)


def test_every_figure_is_that_of_scikit_learn(make: Maker) -> None:
    calls = make(600, ("a", "b", "c", "d"))
    found = evaluate(calls, resamples=50)
    truth, called, p = calls.truth, calls.called, calls.probabilities
    every = {
        "accuracy": reference.accuracy_score(truth, called),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
        "mcc": reference.matthews_corrcoef(truth, called),
        "log_loss": reference.log_loss(truth, p),
        "roc_auc": reference.roc_auc_score(truth, p, multi_class="ovr"),
        "average_precision": reference.average_precision_score(np.eye(4)[truth], p),
        "brier": ((p - np.eye(4)[truth]) ** 2).sum(axis=1).mean(),
        "coverage": calls.decided.mean(),
        "accuracy_decided": (truth == called)[calls.decided].mean(),
    }
    for way in ("macro", "weighted"):
        three = reference.precision_recall_fscore_support(truth, called, average=way)[:3]
        every |= {
            f"{way}_{n}": v for n, v in zip(("precision", "recall", "f1"), three, strict=True)
        }
    for name, value in every.items():
        assert _value(found, name) == pytest.approx(float(value), abs=1e-9), name
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
    assert found["confusion"]["counts"] == reference.confusion_matrix(truth, called).tolist()
    assert _value(found, "ece") == pytest.approx(expected_calibration_error(found["reliability"]))
    _only_numbers(found)


def test_per_class_figures_are_those_of_scikit_learn(make: Maker) -> None:
    calls = make(600, ("a", "b", "c", "d"))
    found = evaluate(calls, resamples=20)["per_class"]
    table = reference.precision_recall_fscore_support(calls.truth, calls.called)
    for c, row in enumerate(found):
        assert row["class"] == "abcd"[c]
        assert row["n"] == table[3][c]
        for at, name in enumerate(("precision", "recall", "f1")):
            assert _value(row, name) == pytest.approx(table[at][c])
        one, score = calls.truth == c, calls.probabilities[:, c]
        assert _value(row, "roc_auc") == pytest.approx(reference.roc_auc_score(one, score))
        assert _value(row, "average_precision") == pytest.approx(
            reference.average_precision_score(one, score)
        )


def test_ranks_share_ties(make: Maker) -> None:
    calls = make(300, ("a", "b"))
    rounded = np.round(calls.probabilities, 1)
    calls = replace(calls, probabilities=rounded)
    row = evaluate(calls, resamples=20)["per_class"][1]
    one = calls.truth == 1
    assert _value(row, "roc_auc") == pytest.approx(reference.roc_auc_score(one, rounded[:, 1]))
    assert _value(row, "average_precision") == pytest.approx(
        reference.average_precision_score(one, rounded[:, 1])
    )


def test_two_classes_with_a_positive_one(make: Maker) -> None:
    calls = make(500, ("negative", "positive"))
    found = evaluate(calls, positive="positive", prevalence=0.02, resamples=100)
    tn, fp, fn, tp = reference.confusion_matrix(calls.truth, calls.called).ravel()
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    by_hand = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "lr_positive": sensitivity / (1 - specificity),
        "lr_negative": (1 - sensitivity) / specificity,
        "ppv_at_prevalence": sensitivity * 0.02 / (sensitivity * 0.02 + (1 - specificity) * 0.98),
        "npv_at_prevalence": specificity * 0.98 / (specificity * 0.98 + (1 - sensitivity) * 0.02),
    }
    for name, value in by_hand.items():
        assert _value(found, name) == pytest.approx(float(value)), name
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    ends = wilson(int(tp), int(tp + fn))
    assert (found["sensitivity"]["low"], found["sensitivity"]["high"]) == pytest.approx(ends)
    ratios = reference.class_likelihood_ratios(calls.truth, calls.called)
    assert _value(found, "lr_positive") == pytest.approx(ratios[0])
    assert _value(found, "lr_negative") == pytest.approx(ratios[1])
    _only_numbers(found)


def test_the_other_class_may_be_positive(make: Maker) -> None:
    calls = make(200, ("x", "y"))
    first = evaluate(calls, positive="x", resamples=10)
    second = evaluate(calls, positive="y", resamples=10)
    assert first["sensitivity"] == second["specificity"]
    assert "sensitivity" not in evaluate(calls, resamples=10)


def test_flawless_calls_are_not_certain(make: Maker) -> None:
    calls = make(60, ("negative", "positive"))
    flawless = replace(calls, probabilities=np.eye(2)[calls.truth])
    found = evaluate(flawless, positive="positive", prevalence=0.1, resamples=50)
    for name in (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "mcc",
        "roc_auc",
        "ppv_at_prevalence",
    ):
        assert found[name]["value"] == 1
        assert 0.3 < found[name]["low"] < 1, name
        assert found[name]["high"] == 1
    assert found["lr_positive"]["value"] is None
    assert found["lr_positive"]["low"] > 1
    assert found["lr_positive"]["high"] is None
    assert found["lr_negative"]["value"] == 0
    assert 0 < found["lr_negative"]["high"] < 1
    _only_numbers(found)


def test_groups_widen_the_intervals(make: Maker) -> None:
    one = make(60, seed=3)
    samples = tuple(replace(s, group=f"g{i}") for i, s in enumerate(one.samples))
    grouped = Predictions.join([replace(one, samples=samples)] * 8)
    alone = replace(
        grouped, samples=tuple(replace(s, group=str(i)) for i, s in enumerate(grouped.samples))
    )
    wide, narrow = evaluate(grouped), evaluate(alone)
    assert wide["groups"] == 60
    assert narrow["groups"] == 480
    for name in ("accuracy", "macro_f1", "roc_auc", "brier", "mcc"):
        assert wide[name]["value"] == pytest.approx(narrow[name]["value"])
        spread = wide[name]["high"] - wide[name]["low"]
        assert spread > 2 * (narrow[name]["high"] - narrow[name]["low"]), name


def test_proportions_of_single_images_have_wilson_intervals(make: Maker) -> None:
    calls = make(300)
    found = evaluate(calls, resamples=10)
    right = int((calls.truth == calls.called).sum())
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx(
        wilson(right, 300)
    )


def test_the_seed_decides(make: Maker) -> None:
    calls = make(100)
    assert evaluate(calls, resamples=50) == evaluate(calls, resamples=50)
    assert evaluate(calls, resamples=50)["ece"] != evaluate(calls, resamples=50, seed=1)["ece"]


def test_what_cannot_be_judged_is_left_out_and_counted(make: Maker) -> None:
    calls = make(100)
    samples = list(calls.samples)
    samples[0] = Sample("unlabelled.png")
    samples[1] = Sample("foreign.png", "unicorn")
    errors = ["", "", "damaged", *[""] * 97]
    probabilities = calls.probabilities.copy()
    probabilities[2] = np.nan
    mixed = replace(
        calls, samples=tuple(samples), errors=tuple(errors), probabilities=probabilities
    )
    found = evaluate(mixed, resamples=20)
    assert found["n"] == 97
    assert found["unreadable"] == 1
    assert found["unlabelled"] == 1
    assert found["unknown_labels"] == {"unicorn": 1}
    rest = evaluate(calls.take(range(3, 100)), resamples=20)
    assert found["accuracy"] == rest["accuracy"]


@pytest.mark.parametrize("kept", [0, 1])
def test_nothing_and_a_single_row(make: Maker, kept: int) -> None:
    found = evaluate(make(5).take(range(kept)), resamples=20)
    assert found["n"] == kept
    assert found["roc_auc"] == {"value": None, "low": None, "high": None}
    assert found["mcc"]["value"] is None
    assert (found["accuracy"]["value"] is None) == (kept == 0)
    _only_numbers(found)


def test_all_unreadable() -> None:
    samples = (Sample("1.png", "a"), Sample("2.png", "b"))
    broken = Predictions(
        samples, ("a", "b"), np.full((2, 2), np.nan), np.zeros(2, np.bool_), ("", ""), ("x", "x")
    )
    found = evaluate(broken, positive="a", prevalence=0.5)
    assert found["n"] == 0
    assert found["unreadable"] == 2
    assert found["sensitivity"] == {"value": None, "low": None, "high": None}
    _only_numbers(found)


def test_one_class_present(make: Maker) -> None:
    calls = make(200)
    found = evaluate(calls.take(calls.truth == 0), resamples=50)
    assert found["roc_auc"]["value"] is None
    assert found["mcc"]["value"] is None
    assert found["balanced_accuracy"]["value"] == found["accuracy"]["value"]
    assert found["per_class"][1]["recall"]["value"] is None
    assert found["per_class"][1]["f1"]["value"] == 0, "it was called"
    assert found["absent"] == ["b", "c"]
    assert found["per_class"][0]["roc_auc"]["value"] is None
    _only_numbers(found)


def test_a_class_that_is_called_without_samples_counts_as_in_scikit_learn(make: Maker) -> None:
    calls = make(300)
    some = calls.take(calls.truth != 2)
    found = evaluate(some, resamples=50)
    assert found["absent"] == ["c"]
    for at, name in enumerate(("precision", "recall", "f1")):
        theirs = reference.precision_recall_fscore_support(
            some.truth, some.called, average="macro", zero_division=0
        )[at]
        assert _value(found, f"macro_{name}") == pytest.approx(theirs), name
    recalls = [row["recall"]["value"] for row in found["per_class"]]
    assert recalls[2] is None
    assert _value(found, "balanced_accuracy") == pytest.approx((recalls[0] + recalls[1]) / 2)


def test_one_call_of_an_absent_class_takes_macro_f1_from_nine_tenths_to_six(make: Maker) -> None:
    truth = [0] * 10 + [1] * 10
    called = [0] * 9 + [2] + [1] * 8 + [0, 2]
    samples = tuple(Sample(f"{i}.png", "abc"[t]) for i, t in enumerate(truth))
    calls = Predictions(
        samples, ("a", "b", "c"), np.eye(3)[called], np.ones(20, np.bool_), ("",) * 20, ("",) * 20
    )
    assert _value(evaluate(calls, resamples=20), "macro_f1") == pytest.approx(
        reference.f1_score(truth, called, average="macro", zero_division=0)
    )
    assert _value(evaluate(calls, resamples=20), "macro_f1") < 0.61


def test_a_class_that_is_nowhere_does_not_count(make: Maker) -> None:
    calls = make(300)
    probabilities = calls.probabilities * [1, 1, 0]
    some = replace(calls, probabilities=probabilities).take(calls.truth != 2)
    found = evaluate(some, resamples=20)
    assert found["per_class"][2]["f1"]["value"] is None
    assert _value(found, "macro_recall") == pytest.approx(_value(found, "balanced_accuracy"))


def test_a_class_that_is_never_called(make: Maker) -> None:
    calls = make(300)
    probabilities = calls.probabilities * [1, 1, 0]
    found = evaluate(replace(calls, probabilities=probabilities), resamples=50)
    assert found["per_class"][2]["precision"]["value"] is None
    assert found["per_class"][2]["recall"]["value"] == 0
    assert found["per_class"][2]["recall"]["high"] > 0
    called = probabilities.argmax(axis=1)
    three = reference.precision_recall_fscore_support(
        calls.truth, called, average="macro", zero_division=0
    )
    assert found["macro_precision"]["value"] == pytest.approx(three[0])
    assert found["macro_f1"]["value"] == pytest.approx(three[2])


def test_one_group_gives_no_bootstrap_interval(make: Maker) -> None:
    found = evaluate(make(50, groups=["plate 1"] * 50), resamples=50)
    assert found["accuracy"]["value"] is not None
    assert found["accuracy"]["low"] is None


def test_nothing_decided(make: Maker) -> None:
    found = evaluate(make(50, threshold=2.0), resamples=20)
    assert found["coverage"]["value"] == 0
    assert found["accuracy_decided"] == {"value": None, "low": None, "high": None}


def test_many_rows_take_seconds(make: Maker) -> None:
    classes = tuple("abcdefgh")
    found = evaluate(make(5000, classes))
    assert found["n"] == 5000


def test_wrong_arguments_are_named(make: Maker) -> None:
    calls = make(20, ("no", "yes"))
    with pytest.raises(UnknownName, match=r"maybe.*no, yes"):
        evaluate(calls, positive="maybe")
    with pytest.raises(RecipeError, match="prevalence"):
        evaluate(calls, positive="yes", prevalence=2.0)


def test_by_column_repeats_the_figures(make: Maker) -> None:
    calls = make(200)
    sites = ["north", "süd", None, float("nan")]
    samples = tuple(replace(s, extra={"site": sites[i % 4]}) for i, s in enumerate(calls.samples))
    calls = replace(calls, samples=samples)
    found = evaluate_by(calls, "site", resamples=20)
    assert {name: m["n"] for name, m in found.items()} == {"(none)": 100, "north": 50, "süd": 50}
    north = np.arange(200) % 4 == 0
    assert found["north"] == evaluate(calls.take(north), resamples=20)


def test_by_group_and_by_an_unknown_column(make: Maker) -> None:
    calls = make(20, groups=[f"plate {i % 2}" for i in range(20)])
    assert set(evaluate_by(calls, "group", resamples=10)) == {"plate 0", "plate 1"}
    with pytest.raises(UnknownName, match=r"'plat'.*group"):
        evaluate_by(calls, "plat")
