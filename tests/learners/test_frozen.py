"""The frozen learner from pictures to a head, with its seed and nothing else deciding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cytowell
from cytowell.errors import BundleError, RecipeError
from cytowell.images import CellView, Preprocessing
from cytowell.learners.contract import Makings, Task
from cytowell.learners.frozen import (
    LEARNER,
    TRAVELLING,
    Candidate,
    FrozenLearner,
    _best,
    are_cells_of_blood,
    columns,
    doubts,
    open_backbones,
    stage_sets,
)
from cytowell.learners.linear import losses_of
from cytowell.learners.settings import Frozen
from cytowell.learners.variations import VARIATIONS, recoloured
from cytowell.runtime.bundle import MapSlice
from cytowell.types import Dataset, Sample

QUICK = Frozen(backbones=("imagenet",), crops=(1.0,), strengths=(0.003, 0.03))
MAPS = (MapSlice("map_8", 0, 4), MapSlice("map_16", 4, 10), MapSlice("map_last", 10, 12))


@pytest.fixture(scope="module")
def dataset(cells: Path) -> Dataset:
    return cytowell.read(cells)


def fit(dataset: Dataset, tmp_path: Path, held_back: int = 0, seed: int = 7) -> Makings:
    order = np.random.default_rng(0).permutation(len(dataset)).astype(np.int64)
    return LEARNER.fit(
        Task(
            dataset=dataset,
            train=np.sort(order[held_back:]),
            validation=np.sort(order[:held_back]),
            settings=QUICK,
            seed=seed,
            folder=tmp_path,
        )
    )


def test_the_same_seed_gives_the_same_head(dataset: Dataset, tmp_path: Path) -> None:
    first, again = fit(dataset, tmp_path), fit(dataset, tmp_path)
    assert np.array_equal(first.head.weight, again.head.weight)
    assert np.array_equal(first.head.bias, again.head.bias)
    assert first.remarks == again.remarks
    assert first.logits is not None
    assert again.logits is not None
    assert np.array_equal(first.logits, again.logits)


def test_where_nothing_is_held_back_every_sample_has_logits_out_of_fold(
    dataset: Dataset, tmp_path: Path
) -> None:
    made = fit(dataset, tmp_path)
    assert made.logits is not None
    assert made.rows is not None
    assert made.rows.tolist() == list(range(len(dataset)))
    assert made.logits.shape == (len(dataset), len(dataset.classes))
    assert np.isfinite(made.logits).all()
    assert (made.logits != 0).any(axis=1).all()
    right = np.mean(np.argmax(made.logits, axis=1) == dataset.labels)
    assert right > 2 / len(dataset.classes)


def test_a_validation_part_needs_none(dataset: Dataset, tmp_path: Path) -> None:
    made = fit(dataset, tmp_path, held_back=10)
    assert made.logits is None
    assert made.rows is None


def test_the_head_lies_on_the_stages_that_were_chosen(dataset: Dataset, tmp_path: Path) -> None:
    made = fit(dataset, tmp_path)
    used = np.any(made.head.weight != 0, axis=0)
    assert made.head.weight.shape == (len(dataset.classes), made.maps[-1].stop)
    for part in made.maps:
        share = used[part.start : part.stop].mean()
        assert share == 0 or share > 0.9
    assert "log-loss" in made.remarks[0]


def test_the_first_backbone_weighs_the_centres_and_the_others_follow(
    dataset: Dataset, tmp_path: Path
) -> None:
    """The middle tells and the rest misleads; a second network sees the middle alone."""
    rng = np.random.default_rng(0)
    tints = np.array([[200, 90, 90], [90, 200, 90]], dtype=np.uint8)
    samples = []
    for i in range(24):
        pixels = tints[rng.integers(0, 2)] + rng.integers(0, 40, (96, 96, 3)).astype(np.uint8)
        pixels[24:72, 24:72] = tints[i % 2] + rng.integers(0, 40, (48, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        samples.append(Sample(str(tmp_path / f"{i}.png"), "ab"[i % 2]))
    data = Dataset(tuple(samples), ("a", "b"))
    settings = Frozen(backbones=("imagenet", "blood"), crops=(1.0, 0.5), strengths=(0.01,))
    task = Task(data, np.arange(24), np.zeros(0, dtype=np.int64), settings, 7, tmp_path)
    best, tried = LEARNER.weigh(task, data)
    assert best.record.crop == 0.5
    seen = {(c.backbone.name, c.record.crop) for c in tried}
    assert seen == {("imagenet", 1.0), ("imagenet", 0.5), ("blood", 0.5)}
    assert all(c.record.cell is None for c in tried), "what is no cell has no nucleus"


def test_the_view_of_single_cells_is_for_cells_of_blood() -> None:
    assert are_cells_of_blood(("lymphocyte", "neutrophil"))
    assert not are_cells_of_blood(("negative", "positive"))
    assert not are_cells_of_blood(("a", "b", "monocyte"))


def test_doubts_are_probabilities(dataset: Dataset) -> None:
    p = doubts(dataset, seed=7)
    assert p.shape == (len(dataset), len(dataset.classes))
    assert p.sum(axis=1) == pytest.approx(np.ones(len(dataset)))


def test_stages_are_what_a_network_has() -> None:
    assert ("last",) in stage_sets(MAPS)
    assert ("8", "16") in stage_sets(MAPS)
    assert len(stage_sets(MAPS)) == len(set(stage_sets(MAPS)))
    assert stage_sets(()) == [("features",)]
    assert stage_sets((MapSlice("stem", 0, 4),)) == [("stem",)]
    assert columns(MAPS, ("8", "last"), 12).tolist() == [0, 1, 2, 3, 10, 11]
    assert columns((), ("features",), 5).tolist() == list(range(5))


@pytest.mark.parametrize(
    "change",
    [
        {"balance": "fair"},
        {"strengths": ()},
        {"strengths": (0.0,)},
        {"crops": ()},
        {"crops": (1.5,)},
        {"folds": 1},
    ],
)
def test_settings_that_cannot_hold_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        replace(QUICK, **change)  # type: ignore[arg-type]


def test_backbones_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cytowell.weights.blood", lambda: tmp_path / "blood")
    with pytest.raises(RecipeError, match="--backbone"):
        open_backbones(("blood",))
    with pytest.raises(BundleError):
        open_backbones((str(tmp_path / "gone.onnx"),))
    assert [b.name for b in open_backbones(("blood", "imagenet"))] == ["imagenet"]


def test_a_bundle_can_be_the_start_of_another(
    dataset: Dataset, bundle: Path, tmp_path: Path
) -> None:
    task = Task(
        dataset=dataset,
        train=np.arange(len(dataset), dtype=np.int64),
        validation=np.zeros(0, dtype=np.int64),
        settings=replace(QUICK, backbones=(str(bundle),)),
        seed=7,
        folder=tmp_path,
    )
    made = LEARNER.fit(task)
    assert made.architecture == "tf_efficientnet_lite0"
    assert "Apache" in made.licence


def test_nothing_is_chosen_on_the_fold_that_it_is_tested_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Network, centre, stages and strength are weighed anew without each fold."""

    def noise(_s: Any, _d: str, record: Preprocessing, samples: Sequence[Sample], *_: Any) -> Any:
        rows = [
            np.random.default_rng([int(1000 * record.crop), int(s.path)]).normal(size=4)
            for s in samples
        ]
        return np.array(rows, dtype=np.float32)

    network = SimpleNamespace(
        training_images=None,
        session=None,
        digest="",
        record=Preprocessing(),
        maps=(),
        model=b"",
        origin={},
        name="none",
    )
    asked: list[list[int]] = []

    class Watched(FrozenLearner):
        def weigh(self, task: Task, learn: Dataset) -> tuple[Candidate, list[Candidate]]:
            best, tried = super().weigh(task, learn)
            asked.append(sorted(int(s.path) for s in learn.samples))
            return best, tried

    monkeypatch.setattr("cytowell.learners.frozen.cached_features", noise)
    monkeypatch.setattr("cytowell.learners.frozen.open_backbones", lambda names: [network])
    settings = Frozen(crops=(0.4, 0.6, 0.8, 1.0), strengths=(0.1,), folds=4)
    data = Dataset(tuple(Sample(str(i), "ab"[i % 2]) for i in range(40)), ("a", "b"))
    task = Task(data, np.arange(40), np.zeros(0, dtype=np.int64), settings, 7, tmp_path)
    made = Watched().fit(task)
    assert sorted(np.concatenate([f.test for f in made.folds]).tolist()) == [*range(40)]
    assert asked == [[*range(40)], *([int(i) for i in f.train] for f in made.folds)]
    for fold in made.folds:
        assert not set(fold.train) & set(fold.test)
        assert fold.train_logits.shape == (len(fold.train), 2)
        assert fold.test_logits.shape == (len(fold.test), 2)


def test_heads_are_ranked_by_what_they_know_not_by_how_sure_they_are() -> None:
    """Logits that rank alike lose alike, however large; wrong ones lose."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    logits = rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels]
    loud = losses_of(9 * logits, labels).mean()
    assert loud == pytest.approx(losses_of(logits, labels).mean(), rel=0.02)
    assert losses_of(rng.normal(size=(60, 3)), labels).mean() > 1.5 * loud
    holes = np.where(np.arange(60)[:, None] % 4 == 0, np.nan, logits)
    assert len(losses_of(holes, labels)) == 45


def test_few_cells_take_the_stages_that_travel_unless_others_are_clearly_better() -> None:
    cell = SimpleNamespace(cell=CellView(), crop=1.0)

    def tried(stages: tuple[str, ...], loss: float, record: Any = cell) -> Candidate:
        return Candidate(SimpleNamespace(), record, stages, 0.01, loss, 0.05)  # type: ignore[arg-type]

    last, travelling = tried(("last",), 0.30), tried(TRAVELLING, 0.34)
    assert _best([last, travelling], few=True) is travelling
    assert _best([last, travelling], few=False) is last
    assert _best([last, replace(travelling, loss=0.36)], few=True) is last
    whole = SimpleNamespace(cell=None, crop=1.0)
    assert _best([tried(("last",), 0.3, whole), travelling], few=True).stages == ("last",)


def test_cells_teach_in_variations_and_are_judged_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(24):
        pixels = np.full((80, 80, 3), 230.0)
        pixels[25:55, 25:55] = (90, 60, 150) if i % 2 else (150, 60, 90)
        shown = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(shown).save(tmp_path / f"{i}.png")
        samples.append(Sample(str(tmp_path / f"{i}.png"), ("lymphocyte", "neutrophil")[i % 2]))
    data = Dataset(tuple(samples), ("lymphocyte", "neutrophil"))
    settings = Frozen(backbones=("blood",), crops=(1.0,), strengths=(0.01,))
    task = Task(data, np.arange(24), np.zeros(0, dtype=np.int64), settings, 7, tmp_path)
    made = LEARNER.fit(task)
    assert f"{len(VARIATIONS)} variations" in made.remarks[0]
    assert made.logits is not None
    assert made.logits.shape == (24, 2)
    assert np.isfinite(made.logits).all()
    best, _ = LEARNER.chosen(task, data)
    seen = LEARNER.varied(best, data)
    assert seen.shape[:2] == (24, 1 + len(VARIATIONS))
    assert (np.abs(np.diff(seen, axis=1)).max(axis=2) > 1e-3).all(), "each variation differs"
    turned = data.take(np.arange(24)[::-1])
    assert np.array_equal(LEARNER.varied(best, turned)[::-1], seen)
    monkeypatch.setattr("cytowell.learners.frozen.VARIED", 10)
    assert LEARNER.varied(best, data).ndim == 2


def test_colours_vary_by_content_and_always_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    one = recoloured(pixels, b"12345678", 3)
    assert np.array_equal(one, recoloured(pixels, b"12345678", 3))
    assert not np.array_equal(one, recoloured(pixels, b"12345679", 3))
    assert not np.array_equal(one, recoloured(pixels, b"12345678", 4))
