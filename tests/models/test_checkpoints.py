"""Any checkpoint by name: timm's, a folder as the hub has it, a training program's own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from cytowell.errors import RecipeError, UnknownName, WeightsUnavailable
from cytowell.models.build import build
from cytowell.models.weights import load_into, without_prefix

pytestmark = pytest.mark.torch

SMALL = "test_vit3"
PIXELS = torch.randint(0, 256, (2, 3, 160, 160), generator=torch.Generator().manual_seed(0))


def network(seed: int, name: str = SMALL, **given: Any) -> Any:
    torch.manual_seed(seed)
    return timm.create_model(name, pretrained=False, num_classes=0, **given).eval()


def hub_folder(folder: Path, name: str = SMALL, **told: Any) -> Path:
    """Write a checkpoint as the hub has it."""
    folder.mkdir()
    record = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.125],
        "input_size": [3, 160, 160],
        "interpolation": "bicubic",
        "license": "apache-2.0",
    }
    config = {"architecture": name, "num_classes": 0, "pretrained_cfg": record | told}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(network(1, name).state_dict(), folder / "model.safetensors")
    return folder


def of_dinov2(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Lay a network out as DINOv2's training program does, and DinoBloom is published."""
    teacher = {f"backbone.{name}": value for name, value in state.items()}
    width = state["cls_token"].shape[-1]
    teacher["backbone.mask_token"] = torch.zeros(1, width)
    for head in ("dino_head", "ibot_head"):
        teacher[f"{head}.mlp.0.weight"] = torch.zeros(8, width)
        teacher[f"{head}.last_layer.weight_g"] = torch.zeros(8, 1)
    return {"teacher": teacher}


@torch.no_grad()
def test_a_prefix_says_that_a_name_is_timm_s(tmp_path: Path) -> None:
    save_file(network(1).state_dict(), tmp_path / "w.safetensors")
    found = build(f"timm:{SMALL}", str(tmp_path / "w.safetensors")).eval()
    wanted = timm.data.resolve_model_data_config(network(1))
    assert found.mean.flatten().tolist() == pytest.approx([255 * m for m in wanted["mean"]])
    assert found.std.flatten().tolist() == pytest.approx([255 * s for s in wanted["std"]])
    assert found.interpolation == wanted["interpolation"] == "bicubic"
    assert "timm's record" in found.provenance.preprocessing
    given = found.normalise(PIXELS)
    assert torch.allclose(found.pooled(given), network(1)(given), atol=1e-5)
    assert build(SMALL, "nothing").interpolation == "bilinear", "names of before stay as they were"
    with pytest.raises(UnknownName, match="convnext_atto"):
        build("timm:convnext_ato", "nothing")


@torch.no_grad()
@pytest.mark.parametrize("named", ["folder", "local-dir", "weights", "file"])
def test_a_folder_of_the_hub_brings_its_own_preprocessing(named: str, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "cells")
    name, weights = {
        "folder": (str(folder), ""),
        "local-dir": (f"local-dir:{folder}", ""),
        "weights": (f"timm:{SMALL}", str(folder)),
        "file": (SMALL, str(folder / "model.safetensors")),
    }[named]
    found = build(name, weights).eval()
    assert found.mean.flatten().tolist() == pytest.approx([127.5, 102.0, 76.5])
    assert found.std.flatten().tolist() == pytest.approx([51.0, 63.75, 31.875])
    assert (found.interpolation, found.side) == ("bicubic", 160)
    assert found.provenance.licence == "apache-2.0"
    assert "model.safetensors, sha256" in found.provenance.weights
    assert "config.json" in found.provenance.preprocessing
    for key, value in network(1).state_dict().items():
        assert torch.equal(found.body.state_dict()[key], value), key


def test_arguments_of_the_checkpoint_s_network_are_kept(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "cells", "vit_tiny_patch16_224")
    config = json.loads((folder / "config.json").read_text())
    given: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "reg_tokens": 2}
    config["model_args"] = given
    (folder / "config.json").write_text(json.dumps(config))
    state = network(1, "vit_tiny_patch16_224", **given).state_dict()
    save_file(state, folder / "model.safetensors")
    found = build(str(folder))
    assert torch.equal(found.body.state_dict()["reg_token"], state["reg_token"])


def test_weights_of_another_network_are_told_by_what_lies_beside_them(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "cells")
    with pytest.raises(RecipeError, match=f"{SMALL}.*not of resnet18") as told:
        build("timm:resnet18", str(folder / "model.safetensors"))
    assert f"--backbone timm:{SMALL}" in told.value.remedy


@pytest.mark.parametrize("text", ["{", "[]", '{"architecture": "test_vit3", "pretrained_cfg": 3}'])
def test_a_broken_config_is_named(text: str, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "cells")
    (folder / "config.json").write_text(text, encoding="utf-8")
    if text == "[]":  # JSON of another kind is another library's, and says nothing
        build(SMALL, str(folder / "model.safetensors"))
        return
    with pytest.raises(WeightsUnavailable, match=r"config\.json cannot be read"):
        build(SMALL, str(folder / "model.safetensors"))


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"no folder with config\.json"):
        build(f"local-dir:{tmp_path}", "")


def test_images_of_other_channels_are_refused(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "cells", input_size=[5, 160, 160])
    with pytest.raises(RecipeError, match="5 channels"):
        build(str(folder))


def test_an_interpolation_that_is_not_known_is_said(tmp_path: Path) -> None:
    found = build(str(hub_folder(tmp_path / "cells", interpolation="lanczos")))
    assert found.interpolation == "bicubic"
    assert "bicubic in place of lanczos" in found.provenance.preprocessing


def test_the_licence_of_a_file_is_not_that_of_timm_s_weights(tmp_path: Path) -> None:
    assert timm.create_model(SMALL).pretrained_cfg["license"]
    save_file(network(1).state_dict(), tmp_path / "w.safetensors")
    assert (
        build(f"timm:{SMALL}", str(tmp_path / "w.safetensors")).provenance.licence == "not stated"
    )


@torch.no_grad()
def test_a_haematology_checkpoint_of_dinobloom_s_shape_is_read(tmp_path: Path) -> None:
    """ViT-S/14 at 224 px inside DINOv2's checkpoint; timm's own record is of 518 px."""
    source = network(1, "vit_small_patch14_dinov2", img_size=224)
    for name, value in source.named_parameters():
        if name.endswith("gamma"):
            value.fill_(1.0)  # as after a training: blocks begin by adding a hundred-thousandth
    torch.save(of_dinov2(source.state_dict()), tmp_path / "DinoBloom-S.pth")
    found = build("timm:vit_small_patch14_dinov2", str(tmp_path / "DinoBloom-S.pth")).eval()
    pixels = torch.randint(0, 256, (1, 3, 224, 224))
    given = found.normalise(pixels)
    features = found.pooled(given)
    assert features.shape == (1, 384)
    assert torch.allclose(features, source(given), atol=1e-4)
    assert found.provenance.licence == "not stated"


@torch.no_grad()
def test_registers_of_dinov2_get_timm_s_names(tmp_path: Path) -> None:
    given: dict[str, Any] = {"img_size": 56, "embed_dim": 48, "depth": 2, "num_heads": 3}
    body = network(2, "vit_small_patch14_reg4_dinov2", **given)
    state = dict(network(1, "vit_small_patch14_reg4_dinov2", **given).state_dict())
    original = dict(state)
    original["register_tokens"] = original.pop("reg_token")
    first = torch.zeros(1, 1, 48)
    original["pos_embed"] = torch.cat([first, original["pos_embed"]], dim=1)
    torch.save(of_dinov2(original), tmp_path / "reg.pth")
    load_into(body, str(tmp_path / "reg.pth"))
    for key, value in state.items():
        assert torch.allclose(body.state_dict()[key], value), key


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.model.", "_orig_mod.module."])
@pytest.mark.parametrize("table", ["state_dict", "teacher", "model", "model_ema"])
def test_what_a_training_program_wraps_is_unwrapped(
    table: str, prefix: str, tmp_path: Path
) -> None:
    state = network(1).state_dict()
    wrapped = {f"{prefix}{name}": value for name, value in state.items()}
    torch.save({"epoch": 3, table: wrapped}, tmp_path / "c.pth")
    body = network(2)
    load_into(body, str(tmp_path / "c.pth"))
    assert all(torch.equal(body.state_dict()[k], v) for k, v in state.items())


def test_the_prefix_of_most_names_is_taken_off_and_no_other() -> None:
    own = ["norm.weight", "norm.bias", "blocks.0.norm.weight"]
    state = {f"a.{name}": 1 for name in own} | {"b.norm.weight": 2, "other": 3}
    assert without_prefix(state, own) == dict.fromkeys(own, 1)
    few = {"b.norm.weight": 2, "other": 3}
    assert without_prefix(few, own) == few
