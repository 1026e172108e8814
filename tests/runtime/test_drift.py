from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import cytowell
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.drift import DriftMonitor, in_words
from cytowell.runtime.reference import MOST, Reference, reference_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, list[Path]]:
    """Give a bundle that learnt from two thirds of some drawn cells, and the other third."""
    root = cytowell.write_samples(tmp_path_factory.mktemp("drift"), "cells", per_class=18)["cells"]
    files = sorted(root.rglob("*.jpg"))
    others = files[::3]
    from cytowell.runs.recipe import make

    data = cytowell.read(root)
    kept = data.take(np.array([Path(s.path) not in set(others) for s in data.samples]))
    kept = cytowell.Dataset(
        tuple(type(s)(s.path, s.label) for s in kept.samples), kept.classes, synthetic=True
    )
    recipe, _ = make("frozen", backbones=("imagenet",), crops=(1.0,), strengths=(0.01,))
    run = cytowell.train(kept, tmp_path_factory.mktemp("run") / "run", recipe)
    return cytowell.load(run.bundle), others


def changed(files: list[Path], change: object) -> list[np.ndarray]:
    return [np.asarray(change(Image.open(f).convert("RGB"))) for f in files]  # type: ignore[operator]


def compared(bundle: Bundle, images: object) -> DriftMonitor:
    monitor = DriftMonitor(bundle)
    from cytowell.runtime.pipeline import as_samples

    for batch in bundle.features(as_samples(images)):
        monitor.add(batch)
    return monitor


def test_a_trained_bundle_holds_its_reference_and_keeps_it(
    trained: tuple[Bundle, list[Path]], tmp_path: Path
) -> None:
    bundle, _ = trained
    assert bundle.reference is not None
    assert np.isfinite(bundle.reference.distances).any()
    bundle.save(tmp_path / "again", "# card\n")
    again = cytowell.load(tmp_path / "again").reference
    assert again is not None
    np.testing.assert_array_equal(again.appearances, bundle.reference.appearances)


def test_photographs_like_those_of_training_are_no_alarm(
    trained: tuple[Bundle, list[Path]],
) -> None:
    bundle, others = trained
    found = compared(bundle, others).result()
    assert not found.differs, found.sentence
    assert found.sentence.startswith("No difference from the training images")
    assert found.photographs == len(others)
    assert sum(found.mix.values()) == len(others)


@pytest.mark.parametrize(
    ("change", "measure", "words"),
    [
        (lambda i: Image.fromarray((np.asarray(i) * 0.85).astype(np.uint8)), "light", "darker"),
        (lambda i: i.filter(ImageFilter.GaussianBlur(2.5)), "sharpness", "blurred"),
    ],
)
def test_a_change_is_found_and_named(
    trained: tuple[Bundle, list[Path]], change: object, measure: str, words: str
) -> None:
    bundle, others = trained
    found = compared(bundle, changed(others, change)).result()
    assert measure in [c.measure for c in found.comparisons if c.differs]
    assert words in found.sentence
    assert found.remedies


def test_a_bundle_without_a_reference_says_what_was_not_compared(
    trained: tuple[Bundle, list[Path]],
) -> None:
    bundle, others = trained
    found = compared(bundle.with_reference(None), others).result()
    assert not found.differs
    assert "Light, stain, sharpness and size" in found.missing[0]
    assert "as far as it could be compared" in found.sentence
    noise = [
        np.random.default_rng(i).integers(0, 256, (80, 80, 3), dtype=np.uint8) for i in range(9)
    ]
    assert compared(bundle.with_reference(None), noise).result().differs


def test_training_images_are_recognised_as_such(
    trained: tuple[Bundle, list[Path]], tmp_path: Path
) -> None:
    bundle, others = trained
    folder = others[0].parent.parent
    own = [f for f in sorted(folder.rglob("*.jpg")) if f not in set(others)]
    found = compared(bundle, own).result()
    assert found.copies == len(own)
    assert compared(bundle, others).result().copies == 0
    assert "trained on" in found.sentence


def test_the_latest_images_alone_are_remembered(trained: tuple[Bundle, list[Path]]) -> None:
    bundle, others = trained
    monitor = DriftMonitor(bundle, 5)
    for batch in bundle.features([cytowell.Sample(str(f)) for f in others]):
        monitor.add(batch)
    assert len(monitor) == 5
    assert monitor.result().images == 5


def test_nothing_compared_is_said_so(trained: tuple[Bundle, list[Path]]) -> None:
    found = DriftMonitor(trained[0]).result()
    assert not found.differs
    assert "Nothing could be compared" in found.sentence


def test_a_reference_keeps_images_with_a_distance_first() -> None:
    n = MOST + 500
    distances = np.full(n, np.nan)
    distances[-400:] = 1.0
    made = reference_of(np.zeros((n, 8)), distances, np.zeros(n, int), [str(i) for i in range(n)])
    assert len(made.called) == MOST
    assert np.isfinite(made.distances).sum() == 400
    with pytest.raises(ValueError, match="appearances"):
        Reference(made.appearances[:, :3], made.distances, made.called, made.groups)


def test_effects_are_said_as_a_person_would() -> None:
    assert in_words("light", -0.1054) == "light 10 % darker"
    assert in_words("size", 0.1823).startswith("1.20 times as large")
    assert in_words("sharpness", -1.8) == "blurred (83 % less fine detail)"
