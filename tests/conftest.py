"""What several rooms' tests share: a small synthetic set, a tiny bundle, the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cytowell

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Said:
    """How a command line ended, and what it printed."""

    status: int
    out: str
    err: str


Runner = Callable[..., Said]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what is cached away from the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("CYTOWELL_CACHE")
    os.environ["CYTOWELL_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["CYTOWELL_CACHE"]
    else:
        os.environ["CYTOWELL_CACHE"] = before


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a small synthetic set: five classes of eight cells on two slides."""
    return cytowell.write_samples(tmp_path_factory.mktemp("samples"), "cells", per_class=8)["cells"]


@pytest.fixture(scope="session")
def bundle(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a tiny bundle that learnt, without PyTorch, from `cells`."""
    from cytowell.runs.recipe import make

    recipe, _ = make("frozen", backbones=("imagenet",), crops=(1.0,), strengths=(0.01,))
    run = cytowell.train(cytowell.read(cells), tmp_path_factory.mktemp("run") / "run", recipe)
    return run.bundle


@pytest.fixture(scope="session")
def data() -> Path:
    """Give the folder of the real images, or skip."""
    folder = Path(os.environ.get("CYTOWELL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "pbc").is_dir():
        pytest.skip(f"no real images in {folder}: set CYTOWELL_DATA to the folder that holds pbc")
    return folder


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Run the command line in this process."""
    from cytowell.cli import main

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["cytowell", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        code = end.value.code
        return Said(code if isinstance(code, int) else int(code is not None), said.out, said.err)

    return run
