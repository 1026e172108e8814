"""An adaptation keeps what helps on left-out photographs, and says where nothing does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cytowell
from cytowell.errors import RunError, TooFewImages
from cytowell.runs import adapting
from cytowell.runs.adapt import _distinct, adapt
from cytowell.types import Dataset, Sample
from tests.conftest import Runner


def relabelled(data: Dataset, labels: list[str]) -> Dataset:
    samples = tuple(replace(s, label=x) for s, x in zip(data.samples, labels, strict=True))
    return replace(data, samples=samples, classes=tuple(sorted(set(labels))))


@pytest.fixture(scope="module")
def renamed(cells: Path) -> Dataset:
    """Give the cells with two of the classes' names exchanged and a third one new."""
    data = cytowell.read(cells)
    one, two, three = data.classes[:3]
    names = {one: two, two: one, three: "atypical"}
    return relabelled(data, [names.get(str(s.label), str(s.label)) for s in data.samples])


def test_labels_that_a_bundle_has_wrong_are_learnt_and_a_new_class_is_added(
    bundle: Path, renamed: Dataset, tmp_path: Path
) -> None:
    done = adapt(bundle, renamed, out=tmp_path / "new")
    assert done.helped
    head = next(p for p in done.parts if p.name == "head")
    assert head.gain is not None
    assert head.low is not None
    assert head.gain > head.low > 0
    made = cytowell.load(tmp_path / "new")
    assert set(made.classes) == {*cytowell.load(bundle).classes, "atypical"}
    told = made.predict(renamed)
    assert np.mean(np.array(told.labels) == [s.label for s in renamed.samples]) > 0.9
    record = json.loads((tmp_path / "new" / "bundle.json").read_text())
    lacking = set(made.classes) - set(renamed.classes)
    assert set(record["origin"]["adapted"]["without labels"]) == lacking
    assert any("atypical" in note for note in done.notes)


def test_permuted_labels_did_not_help_and_nothing_is_written(
    bundle: Path, cells: Path, tmp_path: Path
) -> None:
    data = cytowell.read(cells)
    mixed = np.random.default_rng(1).permutation([str(s.label) for s in data.samples])
    done = adapt(bundle, relabelled(data, mixed.tolist()), out=tmp_path / "new")
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


def test_one_label_of_a_class_is_too_few_and_named(bundle: Path, cells: Path) -> None:
    data = cytowell.read(cells)
    first = str(data.samples[0].label)
    rows = [i for i, s in enumerate(data.samples) if s.label != first]
    with pytest.raises(TooFewImages, match=first):
        adapt(bundle, data.take([0, *rows]))


def test_nothing_to_adapt_by_and_a_folder_that_is_there_are_refused(
    bundle: Path, cells: Path, tmp_path: Path
) -> None:
    with pytest.raises(TooFewImages, match="nothing"):
        adapt(bundle)
    with pytest.raises(RunError, match="already"):
        adapt(bundle, cytowell.read(cells), out=tmp_path)


def test_photographs_labelled_and_unlabelled_count_once(bundle: Path, cells: Path) -> None:
    data = cytowell.read(cells)
    again = [Sample(s.path) for s in data.samples[:3]]
    kept, notes = _distinct(data.samples[:10], [*again, Sample(data.samples[20].path)])
    assert [s.path for s in kept] == [data.samples[20].path]
    assert "3 unlabelled photographs" in notes[0]


def test_photographs_of_one_class_do_not_move_the_norms(cells: Path) -> None:
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
    cli: Runner, bundle: Path, cells: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    data = cytowell.read(cells)
    names = {c: f"new {c}" for c in data.classes}
    lines = [f"{s.path},{names[str(s.label)]}" for s in data.samples]
    table.write_text("path,label\n" + "\n".join(lines) + "\n")
    told = cli("adapt", bundle, "--labelled", table, "--out", tmp_path / "new", "--quiet")
    assert told.status == 0, told.err
    assert "head: kept; macro-F1 +" in told.out
    assert (tmp_path / "new" / "bundle.json").is_file()
    lost = cli("adapt", bundle, "--out", tmp_path / "other")
    assert lost.status == 2
    assert "--labelled" in lost.err
