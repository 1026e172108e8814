from __future__ import annotations

import numpy as np

from cytowell.learners.coverage import choose, space_of


def blobs(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(0, 12, (len(sizes), 6))
    return centres[y] + rng.normal(0, 1, (len(y), 6)), y


def test_every_kind_is_shown_even_a_rare_one() -> None:
    X, y = blobs((100, 60, 30, 8))
    chosen = choose(space_of(X), 4)
    assert sorted(y[c.position] for c in chosen) == [0, 1, 2, 3]
    assert [c.stands_for for c in chosen] == sorted((c.stands_for for c in chosen), reverse=True)


def test_what_has_a_label_is_covered_and_never_chosen_again() -> None:
    X, y = blobs((40, 40, 40))
    labelled = y != 2
    chosen = choose(space_of(X), 3, labelled)
    assert {int(y[c.position]) for c in chosen} == {2}
    one = np.zeros(len(y), dtype=np.bool_)
    one[0] = True
    assert {int(y[c.position]) for c in choose(space_of(X), 2, one)} == {1, 2}


def test_another_light_is_another_kind() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (80, 5))
    looks = np.zeros((80, 3))
    looks[60:] = 3.0
    chosen = choose(space_of(X, looks), 8)
    assert any(c.position >= 60 for c in chosen)


def test_doubt_decides_between_equals_and_groups_are_spread() -> None:
    X = np.concatenate([np.zeros((10, 3)), np.full((10, 3), 9.0)])
    X += np.random.default_rng(0).normal(0, 0.01, X.shape)
    doubts = np.zeros(20)
    doubts[[3, 14]] = 1.0
    chosen = choose(X, 2, doubts=doubts * 3)
    assert sorted(c.position for c in chosen) == [3, 14]
    groups = np.array(["a"] * 15 + ["b"] * 5)
    many = choose(X, 6, groups=groups)
    assert {"a", "b"} == {str(groups[c.position]) for c in many}


def test_it_is_the_same_each_time_and_ends_where_nothing_is_left() -> None:
    X, _ = blobs((15, 15))
    first = [c.position for c in choose(space_of(X), 100)]
    assert sorted(first) == list(range(30))
    assert first == [c.position for c in choose(space_of(X), 100)]
    same = np.zeros((6, 4))
    assert len(choose(space_of(same), 3)) == 3
    assert choose(space_of(X), 3, np.ones(30, dtype=np.bool_)) == []
