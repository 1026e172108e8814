from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytowell.checks import leakage
from cytowell.checks.issues import findings
from cytowell.types import Dataset, Sample


def dataset(counts: dict[str, int]) -> Dataset:
    samples = tuple(Sample(f"{c}/{i}.jpg", c) for c, n in counts.items() for i in range(n))
    return Dataset(samples, tuple(sorted(counts)))


def test_a_fair_set_passes_in_silence() -> None:
    found = leakage.check(dataset({"a": 40, "b": 50}))
    assert found.blocking == ()
    assert found.remarks == ()
    assert found.counts() == {"leakage": 0}


def test_one_class_blocks() -> None:
    (sentence,) = leakage.check(dataset({"a": 40})).blocking
    assert "one class only" in sentence


def test_a_class_of_one_image_blocks() -> None:
    (sentence,) = leakage.check(dataset({"a": 40, "b": 1})).blocking
    assert "'b' has one usable image" in sentence
    assert "merge" in sentence


def test_copies_count_once_and_excluded_images_not_at_all() -> None:
    data = dataset({"a": 40, "b": 3})
    sets = ["", *[""] * 39, "s", "s", "s"]
    assert leakage.check(data, findings(data, {}, sets=sets)).blocking
    gone = np.arange(43) >= 41
    assert leakage.check(data, findings(data, {}, excluded=gone)).blocking


def test_uneven_and_small_classes_are_remarked_on() -> None:
    found = leakage.check(dataset({"a": 200, "b": 20}))
    assert found.blocking == ()
    assert "uneven: a has 200 images, b 20" in found.remarks[0]
    assert "b (20)" in found.remarks[1]


def test_no_labels_do_not_block() -> None:
    found = leakage.check(Dataset((Sample("a.jpg"), Sample("b.jpg")), ()))
    assert found.blocking == ()
    assert "No image has a label" in found.remarks[0]


def test_labels_that_a_human_reads_as_one() -> None:
    sentences = leakage.check(dataset({"Band cell": 40, "bandcell ": 40, "c": 40})).blocking
    assert sentences == (
        "The labels 'Band cell', 'bandcell ' differ only by case or space. "
        "Write one of them throughout.",
    )


def split_set(group: str | None, last: str) -> Dataset:
    data = dataset({"a": 40, "b": 40})
    sides = ["train"] * 70 + ["valid"] * 9 + [last]
    samples = [replace(s, split=p) for s, p in zip(data.samples, sides, strict=True)]
    samples[0] = replace(samples[0], group=group)
    samples[79] = replace(samples[79], group=group)
    return Dataset(tuple(samples), data.classes)


@pytest.mark.parametrize("last", ["test", "val", "Validation"])
def test_a_group_on_both_sides_blocks_unless_a_new_split_is_made(last: str) -> None:
    data = split_set("slide 3", last)
    found = leakage.check(data)
    assert list(np.flatnonzero(found.table["is_leakage"])) == [0, 79]
    assert "1 groups lie on both sides of the given split: slide 3" in found.blocking[0]
    assert "slide 3 in" in found.table["why"][0]
    anew = leakage.check(data, resplit=True)
    assert anew.blocking == ()
    assert any("A new split is made" in r for r in anew.remarks)


def test_copies_on_both_sides_leak() -> None:
    data = split_set(None, "test")
    sets = ["s", *[""] * 78, "s"]
    found = leakage.check(data, findings(data, {}, sets=sets))
    assert found.counts() == {"leakage": 2}
    assert "1 sets of copies" in found.blocking[0]
    gone = np.arange(80) == 79
    assert leakage.check(data, findings(data, {}, sets=sets, excluded=gone)).blocking == ()


def test_one_side_does_not_leak() -> None:
    assert leakage.check(split_set("slide 3", "train")).counts() == {"leakage": 0}
