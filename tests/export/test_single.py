"""One ONNX for other runtimes says what the bundle says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.errors import ParityError
from cytowell.images import Preprocessing, prepare
from cytowell.runtime.bundle import Bundle
from cytowell.types import Sample

pytest.importorskip("onnx")

from cytowell.export import single

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def loaded(bundle: Path) -> Bundle:
    return cytowell.load(bundle)


@pytest.mark.parametrize("crop", [1.0, 0.83])
@pytest.mark.parametrize("size", [(200, 200), (360, 363), (240, 400), (64, 50)])
def test_agrees_with_predict(
    loaded: Bundle, cells: Path, crop: float, size: tuple[int, int], tmp_path: Path
) -> None:
    facts = replace(
        loaded.facts,
        preprocessing=Preprocessing(size=loaded.facts.preprocessing.size, crop=crop),
    )
    made = Bundle(facts, loaded.head, loaded.statistics, loaded.model)
    out = tmp_path / "whole.onnx"
    single.write(made, out)
    session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for file in sorted(cells.glob("*/*.jpg"))[::9]:
        pixels = np.asarray(Image.open(file).convert("RGB").resize(size))
        theirs = session.run(["probabilities"], {"image": pixels})[0][0]
        ours = made.predict(pixels).probabilities[0]
        assert np.abs(theirs - ours).max() <= 0.01


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "box"])
@pytest.mark.parametrize("size", [(300, 200), (360, 363), (64, 64), (40, 37), (801, 600)])
def test_its_resize_is_the_products(
    loaded: Bundle, size: tuple[int, int], interpolation: str
) -> None:
    record = Preprocessing(size=64, crop=0.83 if size == (360, 363) else 1.0)
    record = replace(record, interpolation=interpolation)
    graph = single._preparation(record)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    theirs = session.run(None, {"image": pixels})[0][0].astype(int)
    ours = prepare(Image.fromarray(pixels), record).astype(int)
    assert np.abs(theirs - ours).max() == 0


def test_real_images_are_compared_before_it_is_written(
    bundle: Path, cells: Path, tmp_path: Path, cli: Any
) -> None:
    run = bundle.parent
    said = cli("export", run, tmp_path / "whole.onnx", "--single-file")
    rows = len(pd.read_csv(run / "predictions.csv"))
    assert f"compared with the bundle on {4 + min(64, rows)} images" in said.out
    said = cli("export", bundle, tmp_path / "b.onnx", "--single-file", "--images", cells)
    assert "compared with the bundle on 44 images" in said.out
    session = ort.InferenceSession(str(tmp_path / "b.onnx"), providers=["CPUExecutionProvider"])
    loaded = cytowell.load(bundle)
    for file in sorted(cells.glob("*/*.jpg"))[::4]:
        pixels = np.asarray(Image.open(file).convert("RGB"))
        theirs = session.run(["probabilities"], {"image": pixels})[0][0]
        assert np.abs(theirs - loaded.predict(pixels).probabilities[0]).max() < 1e-3


def test_an_image_on_which_it_differs_is_named(
    loaded: Bundle, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generated pixels agree where real ones do not."""
    images = [Sample(str(file)) for file in sorted(cells.glob("*/*.jpg"))[:3]]
    monkeypatch.setattr(single, "_generated", lambda: [])
    wrong = replace(loaded.facts.preprocessing, crop=0.5)
    model = single.single(
        Bundle(
            replace(loaded.facts, preprocessing=wrong), loaded.head, loaded.statistics, loaded.model
        )
    )
    monkeypatch.setattr(single, "single", lambda bundle, shown: model)
    with pytest.raises(ParityError, match=r"on image \d of 3"):
        single.write(loaded, tmp_path / "whole.onnx", images)


def test_another_head_is_noticed(
    loaded: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Bundle(loaded.facts, loaded.head, loaded.statistics, loaded.model)
    model = single.single(wrong)
    wrong.head = type(loaded.head)(-loaded.head.weight, loaded.head.bias)
    monkeypatch.setattr(single, "single", lambda bundle, shown: model)
    with pytest.raises(ParityError, match="differs from the bundle"):
        single.write(wrong, tmp_path / "whole.onnx")
    assert not (tmp_path / "whole.onnx").exists()
