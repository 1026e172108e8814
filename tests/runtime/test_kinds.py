"""Kinds within classes are told beside the class, and the canonical view is a format of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytowell.images import CellView
from cytowell.runtime.bundle import Bundle, load
from cytowell.runtime.head import Head, SubclassHead
from cytowell.runtime.sealed import FORMAT
from cytowell.types import KIND, KIND_PROBABILITY, Predictions

ROOT = Path(__file__).parents[2]
RELEASED = "20007fb"
"""A commit that reads format 1 alone."""


@pytest.fixture
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [random.integers(0, 255, (48, 48, 3), dtype=np.uint8) for _ in range(12)]


@pytest.fixture
def with_kinds(bundle: Path) -> Bundle:
    plain = load(bundle)
    first = plain.classes[0]
    names = (("early", first), ("late", first), ("only", plain.classes[1]))
    random = np.random.default_rng(1)
    weight = random.normal(size=(3, plain.head.weight.shape[1]))
    kinds = SubclassHead(names, Head(weight, np.zeros(3)))
    return Bundle(plain.facts, plain.head, plain.statistics, plain.model, subclasses=kinds)


def test_a_kind_never_contradicts_its_class(
    with_kinds: Bundle,
    pictures: list[np.ndarray],
) -> None:
    calls = with_kinds.predict(pictures)
    frame = calls.frame()
    first = with_kinds.classes[0]
    told = frame[frame["label"] == first]
    assert set(told[KIND]) <= {"early", "late"}
    assert frame.loc[frame["label"] != first, KIND].isna().all()
    assert (told[KIND_PROBABILITY].astype(float) <= told["probability"] + 1e-6).all()
    assert (told[KIND_PROBABILITY].astype(float) >= told["probability"] / 2 - 1e-6).all()
    # No reader of the columns of classes takes it for a class.
    assert Predictions.from_frame(frame).classes == with_kinds.classes


def test_kinds_are_saved_and_the_true_one_keeps_a_name_of_its_own(
    with_kinds: Bundle,
    pictures: list[np.ndarray],
    tmp_path: Path,
) -> None:
    with_kinds.save(tmp_path / "kinds", "card")
    again = load(tmp_path / "kinds")
    assert again.subclasses is not None
    assert again.subclasses.names == with_kinds.subclasses.names  # type: ignore[union-attr]
    before, after = with_kinds.predict(pictures), again.predict(pictures)
    assert [s.extra[KIND] for s in before.samples] == [s.extra[KIND] for s in after.samples]
    known = replace(
        before, samples=tuple(replace(s, subclass="early", label="x") for s in before.samples)
    )
    frame = known.frame()
    assert set(frame["truth_subclass"]) == {"early"}
    back = Predictions.from_frame(frame)
    assert {s.subclass for s in back.samples} == {"early"}
    assert [s.extra[KIND] for s in back.samples] == frame[KIND].tolist()


def test_only_what_needs_the_canonical_view_is_written_in_its_format(
    bundle: Path, tmp_path: Path
) -> None:
    plain = load(bundle)
    plain.save(tmp_path / "plain", "card")
    assert json.loads((tmp_path / "plain" / "bundle.json").read_text())["format"] == 1
    seeing = plain.reading(cell=CellView())
    seeing.save(tmp_path / "cell", "card")
    record = json.loads((tmp_path / "cell" / "bundle.json").read_text())
    assert record["format"] == FORMAT == 2
    assert load(tmp_path / "cell").facts.preprocessing.cell == CellView()
    assert (
        "cell" not in json.loads((tmp_path / "plain" / "bundle.json").read_text())["preprocessing"]
    )


def test_the_released_reader_refuses_the_new_format_with_a_clear_word(
    bundle: Path, tmp_path: Path
) -> None:
    archive = subprocess.run(
        ["git", "archive", RELEASED, "src"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the commit {RELEASED} is not in this clone")
    (tmp_path / "old").mkdir()
    subprocess.run(["tar", "x"], cwd=tmp_path / "old", input=archive.stdout, check=True)
    load(bundle).reading(cell=CellView()).save(tmp_path / "cell", "card")
    for name, words in (("cell", "has the format 2; this Cytowell reads up to 1"), ("", "")):
        place = tmp_path / name if name else bundle
        said = subprocess.run(
            [sys.executable, "-m", "cytowell.cli", "inspect", str(place)],
            env={"PYTHONPATH": str(tmp_path / "old" / "src"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert words in said.stderr, said.stderr
        assert "Traceback" not in said.stderr, said.stderr
        assert (said.returncode == 0) == (not words)


def test_a_picture_without_a_nucleus_is_not_called(bundle: Path) -> None:
    seeing = load(bundle).reading(cell=CellView())
    empty = Image.new("RGB", (90, 90), (232, 230, 235))
    calls = seeing.predict([empty])
    assert not calls.decided.any()
    assert calls.reasons == ("no nucleus was found",)
    frame = calls.frame()
    assert pd.isna(frame["nucleus_px"]).all()
    assert frame["light_red"].between(228, 236).all()


def test_a_single_file_takes_the_canonical_view(bundle: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from cytowell.export.single import CANONICAL, write

    copied = Path(shutil.copytree(bundle, tmp_path / "copy"))
    write(load(copied).reading(cell=CellView()), tmp_path / "one.onnx")
    made = onnx.load(str(tmp_path / "one.onnx"))
    said = {entry.key: entry.value for entry in made.metadata_props}
    assert said["input"] == CANONICAL
