"""Calls keep the order and number of what was asked, whatever it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import cytowell
from cytowell.runtime import pipeline
from cytowell.runtime.bundle import Bundle, decide, load
from cytowell.types import Pixels, Predictions, Sample


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return load(bundle)


@pytest.fixture(scope="module")
def files(cells: Path) -> list[str]:
    return list(cytowell.read(cells).paths)


@pytest.fixture(scope="module")
def arrays(files: list[str]) -> list[Pixels]:
    small = [np.asarray(Image.open(f).convert("RGB").resize((48, 48))) for f in files[:20]]
    rng = np.random.default_rng(0)
    return [np.roll(small[i % 20], int(rng.integers(48)), axis=1) for i in range(100)]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_batches_end_anywhere(opened: Bundle, arrays: list[Pixels], count: int) -> None:
    calls = opened.predict(arrays[:count])
    assert len(calls) == count
    assert calls.probabilities.shape == (count, len(opened.classes))
    assert calls.probabilities.sum(axis=1) == pytest.approx(np.ones(count))
    if count:
        alone = opened.predict(arrays[count - 1])
        assert alone.probabilities[0] == pytest.approx(calls.probabilities[-1], abs=1e-5)


def test_workers_change_nothing(opened: Bundle, arrays: list[Pixels]) -> None:
    one, two = (opened.predict(arrays, workers=n) for n in (1, 2))
    assert np.array_equal(one.probabilities, two.probabilities)
    assert one.reasons == two.reasons


def test_order_is_kept_among_bad_files(opened: Bundle, files: list[str], tmp_path: Path) -> None:
    text, empty = tmp_path / "text.jpg", tmp_path / "empty.png"
    text.write_text("no picture", encoding="utf-8")
    empty.touch()
    asked = [str(tmp_path / "gone.jpg"), *files[:9], str(text), files[9], str(empty)]
    calls = opened.predict(asked)
    assert [s.path for s in calls.samples] == asked
    assert [bool(e) for e in calls.errors] == [True, *[False] * 9, True, False, True]
    bad = ~calls.readable
    assert np.isnan(calls.probabilities[bad]).all()
    assert not calls.decided[bad].any()
    assert all(calls.labels[i] == "" for i in np.flatnonzero(bad))
    good = opened.predict(files[:10])
    assert calls.probabilities[calls.readable] == pytest.approx(good.probabilities, abs=1e-5)


def test_a_batch_of_bad_files_alone_is_called_too(opened: Bundle, tmp_path: Path) -> None:
    calls = opened.predict([tmp_path / f"{i}.jpg" for i in range(17)])
    assert len(calls) == 17
    assert not calls.readable.any()


def test_every_kind_of_image_is_the_same_image(opened: Bundle, files: list[str]) -> None:
    picture = Image.open(files[0]).convert("RGB")
    kinds = [
        files[0],
        Path(files[0]),
        Sample(files[0]),
        picture,
        np.asarray(picture),
        [files[0]],
        np.asarray(picture)[None],
        (f for f in files[:1]),
    ]
    answers = [opened.predict(kind) for kind in kinds]
    for answer in answers:
        assert len(answer) == 1
        assert np.array_equal(answer.probabilities, answers[0].probabilities)


def test_a_data_set_keeps_truth_and_columns(opened: Bundle, cells: Path) -> None:
    dataset = cytowell.read(cells).take(range(5))
    calls = opened.predict(dataset)
    assert calls.samples == dataset.samples
    assert [calls.classes[i] for i in calls.truth] == [s.label for s in dataset.samples]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32, 3), np.float32),
        np.zeros((3, 32, 32), np.uint8),
    ],
    ids=["grey", "alpha", "float", "channels first"],
)
def test_an_array_that_is_no_picture_is_one_row_with_its_error(
    opened: Bundle, array: Pixels
) -> None:
    calls = opened.predict(array)
    assert len(calls) == 1
    assert "uint8 of shape" in calls.errors[0]


def test_reasons_say_why_not(opened: Bundle) -> None:
    facts = replace(opened.facts, threshold=0.8, farthest=10.0)
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.9, 0.1], [0.6, 0.4]])
    decided, reasons = decide(facts, probabilities, np.array([5.0, 5.0, 11.0, 11.0]))
    assert decided.tolist() == [True, False, False, False]
    assert reasons[0] == ""
    assert reasons[1] == "probability 0.700 below 0.800"
    assert reasons[2] == reasons[3] == "unlike the images learnt from"
    decided, _ = decide(facts, probabilities, None)
    assert decided.tolist() == [True, False, True, False]


def test_temperature_divides_the_logits(opened: Bundle, arrays: list[Pixels]) -> None:
    batch = next(opened.features(arrays[:4]))
    logits = opened.head.logits(batch.features)
    warm = Bundle(replace(opened.facts, temperature=3.0), opened.head, None, opened.model)
    assert warm.probabilities(batch.features) == pytest.approx(softmax(logits / 3.0, axis=1))


def test_what_is_no_cell_is_declined(opened: Bundle) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    board = np.repeat((((y // 20 + x // 20) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    noise = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    lawn = np.clip(rng.normal((40, 140, 30), 30, (200, 200, 3)), 0, 255).astype(np.uint8)
    calls = opened.predict([board, noise, lawn])
    assert not calls.decided.any()
    # Eight cells a class on two slides leave a wide limit: one of the three is merely unsure.
    assert calls.reasons.count("unlike the images learnt from") >= 2


def test_few_are_read_ahead_and_none_is_kept(
    opened: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = opened.head.weight.shape[1]
    monkeypatch.setattr(
        opened.session, "features", lambda pixels: np.zeros((len(pixels), width), np.float32)
    )
    taken, most = 0, 0
    lock = threading.Lock()

    def endless() -> Iterator[Pixels]:
        nonlocal taken
        for _ in range(2_000):
            with lock:
                taken += 1
            yield np.zeros((8, 8, 3), np.uint8)

    done = 0
    for part in opened.stream(endless(), workers=2):
        done += len(part)
        most = max(most, taken - done)
    assert done == taken == 2_000
    assert most <= 3 * 2 * pipeline.BATCH


def test_leaving_early_leaves_no_thread(opened: Bundle, arrays: list[Pixels]) -> None:
    before = threading.active_count()
    stream = opened.stream(iter(arrays), workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_table_of_calls_comes_back(opened: Bundle, cells: Path, tmp_path: Path) -> None:
    calls = opened.predict([*cytowell.read(cells).samples[:3], Sample(str(tmp_path / "gone.jpg"))])
    again = Predictions.from_frame(calls.frame())
    assert again.classes == calls.classes
    assert again.labels == calls.labels
    assert again.errors == calls.errors
    assert again.reasons == calls.reasons
    assert np.array_equal(again.decided, calls.decided)
    assert np.array_equal(again.probabilities, calls.probabilities, equal_nan=True)
    assert [(s.path, s.label, s.group) for s in again.samples] == [
        (s.path, s.label, s.group) for s in calls.samples
    ]


def test_the_shipped_bundle_declines_what_is_no_blood_cell(data: Path) -> None:
    bundle = cytowell.load("blood")
    plate = sorted((data / "plates" / "images").iterdir())[0]
    found = cytowell.find_wells([plate])
    for seen in (bundle, bundle.reading(crop_boxes=True, margin=0.0)):  # whole, as cut-outs are
        wells = seen.predict(found)
        assert len(wells) == 96
        assert int(wells.decided.sum()) <= 2
        assert wells.reasons.count("unlike the images learnt from") >= 94
    cells = [f for kind in sorted((data / "pbc").iterdir()) for f in sorted(kind.iterdir())[:4]]
    assert int(bundle.predict(cells).decided.sum()) >= len(cells) - 2
