"""What is exported computes what was trained, or nothing is exported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto

from cytowell.errors import ParityError
from cytowell.export import bundle as exporting
from cytowell.export.backbone import export_backbone
from cytowell.export.onnx import round_to_half, to_onnx
from cytowell.export.parity import prove
from cytowell.images import Preprocessing
from cytowell.models.backbone import Backbone, Provenance, Stages
from cytowell.models.classifier import Classifier
from cytowell.models.weights import load_into
from cytowell.runtime.backbone import open_backbone
from cytowell.runtime.head import Head
from cytowell.runtime.session import Session
from cytowell.training.finetune import Trained
from cytowell.training.recipe import Finetune
from cytowell.types import Pixels

pytestmark = pytest.mark.torch

SIZE = 64
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def backbone(name: str = "test_efficientnet", stages: Stages | None = None) -> Backbone:
    torch.manual_seed(1)
    body = timm.create_model(name, pretrained=False, num_classes=0)
    # As after a training: no two tensors are equal, and no norm is one.
    for name, value in body.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.ndim == 1:
            value.uniform_(-0.5, 0.5)
    return Backbone(body, MEAN, STD, Provenance(name, "chance", "none"), stages).eval()


@pytest.mark.parametrize("views", [2, 4])
def test_mirror_images_are_averaged_inside_the_graph(views: int) -> None:
    network = trained(half=False)
    network.network.backbone.views = views
    made = exporting.export(network, pixels(9))  # parity is proven in there
    given = pixels(5)
    session = Session(made.model, "made")
    features, maps = session.features_and_maps(given)
    turned = session.features(np.ascontiguousarray(given[:, :, ::-1]))
    assert np.allclose(features, turned, atol=1e-4)
    means = np.concatenate([maps[m.name].mean(axis=(2, 3)) for m in made.maps], axis=1)
    assert np.allclose(features, means, atol=1e-5)


def pixels(n: int, size: int = SIZE) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def trained(half: bool = True, smote: bool = False) -> Trained:
    network = Classifier(backbone(), 256, 3, 0, 0.2)
    torch.nn.init.normal_(network.head.weight, std=0.3)
    record = Preprocessing(size=SIZE)
    settings = replace(Finetune(), half=half, smote=smote)
    return Trained(network.eval(), record, ("a", "b", "c"), (), ("said",), settings)


def initialisers(model: bytes) -> dict[str, TensorProto]:
    return {i.name: i for i in onnx.load_from_string(model).graph.initializer}


@pytest.mark.parametrize("half", [False, True])
def test_names_are_those_of_pytorch_and_norms_stay_unfolded(half: bool) -> None:
    network = backbone()
    found = initialisers(to_onnx(network, SIZE, half).model)
    wanted = {f"body.{k}" for k in network.body.state_dict() if "num_batches" not in k}
    assert wanted <= set(found)
    assert any(k.endswith("running_var") for k in wanted)
    ops = {
        node.op_type
        for node in onnx.load_from_string(to_onnx(network, SIZE, half).model).graph.node
    }
    assert "BatchNormalization" in ops


def test_it_can_be_the_start_of_another_training(tmp_path: Path) -> None:
    network = backbone()
    (tmp_path / "backbone.onnx").write_bytes(to_onnx(network, SIZE, half=False).model)
    again = timm.create_model("test_efficientnet", pretrained=False, num_classes=0)
    load_into(again, str(tmp_path))
    for name, value in network.body.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_features_are_the_means_of_the_maps(name: str) -> None:
    exported = to_onnx(backbone(name), SIZE, half=False)
    features, maps = Session(exported.model, "it").features_and_maps(pixels(3))
    assert [m.name for m in exported.maps] == list(maps)
    assert exported.maps[-1].stop == features.shape[1]
    for part in exported.maps:
        assert features[:, part.start : part.stop] == pytest.approx(
            maps[part.name].mean(axis=(2, 3)), abs=1e-5
        )


def test_stages_may_be_chosen() -> None:
    exported = to_onnx(backbone(stages=Stages()), SIZE, half=False)
    assert [m.name for m in exported.maps] == ["map_last"]
    assert Session(exported.model, "it").features(pixels(1)).shape == (1, 256)


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_any_number_of_images_goes_in(count: int) -> None:
    session = Session(to_onnx(backbone(), SIZE, half=True).model, "it")
    assert session.size == SIZE
    together = session.features(pixels(count))
    alone = np.concatenate([session.features(p[None]) for p in pixels(count)])
    assert together == pytest.approx(alone, abs=1e-4)


def test_normalisation_is_inside() -> None:
    network = backbone()
    session = Session(to_onnx(network, SIZE, half=False).model, "it")
    shown = torch.from_numpy(pixels(4)).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = network.pooled(network.normalise(shown)).numpy()
    assert session.features(pixels(4))[:, -256:] == pytest.approx(features, abs=1e-4)


def test_half_precision_halves_the_file_and_computes_the_same() -> None:
    network = backbone("test_resnet")
    round_to_half(network)
    whole, half = (to_onnx(network, SIZE, half=h).model for h in (False, True))
    assert len(half) < 0.55 * len(whole)
    kinds = {i.data_type for n, i in initialisers(half).items() if n.endswith("weight")}
    assert kinds == {TensorProto.FLOAT16}
    ours, theirs = (Session(m, "it").features(pixels(3)) for m in (half, whole))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_what_half_precision_cannot_hold_stays_whole() -> None:
    network = backbone()
    norm = next(m for m in network.body.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.running_var is not None
    norm.running_var.fill_(1e6)
    round_to_half(network)
    assert norm.running_var[0] == 1e6
    exported = to_onnx(network, SIZE, half=True)
    assert np.isfinite(Session(exported.model, "it").features(pixels(1))).all()


def test_tokens_have_no_maps() -> None:
    network = backbone("test_vit")
    exported = to_onnx(network, 160, half=False)
    assert exported.maps == ()
    session = Session(exported.model, "it")
    assert session.maps == ()
    shown = torch.from_numpy(pixels(2, 160)).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = network.pooled(network.normalise(shown)).numpy()
    assert session.features(pixels(2, 160)) == pytest.approx(features, abs=1e-4)


@pytest.mark.parametrize("half", [False, True])
def test_a_true_export_passes_the_gate(half: bool) -> None:
    made = exporting.export(trained(half), pixels(20))
    assert made.classes == ("a", "b", "c")
    assert made.record.size == SIZE
    assert made.head.weight.shape == (3, made.maps[-1].stop)
    assert not made.head.weight[:, : made.maps[-1].start].any()
    assert "20 images" in made.remarks[-1]
    assert "0 calls changed" in made.remarks[-1]
    assert made.balance == ""
    assert exporting.export(trained(smote=True), pixels(4)).balance == "smote"


def parts() -> tuple[Classifier, Session, Head]:
    network = trained(half=False).network
    made = exporting.export(trained(half=False), pixels(2))
    return network, Session(made.model, "it"), made.head


def test_an_altered_head_does_not_pass() -> None:
    network, session, head = parts()
    assert prove(network, session, head, pixels(8)).changed == 0
    bias = head.bias.copy()
    bias[1] += 0.01
    with pytest.raises(ParityError, match="No bundle was written"):
        prove(network, session, Head(head.weight, bias), pixels(8))


def test_an_altered_weight_does_not_pass() -> None:
    network, session, head = parts()
    with torch.no_grad():
        [*network.backbone.body.parameters()][-1].add_(0.1)
    with pytest.raises(ParityError, match="largest difference"):
        prove(network, session, head, pixels(8))


def test_a_network_that_gives_no_numbers_does_not_pass() -> None:
    network, session, head = parts()
    with pytest.raises(ParityError):
        prove(network, session, Head(head.weight * np.nan, head.bias), pixels(8))


def test_a_network_that_hangs_on_the_last_digits_is_said_to_have_learnt_too_little() -> None:
    network, session, head = parts()
    with torch.no_grad():
        network.head.weight.mul_(1e6)
    with pytest.raises(ParityError, match="learnt too little"):
        prove(network, session, Head(head.weight * 1e6, head.bias), pixels(8))
    assert network.head.weight.dtype == torch.float32
    with pytest.raises(ParityError, match="does not compute what was trained"):
        prove(network, session, head, pixels(8))


def test_a_pretrained_network_becomes_a_frozen_backbone(tmp_path: Path) -> None:
    export_backbone("efficientnet-lite0", tmp_path / "out", size=64)
    opened = open_backbone(tmp_path / "out", "it")
    assert opened.record.size == 64
    assert [m.name for m in opened.maps] == ["map_8", "map_16", "map_32", "map_last"]
    record: dict[str, Any] = json.loads((tmp_path / "out" / "backbone.json").read_text())
    assert record["sha256"] == opened.digest
    assert record["origin"]["licence"] == "Apache-2.0"
