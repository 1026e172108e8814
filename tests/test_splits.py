from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytowell import splits
from cytowell.errors import SplitError, TooFewImages
from cytowell.splits import allocate, split, units_of
from cytowell.types import Box, Dataset, Findings, Sample, Split


def dataset(labels: list[str], groups: list[str] | None = None, **extra: Any) -> Dataset:
    samples = tuple(
        Sample(f"{label}/{i}.png", label, groups[i] if groups else None, **extra)
        for i, label in enumerate(labels)
    )
    return Dataset(samples, tuple(sorted(set(labels))), "cells")


def found(data: Dataset, sets: list[str], excluded: list[int] | None = None) -> Findings:
    mask = np.isin(np.arange(len(data)), excluded or [])
    return Findings(pd.DataFrame({"path": data.paths}), (), (), tuple(sets), mask)


units_and_labels = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=1, max_size=150
)


@settings(max_examples=150, deadline=None)
@given(units_and_labels, st.integers(0, 2**31), st.floats(0.05, 0.8))
def test_no_unit_is_torn_and_every_class_is_learnt(
    rows: list[tuple[int, int]], seed: int, share: float
) -> None:
    labels, units = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    parts = allocate(labels, units, {"test": share}, seed)
    for unit in np.unique(units):
        assert len(set(parts[units == unit])) == 1
    assert set(labels[parts == "train"]) == set(labels)
    assert set(parts) <= {"train", "test"}
    np.testing.assert_array_equal(parts, allocate(labels, units, {"test": share}, seed))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=300),
    st.integers(0, 2**31),
    st.floats(0.05, 0.8),
)
def test_single_images_reach_their_share_in_every_class(
    ys: list[int], seed: int, share: float
) -> None:
    labels = np.array(ys)
    parts = allocate(labels, np.arange(len(ys)), {"test": share}, seed)
    for c in np.unique(labels):
        n = int((labels == c).sum())
        judged = int((parts[labels == c] == "test").sum())
        wanted = share * n
        assert abs(judged - wanted) <= (1.0 if n >= 3 or wanted < 1 else 1.5)
        assert judged < n


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=4, max_size=60), st.integers(0, 2**31))
def test_groups_come_as_near_to_the_share_as_their_sizes_allow(sizes: list[int], seed: int) -> None:
    """One class in groups: what is missing or too much is less than the largest group."""
    units = np.repeat(np.arange(len(sizes)), sizes)
    parts = allocate(np.zeros_like(units), units, {"test": 0.3}, seed)
    assert abs((parts == "test").sum() - 0.3 * len(units)) <= max(sizes)


@settings(max_examples=40, deadline=None)
@given(units_and_labels, st.integers(0, 1000))
def test_three_parts_share_all(rows: list[tuple[int, int]], seed: int) -> None:
    labels, units = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    parts = allocate(labels, units, {"test": 0.3, "validation": 0.1}, seed)
    for unit in np.unique(units):
        assert len(set(parts[units == unit])) == 1
    assert set(labels[parts == "train"]) == set(labels)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_split_keeps_groups_and_copies_together(draw: st.DataObject) -> None:
    n = draw.draw(st.integers(30, 80))
    labels = [f"c{i % 3}" for i in range(n)]
    groups = [f"g{draw.draw(st.integers(0, 14))}" for _ in range(n)]
    copies = [draw.draw(st.sampled_from(["", "", "", "x", "y"])) for _ in range(n)]
    data = dataset(labels, groups)
    try:
        made = split(data, found(data, copies), seed=draw.draw(st.integers(0, 99)))
    except TooFewImages:
        return  # all images of a class in one group, which is tested by itself
    for keys in (groups, copies):
        for key in set(keys) - {""}:
            assert len({made.parts[i] for i in range(n) if keys[i] == key}) == 1
    assert set(data.labels[made.train]) == {0, 1, 2}


def test_shares_and_sentence() -> None:
    data = dataset(["a"] * 100 + ["b"] * 50)
    made = split(data)
    assert [len(made.test), len(made.validation), len(made.train)] == [45, 11, 94]
    assert "70% / 30%" in made.how
    assert "seed 7" in made.how
    again, other = split(data), split(data, seed=8)
    assert made.digest() == again.digest() != other.digest()


def test_validation_is_capped() -> None:
    data = dataset(["a", "b"] * 6000)
    assert abs(len(split(data).validation) - splits.MOST_VALIDATION) <= 2


def test_two_slides_learn_from_one_and_judge_on_the_other() -> None:
    """The validation part never takes the only slide that is left to learn from."""
    labels, groups = ["a", "b"] * 20, ["s1"] * 30 + ["s2"] * 10
    made = split(dataset(labels, groups))
    assert set(np.array(groups)[made.train]) == {"s1"}
    assert set(np.array(groups)[made.test]) == {"s2"}


def test_units_join_through_one_another() -> None:
    data = dataset(["a", "b", "a", "b"], ["g", "g", "h", "i"])
    units = units_of(data, found(data, ["", "x", "x", ""]))
    assert units[0] == units[1] == units[2] != units[3]
    single = units_of(data, None, by_image=True)
    assert len(set(single)) == 4


def test_splitting_by_image_has_to_be_asked_for() -> None:
    data = dataset(["a", "b"] * 20, ["s1"] * 20 + ["s2"] * 20)
    assert "images, seed" in split(data, by_image=True).how
    for slide in (range(20), range(20, 40)):
        assert len(set(split(data).parts[list(slide)])) == 1
        assert len(set(split(data, by_image=True).parts[list(slide)])) > 1


def test_excluded_and_unlabelled_samples_are_nowhere() -> None:
    data = dataset(["a", "b"] * 10)
    data = Dataset((*data.samples, Sample("loose.png")), data.classes)
    made = split(data, found(data, [""] * 21, excluded=[0, 5]))
    assert [made.parts[i] for i in (0, 5, 20)] == ["excluded"] * 3
    assert (made.parts == "excluded").sum() == 3


def test_a_given_split_is_kept() -> None:
    samples = [Sample(f"{i}.png", "ab"[i % 2], split=("train", "test")[i >= 30]) for i in range(40)]
    made = split(Dataset(tuple(samples), ("a", "b")))
    assert list(made.test) == list(range(30, 40))
    assert 2 <= len(made.validation) <= 4
    assert "as the data gives it" in made.how


def test_a_given_split_without_a_test_part_gets_one() -> None:
    data = dataset(["a", "b"] * 20, split="train")
    made = split(data)
    assert len(made.test) == 12
    assert "cut off for the test" in made.how


def test_a_given_split_that_leaves_nothing_to_learn_from() -> None:
    with pytest.raises(SplitError, match="'a' is left to learn from"):
        split(dataset(["a", "b"] * 20, split="test"))


def test_a_given_split_that_tears_a_group() -> None:
    samples = [Sample(f"{i}.png", "ab"[i % 2], "s1", ("train", "test")[i >= 30]) for i in range(40)]
    with pytest.raises(SplitError, match=r"29.png \(train\) and 30.png \(test\)") as told:
        split(Dataset(tuple(samples[29:31] + samples[:29] + samples[31:]), ("a", "b")))
    assert "--new-split" in told.value.remedy
    copies = [Sample(s.path, s.label, split=s.split) for s in samples]
    data = Dataset(tuple(copies), ("a", "b"))
    with pytest.raises(SplitError, match="copies"):
        split(data, found(data, ["c" if i in (0, 39) else "" for i in range(40)]))


@pytest.mark.parametrize(
    ("labels", "groups", "words"),
    [
        (["a"] * 9, None, "one class only"),
        (["a"] * 9 + ["b"], None, "'b' has 1 usable"),
        (["a"] * 9 + ["b"] * 9, [*"123456789", *"x" * 9], "All 9 usable images of the class 'b'"),
    ],
)
def test_too_few(labels: list[str], groups: list[str] | None, words: str) -> None:
    with pytest.raises(TooFewImages, match=words) as told:
        split(dataset(labels, groups))
    assert told.value.remedy


def test_copies_alone_are_no_class() -> None:
    data = dataset(["a"] * 9 + ["b"] * 2)
    with pytest.raises(TooFewImages, match="copies"):
        split(data, found(data, [""] * 9 + ["same"] * 2))


def test_the_order_of_rows_changes_no_part() -> None:
    data = dataset(["a", "b", "c"] * 20, [f"slide {i // 4}" for i in range(60)])
    made = split(data)
    where = dict(zip(made.paths, made.parts, strict=True))
    for seed in range(5):
        other = data.take(np.random.default_rng(seed).permutation(len(data)))
        again = split(other)
        assert dict(zip(again.paths, again.parts, strict=True)) == where


def test_a_saved_split_can_be_fed_back(tmp_path: Path) -> None:
    data = dataset(["a", "b"] * 30)
    made = split(data)
    splits.save(made, tmp_path / "split.csv")
    again = splits.load(tmp_path / "split.csv", data)
    np.testing.assert_array_equal(made.parts, again.parts)
    assert made.digest() == again.digest()


def test_a_saved_split_of_boxes_can_be_fed_back(tmp_path: Path) -> None:
    samples = [Sample(f"plate{i // 6}.jpg", "ab"[i % 2], box=Box(i, 0, 9, 9)) for i in range(60)]
    data = Dataset(tuple(samples), ("a", "b"))
    for by_image in (False, True):
        made = split(data, by_image=by_image)
        splits.save(made, tmp_path / "split.csv")
        np.testing.assert_array_equal(splits.load(tmp_path / "split.csv", data).parts, made.parts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,split\na/0.png,train\n", "b/1.png has no row"),
        ("path,split\na/0.png,train\nb/1.png,judge\n", "the part 'judge'"),
        ("path,split\na/0.png,train\na/0.png,test\nb/1.png,test\n", "disagree"),
        ("file,part\n", "columns path and split"),
        ("", "cannot be read as a split file"),
    ],
)
def test_a_split_file_that_does_not_fit(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(SplitError, match=words):
        splits.load(tmp_path / "split.csv", dataset(["a", "b"]))


def test_a_split_is_laid_on_data_that_has_moved() -> None:
    frame = pd.DataFrame({"path": ["/old/1.png", "/old/2.png"], "split": ["train", "test"]})
    moved = Dataset((Sample("/new/2.png", "b"), Sample("/new/1.png", "a")), ("a", "b"))
    assert list(Split.from_frame(frame, moved).parts) == ["test", "train"]
    twins = Dataset((Sample("/a/1.png", "b"), Sample("/b/1.png", "a")), ("a", "b"))
    with pytest.raises(SplitError, match="no row"):
        Split.from_frame(frame, twins)


@pytest.mark.data
def test_the_real_set(data: Path) -> None:
    from cytowell.sources import read

    pbc = read(data / "pbc")
    made = split(pbc)
    for c in range(len(pbc.classes)):
        here = pbc.labels == c
        assert abs((made.parts[here] == "test").mean() - 0.3) < 0.001
