"""What a run decides can be written down, read back, and is refused where it cannot hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cytowell.errors import RecipeError, UnknownName
from cytowell.images import CellView
from cytowell.learners.settings import Frozen
from cytowell.runs import recipe as recipes
from cytowell.runs.recipe import NETWORK_FLAGS, Flags, Recipe, default_learner, from_flags, make
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
    made, _ = from_flags(Flags(learner="frozen", backbone="my.onnx", top={"seed": 4}))
    assert isinstance(made.settings, Frozen)
    assert made.settings.backbones == ("my.onnx",)
    assert made.seed == 4
    made, _ = from_flags(
        Flags(learner="finetune", preset="quick", backbone="resnet18", weights="w.pt")
    )
    assert isinstance(made.settings, Finetune)
    assert (made.settings.backbone, made.settings.weights) == ("resnet18", "w.pt")
    assert made.settings.augmentation == Augmentation()
    made.save(tmp_path / "r.toml")
    again, said = from_flags(Flags(recipe=tmp_path / "r.toml", top={"seed": 9}))
    assert (again.seed, again.settings, said) == (9, made.settings, ())
    with pytest.raises(RecipeError, match="weights"):
        from_flags(Flags(learner="frozen", weights="w.pt"))


@pytest.fixture
def quick_recipe(tmp_path: Path) -> Path:
    made = make("finetune", "quick", backbone="resnet18", weights="w.pt", rate=1e-4)[0]
    made.save(tmp_path / "r.toml")
    return tmp_path / "r.toml"


def test_a_flag_wins_over_the_recipe(quick_recipe: Path) -> None:
    network = {"epochs": 3.0, "batch": 8, "side": 64, "rate": 0.01}
    flags = Flags(quick_recipe, backbone="cnn", weights="nothing", network=network)
    made, _ = from_flags(flags)
    own = made.settings
    assert (own.backbone, own.weights) == ("cnn", "nothing")
    assert (own.epochs, own.batch, own.small_batch, own.rate) == (3.0, 8, 8, 0.01)
    assert own.phases == ((64, PRESETS["quick"].steps),)
    assert made.preset == "quick"


@pytest.mark.parametrize(
    ("flags", "match"),
    [({"learner": "frozen"}, "--learner frozen"), ({"preset": "best"}, "--preset best")],
)
def test_a_flag_that_contradicts_the_recipe_is_refused(
    quick_recipe: Path, flags: dict[str, str], match: str
) -> None:
    with pytest.raises(RecipeError, match=match):
        from_flags(Flags(quick_recipe, **flags))  # type: ignore[arg-type]


def test_a_flag_that_says_what_the_recipe_says_is_no_contradiction(quick_recipe: Path) -> None:
    made, _ = from_flags(Flags(quick_recipe, learner="finetune", preset="quick"))
    assert made == recipes.read(quick_recipe)


def test_a_learner_s_flag_counts_where_the_recipe_names_none(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[frozen]\nbalance = "none"\n', encoding="utf-8")
    made, _ = from_flags(Flags(tmp_path / "r.toml", learner="frozen"))
    assert made.settings == Frozen(balance="none")


def test_a_backbone_for_a_classical_learner_is_looked_through() -> None:
    made, _ = from_flags(Flags(learner="logistic-regression", backbone="imagenet"))
    assert (made.settings.input, made.settings.backbones) == ("features", ("imagenet",))


@pytest.mark.parametrize("name", NETWORK_FLAGS)
@pytest.mark.parametrize("learner", ["frozen", "svm"])
def test_a_network_s_flag_is_refused_where_no_network_learns(name: str, learner: str) -> None:
    with pytest.raises(RecipeError, match=f"--{name} is for networks"):
        from_flags(Flags(learner=learner, network={name: 4}))


def test_a_preset_that_says_nothing_of_the_learner_is_announced() -> None:
    _, said = from_flags(Flags(learner="frozen", preset="quick"))
    assert "--preset says nothing of frozen" in said[0]


def test_epochs_become_steps_of_the_images_that_there_are() -> None:
    own = make("finetune", "standard", epochs=10.0)[0].settings
    many = own.for_images(6400)
    assert (sum(n for _, n in many.phases), many.epochs) == (1000, 0.0)
    few = own.for_images(320)
    assert [side for side, _ in few.phases] == [side for side, _ in own.small_phases]
    assert sum(n for _, n in few.phases) == 100


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('rate = "0.01"', "finetune.rate = '0.01' is no number. Write rate = 0.002"),
        ('phases = "64,20"', "finetune.phases = '64,20' is no list"),
        ("phases = [[64.5, 20]]", "finetune.phases holds 64.5"),
        ("phases = [[64, 20, 3]]", "finetune.phases holds [64, 20, 3]"),
        ("phases = [64, 20]", "finetune.phases holds 64"),
        ('accelerator = "gpuu"', "Did you mean 'gpu'?"),
        ('precision = "16-mixd"', "Did you mean '16-mixed'?"),
        ("views = 3", "Use 1, 2 or 4."),
        ("rate = inf", "finetune.rate = inf"),
        ("rate = true", "finetune.rate = true is no number"),
        ("batch = 2.0", "finetune.batch = 2.0 is no whole number"),
        ("epochs = -1", "finetune.epochs = -1 is out of range. Use 0 to 100000 epochs."),
        ("augmentation = 3", "finetune.augmentation"),
        ("[finetune.augmentation]\nrotation = -999", "Use 0 to 180 degrees."),
        ("[finetune.augmentation]\nbrightness = 50", "finetune.augmentation.brightness = 50"),
        ("[finetune.augmentation]\nerase = 7", "finetune.augmentation.erase = 7"),
        ("rate = 7\nbatch = 0", "finetune.rate = 7 is out of range"),
    ],
)
def test_a_value_that_cannot_hold_is_named_with_what_can(
    tmp_path: Path, table: str, words: str
) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'learner = "finetune"\n[finetune]\n{table}\n', encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        recipes.read(file)
    assert str(file) in str(refused.value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('seed = "abc"', "seed = 'abc' is no whole number"),
        ("seed = -1", "seed = -1 is out of range"),
        ("test = true", "test = true is no number"),
        ('by_image = "no"', "by_image = 'no' is no yes or no"),
        ('channels = "2,0"', "channels = '2,0' is no list"),
        ("window = [1]", "window"),
        ("preset = 3", "preset = 3"),
        ("learner = 3", "learner = 3"),
        ("[finetun]\nrate = 0.1", "has a table [finetun]. Did you mean 'finetune'?"),
        ("[svm]\nstrength = 1.0", 'Write learner = "svm"'),
        ("[cell]\nwindow = 99", "cell.window = 99 is out of range. Use 1 to 10 diameters"),
        ('[cell]\nlight = "yes"', "cell.light = 'yes'"),
        ("finetune = 3", "finetune = 3 is no table"),
    ],
)
def test_a_field_of_the_run_that_cannot_hold_is_named(
    tmp_path: Path, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "default_learner", lambda: ("finetune", ""))
    (tmp_path / "r.toml").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        recipes.read(tmp_path / "r.toml")
    assert words in str(refused.value)


def test_one_name_where_a_list_is_meant_is_no_list_of_letters(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('learner = "frozen"\n[frozen]\nbackbones = "imagenet"\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=r'is no list. Write backbones = \["imagenet"\]'):
        recipes.read(file)


def test_what_is_written_says_what_each_field_does() -> None:
    text = make("finetune", "quick")[0].to_toml()
    assert "# Highest learning rate, reached after the warm-up. [1e-07 to 1]\nrate = 0.002" in text
    assert "phases = [[96, 300], [128, 320]]" in text


def test_a_run_of_an_earlier_version_is_the_same_run() -> None:
    """Fields that came later decide nothing where they are not set."""
    made = make("finetune", "quick")[0]
    before = dataclasses.asdict(made.settings)
    for later in ("epochs", "find_rate", "callbacks", "teachers", "teacher_weight",
                  "teacher_temperature"):  # fmt: skip
        del before[later]
    del before["augmentation"]["own"]
    assert made.essence()["settings"] == before
    assert make("finetune", "quick", epochs=2.0)[0].essence()["settings"]["epochs"] == 2.0
    settings = dataclasses.asdict(make("frozen", cell=CellView())[0])
    assert make("frozen", cell=CellView())[0].essence() == settings


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
