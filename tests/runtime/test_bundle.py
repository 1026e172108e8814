"""A bundle comes back as it was written, and a changed one does not come back at all."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cytowell.errors import BundleCorrupt, BundleError, BundleRefused, BundleTooNew
from cytowell.runtime import sealed
from cytowell.runtime.backbone import open_backbone
from cytowell.runtime.bundle import Bundle, load
from cytowell.runtime.head import Head
from cytowell.runtime.session import Session

FILES = ("bundle.json", *(name for part in sealed.FILES["classifier"] for name in part))


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def resign(folder: Path) -> None:
    names = [n for n in FILES if (folder / n).exists()]
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}" for n in names]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    change(record)
    (folder / "bundle.json").write_text(json.dumps(record), encoding="utf-8")
    resign(folder)


def test_a_bundle_comes_back_as_it_was_saved(bundle: Path, tmp_path: Path) -> None:
    first = load(bundle)
    first.save(tmp_path / "again", "card")
    again = load(tmp_path / "again")
    assert again.facts == first.facts
    assert again.model == first.model
    assert np.array_equal(again.head.weight, first.head.weight)
    assert np.array_equal(again.head.bias, first.head.bias)
    assert first.statistics is not None
    assert again.statistics is not None
    for name, value in vars(first.statistics).items():
        assert np.array_equal(value, getattr(again.statistics, name), equal_nan=True), name
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == sorted([*FILES, "SHA256SUMS"])


def test_the_same_bundle_has_the_same_digest_in_another_place(bundle: Path, copy: Path) -> None:
    assert load(bundle).digest == load(copy).digest


def test_a_run_folder_is_a_bundle_too(bundle: Path) -> None:
    assert load(bundle.parent).digest == load(bundle).digest


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_noticed(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(BundleCorrupt, match=name):
        load(copy)


@pytest.mark.parametrize("name", [n for n in FILES if n != "bundle.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleCorrupt, match=name):
        load(copy)


def test_a_folder_without_bundle_json_is_no_bundle(copy: Path, tmp_path: Path) -> None:
    (copy / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load(copy)
    with pytest.raises(BundleError, match="no bundle"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "sums",
    [
        "",
        "0000  ../../secret\n",
        "no digest at all\n",
        "\xff\xfe",
        "0" * 64 + "  /etc/hostname\n",
    ],
)
def test_sums_that_name_something_else_are_refused(copy: Path, sums: str) -> None:
    (copy / "SHA256SUMS").write_bytes(sums.encode("latin-1"))
    with pytest.raises(BundleCorrupt, match="SHA256SUMS"):
        load(copy)


def test_sums_that_name_a_file_outside_are_refused_beside_right_ones(copy: Path) -> None:
    (copy.parent / "outside").write_text("x", encoding="utf-8")
    digest = hashlib.sha256(b"x").hexdigest()
    with (copy / "SHA256SUMS").open("a", encoding="utf-8") as handle:
        handle.write(f"{digest}  ../outside\n")
    with pytest.raises(BundleCorrupt, match="SHA256SUMS"):
        load(copy)


def test_a_newer_format_says_so(copy: Path) -> None:
    rewrite(copy, lambda record: record.update(format=3))
    with pytest.raises(BundleTooNew, match="upgrade"):
        load(copy)


@pytest.mark.parametrize("missing", ["format", "classes", "preprocessing", "thresholds", "maps"])
def test_a_record_without_a_field_is_corrupt(copy: Path, missing: str) -> None:
    rewrite(copy, lambda record: record.pop(missing))
    with pytest.raises(BundleCorrupt):
        load(copy)


def test_a_head_of_other_classes_is_corrupt(copy: Path) -> None:
    rewrite(copy, lambda record: record["classes"].pop())
    with pytest.raises(BundleCorrupt, match="classes"):
        load(copy)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".PKL", ".joblib"])
def test_files_that_can_run_code_are_refused_unopened(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"anything")
    with pytest.raises(BundleRefused, match="run code"):
        load(file)


class Exploding:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


def pickled() -> bytes:
    buffer = io.BytesIO()
    inside: Any = np.array([Exploding()], dtype=object)
    np.savez(buffer, weight=inside, bias=np.zeros(1))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [pickled(), pickle.dumps({"weight": 1}), b"", b"PK\x03\x04broken", b"\x93NUMPY"],
    ids=["npz with a pickle", "pickle", "empty", "broken zip", "npy"],
)
def test_a_head_that_is_no_plain_npz_is_corrupt(copy: Path, data: bytes) -> None:
    (copy / "head.npz").write_bytes(data)
    resign(copy)
    with pytest.raises(BundleCorrupt):
        load(copy)


def test_a_backbone_that_is_no_network_is_corrupt(copy: Path) -> None:
    (copy / "backbone.onnx").write_bytes(b"no network" * 100)
    resign(copy)
    with pytest.raises(BundleCorrupt, match=r"backbone\.onnx"):
        load(copy)


@pytest.mark.torch
@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "{folder}/w.bin"])
def test_a_network_with_data_outside_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    onnx = pytest.importorskip("onnx")
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "w.bin").write_bytes(np.full((3, 4), 7, np.float32).tobytes())
    monkeypatch.chdir(inside)
    place = location.format(folder=tmp_path)
    with pytest.raises(BundleRefused, match="outside"):
        Session(network_with(onnx, place), "it")
    assert Session(network_with(onnx, None), "it").features(
        np.ones((2, 32, 32, 3), np.uint8)
    ).shape == (2, 4)


def network_with(onnx: Any, location: str | None) -> bytes:
    weight = onnx.numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    if location is not None:
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.ClearField("raw_data")
        for key, value in (("location", location), ("offset", "0"), ("length", "48")):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    make = onnx.helper
    axes = onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    graph = make.make_graph(
        [
            make.make_node("Cast", ["image"], ["f"], to=onnx.TensorProto.FLOAT),
            make.make_node("ReduceMean", ["f", "axes"], ["m"], keepdims=0),
            make.make_node("MatMul", ["m", "w"], ["features"]),
        ],
        "g",
        [make.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 32, 32, 3])],
        [make.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", 4])],
        [weight, axes],
    )
    opset = [make.make_opsetid("", 18)]
    model: bytes = make.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return model


def test_an_onnx_file_or_a_bundle_can_be_a_frozen_backbone(bundle: Path, tmp_path: Path) -> None:
    whole = open_backbone(bundle, "whole")
    alone = open_backbone(bundle / "backbone.onnx", "alone")
    assert whole.digest == alone.digest
    assert alone.record.size == whole.record.size
    assert alone.maps == ()
    with pytest.raises(BundleRefused):
        open_backbone(tmp_path / "model.bin", "it")
    with pytest.raises(BundleError):
        open_backbone(tmp_path / "gone.onnx", "it")


def test_class_activation_is_what_the_head_weighs(bundle: Path) -> None:
    whole = load(bundle)
    size = whole.facts.preprocessing.size
    pixels = np.full((size, size, 3), 230, dtype=np.uint8)
    pixels[size // 4 : size // 2, size // 4 : size // 2] = (90, 40, 120)
    heat = whole.activation(pixels, 0)
    largest = max(m.shape[2] for m in whole.session.features_and_maps(pixels[None])[1].values())
    assert heat.shape == (largest, largest)
    assert heat.min() == 0
    assert heat.max() == pytest.approx(1)
    turned = Bundle(whole.facts, Head(-whole.head.weight, whole.head.bias), None, whole.model)
    assert turned.activation(pixels, 0) == pytest.approx(1 - heat, abs=1e-5)


def test_features_are_the_means_of_the_maps(bundle: Path) -> None:
    whole = load(bundle)
    size = whole.facts.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    features, maps = whole.session.features_and_maps(pixels)
    assert set(maps) == {m.name for m in whole.facts.maps}
    for part in whole.facts.maps:
        means = maps[part.name].mean(axis=(2, 3))
        assert features[:, part.start : part.stop] == pytest.approx(means, abs=1e-4)


def test_a_bundle_without_maps_has_no_activation(copy: Path) -> None:
    rewrite(copy, lambda record: record.update(maps="none"))
    with pytest.raises(BundleError, match="no maps"):
        load(copy).activation(np.zeros((224, 224, 3), np.uint8), 0)
