"""From pictures to a network that has learnt: probe, phases, several processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import cytowell
from cytowell.images import Preprocessing
from cytowell.learners.contract import Task
from cytowell.models.backbone import Backbone
from cytowell.models.build import build
from cytowell.training import finetune
from cytowell.training.finetune import CENTRES, LEARNER, Trained, probe_features, widest
from cytowell.training.packs import pack
from cytowell.training.recipe import Finetune
from cytowell.types import Dataset

pytestmark = pytest.mark.torch

SHORT: dict[str, Any] = {
    "phases": ((32, 4), (48, 4)),
    "small_batch": 8,
    "evaluations": 4,
    "crop": 1.0,
}


@pytest.fixture(scope="module")
def dataset(cells: Path) -> Dataset:
    read = cytowell.read(cells)
    return read.take(range(0, len(read), max(1, len(read) // 60)))


def task(dataset: Dataset, tiny: dict[str, Any], folder: Path, **changes: Any) -> Task:
    order = np.random.default_rng(0).permutation(len(dataset)).astype(np.int64)
    return Task(
        dataset=dataset,
        train=np.sort(order[12:]),
        validation=np.sort(order[:12]),
        settings=Finetune(**tiny | SHORT | changes),
        seed=7,
        folder=folder,
    )


def fit(given: Task) -> Trained:
    return LEARNER.fit(given)


def test_it_learns_at_the_size_that_it_will_serve(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    trained = fit(task(dataset, tiny, tmp_path))
    assert trained.record == Preprocessing(size=48, crop=1.0)
    assert trained.classes == dataset.classes
    assert [p.step for p in trained.curve] == [2, 4, 6, 8]
    assert (tmp_path / "checkpoints" / "best.pt").is_file()
    assert list((tmp_path / "tensorboard").iterdir())
    assert not trained.network.training


def test_channels_and_window_of_the_task_are_kept(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    reading = Preprocessing(channels=(2, 1, 0), window=(0.0, 200.0))
    trained = fit(replace(task(dataset, tiny, tmp_path), reading=reading))
    assert trained.record.channels == (2, 1, 0)
    assert trained.record.window == (0.0, 200.0)


@pytest.mark.parametrize("small_below", [400, 2])
def test_the_crop_is_weighed_by_a_probe(
    small_below: int, dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    """All centres, whether few images are learnt from or many."""
    said: list[str] = []
    weighing = task(dataset, tiny, tmp_path, crop="auto", small_below=small_below)
    trained = fit(replace(weighing, said=said.append))
    assert trained.record.crop in (1.0, *CENTRES)
    assert any("linear probe" in sentence for sentence in said)
    assert "linear probe" in trained.remarks[0]
    assert "at 50%" in trained.remarks[0]


def test_the_widest_centre_that_is_as_good_as_the_best_is_taken() -> None:
    hundred = np.arange(100)
    assert widest({1.0: hundred < 40, 0.83: hundred < 75, 0.5: hundred >= 23}) == 0.83
    assert widest({1.0: hundred < 60, 0.83: hundred < 60, 0.5: hundred < 90}) == 0.5
    assert widest({1.0: hundred < 60, 0.83: hundred < 60}) == 1.0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[Task], Any]:
    """Give the network as it is before its first step."""

    def begin(given: Task) -> Any:
        def stop(job: Any, network: Any, resume: bool) -> Any:
            seen.append(network.eval())
            raise KeyboardInterrupt

        seen: list[torch.nn.Module] = []
        monkeypatch.setattr("cytowell.training.finetune.train", stop)
        with pytest.raises(KeyboardInterrupt):
            LEARNER.fit(given)
        return seen[0]

    return begin


def test_the_head_starts_from_a_probe(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path, started: Callable[[Task], Any]
) -> None:
    given = task(dataset, tiny, tmp_path)
    network = started(given)
    learn = dataset.take(given.train)
    pixels = pack(learn, Preprocessing(size=32))
    with torch.no_grad():
        logits = network(torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2))[0]
    right = (logits.argmax(dim=1).numpy() == learn.labels).mean()
    assert right > 1.5 / len(dataset.classes)


@pytest.mark.parametrize(
    ("spread", "silent", "differ"), [(0.05, 0, True), (1e-5, 0, False), (0.05, 200, True)]
)
def test_a_head_is_not_fitted_on_rounding(
    spread: float,
    silent: int,
    differ: bool,
    dataset: Dataset,
    tiny: dict[str, Any],
    tmp_path: Path,
    started: Callable[[Task], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(1)

    def probed(backbone: Any, learn: Dataset, *given: Any) -> Any:
        features = 1 + spread * random.normal(size=(len(learn), 256))
        features[:, :silent] = 0.0
        return features.astype(np.float32)

    monkeypatch.setattr(finetune, "probe_features", probed)
    weight = started(task(dataset, tiny, tmp_path)).head.weight
    assert bool((weight.abs() > 1 / 16).any()) == differ  # PyTorch starts within 1 / sqrt(256)


def test_a_probe_sees_norms_that_fit_the_images(dataset: Dataset, tiny: dict[str, Any]) -> None:
    network = build(tiny["backbone"], tiny["weights"])
    norm = next(
        m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    )
    momentum = norm.momentum
    features = probe_features(network, dataset, Preprocessing(size=32), 40)
    assert features.shape == (min(40, len(dataset)), 256)
    assert norm.momentum == momentum
    assert norm.running_mean is not None
    assert bool((norm.running_mean != 0).any())
    assert not network.training


def test_subclasses_make_a_second_head(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    finer = tuple(
        replace(s, subclass=f"{s.label}/{i % 2}" if i % 3 else None)
        for i, s in enumerate(dataset.samples)
    )
    both = replace(dataset, samples=finer)
    given = task(both, tiny, tmp_path / "with")
    trained = fit(given)
    known = {both.samples[i].subclass for i in given.train} - {None}
    assert trained.network.second is not None
    assert trained.network.second.out_features == len(known)
    assert fit(task(both, tiny, tmp_path / "w", subclass_weight=0.0)).network.second is None


def test_kinds_that_file_names_tell_are_learnt_beside_the_classes(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    for i, s in enumerate(dataset.samples):
        kind = "young" if i < 4 else "old" if i < 8 else s.label
        named = tmp_path / "data" / str(s.label) / f"{kind}_{i}.png"
        named.parent.mkdir(parents=True, exist_ok=True)
        named.write_bytes(Path(s.path).read_bytes())
    trained = fit(task(cytowell.read(tmp_path / "data"), tiny, tmp_path / "run"))
    assert trained.network.second is not None
    assert trained.network.second.out_features == len(dataset.classes) + 1
    assert any("File names tell" in remark for remark in trained.remarks)


def test_resume_takes_no_checkpoint_of_other_data(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    fit(task(dataset, tiny, tmp_path))
    said: list[str] = []
    given = task(dataset, tiny, tmp_path)
    fit(replace(given, resume=True, said=said.append))
    assert any("going on" in s for s in said)
    said.clear()
    fit(replace(given, resume=True, said=said.append, train=given.train[1:]))
    assert not any("going on" in s for s in said)


@pytest.mark.timeout(240)
def test_two_processes_learn_one_network(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    ticks: list[int] = []
    given = replace(
        task(dataset, tiny, tmp_path, devices=2, accelerator="cpu", patience=1),
        said=said.append,
        ticked=lambda done, of, what: ticks.append(done),
    )
    trained = fit(given)
    stored = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert stored["state"]["step"] == 8
    assert (tmp_path / "checkpoints" / "best.pt").is_file()
    assert ticks == sorted(set(ticks))
    assert ticks
    assert trained.curve
    assert all(np.isfinite(p.validation_loss) for p in trained.curve)
    for value in trained.network.state_dict().values():
        assert torch.isfinite(value).all()


def test_a_probe_that_a_gpu_has_no_memory_for_is_made_on_the_processor(
    dataset: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[object] = []
    gpu = SimpleNamespace(type="cuda")
    real = Backbone.to

    def short_of_memory(self: Backbone, *given: Any, **named: Any) -> Backbone:
        places.append(given[0] if given else None)
        if given and given[0] is gpu:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return real(self, *given, **named)

    monkeypatch.setattr(finetune, "Fabric", lambda **named: SimpleNamespace(device=gpu))
    monkeypatch.setattr(Backbone, "to", short_of_memory)
    trained = fit(task(dataset, tiny, tmp_path, phases=((32, 2),)))
    assert places[0] is gpu
    assert trained.curve[-1].step == 2
