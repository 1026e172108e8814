"""What hears of a training: a laboratory's own callbacks and augmentations, and trackers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from cytowell import registry
from cytowell.errors import MissingExtra, RecipeError, UnknownName
from cytowell.learners.contract import Curve, StopTraining
from cytowell.models.build import build
from cytowell.models.classifier import Classifier
from cytowell.training import loggers
from cytowell.training.augment import augment
from cytowell.training.checkpoint import load_checkpoint
from cytowell.training.loop import Job, Material, train
from cytowell.training.recipe import Augmentation, Finetune

pytestmark = pytest.mark.torch

LABELS = np.arange(24, dtype=np.int64) % 3
Make = Callable[..., tuple[Job, Classifier]]
Install = Callable[..., None]


def material(size: int) -> Material:
    random = np.random.default_rng(0)
    shown = random.integers(0, 200, (24, size, size, 3), dtype=np.uint8)
    shown[..., 0] += (LABELS * 20).astype(np.uint8)[:, None, None]
    return Material(shown, shown[:6], shown[:9])


@pytest.fixture
def make(tiny: dict[str, Any], tmp_path: Path) -> Make:
    def job(**changes: Any) -> tuple[Job, Classifier]:
        settings = {"phases": ((32, 4), (40, 8)), "small_batch": 8, "evaluations": 6}
        s = Finetune(**tiny | settings | changes)
        torch.manual_seed(1)
        made = Job(
            settings=s,
            seed=7,
            classes=("a", "b", "c"),
            labels=LABELS,
            second_labels=np.full(24, -1, dtype=np.int64),
            judge_labels=LABELS[:9],
            folder=tmp_path / "run" / "checkpoints",
            fingerprint="this job",
            material=material,
        )
        return made, Classifier(build(s.backbone, s.weights), 256, 3)

    return job


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package whose entry points name these parts."""

    def installed(kind: str, **parts: Any) -> None:
        package = ModuleType("our_package")
        for name, part in parts.items():
            setattr(package, name, part)
        monkeypatch.setitem(sys.modules, "our_package", package)
        points = [
            EntryPoint(name.replace("_", "-"), f"our_package:{name}", f"cytowell.{kind}")
            for name in parts
        ]
        monkeypatch.setattr(
            registry,
            "entry_points",
            lambda group: points if group == f"cytowell.{kind}" else [],
        )
        registry._outside.cache_clear()
        monkeypatch.setattr(registry, "_outside", registry._outside.__wrapped__)

    return installed


class Listener:
    """Hears all hooks; wants to end where it is told to."""

    heard: list[tuple[str, Any]]
    ends_at = 0

    def on_train_start(self, settings: dict[str, Any], classes: Any, step: int) -> None:
        self.heard.append(("start", (settings["rate"], classes, step)))

    def on_train_batch_end(self, step: int, loss: float, rate: float) -> None:
        self.heard.append(("step", (step, loss, rate)))

    def on_validation_end(self, point: Curve) -> None:
        self.heard.append(("validation", point.step))
        if point.step == self.ends_at:
            raise StopTraining

    def on_train_end(self, curve: Any) -> None:
        self.heard.append(("end", len(curve)))

    def close(self) -> None:
        self.heard.append(("close", None))


def listening(ends_at: int = 0) -> type[Listener]:
    return type("Ours", (Listener,), {"heard": [], "ends_at": ends_at})


def test_a_callback_of_ones_own_hears_every_hook(make: Make, install: Install) -> None:
    ours = listening()
    install("callbacks", our_listener=ours)
    job, network = make(callbacks=("our-listener",))
    _, curve = train(job, network, resume=False)
    names = [name for name, _ in ours.heard]
    assert names[0] == "start"
    assert names[-2:] == ["end", "close"]
    assert ours.heard[0][1] == (job.settings.rate, ("a", "b", "c"), 0)
    steps = [given for name, given in ours.heard if name == "step"]
    assert [s[0] for s in steps] == list(range(1, 13))
    assert all(np.isfinite(s[1]) for s in steps)
    assert max(s[2] for s in steps) <= job.settings.rate
    assert [given for name, given in ours.heard if name == "validation"] == [p.step for p in curve]


@pytest.mark.parametrize("step", [2, 8])
def test_a_callback_may_end_the_training(step: int, make: Make, install: Install) -> None:
    install("callbacks", ours=listening(step))
    said: list[str] = []
    job, network = make(callbacks=("ours",))
    _, curve = train(replace(job, said=said.append), network, resume=False)
    assert [p.step for p in curve][-1] == step
    assert f"a callback ended the training at step {step} of 12" in said
    best = load_checkpoint(job.folder / "best.pt", "this job")
    assert best is not None
    assert best["state"]["step"] == step
    job, network = make(callbacks=("ours",))
    _, again = train(replace(job, ticked=lambda *given: pytest.fail("it went on")), network, True)
    assert again == curve


def test_a_callback_that_fails_is_named(make: Make, install: Install) -> None:
    class Broken:
        def on_validation_end(self, point: Curve) -> None:
            raise KeyError("colour")

    install("callbacks", our_broken=Broken)
    job, network = make(callbacks=("our-broken",))
    with pytest.raises(RecipeError, match=r"'our-broken' failed in on_validation_end \(KeyError"):
        train(job, network, resume=False)


def test_names_that_no_package_has_are_refused_at_once(install: Install) -> None:
    with pytest.raises(UnknownName, match=r'entry points of "cytowell\.callbacks"'):
        Finetune(callbacks=("ours",))
    install("augmentations", our_dust=lambda images, generator: images)
    assert Augmentation(own=("our-dust",)).own == ("our-dust",)
    with pytest.raises(UnknownName, match="Did you mean 'our-dust'"):
        Augmentation(own=("our-dist",))


NOTHING: dict[str, Any] = {
    "rotation": 0.0, "flip": False, "scale": 0.0, "shift": 0.0, "brightness": 0.0,
    "contrast": 0.0, "saturation": 0.0, "stain": 0.0, "erase": 0.0,
}  # fmt: skip


def test_an_augmentation_of_ones_own_changes_images_by_the_seed(install: Install) -> None:
    def dust(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return images + torch.rand(len(images), 1, 1, 1, generator=generator)

    install("augmentations", our_dust=dust)
    pixels = torch.full((3, 16, 16, 3), 100, dtype=torch.uint8)
    how = Augmentation(**NOTHING, own=("our-dust", "our-dust"))
    seeded = [augment(pixels, 16, how, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])
    added = (seeded[0] - augment(pixels, 16, Augmentation(**NOTHING), torch.Generator()))[:, 0]
    assert (added > 0).all()
    assert len({round(v, 4) for v in added[:, 0, 0].tolist()}) == 3


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (lambda images: images[:, :, :8], r"gave \(2, 3, 8, 16\) for images of shape"),
        (lambda images: images / 0 - images / 0, "gave pixels that are no numbers"),
        (lambda images: None, "gave NoneType"),
    ],
)
def test_an_augmentation_that_breaks_images_is_named(
    given: Callable[[Any], Any], match: str, install: Install
) -> None:
    install("augmentations", ours=lambda images, generator: given(images))
    pixels = torch.full((2, 16, 16, 3), 100, dtype=torch.uint8)
    with pytest.raises(RecipeError, match=f"'ours' {match}"):
        augment(pixels, 16, Augmentation(own=("ours",)), torch.Generator())


class Kept:
    """A Lightning logger that keeps what it is told."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.run_id, self.experiment = run_id or "run-1", object()
        self.told: list[Any] = []
        Kept.made.append(self)

    made: list[Kept]

    def log_hyperparams(self, table: dict[str, Any]) -> None:
        self.told.append(("settings", table["rate"]))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.told.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.told.append(status)


def test_a_tracker_hears_settings_losses_and_figures_in_one_run(
    make: Make, install: Install, tmp_path: Path
) -> None:
    Kept.made = []
    install("loggers", ours=Kept)
    job, network = make()
    _, curve = train(replace(job, loggers=("ours",)), network, resume=False)
    first = Kept.made[0].told
    assert first[0] == ("settings", job.settings.rate)
    points = [given for given in first[1:-1] if "validation/loss" in given[1]]
    assert [step for step, _ in points] == [p.step for p in curve]
    assert points[-1][1]["validation/loss"] == curve[-1].validation_loss
    assert [step for step, given in first[1:-1] if "step/loss" in given] == [10]
    assert first[-1] == "success"
    folder = job.folder.parent
    assert json.loads((folder / loggers.IDS).read_text()) == {"ours": "run-1"}
    metrics = {"accuracy": {"value": 0.9, "low": 0.8}, "coverage": 0.5, "n": 9}
    loggers.report(("ours",), folder, job.settings, metrics, pytest.fail)
    assert Kept.made[1].run_id == "run-1"
    assert Kept.made[1].told == [(None, {"test/accuracy": 0.9, "test/coverage": 0.5}), "success"]


def test_a_tracker_that_fails_costs_no_training(make: Make, install: Install) -> None:
    def unreachable(folder: Path, run_id: str) -> Any:
        raise ConnectionError("no route to the server\nmore of it")

    install("loggers", ours=unreachable)
    said: list[str] = []
    job, network = make()
    _, curve = train(replace(job, loggers=("ours",), said=said.append), network, resume=False)
    assert curve[-1].step == 12
    failed = "ours failed (no route to the server): the training goes on without it"
    assert said.count(failed) == 1


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_extra_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as told:
        loggers.require((name,))
    assert "\n" not in str(told.value)
    assert f"--loggers {name} needs {name}, which is not installed. In the folder of" in str(
        told.value
    )
    with pytest.raises(UnknownName, match="Did you mean 'mlflow'"):
        loggers.require(("mlflo",))


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_really_logs_into_its_file_store(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    said: list[str] = []
    job, network = make()
    _, curve = train(replace(job, loggers=("mlflow",), said=said.append), network, resume=False)
    loggers.report(
        ("mlflow",), job.folder.parent, job.settings, {"accuracy": {"value": 0.75}}, pytest.fail
    )
    assert not any("failed" in sentence for sentence in said)
    client = pytest.importorskip("mlflow.tracking").MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("cytowell")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run"
    assert run.info.status == "FINISHED"
    assert run.data.params["rate"] == str(job.settings.rate)
    assert run.data.metrics["test/accuracy"] == 0.75
    logged = client.get_metric_history(run.info.run_id, "validation/loss")
    assert [(m.step, m.value) for m in logged] == [(p.step, p.validation_loss) for p in curve]
    assert [m.step for m in client.get_metric_history(run.info.run_id, "step/loss")] == [10]


@pytest.mark.skipif(find_spec("wandb") is None, reason="Weights & Biases is not installed")
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_keeps_a_run_offline(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    said: list[str] = []
    job, network = make()
    train(replace(job, loggers=("wandb",), said=said.append), network, resume=False)
    assert not any("failed" in sentence for sentence in said)
    folder = job.folder.parent
    (written,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    name = json.loads((folder / loggers.IDS).read_text())["wandb"]
    assert written.name == f"run-{name}.wandb"
    held = written.read_bytes()
    assert all(word in held for word in (b"validation/loss", b"step/loss", b"label_smoothing"))
