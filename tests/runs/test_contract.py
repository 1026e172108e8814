"""What every registered learner keeps, and every network that the replayed projects do not name.

Fit on two classes and on eight, with groups, with an imbalance of 1 to 50; the same seed, the same
answer; and those that ship are exported, saved, loaded and call as they did.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cytowell
from cytowell import registry
from cytowell.errors import RecipeError
from cytowell.runs.assemble import assemble
from cytowell.runs.candidates import Candidate, Fit, candidates
from cytowell.runs.cells import Answer, Cell, compute
from cytowell.types import Dataset, Sample

COLOURS = np.array(
    [[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 60], [200, 60, 200], [60, 200, 200],
     [230, 230, 230], [40, 40, 40]]
)  # fmt: skip

NETWORKS = ("inception-v3", "mobilenet-v3", "efficientnetv2-s")
"""Those that no replayed project learns with (`test_replay`)."""


def squares(folder: Path, counts: list[int], side: int = 64) -> Dataset:
    """Write squares of a colour each, so many of each class, three to a group."""
    rng = np.random.default_rng(3)
    samples = []
    for c, count in enumerate(counts):
        for i in range(count):
            file = folder / f"class-{c}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            colour = rng.normal(COLOURS[c], 12).clip(0, 255).astype(np.uint8)
            Image.fromarray(np.full((side, side, 3), colour)).save(file)
            samples.append(Sample(str(file), f"class-{c}", group=f"{c}-{i // 3}"))
    classes = tuple(f"class-{c}" for c in range(len(counts)))
    return Dataset(tuple(samples), classes, str(folder))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("squares")
    return {
        "two": squares(folder / "two", [24, 24]),
        "eight": squares(folder / "eight", [9] * 8),
        "rare": squares(folder / "rare", [150, 3]),
    }


def candidate(name: str) -> Candidate:
    if name in ("finetune", "contrastive"):
        made = candidates([f"{name}:cnn"], Fit(side=32))[0]
        settings = replace(made.recipe.settings, phases=((32, 12),), rate=3e-3, evaluations=3)
        return replace(made, recipe=replace(made.recipe, settings=settings))
    made = candidates([name], Fit())[0]
    if name == "frozen":
        settings = replace(
            made.recipe.settings, backbones=("imagenet",), crops=(1.0,), strengths=(0.01,)
        )
        return replace(made, recipe=replace(made.recipe, settings=settings))
    return made


def cell(made: Candidate, dataset: Dataset, fit: Fit | None = None) -> Cell:
    """Give a cell in which every third image judges, and one of the others calibrates."""
    turn = np.arange(len(dataset)) % 3
    rare = dataset.labels == int(np.argmin(np.bincount(dataset.labels)))
    train = np.flatnonzero((turn == 0) | (rare & (turn < 2)))
    return Cell(
        made,
        "holdout",
        0,
        7,
        train,
        np.flatnonzero(turn == 1),
        np.flatnonzero(turn == 2),
        fit or Fit(side=32),
    )


def computed(made: Candidate, dataset: Dataset, fit: Fit | None = None) -> Answer:
    answer = compute(dataset, cell(made, dataset, fit))
    assert answer.error == ""
    assert np.isfinite(answer.probabilities).all()
    assert answer.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    return answer


@pytest.mark.torch
@pytest.mark.parametrize("size", ["two", "eight", "rare"])
@pytest.mark.parametrize("name", registry.TABLE["learners"])
def test_every_learner_keeps_the_contract(name: str, size: str, sets: dict[str, Dataset]) -> None:
    dataset = sets[size]
    made = candidate(name)
    answer = computed(made, dataset)
    again = computed(made, dataset)
    assert np.array_equal(answer.probabilities, again.probabilities)
    assert answer.parameters > 0
    assert answer.images_per_second > 0
    assert answer.ships == registry.load("learners", name).exports
    if name not in ("finetune", "contrastive"):
        truth = dataset.labels[cell(made, dataset).test]
        assert np.mean(answer.probabilities.argmax(axis=1) == truth) > 0.5


@pytest.mark.torch
@pytest.mark.parametrize("name", ["frozen", "finetune", "contrastive"])
def test_what_ships_is_saved_loaded_and_calls_as_before(
    name: str, sets: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    def watched(*given: Any) -> Any:
        kept.append(assemble(*given))
        return kept[-1]

    monkeypatch.setattr("cytowell.runs.cells.assemble", watched)
    dataset = sets["two"]
    made = candidate(name)
    answer = computed(made, dataset)
    kept[0].bundle.save(tmp_path / "bundle", "card")
    test = dataset.take(cell(made, dataset).test)
    calls = cytowell.load(tmp_path / "bundle").predict(test)
    assert calls.probabilities == pytest.approx(answer.probabilities, abs=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_an_epoch_and_is_exported(name: str, cells_of_ten: Dataset) -> None:
    fit = Fit(side=96, epochs=1, weights="nothing")
    made = candidates([name], fit)[0]
    answer = computed(made, cells_of_ten, fit)
    assert answer.ships
    assert answer.bundle_megabytes > 0
    assert "nothing" in answer.weights


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "side"),
    [("cnn+inception-v3", 96), ("test_vit", 96), ("test_vit3", 96), ("test_convnext", 96)],
)
def test_what_takes_one_side_or_two_learns_by_the_default_recipe(
    name: str, side: int, cells_of_ten: Dataset
) -> None:
    fit = Fit(side=side, epochs=1, weights="nothing", views=1)
    made = candidates([name], fit)[0]
    assert made.recipe.settings.crop == "auto"
    answer = computed(made, cells_of_ten, fit)
    assert not answer.error
    assert answer.ships


def test_whatever_a_library_raises_is_the_error_of_its_row(
    cells_of_ten: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (TypeError("no\nsecond line"), AssertionError(), KeyError("x")):

        def broken(*given: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr("cytowell.runs.cells._compute", broken)
        made = candidate("knn")
        answer = compute(cells_of_ten, cell(made, cells_of_ten))
        assert answer.error.startswith(type(error).__name__)
        assert "second line" not in answer.error


@pytest.fixture(scope="module")
def cells_of_ten(cells: Path) -> Dataset:
    """Give ten images a class, as many as there are of three classes."""
    return squares(cells.parent / "ten", [10] * 3, side=96)


def test_a_size_that_a_network_cannot_take_is_an_error_of_its_row(
    sets: dict[str, Dataset],
) -> None:
    fit = Fit(side=40, epochs=1, weights="nothing")
    made = candidates(["inception-v3"], fit)[0]
    answer = compute(sets["two"], cell(made, sets["two"], fit))
    assert "40 px" in answer.error
    assert np.isnan(answer.probabilities).all()


def test_smote_on_pixels_is_refused_with_its_reason() -> None:
    from cytowell.runs.recipe import make

    with pytest.raises(RecipeError, match="neither"):
        make("finetune", smote="pixels")


WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm"):
            raise ModuleNotFoundError(name, name=name.split(".")[0])
sys.meta_path.insert(0, Hidden())
import cytowell
from cytowell.cli import main
sys.argv = ["cytowell", "compare", sys.argv[1], "--learners", "resnet-50x", "--out", sys.argv[2]]
main()
"""


def test_a_network_without_pytorch_says_what_to_install(cells: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(cells), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install '.[train]'" in done.stderr
