"""The two source projects' recipes on synthetic samples: every network that they name learns."""

from __future__ import annotations

from pathlib import Path

import pytest

import cytowell
from cytowell.errors import UnknownName
from cytowell.runs.candidates import Fit
from cytowell.runs.compare import Comparison
from cytowell.runs.replay import BLOOD, replay

pytest.importorskip("torch", reason='needs the extra: pip install "cytowell[train]"')

SMALL = Fit(side=96, epochs=1, weights="nothing", by_image=True)


@pytest.fixture(scope="module")
def fourteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of cells and wells, ten of each class to learn from after a 70/30 split."""
    folder = tmp_path_factory.mktemp("fourteen")
    for kind in ("cells", "wells"):
        cytowell.write_samples(folder, kind, per_class=14)
    return folder


def blood(fourteen: Path, out: Path, step: str) -> Comparison:
    """Replay one step of the blood-cell project."""
    done = replay("blood-cells", cytowell.read(fourteen / "cells"), out, SMALL, only=(step,))
    assert [*done] == [step]
    assert (out / step / "report.html").exists()
    return done[step]


@pytest.mark.torch
def test_every_network_of_the_blood_cell_project_learns(fourteen: Path, tmp_path: Path) -> None:
    networks = blood(fourteen, tmp_path, "networks").table
    assert networks["error"].tolist() == [""] * len(BLOOD)
    assert networks["weights"].str.contains("nothing").all()
    assert (networks["bundle_megabytes"] > 0).all()


@pytest.mark.torch
def test_its_optimisers_are_compared(fourteen: Path, tmp_path: Path) -> None:
    optimisers = blood(fourteen, tmp_path, "optimisers").table
    assert len(optimisers) == 6
    assert not optimisers["error"].any()


def test_its_protocols_are_compared_with_a_control(fourteen: Path, tmp_path: Path) -> None:
    cells = blood(fourteen, tmp_path, "shuffling").cells
    assert cells["protocol"].nunique() == 3
    assert cells["permuted"].any()


@pytest.mark.torch
def test_the_rabies_project_is_replayed(fourteen: Path, tmp_path: Path) -> None:
    answers = replay("rabies-wells", cytowell.read(fourteen / "wells"), tmp_path, SMALL)
    assert [*answers] == ["cropping", "wells"]
    both = answers["cropping"].table
    assert both["learner"].str.contains("cropped").sum() == 2
    assert not both["error"].any()
    done = answers["wells"]
    assert done.table["error"].tolist() == [""] * len(done.table)
    assert done.table["diagnosis"].str.len().gt(0).all()
    assert done.run is not None
    calls = cytowell.load(done.run.folder).predict(cytowell.read(fourteen / "wells"))
    assert not any(calls.errors)
    assert list((done.run.folder / "tensorboard").iterdir())


def test_an_unknown_project_or_step_says_what_there_is(fourteen: Path, tmp_path: Path) -> None:
    dataset = cytowell.read(fourteen / "cells")
    with pytest.raises(UnknownName, match="blood-cells"):
        replay("blood-cell", dataset, tmp_path)
    with pytest.raises(UnknownName, match="optimisers"):
        replay("blood-cells", dataset, tmp_path, only=("optimizers",))
