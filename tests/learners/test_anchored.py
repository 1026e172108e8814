"""A head held to the old one: nothing is lost where nothing new is said, new classes are learnt."""

import numpy as np

from cytowell.learners import anchored
from cytowell.learners.anchored import Known, Rows, Setting
from cytowell.learners.statistics import statistics_of
from cytowell.runtime.head import Head


def drawn(seed: int, each: int = 10, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), each)
    centres = np.eye(3, 12) * 6
    return (centres[y] + random.normal(size=(len(y), 12)) + shift).astype(np.float32), y


def rows(X: np.ndarray, y: np.ndarray) -> Rows:
    return Rows((X,), y, np.arange(len(y)).astype(np.str_))


NONE = np.zeros((0, 12), dtype=np.float32), np.zeros(0, dtype=np.int64)
OLD = Head(np.eye(3, 12), np.zeros(3))


def test_a_stiff_prior_keeps_the_differences_of_the_old_logits() -> None:
    X, y = drawn(0)
    known = Known(anchored.known_of(OLD, 1.0, 3), *NONE)
    head = anchored.fit_anchored(rows(X, y), known, Setting(0, 1.0, 1e-9))
    np.testing.assert_allclose(head.weight, OLD.weight - OLD.weight.mean(axis=0), atol=1e-4)


def test_without_trust_few_images_teach_what_the_old_head_has_wrong() -> None:
    X, y = drawn(1)
    wrong = Head(np.roll(np.eye(3, 12), 1, axis=0), np.zeros(3))
    known = Known(anchored.known_of(wrong, 1.0, 3), *NONE)
    head = anchored.fit_anchored(rows(X, y), known, Setting(0, 0.0, 0.03))
    others, truth = drawn(2, 50)
    assert (wrong.logits(others).argmax(axis=1) == truth).mean() < 0.1
    assert (head.logits(others).argmax(axis=1) == truth).mean() > 0.95


def test_a_class_that_the_bundle_lacks_is_learnt() -> None:
    X, y = drawn(3)
    known = Known(anchored.known_of(Head(OLD.weight[:2], OLD.bias[:2]), 1.0, 3), *NONE)
    head = anchored.fit_anchored(rows(X, y), known, Setting(0, 1.0, 0.03))
    others, truth = drawn(4, 50)
    assert (head.logits(others).argmax(axis=1) == truth).mean() > 0.95


def test_what_is_remembered_is_of_classes_without_new_labels_and_is_still_called() -> None:
    X, y = drawn(5, 40)
    statistics = statistics_of(X, y, 3)
    own = np.flatnonzero(y < 2)[::4]
    stored, labels = anchored.remembered(statistics, y[own], 12, 10, 0)
    assert len(stored) == 10
    assert set(labels) == {2}
    known = Known(anchored.known_of(OLD, 1.0, 3), stored, labels)
    head = anchored.fit_anchored(rows(X[own], y[own]), known, Setting(0, 0.0, 0.03))
    others, truth = drawn(6, 50)
    assert (head.logits(others[truth == 2]).argmax(axis=1) == 2).mean() > 0.95


def test_nested_figures_of_permuted_labels_are_those_of_chance() -> None:
    X, y = drawn(7, 20)
    mixed = np.random.default_rng(0).permutation(y)
    known = Known(anchored.known_of(OLD, 1.0, 3), *NONE)
    logits, _ = anchored.nested(rows(X, mixed), known, (0,), 3, 0)
    assert (logits.argmax(axis=1) == mixed).mean() < 0.55
