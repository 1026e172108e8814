"""Which photographs a detector is evaluated on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cytowell.errors import EmptyDataset, SplitError
from cytowell.runs.detecting import _part
from cytowell.types import Box, Dataset, Sample

BOX = Box(1, 1, 5, 5)
PARTS = ("train", "validation", "test", "test")


@pytest.fixture
def plain() -> Dataset:
    samples = tuple(Sample(f"{i}.png", "WBC", box=BOX) for i in range(4))
    return Dataset(samples, ("WBC",), "photographs")


@pytest.fixture
def run(plain: Dataset, tmp_path: Path) -> Path:
    rows = {"path": [s.path for s in plain.samples], "split": PARTS}
    pd.DataFrame(rows).to_csv(tmp_path / "split.csv", index=False)
    return tmp_path


def test_the_part_is_that_of_the_run_that_trained_it(plain: Dataset, run: Path) -> None:
    assert [s.path for s in _part(plain, "test", run).samples] == ["2.png", "3.png"]
    assert [s.path for s in _part(plain, "val", run).samples] == ["1.png"]


def test_other_photographs_bring_their_own_part(run: Path) -> None:
    samples = tuple(Sample(f"other{i}.png", "WBC", split=p) for i, p in enumerate(PARTS))
    data = Dataset(samples, ("WBC",), "others")
    assert [s.path for s in _part(data, "test", run).samples] == ["other2.png", "other3.png"]


def test_a_part_that_nobody_has_is_answered_with_who_could(plain: Dataset, run: Path) -> None:
    with pytest.raises(EmptyDataset, match="run folder"):
        _part(plain, "test", None)
    with pytest.raises(EmptyDataset, match="no part 'best'"):
        _part(plain, "best", run)
    strange = Dataset((Sample("strange.png", "WBC"),), ("WBC",), "strange")
    with pytest.raises(SplitError):
        _part(strange, "test", run)
