"""Changed files of every kind: a picture, a data set, a bundle, or an error of ours."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parent.parent.parent / "benchmarks" / "fuzz.py"

CASES = 1200
"""Files: some seconds. `scripts/bench fuzz --minutes N` tries more."""


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


def test_no_changed_file_leads_to_anything_but_an_answer_or_a_refusal(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cytowell.runtime.bundle.Session", lambda *_: None)
    ended = {"read": 0, "refused": 0}
    for name, data, kind in itertools.islice(fuzz.cases(0), CASES):
        how, words = fuzz.tried(kind, data, tmp_path)
        assert how in ended, f"{name}: {words}\n{data!r}"
        ended[how] += 1
    assert min(ended.values()) > CASES / 10, "some of both"


def test_whole_files_of_every_kind_are_read(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cytowell.runtime.bundle.Session", lambda *_: None)
    for number, (name, kind) in enumerate(fuzz.kinds().items()):
        for seed in kind.seeds:
            folder = tmp_path / str(number)
            folder.mkdir(exist_ok=True)
            how, words = fuzz.tried(kind, seed, folder)
            assert how == ("refused" if name == "gif" else "read"), f"{name}: {words}"


def test_what_is_wrong_is_noticed(fuzz: ModuleType, tmp_path: Path) -> None:
    def divide(data: bytes, _: Path) -> float:
        return 1 / len(data)

    assert fuzz.tried(fuzz.Kind((b"",), divide), b"", tmp_path)[0] == "wrong"
