"""What a run decides can be written down, read back, and is refused where it cannot hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cytowell.errors import RecipeError, UnknownName
from cytowell.learners.frozen import Frozen
from cytowell.runs import recipe as recipes
from cytowell.runs.recipe import Recipe, default_learner, from_flags, make
from cytowell.training.recipe import PRESETS, Augmentation, Finetune


@pytest.mark.parametrize(
    "made",
    [
        make("frozen")[0],
        make("finetune", "quick")[0],
        make("finetune", "best", seed=3, positive="pos", smote=True, crop=0.83)[0],
        make("frozen", balance="smote", channels=(2, 0), window=(0.0, 4095.0))[0],
        make("finetune", augmentation={"erase": 0.0, "flip": False})[0],
        make("frozen", test=0.25, by_image=True, group_pattern="^([a-z]+)_")[0],
    ],
)
def test_it_comes_back_as_it_was_written(made: Recipe, tmp_path: Path) -> None:
    made.save(tmp_path / "recipe.toml")
    assert recipes.read(tmp_path / "recipe.toml") == made


def test_what_a_file_leaves_out_is_the_preset_s(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('learner = "finetune"\npreset = "best"\n[finetune]\nbatch = 16\nrate = 1\n')
    made = recipes.read(file)
    assert made.settings.batch == 16
    assert made.settings.rate == 1.0
    assert made.settings.phases == PRESETS["best"].phases


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('learner = "frozen"\nsede = 3\n', "seed"),
        ('learner = "frozen"\n[frozen]\nbalanse = "none"\n', "balance"),
        ('learner = "finetune"\n[finetune]\nbatch = "many"\n', "batch"),
        ('learner = "finetune"\n[finetune]\nsmote = 1\n', "smote"),
        ('learner = "finetune"\n[finetune.augmentation]\nrotate = 1\n', "rotation"),
        ('learner = "finetune"\n[finetune]\nphases = [[8, 10]]\n', "phases"),
        ('learner = "frozen"\ntest = 0.99\n', "test"),
        ('learner = "frozen"\nvalidation = 0.0\n', "validation"),
        ("learner = ", "cannot be read"),
    ],
)
def test_a_field_that_does_not_exist_or_cannot_hold(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=match):
        recipes.read(tmp_path / "r.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        recipes.read(tmp_path / "gone.toml")


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'frozen'"):
        make("frosen")
    with pytest.raises(UnknownName, match="'quick'"):
        make("frozen", "quik")
    (tmp_path / "r.toml").write_text('learner = "fine-tune"\n', encoding="utf-8")
    with pytest.raises(UnknownName, match="'finetune'"):
        recipes.read(tmp_path / "r.toml")


def test_flags_go_where_they_belong(tmp_path: Path) -> None:
    made, _ = from_flags(None, "frozen", "standard", "my.onnx", "", {"seed": 4})
    assert isinstance(made.settings, Frozen)
    assert made.settings.backbones == ("my.onnx",)
    assert made.seed == 4
    made, _ = from_flags(None, "finetune", "quick", "resnet18", "w.pt", {})
    assert isinstance(made.settings, Finetune)
    assert (made.settings.backbone, made.settings.weights) == ("resnet18", "w.pt")
    assert made.settings.augmentation == Augmentation()
    made.save(tmp_path / "r.toml")
    again, said = from_flags(tmp_path / "r.toml", None, "standard", "", "", {"seed": 9})
    assert (again.seed, again.settings, said) == (9, made.settings, "")
    with pytest.raises(RecipeError, match="weights"):
        from_flags(None, "frozen", "standard", "", "w.pt", {})


def test_the_default_learner_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cytowell.runs.recipe.importlib.util.find_spec", lambda name: None)
    assert default_learner()[0] == "frozen"
    made, said = make()
    assert made.learner == "frozen"
    assert "PyTorch is not installed" in said
    monkeypatch.setattr("cytowell.runs.recipe.importlib.util.find_spec", lambda name: name)
    assert default_learner()[0] == "finetune"
    assert make("frozen")[1] == ""


def test_a_preset_freezes_its_own_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """How deep belongs to the network and its weights; random layers are never frozen."""
    frozen = dataclasses.replace(PRESETS["quick"], frozen_depth=0.2)
    monkeypatch.setitem(PRESETS, "quick", frozen)
    assert make("finetune", "quick")[0].settings.frozen_depth == 0.2
    for table in ({"backbone": "resnet18"}, {"weights": "nothing"}):
        assert make("finetune", "quick", **table)[0].settings.frozen_depth == 0
    own = make("finetune", "quick", backbone="resnet18", frozen_depth=0.3)[0]
    assert own.settings.frozen_depth == 0.3
