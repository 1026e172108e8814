"""Who learns, calibrates and judges: what the user split stays split."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cytowell
from cytowell.errors import SplitError, TooFewImages
from cytowell.runs import grid
from cytowell.runs.candidates import candidates
from cytowell.runs.compare import Question
from cytowell.runs.parts import by_unit, divide
from cytowell.runs.protocols import Protocol
from cytowell.runs.recipe import Recipe, make
from cytowell.runs.run import Voice
from cytowell.types import Dataset, Findings, Sample, Split

PARTS = ["train"] * 12 + ["validation"] * 3 + ["test"] * 5
"""Of each of two classes: 24 learn, 6 calibrate, 10 judge."""

FROZEN = make("frozen")[0]


def dataset(parts: list[str], each: int = 20) -> Dataset:
    samples = [
        Sample(f"{label}{i}.png", label, split=parts[i] if parts else None)
        for label in "ab"
        for i in range(each)
    ]
    return Dataset(tuple(samples), ("a", "b"))


def nothing_found(data: Dataset) -> Findings:
    return Findings(pd.DataFrame({"path": data.paths}), excluded=np.zeros(len(data), dtype=bool))


def sizes(made: Split) -> dict[str, int]:
    return dict(Counter(made.parts.tolist()))


@pytest.mark.parametrize("by", ["file", "column"])
def test_a_split_of_few_images_stays_as_the_user_made_it(by: str) -> None:
    data = dataset(PARTS if by == "column" else [])
    given = Split(np.array(PARTS * 2), data.paths) if by == "file" else None
    made, cross_validated = divide(data, nothing_found(data), FROZEN, given)
    assert sizes(made) == {"train": 24, "validation": 6, "test": 10}
    assert not cross_validated
    assert made.parts.tolist() == PARTS * 2


def test_few_images_that_nobody_split_are_cross_validated() -> None:
    data = dataset([])
    made, cross_validated = divide(data, nothing_found(data), FROZEN, None)
    assert sizes(made) == {"train": 40}
    assert cross_validated
    anew = replace(FROZEN, new_split=True)
    brought = dataset(PARTS)
    assert divide(brought, nothing_found(brought), anew, None)[1]


def test_what_the_user_left_out_is_not_learnt() -> None:
    data = dataset(["excluded"] * 4 + [""] * 16)
    made, cross_validated = divide(data, nothing_found(data), FROZEN, None)
    assert cross_validated
    assert sizes(made) == {"train": 32, "excluded": 8}


@pytest.mark.parametrize("by", ["file", "column"])
def test_few_images_with_a_test_part_alone_calibrate_out_of_fold(by: str) -> None:
    parts = ["train"] * 15 + ["test"] * 5
    data = dataset(parts if by == "column" else [])
    given = Split(np.array(parts * 2), data.paths) if by == "file" else None
    made, cross_validated = divide(data, nothing_found(data), FROZEN, given)
    assert sizes(made) == {"train": 30, "test": 10}
    assert not cross_validated


def test_a_split_file_that_cannot_be_kept_is_refused() -> None:
    data = dataset([])
    found = nothing_found(data)
    with pytest.raises(TooFewImages, match="no test part"):
        divide(data, found, FROZEN, Split(np.array((["train"] * 15 + ["validation"] * 5) * 2),
                                          data.paths))  # fmt: skip
    with pytest.raises(SplitError, match="no image of 'b' to learn"):
        divide(data, found, FROZEN, Split(np.array(PARTS + ["test"] * 20), data.paths))
    one = [replace(s, group="one" if p == "train" else s.path)
           for s, p in zip(data.samples, PARTS * 2, strict=True)]  # fmt: skip
    with pytest.raises(SplitError, match="one group"):
        divide(replace(data, samples=tuple(one)), found, FROZEN,
               Split(np.array(PARTS * 2), data.paths))  # fmt: skip
    together = replace(data, samples=tuple(replace(s, group="one") for s in data.samples))
    with pytest.raises(SplitError, match="apart"):
        divide(together, found, FROZEN, Split(np.array(PARTS * 2), data.paths))


def test_a_given_test_part_judges_a_run_of_few_images(
    few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    """And the final bundle then learns from it, for the twin kept its figures."""
    parts = ["test" if i % 4 == 0 else "train" for i in range(len(few))]
    samples = tuple(
        replace(s, split=p, group=None) for s, p in zip(few.samples, parts, strict=True)
    )
    run = cytowell.train(replace(few, samples=samples), tmp_path / "run", frozen, final=True)
    calls = pd.read_csv(run.folder / "twin" / "predictions.csv")
    assert set(calls["split"]) == {"test"}
    assert len(calls) == run.metrics["n"] == parts.count("test")
    twin = pd.read_csv(run.folder / "twin" / "split.csv")
    assert twin["split"].tolist() == parts
    assert set(pd.read_csv(run.folder / "split.csv")["split"]) == {"train"}


def gridded(
    data: Dataset, question: Question, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[grid.Grid, list[str]]:
    """Give the grid of a comparison of data without images, and what was said."""
    monkeypatch.setattr(grid, "check", lambda data, heard: nothing_found(data))
    heard: list[str] = []
    chosen = candidates(question.words, question.fit)
    made = grid.prepared(data, folder, question, chosen, Voice(heard.append))
    return made, heard


@pytest.mark.parametrize("choose", [False, True])
@pytest.mark.parametrize(
    "protocol", [Protocol("folds", 3), Protocol("shuffles", 2), Protocol("holdout", test=0.5)]
)
def test_a_comparison_keeps_the_split_that_the_data_brings(
    protocol: Protocol, choose: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(PARTS)
    question = Question(("knn",), (protocol,), choose=choose, permutation_control=True)
    made, heard = gridded(data, question, tmp_path, monkeypatch)
    theirs = set(np.flatnonzero(np.array(PARTS * 2) == "test").tolist())
    cells = grid.cells(made, tmp_path, Voice())
    for cell in [*cells, *grid.shuffled(made)[1]]:
        assert not theirs & set(np.concatenate([cell.train, cell.validation]).tolist())
        if protocol.name == "holdout":
            assert set(cell.test.tolist()) == theirs
            assert len(cell.validation) == 6
        else:
            assert not theirs & set(cell.test.tolist())
    if protocol.name != "holdout":
        assert any(s.startswith("10 images are set aside") for s in heard)
    if choose:
        assert made.outer is not None
        assert set(made.outer.test.tolist()) == theirs
    whole = replace(question, new_split=True)
    anew, _ = gridded(data, whole, tmp_path, monkeypatch)
    assert len(anew.rows) == 40 or choose


def test_labels_of_a_control_are_shuffled_among_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(PARTS)
    question = Question(("knn",), (Protocol("folds", 3),))
    made, _ = gridded(data, question, tmp_path, monkeypatch)
    dealt, _ = grid.shuffled(made)
    aside = np.array(PARTS * 2) == "test"
    assert (dealt.labels[aside] == data.labels[aside]).all()
    assert np.bincount(dealt.labels[~aside]).tolist() == [15, 15]
    assert (dealt.labels != data.labels).any()


def test_the_units_of_a_run_are_named_by_what_is_in_them(few: Dataset) -> None:
    order = np.random.default_rng(0).permutation(len(few))
    one = by_unit(few, None, by_image=False)
    other = by_unit(few.take(order), None, by_image=False)
    assert one.take(order).samples == other.samples
    assert len(set(one.groups)) == len(set(few.groups))
