"""The grid on a local Ray cluster: the same table, also when a worker dies midway."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cytowell
from cytowell.errors import RecipeError, RunError, StorageError
from cytowell.runs import engines
from cytowell.runs.calling import call_in_parts
from cytowell.runs.cells import compute
from cytowell.runs.compare import Question
from cytowell.runs.protocols import Protocol
from cytowell.runs.table import TABLE
from cytowell.types import Dataset, Sample

ray = pytest.importorskip("ray", reason='needs the extra: pip install "cytowell[scale]"')

QUESTION = ("knn", "logistic-regression")
FOLDS = (Protocol("folds", 3),)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a cluster of two workers on this machine."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def real(data: Path) -> Dataset:
    """Give ten real cells a class."""
    cells = cytowell.read(data / "pbc")
    classes = range(len(cells.classes))
    return cells.take(np.concatenate([np.flatnonzero(cells.labels == c)[:10] for c in classes]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["plenty", "real"])
def test_a_cluster_answers_as_this_machine_does_though_a_worker_dies(
    cluster: Any,
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On generated cells and, where they are, on real ones."""
    plenty: Dataset = request.getfixturevalue(name)
    mark = tmp_path / "died"

    def task(number: int, dataset: Dataset, cell: Any, here: str) -> Any:
        """Compute a cell; the first to come here takes its worker down with it."""
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return number, compute(dataset, cell)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    monkeypatch.setattr(engines, "_unfoldered", task)
    there = cytowell.compare(plenty, tmp_path / "there", Question(QUESTION, FOLDS, engine="ray"))
    assert mark.exists()
    monkeypatch.undo()
    here = cytowell.compare(plenty, tmp_path / "here", Question(QUESTION, FOLDS))
    same = [c for c in TABLE if c not in ("fit_seconds", "images_per_second")]
    pd.testing.assert_frame_equal(there.table[same], here.table[same])


@pytest.mark.filterwarnings("ignore")
def test_a_long_list_is_called_in_parts_that_a_second_start_completes(
    cluster: Any, plenty: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"no image")
    listed = [*plenty.samples[:20], Sample(str(tmp_path / "torn.jpg")), *plenty.samples[20:25]]
    out = tmp_path / "calls"
    first = call_in_parts(listed, "blood", out, size=8)
    assert first.photographs == 26
    assert first.failed == 1
    files = sorted(out.iterdir())
    assert len(files) == 4
    kept = files[0].stat().st_mtime_ns
    files[2].unlink()
    files[1].write_bytes(b"PAR1 torn")
    again = call_in_parts(listed, "blood", out, size=8)
    assert again == first
    assert sorted(out.iterdir()) == files
    assert files[0].stat().st_mtime_ns == kept
    table = pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)
    local = cytowell.load("blood").predict(listed)
    assert table["path"].tolist() == [s.path for s in listed]
    assert table["label"].fillna("").tolist() == list(local.labels)
    with pytest.raises(RunError, match="another list"):
        call_in_parts(listed[8:], "blood", out, size=8)
    with pytest.raises(StorageError, match="cannot be written"):
        call_in_parts(listed, "blood", tmp_path / "torn.jpg", size=8)


def test_a_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rays = pytest.importorskip("cytowell.runs.rays")

    def refuse(**given: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(rays.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(rays.ray, "init", refuse)
    with pytest.raises(RecipeError, match="nobody there"):
        rays.connected("10.0.0.1:6379")
