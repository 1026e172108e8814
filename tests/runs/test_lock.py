"""Two processes never work in one run's folder, and a killed one is in nobody's way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cytowell
from cytowell.errors import RunError
from cytowell.runs import lock
from cytowell.runs.compare import Question
from cytowell.runs.lock import LOCK, held
from cytowell.runs.recipe import Recipe
from cytowell.runs.run import Run
from cytowell.types import Dataset

HOLDER = """
import sys, time
from pathlib import Path
from cytowell.runs.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give another process that holds the folder ``run``."""
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_with_who_and_since_when(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    with (
        pytest.raises(RunError, match=f"in use by process {holder.pid} {since}"),
        held(tmp_path / "run"),
    ):
        pytest.fail("two hold it")


def test_what_a_killed_process_leaves_is_no_lock(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with held(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_folder_is_free_again_after_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="within"), held(tmp_path / "run"):
        raise ValueError("within")
    with held(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_two_threads_of_one_process_are_two(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(RunError, match=str(os.getpid())), held(tmp_path):
        pytest.fail("two hold it")


@pytest.mark.parametrize(
    ("process", "refused"), [(os.getpid(), True), (2**22 - 3, False)], ids=("lives", "is gone")
)
def test_without_locks_of_the_system_the_name_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: int, refused: bool
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    me = {"process": process, "host": socket.gethostname(), "since": "now"}
    (tmp_path / LOCK).write_text(json.dumps(me))
    if refused:
        with pytest.raises(RunError, match=f"process {process} since now"), held(tmp_path):
            pytest.fail("two hold it")
    else:
        with held(tmp_path):
            pass


def test_a_lock_of_another_machine_is_named_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / LOCK).write_text(json.dumps({"process": 7, "host": "elsewhere", "since": "now"}))
    with pytest.raises(RunError, match="process 7 on elsewhere since now"), held(tmp_path):
        pytest.fail("two hold it")


def test_training_compare_and_detector_refuse_a_folder_in_use(
    few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with held(run):
        for start in (
            lambda: cytowell.train(few, run, frozen),
            lambda: cytowell.train(few, run, frozen, final=True, resume=True),
            lambda: cytowell.compare(few, run, Question(words=("knn",))),
        ):
            with pytest.raises(RunError, match=re.escape(f"{run} is in use by process")):
                start()
        assert [f.name for f in run.iterdir()] == [LOCK]


def test_a_finished_run_holds_no_lock(plain: Run) -> None:
    assert not list(plain.folder.rglob(LOCK))
