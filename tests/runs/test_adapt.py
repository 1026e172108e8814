"""An adaptation keeps what helps on left-out photographs, and says where nothing does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import Runner

import cytowell
from cytowell.errors import AmbiguousLabels, RunError, TooFewImages
from cytowell.images import Preprocessing
from cytowell.learners.statistics import statistics_of
from cytowell.runs import adapting
from cytowell.runs.adapt import adapt
from cytowell.runs.adapt_input import distinct
from cytowell.runtime.bundle import Bundle, Facts
from cytowell.runtime.head import Head
from cytowell.types import Dataset, Sample

COLOURS = {"blue": (60, 60, 200), "green": (60, 200, 60), "red": (200, 60, 60)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Give twelve noisy pictures of each of three colours."""
    folder, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for i in range(12):
            pixels = np.array(colour) + random.normal(0, 12, 3) + random.normal(0, 9, (16, 16, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{name}{i}.png")
    return cytowell.read(folder)


@pytest.fixture(scope="module")
def colours(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bundle whose features are the mean of each channel and that calls colours."""
    onnx = pytest.importorskip("onnx")
    axes = onnx.numpy_helper.from_array(np.array([1, 2]), "axes")
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["whole"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["whole", "axes"], ["features"], keepdims=0),
    ]
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 8, 8, 3])
    out = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", 3])
    graph = onnx.helper.make_graph(nodes, "means", [image], [out], [axes])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    facts = Facts(drawn.classes, Preprocessing(size=8), threshold=0.9, farthest=30.0)
    head = Head(np.eye(3)[[2, 1, 0]] / 20, np.zeros(3))
    found = adapting.features(
        model,
        adapting.read(Bundle(facts, head, None, model), drawn.samples, lambda *_: None, "").pixels,
    )
    statistics = statistics_of(found, drawn.labels, 3)
    place = tmp_path_factory.mktemp("bundle") / "colours"
    Bundle(facts, head, statistics, model).save(place, "# Card\n")
    return place


def relabelled(data: Dataset, labels: list[str]) -> Dataset:
    samples = tuple(replace(s, label=x) for s, x in zip(data.samples, labels, strict=True))
    return replace(data, samples=samples, classes=tuple(sorted(set(labels))))


@pytest.fixture
def renamed(drawn: Dataset) -> Dataset:
    """Give the pictures with two names exchanged and the third one new."""
    names = {"blue": "green", "green": "blue", "red": "crimson"}
    return relabelled(drawn, [names[str(s.label)] for s in drawn.samples])


def test_labels_that_a_bundle_has_wrong_are_learnt_and_a_new_class_is_added(
    colours: Path, renamed: Dataset, tmp_path: Path
) -> None:
    done = adapt(colours, renamed, out=tmp_path / "new")
    assert done.helped
    head = next(p for p in done.parts if p.name == "head")
    assert head.gain is not None
    assert head.low is not None
    assert head.gain > head.low > 0
    made = cytowell.load(tmp_path / "new")
    assert set(made.classes) == {*cytowell.load(colours).classes, "crimson"}
    told = made.predict(renamed)
    assert np.mean(np.array(told.labels) == [s.label for s in renamed.samples]) > 0.9
    record = json.loads((tmp_path / "new" / "bundle.json").read_text())
    lacking = set(made.classes) - set(renamed.classes)
    assert set(record["origin"]["adapted"]["without labels"]) == lacking
    assert any("crimson" in note for note in done.notes)


def test_permuted_labels_did_not_help_and_nothing_is_written(
    colours: Path, drawn: Dataset, tmp_path: Path
) -> None:
    data = drawn
    mixed = np.random.default_rng(1).permutation([str(s.label) for s in data.samples])
    done = adapt(colours, relabelled(data, mixed.tolist()), out=tmp_path / "new")
    assert not done.helped
    assert done.bundle is None
    assert any("did not help" in note for note in done.notes)
    assert not (tmp_path / "new").exists()


def test_permuted_labels_are_met_beyond_chance_in_at_most_two_of_a_hundred() -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        y = random.permutation(np.repeat(np.arange(5), 10))
        logits = random.normal(size=(50, 5))
        found += adapting.beyond_chance(y, logits)
    assert found <= 2
    assert adapting.beyond_chance(y, np.eye(5)[y])


def test_one_label_of_a_class_is_too_few_and_named(colours: Path, drawn: Dataset) -> None:
    data = drawn
    first = str(data.samples[0].label)
    rows = [i for i, s in enumerate(data.samples) if s.label != first]
    with pytest.raises(TooFewImages, match=first):
        adapt(colours, data.take([0, *rows]))


def test_nothing_to_adapt_by_and_a_folder_that_is_there_are_refused(
    colours: Path, drawn: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(TooFewImages, match="nothing"):
        adapt(colours)
    with pytest.raises(RunError, match="already"):
        adapt(colours, drawn, out=tmp_path)


def test_photographs_labelled_and_unlabelled_count_once(colours: Path, drawn: Dataset) -> None:
    data = drawn
    again = [Sample(s.path) for s in data.samples[:3]]
    kept, notes = distinct(data.samples[:10], [*again, Sample(data.samples[20].path)])
    assert [s.path for s in kept] == [data.samples[20].path]
    assert "3 unlabelled photographs" in notes[0]


def test_photographs_of_one_class_do_not_move_the_norms() -> None:
    blood = cytowell.load("blood")
    white = np.full((20, blood.facts.preprocessing.size, blood.facts.preprocessing.size, 3), 240)
    part, model = adapting.renormed(blood, white.astype(np.uint8), 0, 1)
    assert not part.kept
    assert "one class" in part.why
    assert model == blood.model


def test_even_shares_are_drawn_from_an_uneven_mix() -> None:
    sure = np.eye(3)[np.repeat([0, 1], [90, 10])]
    rows = adapting.evened(sure, 60, 0)
    assert np.mean(rows < 90) == pytest.approx(0.5, abs=0.02)


def test_adapt_prints_each_part_and_where_the_bundle_is(
    cli: Runner, colours: Path, renamed: Dataset, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    lines = [f"{s.path},{s.label}" for s in renamed.samples]
    table.write_text("path,label\n" + "\n".join(lines) + "\n")
    told = cli("adapt", colours, "--labelled", table, "--out", tmp_path / "new", "--quiet")
    assert told.status == 0, told.err
    assert "head: kept; macro-F1 +" in told.out
    assert (tmp_path / "new" / "bundle.json").is_file()
    lost = cli("adapt", colours, "--out", tmp_path / "other")
    assert lost.status == 2
    assert "--labelled" in lost.err


def test_a_label_that_differs_from_a_class_by_case_alone_is_refused(
    colours: Path, drawn: Dataset
) -> None:
    names = {"blue": "Blue", "green": "green", "red": "red"}
    with pytest.raises(AmbiguousLabels, match="Blue"):
        adapt(colours, relabelled(drawn, [names[str(s.label)] for s in drawn.samples]))


def test_labels_that_the_bundle_meets_already_change_nothing(colours: Path, drawn: Dataset) -> None:
    done = adapt(colours, drawn)
    assert not done.helped
    assert done.figures["macro_f1_before"] > 0.95


def test_one_group_and_photographs_of_the_training_are_told(
    colours: Path, renamed: Dataset
) -> None:
    together = replace(renamed, samples=tuple(replace(s, group="slide") for s in renamed.samples))
    notes = " ".join(adapt(colours, together).notes)
    assert "no figure across groups" in notes
    assert "36 labelled photographs are among those" in notes
