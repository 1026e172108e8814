"""The linear head is scikit-learn's, folded; its folds and its SMOTE keep to what is given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cytowell.learners.linear import (
    STRENGTHS,
    choose_strength,
    fit_head,
    folds,
    out_of_fold,
    smote,
)
from cytowell.types import FloatArray, IntArray

Drawn = tuple[npt.NDArray[np.float32], IntArray]


def draw(counts: list[int], width: int = 12, apart: float = 2.0, seed: int = 0) -> Drawn:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    centres = rng.normal(size=(len(counts), width)) * apart
    X = centres[y] + rng.normal(size=(len(y), width)) * rng.uniform(0.1, 30, width)
    return (X + 100).astype(np.float32), y


@pytest.mark.parametrize("counts", [[40, 40], [20] * 8, [10, 60, 30]])
@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_standardisation_is_folded_in(counts: list[int], balance: str) -> None:
    X, y = draw(counts)
    head = fit_head(X, y, len(counts), 0.1, balance)
    weight = "balanced" if balance == "balanced" else None
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=5000, tol=1e-8, class_weight=weight)
    ).fit(X, y)
    logits = head.logits(X)
    theirs: FloatArray = model.decision_function(X)
    if len(counts) == 2:
        assert logits[:, 1] - logits[:, 0] == pytest.approx(theirs, abs=0.02)
    else:
        ours = logits - logits.mean(axis=1, keepdims=True)
        assert ours == pytest.approx(theirs - theirs.mean(axis=1, keepdims=True), abs=0.02)
    assert np.mean(np.argmax(logits, axis=1) == model.predict(X)) > 0.99


def test_a_feature_that_never_changes_weighs_nothing_much() -> None:
    X, y = draw([20, 20])
    X[:, 3] = 5.0
    head = fit_head(X, y, 2)
    assert np.isfinite(head.weight).all()
    assert abs(head.weight[:, 3]).max() < 1e-6


def test_a_class_without_samples_never_wins() -> None:
    X, y = draw([20, 0, 20])
    logits = fit_head(X, y, 3).logits(X)
    assert not (np.argmax(logits, axis=1) == 1).any()


def test_one_class_alone_always_wins() -> None:
    X, y = draw([0, 5, 0])
    assert (np.argmax(fit_head(X, y, 3).logits(X), axis=1) == 1).all()


@pytest.mark.parametrize("balance", ["balanced", "smote"])
def test_one_in_fifty_is_still_found(balance: str) -> None:
    X, y = draw([500, 10], apart=5.0)
    fresh, truth = draw([500, 100], apart=5.0)
    fair = np.argmax(fit_head(X, y, 2, 0.03, balance).logits(fresh), axis=1)
    plain = np.argmax(fit_head(X, y, 2, 0.001).logits(fresh), axis=1)
    assert np.mean(fair[truth == 1] == 1) > 0.7
    assert np.mean(plain[truth == 1] == 1) < 0.5


def test_smote_stays_between_the_samples_that_it_is_given() -> None:
    X, y = draw([30, 6])
    grown, labels = smote(X, y, seed=3)
    assert np.bincount(labels).tolist() == [30, 30]
    assert np.array_equal(grown[: len(X)], X)
    new = grown[len(X) :]
    assert (new >= X[y == 1].min(axis=0) - 1e-4).all()
    assert (new <= X[y == 1].max(axis=0) + 1e-4).all()
    assert np.array_equal(smote(X, y, seed=3)[0], grown)


@pytest.mark.parametrize("counts", [[20, 1], [20, 1, 5], [20, 2], [1, 1], [7, 7]])
def test_smote_of_few_leaves_a_lonely_sample_alone(counts: list[int]) -> None:
    X, y = draw(counts)
    _, labels = smote(X, y, seed=0)
    wanted = [max(counts) if c > 1 else c for c in counts]
    assert np.bincount(labels).tolist() == wanted
    assert np.isfinite(fit_head(X, y, len(counts), balance="smote").weight).all()


def test_smote_sees_only_the_learning_side_of_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = draw([40, 12])
    groups = np.array([f"g{i // 2}" for i in range(len(X))])
    seen: list[int] = []

    def counted(
        A: npt.NDArray[np.float32], b: IntArray, seed: int
    ) -> tuple[npt.NDArray[np.float32], IntArray]:
        seen.append(len(A))
        return A, b

    monkeypatch.setattr("cytowell.learners.linear.smote", counted)
    out_of_fold(X, y, folds(y, groups, 4, seed=0), 2, 0.1, "smote", seed=0)
    assert seen == [len(a) for a, _ in folds(y, groups, 4, seed=0)]
    assert max(seen) < len(X)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_never_tear_a_group(count: int) -> None:
    _, y = draw([37, 21, 12])
    groups = np.array([f"slide {label}{i // 4}" for i, label in enumerate(y)])
    cut = folds(y, groups, count, seed=1)
    assert sorted(np.concatenate([judge for _, judge in cut]).tolist()) == list(range(len(y)))
    for learn, judge in cut:
        assert not set(groups[learn]) & set(groups[judge])
        assert set(y[learn]) == {0, 1, 2}


def test_folds_are_no_more_than_the_rarest_class_has_groups() -> None:
    _, y = draw([30, 6])
    groups = np.array([f"{label}-{i // 3}" for i, label in enumerate(y)])
    assert len(folds(y, groups, 5, seed=0)) == 2


def test_out_of_fold_is_not_told_the_answer() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 400)).astype(np.float32)
    y = rng.integers(0, 2, 120)
    inside = np.argmax(fit_head(X, y, 2, 1.0).logits(X), axis=1)
    groups = np.array([str(i) for i in range(120)])
    outside = np.argmax(out_of_fold(X, y, folds(y, groups, 5, 0), 2, 1.0, "none", 0), axis=1)
    assert np.mean(inside == y) == 1.0
    assert np.mean(outside == y) < 0.65


def test_copies_in_one_group_teach_nothing() -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(60, 200)), 2, axis=0).astype(np.float32)
    y = np.repeat(rng.integers(0, 2, 60), 2)
    alone, pairs = np.arange(120).astype(str), (np.arange(120) // 2).astype(str)
    leaking = np.argmax(out_of_fold(X, y, folds(y, alone, 5, 0), 2, 1.0, "none", 0), axis=1)
    honest = np.argmax(out_of_fold(X, y, folds(y, pairs, 5, 0), 2, 1.0, "none", 0), axis=1)
    assert np.mean(leaking == y) > 0.75 > np.mean(honest == y)


def test_strength_is_chosen_by_what_was_held_back() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    groups = np.arange(100).astype(str)
    noise = rng.normal(size=(100, 50)).astype(np.float32)
    clear = noise.copy()
    clear[:, :10] += 6 * y[:, None]
    assert choose_strength(noise, y, groups, 2, "none", 0)[0] == min(STRENGTHS)
    strength, losses = choose_strength(clear, y, groups, 2, "none", 0)
    assert strength > min(STRENGTHS)
    assert losses.mean() < 0.2
    again, same = choose_strength(clear, y, groups, 2, "none", 0)
    assert again == strength
    assert np.array_equal(same, losses)


def test_a_single_group_is_taken_for_none() -> None:
    _, y = draw([6, 6])
    cut = folds(y, np.array(["slide"] * 12), 5, seed=0)
    assert len(cut) == 5
    assert all(len(learn) and len(judge) for learn, judge in cut)


def test_two_images_can_still_be_cut() -> None:
    cut = folds(np.array([0, 1]), np.array(["a", "b"]), 5, seed=0)
    assert sorted(len(judge) for _, judge in cut) == [1, 1]
