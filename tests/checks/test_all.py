from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from cytowell import registry
from cytowell.checks import check_all, join
from cytowell.errors import DatasetError, UnknownName
from cytowell.types import Dataset, Findings

Read = Callable[[Path], Dataset]
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CYTOWELL_DATA", ROOT.parent / "shared" / "data"))


def test_one_table_with_two_columns_for_each_issue(folder: Path, read: Read) -> None:
    shutil.copyfile(folder / "a" / "a00.jpg", folder / "b" / "twin.jpg")
    (folder / "a" / "empty.jpg").write_bytes(b"")
    data = read(folder)
    stages: list[str] = []
    found = check_all(
        data, np.full((26, 2), 0.5), progress=lambda what, done, total: stages.append(what)
    )
    assert list(found.table["path"]) == list(data.paths)
    assert list(found.table.columns)[-1] == "why"
    assert {"unreadable", "exact_duplicate", "two_labels", "leakage", "label"} <= set(found.issues)
    scores = found.table[[f"{i}_score" for i in found.issues]].to_numpy(dtype=float)
    assert np.isfinite(scores).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert len(found.table.columns) == 2 + 2 * len(found.issues)
    assert found.excluded.sum() == 3
    assert "looking at the photographs" in stages
    assert found.blocking == ()


def test_only_named_checks_run(folder: Path, read: Read) -> None:
    assert check_all(read(folder), only=["leakage"]).issues == ("leakage",)
    with pytest.raises(UnknownName, match="leakage"):
        check_all(read(folder), only=["leakages"])


def own(dataset: Dataset) -> Findings:
    late = np.array([p.endswith("11.jpg") for p in dataset.paths])
    table = pd.DataFrame({"path": list(dataset.paths), "late_score": 1.0 - late, "is_late": late})
    return Findings(table, remarks=("Two images came late.",))


def short(dataset: Dataset) -> Findings:
    return Findings(own(dataset).table.head(3))


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Findings]], None]:
    def install(check: Callable[..., Findings]) -> None:
        module = ModuleType("laboratory_checks")
        module.check = check  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "laboratory_checks", module)
        known = registry.TABLE["checks"] | {"late": "laboratory_checks:check"}
        monkeypatch.setitem(registry.TABLE, "checks", known)

    return install


def test_a_laboratorys_own_check_runs_too(
    folder: Path, read: Read, laboratory: Callable[[Callable[..., Findings]], None]
) -> None:
    laboratory(own)
    found = check_all(read(folder))
    assert found.counts()["late"] == 2
    assert "Two images came late." in found.remarks
    laboratory(short)
    with pytest.raises(DatasetError, match="'late' gave a table that does not fit"):
        check_all(read(folder))


def test_joining_keeps_the_worse_score_and_ties_sets(folder: Path, read: Read) -> None:
    data = read(folder).take([0, 1, 2, 3])
    paths = {"path": list(data.paths)}
    one = Findings(
        pd.DataFrame(paths | {"odd_score": [0.2, 1, 1, 1], "is_odd": [True, False, False, False]}),
        duplicate_sets=("x", "x", "", ""),
    )
    other = Findings(
        pd.DataFrame(
            paths | {"odd_score": [0.9, 0.1, 1, 1], "is_odd": [False, True, False, False]}
        ),
        duplicate_sets=("", "x", "x", ""),
        excluded=np.array([False, False, False, True]),
    )
    found = join(data, {"one": one, "other": other})
    assert list(found.table["odd_score"]) == [0.2, 0.1, 1, 1]
    assert list(found.table["is_odd"]) == [True, True, False, False]
    assert found.duplicate_sets == ("set-0", "set-0", "set-0", "")
    assert list(found.excluded) == [False, False, False, True]


def test_importing_the_room_imports_no_check() -> None:
    code = (
        "import sys, cytowell.checks; "
        "print([m for m in ('cleanvision', 'cleanlab', 'skimage', 'sklearn', 'torch') "
        "if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.data
@pytest.mark.skipif(
    not (DATA / "pbc").is_dir(),
    reason="needs the real images: set CYTOWELL_DATA to the folder that holds pbc",
)
def test_planted_faults_in_real_photographs() -> None:
    spec = importlib.util.spec_from_file_location("bench_checks", ROOT / "benchmarks" / "checks.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules["bench_checks"] = bench
    spec.loader.exec_module(bench)
    figures = bench.run(images=400, seed=1)
    for fault in ("byte copies", "two labels", "truncated"):
        assert figures[fault] == (1.0, 0.0)
    for fault in ("recompressed", "flipped", "shifted", "blurred"):
        recall, false = figures[fault]
        assert recall >= 0.9
        assert false <= 0.01
