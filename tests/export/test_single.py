"""One ONNX for other runtimes says what the bundle says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

import cytowell
from cytowell.errors import ParityError
from cytowell.images import Preprocessing
from cytowell.runtime.bundle import Bundle

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
