"""One loop: what it draws, when it stops, and that it goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cytowell.errors import RecipeError
from cytowell.learners.contract import Curve
from cytowell.models.build import build
from cytowell.models.classifier import Classifier
from cytowell.training import loop
from cytowell.training.averaging import Averaging
from cytowell.training.checkpoint import load_checkpoint
from cytowell.training.draws import draw
from cytowell.training.loop import Job, Material, train
from cytowell.training.objective import class_weights
from cytowell.training.processes import keep_memory, whole
from cytowell.training.recipe import Finetune
from cytowell.training.schedule import one_cycle, parameter_groups
from cytowell.types import Pixels

pytestmark = pytest.mark.torch

COUNT, JUDGED = 30, 12
LABELS = np.arange(COUNT, dtype=np.int64) % 3
Make = Callable[..., tuple[Job, Classifier]]


def pictures(labels: Any, size: int, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 60, (len(labels), size, size, 3))
    colours = np.array([[150, 60, 60], [60, 150, 60], [60, 60, 150]])
    drawn: Pixels = (noise + colours[labels][:, None, None, :]).astype(np.uint8)
    return drawn


def material(size: int) -> Material:
    learn = pictures(LABELS, size + 8, 0)
    judged = pictures(np.arange(JUDGED) % 3, size, 1)
    return Material(learn, learn[:, 4:-4, 4:-4], judged)


def prepared(
    tiny: dict[str, Any], folder: Path, ticked: Any = None, **changes: Any
) -> tuple[Job, Classifier]:
    settings = {"phases": ((32, 6), (40, 6)), "small_batch": 8, "evaluations": 4, "ema": 0.5}
    s = Finetune(**tiny | settings | changes)
    torch.manual_seed(3)
    job = Job(
        settings=s,
        seed=7,
        classes=("a", "b", "c"),
        labels=LABELS,
        second_labels=np.full(COUNT, -1, dtype=np.int64),
        judge_labels=np.arange(JUDGED, dtype=np.int64) % 3,
        folder=folder / "checkpoints",
        fingerprint="this job",
        material=material,
        ticked=ticked or (lambda done, of, what: None),
    )
    return job, Classifier(build(s.backbone, s.weights), 256, 3, 0, s.dropout)


@pytest.fixture
def make(tiny: dict[str, Any], tmp_path: Path) -> Make:
    def build_job(
        folder: str = "run", ticked: Any = None, **changes: Any
    ) -> tuple[Job, Classifier]:
        return prepared(tiny, tmp_path / folder, ticked, **changes)

    return build_job


def assert_same(a: Classifier, b: Classifier) -> None:
    for (name, ours), theirs in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.allclose(ours.float(), theirs.float(), atol=1e-5, rtol=1e-4), name


def untimed(curve: list[Curve]) -> list[Curve]:
    return [replace(point, seconds=0.0, images_per_second=0.0) for point in curve]


def read_board(job: Job) -> Any:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = events.EventAccumulator(str(job.folder.parent / "tensorboard"))
    return board.Reload()


def stop_at(step: int, how: Callable[[], None]) -> Callable[[int, int, str], None]:
    def ticked(done: int, of: int, what: str) -> None:
        if done == step:
            how()

    return ticked


def interrupt() -> None:
    raise KeyboardInterrupt


def test_it_learns_and_leaves_its_curve(make: Make) -> None:
    ticks: list[tuple[int, int, str]] = []
    job, network = make(
        ticked=lambda *given: ticks.append(given), phases=((32, 20), (40, 20)), rate=1e-2
    )
    network, curve = train(job, network, resume=False)
    assert [t[0] for t in ticks] == list(range(1, 41))
    assert {t[1] for t in ticks} == {40}
    assert [p.step for p in curve] == [10, 20, 30, 40]
    assert [p.size for p in curve] == [32, 32, 40, 40]
    assert curve[-1].validation_loss < curve[0].validation_loss
    assert curve[-1].validation_accuracy == 1.0
    assert not network.training
    losses = read_board(job).Scalars("step/loss")
    assert [e.step for e in losses] == list(range(40))
    assert losses[-1].value < losses[0].value


def test_each_answer_of_the_validation_part_is_one_line_beside_the_loss(make: Make) -> None:
    said: list[str] = []
    job, network = make()
    _, curve = train(replace(job, said=said.append), network, resume=False)
    lines = [line for line in said if line.startswith("step ")]
    assert len(lines) == len(curve) == 4
    for line, p in zip(lines, curve, strict=True):
        assert line == (
            f"step {p.step} of 12, {p.size} px: loss {p.train_loss:.3f}, accuracy "
            f"{p.train_accuracy:.1%}; validation loss {p.validation_loss:.3f}, accuracy "
            f"{p.validation_accuracy:.1%}"
        )
    best = load_checkpoint(job.folder / "best.pt", "this job")
    assert best is not None
    wanted = next(p for p in curve if p.step == best["state"]["step"])
    pixels = torch.from_numpy(material(40).judge).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = network(pixels).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(job.judge_labels))
    assert float(loss) == pytest.approx(wanted.validation_loss, abs=1e-4)


@pytest.mark.parametrize("step", [1, 3, 4, 6, 7, 9, 12])
def test_an_interrupt_changes_nothing_but_the_time(make: Make, step: int) -> None:
    whole, expected = train(*make("whole"), resume=False)
    job, network = make("cut", ticked=stop_at(step, interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(job, network, resume=False)
    stored = load_checkpoint(job.folder / "last.pt", "this job")
    assert stored is not None
    assert stored["state"]["step"] == step
    said: list[str] = []
    again, fresh = make("cut")
    network, curve = train(replace(again, said=said.append), fresh, resume=True)
    assert f"going on from step {step}" in said
    assert untimed(curve) == untimed(expected)
    assert_same(network, whole)


def test_a_kill_costs_what_came_after_the_last_checkpoint(
    make: Make, tiny: dict[str, Any], tmp_path: Path
) -> None:
    whole, expected = train(*make("whole"), resume=False)
    command = [sys.executable, __file__, json.dumps(tiny), str(tmp_path / "killed")]
    assert subprocess.run(command, check=False, timeout=120).returncode == -9
    said: list[str] = []
    job, network = make("killed")
    network, curve = train(replace(job, said=said.append), network, resume=True)
    assert "going on from step 7" in said
    assert untimed(curve) == untimed(expected)
    assert_same(network, whole)


@pytest.mark.parametrize("step", [7, 8, 10])
def test_tensorboard_holds_every_point_of_the_curve_after_an_end_at_any_step(
    make: Make, step: int
) -> None:
    """A checkpoint of the end of a phase, where the validation part has answered already."""
    job, network = make("cut", ticked=stop_at(step, die))
    with pytest.raises(SystemExit):
        train(job, network, resume=False)
    job, network = make("cut")
    _, curve = train(job, network, resume=True)
    board = read_board(job)
    for name in ("loss/validation", "accuracy/train", "rate"):
        assert [event.step for event in board.Scalars(name)] == [point.step for point in curve]


def die() -> None:
    """End as a kill does: nothing is saved."""
    raise SystemExit


def be_killed(tiny: dict[str, Any], folder: Path) -> None:
    """Train in this process until a kill that nothing can catch, saving after each step."""
    loop.SAVE_EVERY = 0.0
    train(*prepared(tiny, folder, stop_at(8, lambda: os.kill(os.getpid(), 9))), resume=False)


def test_without_resume_it_begins_anew(make: Make) -> None:
    whole, _ = train(*make("whole"), resume=False)
    job, network = make("cut", ticked=stop_at(5, interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(job, network, resume=False)
    assert_same(train(*make("cut"), resume=False)[0], whole)


def test_the_checkpoint_of_another_job_is_not_taken(make: Make) -> None:
    whole, _ = train(*make("whole"), resume=False)
    job, network = make("cut", ticked=stop_at(5, interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(replace(job, fingerprint="another"), network, resume=False)
    said: list[str] = []
    job, network = make("cut")
    network, _ = train(replace(job, said=said.append), network, resume=True)
    assert not any("going on from" in sentence for sentence in said)
    assert_same(network, whole)


def test_what_is_finished_is_not_learnt_again(make: Make) -> None:
    first, curve = train(*make(), resume=False)
    job, network = make(ticked=lambda *given: pytest.fail("it went on"))
    again, same = train(job, network, resume=True)
    assert same == curve
    assert_same(first, again)


def test_the_same_seed_gives_the_same_network(make: Make) -> None:
    first, _ = train(*make("one"), resume=False)
    torch.manual_seed(123)
    again, _ = train(*make("two"), resume=False)
    assert_same(first, again)
    job, network = make("three")
    other, _ = train(replace(job, seed=8), network, resume=False)
    assert not torch.allclose(first.head.weight, other.head.weight)


def test_a_phase_without_progress_ends_early(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 2.0, 2.0, 5.0, 4.0, 4.5, 4.6])
    compute = loop._calls

    def worse(average: Any, pixels: Any, fabric: Any, truth: Any = None) -> tuple[Any, Any]:
        lost, calls = compute(average, pixels, fabric, truth)
        if truth is not None and len(truth) == JUDGED:
            lost = np.full(JUDGED, next(losses))
        return lost, calls

    monkeypatch.setattr(loop, "_calls", worse)
    said: list[str] = []
    job, network = make(phases=((32, 10), (40, 10)), evaluations=10, patience=2)
    _, curve = train(replace(job, said=said.append), network, resume=False)
    assert [p.step for p in curve] == [2, 4, 6, 12, 14, 16, 18]
    assert [sentence for sentence in said if "no progress" in sentence] == [
        "no progress at 32 px since step 2: going on",
        "no progress at 40 px since step 14: going on",
    ]
    best = load_checkpoint(job.folder / "best.pt", "this job")
    assert best is not None
    assert best["state"]["step"] == 14


@pytest.mark.parametrize(("spread", "kept"), [(0.0, 6), (4.0, 10)])
def test_the_last_average_stands_unless_validation_knows_better(
    make: Make, monkeypatch: pytest.MonkeyPatch, spread: float, kept: int
) -> None:
    losses = iter([1.0, 2.0, 0.8, 0.9, 0.95])
    compute = loop._calls

    def given(average: Any, pixels: Any, fabric: Any, truth: Any = None) -> tuple[Any, Any]:
        lost, calls = compute(average, pixels, fabric, truth)
        if truth is not None and len(truth) == JUDGED:
            lost = np.full(JUDGED, next(losses))
            lost[::2] += spread / 2
            lost[1::2] -= spread / 2
        return lost, calls

    monkeypatch.setattr(loop, "_calls", given)
    job, network = make(phases=((32, 10),), evaluations=5)
    train(job, network, resume=False)
    best = load_checkpoint(job.folder / "best.pt", "this job")
    assert best is not None
    assert best["state"]["step"] == kept


def test_a_training_that_diverges_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        loop,
        "_calls",
        lambda a, pixels, f, t=None: (np.full(len(pixels), np.nan), np.zeros(len(pixels), int)),
    )
    with pytest.raises(RecipeError, match="rate"):
        train(*make(), resume=False)


@pytest.mark.parametrize("stranger", ["balanced", "none"])
def test_class_weights_are_inverse_to_frequency(make: Make, stranger: str) -> None:
    job, network = make(class_weights=stranger)
    labels = np.array([0] * 20 + [1] * 9 + [2], dtype=np.int64)
    rare = replace(job, labels=labels)
    assert class_weights(labels, 3).tolist() == pytest.approx([0.5, 10 / 9, 10])
    train(rare, network, resume=False)


def test_a_second_head_learns_subclasses_where_there_are_any(make: Make) -> None:
    job, _ = make(subclass_weight=1.0)
    s = job.settings
    network = Classifier(build(s.backbone, s.weights), 256, 3, 2, s.dropout)
    assert network.second is not None
    before = network.second.weight.detach().clone()
    second = np.where(np.arange(COUNT) % 2, -1, LABELS % 2).astype(np.int64)
    network, _ = train(replace(job, second_labels=second), network, resume=False)
    assert network.second is not None
    assert not torch.allclose(before, network.second.weight)
    none = Classifier(build(s.backbone, s.weights), 256, 3, 2, s.dropout)
    assert none.second is not None
    before = none.second.weight.detach().clone()
    none, _ = train(job, none, resume=False)
    assert none.second is not None
    assert torch.allclose(before, none.second.weight, atol=0.02)


def test_tensorboard_holds_what_was_promised(make: Make) -> None:
    job, network = make()
    _, curve = train(job, network, resume=False)
    board = read_board(job)
    tags = board.Tags()
    assert set(tags["scalars"]) >= {
        "loss/train", "loss/validation", "accuracy/train", "accuracy/validation",
        "gap/accuracy", "gap/loss", "rate", "size", "images_per_second",
    }  # fmt: skip
    assert {"confusion/validation"} <= set(tags["images"])
    assert any(t.startswith("augmented") for t in tags["images"])
    assert any(t.startswith("calls") for t in tags["images"])
    # Settings with their final figures are a run of their own, as TensorBoard wants it.
    assert any((job.folder.parent / "tensorboard" / "settings").glob("events*"))
    scalars = board.Scalars("loss/validation")
    assert [e.step for e in scalars] == [p.step for p in curve]
    assert [e.value for e in scalars] == pytest.approx([p.validation_loss for p in curve])


def test_tensorboard_shows_no_step_twice_after_an_interrupt(make: Make) -> None:
    job, network = make(ticked=stop_at(5, interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(job, network, resume=False)
    job, network = make()
    _, curve = train(job, network, resume=True)
    board = read_board(job)
    steps = [e.step for e in board.Scalars("loss/validation")]
    assert steps == [p.step for p in curve]


def fabric(rank: int = 0, size: int = 1) -> Any:
    return SimpleNamespace(global_rank=rank, world_size=size, device=torch.device("cpu"))


def test_what_a_step_draws_depends_on_the_step_alone(make: Make) -> None:
    job, _ = make()
    shown = material(32)
    first, rows = draw(job, shown, 32, 5, fabric())
    draw(job, shown, 32, 6, fabric())
    again, same = draw(job, shown, 32, 5, fabric())
    assert torch.equal(first, again)
    assert np.array_equal(rows, same)
    assert not np.array_equal(rows, draw(job, shown, 32, 6, fabric())[1])


def test_an_epoch_shows_every_sample_once(make: Make) -> None:
    job, _ = make(small_batch=5)
    shown = material(32)
    drawn = [draw(job, shown, 32, step, fabric())[1] for step in range(12)]
    first, second = np.concatenate(drawn[:6]), np.concatenate(drawn[6:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(COUNT))
    assert first.tolist() != second.tolist()


def test_two_processes_share_what_one_would_draw(make: Make) -> None:
    job, _ = make()
    shown = material(32)
    alone = draw(job, shown, 32, 5, fabric())[1]
    shares = [draw(job, shown, 32, 5, fabric(rank, 2))[1] for rank in (0, 1)]
    assert sorted(np.concatenate(shares).tolist()) == sorted(alone.tolist())
    assert [len(s) for s in shares] == [4, 4]


def test_labels_go_with_their_pictures(make: Make) -> None:
    job, _ = make()
    images, rows = draw(job, material(32), 32, 0, fabric())
    strongest = images.mean(dim=(2, 3)).argmax(dim=1).numpy()
    assert np.mean(strongest == LABELS[rows]) > 0.8


def test_the_rate_rises_and_falls_once() -> None:
    s = Finetune(warmup=0.25, rate=1e-3)
    rates = [one_cycle(i / 100, s) for i in range(101)]
    top = int(np.argmax(rates))
    assert top == 25
    assert rates[top] == pytest.approx(1e-3)
    assert rates[0] == pytest.approx(4e-5)
    assert rates[-1] == pytest.approx(2e-6)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert one_cycle(0.0, replace(s, warmup=0.0)) == pytest.approx(1e-3)


def test_the_average_begins_as_a_mean_of_what_it_saw() -> None:
    averaged, value = [torch.zeros(3), torch.tensor(0)], torch.zeros(3)
    for seen in range(1, 200):
        value = value + 1
        Averaging(0.9)(averaged, [value, torch.tensor(seen)], seen)
        if seen == 1:
            assert averaged[0].tolist() == pytest.approx([1 - 2 / 11] * 3)
    assert averaged[1].item() == 199
    lag = 199 - averaged[0][0].item()
    assert lag == pytest.approx(9, abs=0.1)


def test_the_average_forgets_the_size_before(make: Make) -> None:
    job, network = make(phases=((32, 8), (48, 1)), ema=0.9999)
    train(job, network, resume=False)
    best = load_checkpoint(job.folder / "best.pt", "this job")
    last = load_checkpoint(job.folder / "last.pt", "this job")
    assert best is not None
    assert last is not None
    for name, value in best["average"].items():
        assert torch.equal(value, last["network"][name]), name


def test_rates_grow_with_depth_and_norms_do_not_decay(make: Make) -> None:
    job, network = make(stem_rate=0.25, weight_decay=0.1)
    groups = parameter_groups(network, job.settings)
    shares = [g["share"] for g in groups]
    assert min(shares) == 0.25
    assert max(shares) == 1.0
    for group in groups:
        flat = {p.ndim <= 1 for p in group["params"]}
        assert len(flat) == 1
        assert group["weight_decay"] == (0.0 if flat.pop() else 0.1)
    held = [id(p) for g in groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_a_body_without_batch_norm_learns_at_a_tenth() -> None:
    s = Finetune(backbone="test_vit", weights="nothing", stem_rate=0.5)
    body: Any = build(s.backbone, s.weights)
    groups = parameter_groups(Classifier(body, body.body.num_features, 3), s)
    assert [g["share"] for g in groups[-2:]] == [1.0, 1.0]
    shares = [g["share"] for g in groups[:-2]]
    assert (min(shares), max(shares)) == (pytest.approx(0.05), pytest.approx(0.1))
    both = build("resnet18+vgg11", "nothing")
    shares = [g["share"] for g in parameter_groups(Classifier(both, 1024, 3), s)[:-2]]
    assert (min(shares), max(shares)) == (pytest.approx(0.05), 1.0)


def test_frozen_layers_have_no_gradient_and_keep_their_weights(make: Make) -> None:
    job, network = make(phases=((32, 4),), frozen_depth=0.4)
    before = {name: p.clone() for name, p in network.named_parameters()}
    groups = parameter_groups(network, job.settings)
    deep = {id(p) for g in network.backbone.depth_groups() if g.depth < 0.4 for p in g.parameters}
    assert deep
    assert not deep & {id(p) for g in groups for p in g["params"]}
    train(job, network, resume=False)
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (id(parameter) not in deep)
        if id(parameter) in deep:
            assert torch.equal(parameter, before[name]), name
    assert not torch.equal(network.head.weight, before["head.weight"])


def test_memory_may_be_kept_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_memory()
    assert torch.ones(1000, 1000).sum() == 1_000_000

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("cytowell.training.processes.ctypes.CDLL", missing)
    keep_memory()
    monkeypatch.setattr("cytowell.training.processes.sys.platform", "darwin")
    keep_memory()


if __name__ == "__main__":
    be_killed(json.loads(sys.argv[1]), Path(sys.argv[2]))


def test_ctrl_c_waits_for_the_step_to_be_whole() -> None:
    done = []

    def step() -> None:
        with whole():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of it")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            step()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done
