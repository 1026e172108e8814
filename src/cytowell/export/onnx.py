"""PyTorch to ONNX: normalisation inside, names kept, batch norm left unfolded."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from cytowell.models.backbone import Backbone
from cytowell.runtime.bundle import MapSlice

OPSET = 18


class Graph(nn.Module):
    """What is exported: uint8 (N, H, W, 3) to features and maps."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.body = backbone.body
        # Not registered twice: its parameters are the body's.
        object.__setattr__(self, "backbone", backbone)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Give the features, then the maps that they are means of, if they are."""
        backbone: Backbone = object.__getattribute__(self, "backbone")
        normalised = backbone.normalise(image.permute(0, 3, 1, 2))
        maps = backbone.maps(normalised)
        if maps[0].ndim != 4:
            return (backbone.pooled(normalised),)
        return (torch.cat([m.mean(dim=(2, 3)) for m in maps], dim=1), *maps)


@dataclass(frozen=True)
class Exported:
    """An ONNX file's bytes, and which features are means of which map."""

    model: bytes
    maps: tuple[MapSlice, ...]


def to_onnx(backbone: Backbone, size: int, half: bool) -> Exported:
    """Export a backbone for square input of `size` pixels and any number of images.

    Parameters
    ----------
    half
        Store weights in half precision, each followed by a cast back to float: half the size, and
        ONNX Runtime folds the casts when it loads.
    """
    graph = Graph(backbone).eval()
    image = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with torch.no_grad():
        outputs = graph(image)
    names = [f"map_{name}" for name in backbone.stages.names] if len(outputs) > 1 else []
    model = traced(graph, image, ["features", *names])
    if half:
        halve(model)
    onnx.checker.check_model(model)
    maps, start = [], 0
    for name, output in zip(names, outputs[1:], strict=True):
        maps.append(MapSlice(name, start, start + output.shape[1]))
        start += output.shape[1]
    return Exported(model.SerializeToString(), tuple(maps))


def traced(graph: nn.Module, image: Tensor, outputs: list[str]) -> onnx.ModelProto:
    """Export a module for images like this one and any number of them; names are kept."""
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that keeps parameter names is the older one; it says so at every call.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (image,),
            buffer,
            input_names=["image"],
            output_names=outputs,
            dynamic_axes={n: {0: "n"} for n in ("image", *outputs)},
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=OPSET,
        )
    return onnx.load_from_string(buffer.getvalue())


def halve(model: onnx.ModelProto) -> None:
    """Store float initialisers in half precision behind casts, in place; names are kept."""
    graph = model.graph
    casts, renamed = [], {}
    for initialiser in graph.initializer:
        values = numpy_helper.to_array(initialiser)
        if values.dtype != np.float32 or values.size < 2:
            continue
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        if not np.isfinite(rounded).all():
            continue
        name = initialiser.name
        initialiser.CopyFrom(numpy_helper.from_array(rounded, name))
        renamed[name] = f"{name}.float"
        casts.append(helper.make_node("Cast", [name], [renamed[name]], to=TensorProto.FLOAT))
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in renamed:
                node.input[i] = renamed[name]
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def round_to_half(backbone: Backbone) -> None:
    """Round a network's weights as `halve` does, so that both compute with the same numbers."""
    with torch.no_grad():
        for tensor in [*backbone.body.parameters(), *backbone.body.buffers()]:
            if tensor.is_floating_point() and tensor.numel() >= 2:
                rounded = tensor.half()
                if bool(torch.isfinite(rounded).all()):
                    tensor.copy_(rounded.float())
