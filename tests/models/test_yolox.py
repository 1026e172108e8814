"""YOLOX starts from files of others and says what they said."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cytowell.errors import WeightsUnavailable

pytest.importorskip("libreyolo", reason='needs the extra: pip install "cytowell[detect]"')

import torch

from cytowell.models.yolox import nano

SIDE = 64


@pytest.fixture(scope="module")
def lived() -> Any:
    """A network whose norms have seen something."""
    torch.manual_seed(3)
    network = nano(5)
    network.body.train()
    with torch.no_grad():
        for _ in range(3):
            network.body.backbone(torch.rand(4, 3, SIDE, SIDE) * 255)
        for name, parameter in network.body.named_parameters():
            if ".bn." in name:
                parameter.add_(0.2 * torch.rand_like(parameter))
    return network.eval()


@pytest.fixture(scope="module")
def official(lived: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as its authors export it: norms folded, names lost."""
    buffer: Any = io.BytesIO()
    lived.body.head.decode_in_inference = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            lived.body, (torch.zeros(1, 3, SIDE, SIDE),), buffer, dynamo=False, opset_version=13
        )
    file: Path = tmp_path_factory.mktemp("weights") / "yolox.onnx"
    file.write_bytes(buffer.getvalue())
    return file


def _said(network: Any, pixels: Any) -> list[Any]:
    with torch.no_grad():
        return [t.numpy() for t in network.eval()(pixels)]


def test_folded_norms_come_back_and_learn(lived: Any, official: Path) -> None:
    torch.manual_seed(4)
    images = [torch.rand(4, 3, SIDE, SIDE) * 255 for _ in range(2)]
    network = nano(5)
    said = network.start_from(str(official), images)
    assert official.name in said
    pixels = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
    for ours, theirs in zip(_said(network, pixels), _said(lived, pixels), strict=True):
        assert np.abs(ours - theirs).max() < 0.02
    means = [v for name, v in network.state_dict().items() if name.endswith("running_mean")]
    assert max(float(m.abs().max()) for m in means) > 0.1


def test_other_classes_keep_all_but_the_last_layer(official: Path) -> None:
    network = nano(2)
    before = [p.weight.clone() for p in network.body.head.cls_preds]
    network.start_from(str(official), [torch.rand(2, 3, SIDE, SIDE) * 255])
    after = [p.weight for p in network.body.head.cls_preds]
    assert all(bool((a == b).all()) for a, b in zip(before, after, strict=True))


def test_what_is_no_network_of_this_kind_is_refused(tmp_path: Path, official: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="is not there"):
        nano(2).start_from(str(tmp_path / "none.onnx"), [])
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        nano(2).start_from(str(tmp_path / "text.onnx"), [])
    from cytowell.models.yolox import tiny

    with pytest.raises(WeightsUnavailable, match="convolutions"):
        tiny(2).start_from(str(official), [torch.rand(1, 3, SIDE, SIDE)])
