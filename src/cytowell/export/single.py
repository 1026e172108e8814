"""One ONNX file for other runtimes: upright RGB pixels of any size to calibrated probabilities."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, compose, helper, numpy_helper

from cytowell.errors import ParityError
from cytowell.images import SQUASHED, Preprocessing
from cytowell.runtime.bundle import Bundle
from cytowell.storage import write_with
from cytowell.types import Pixels

OPSET = 18
"""The first whose Resize can antialias, as Pillow's always does."""

PICTURE = "an upright picture, RGB"
CANONICAL = "the canonical view of one cell (cytowell.images.see): light divided out, RGB"

_MODES = {"bilinear": "linear", "bicubic": "cubic", "box": "linear"}


class _Graph:
    """Nodes and constants in the order they are thought of."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, kind: Any) -> str:
        """Add a constant; give its name."""
        name = f"{self.name}_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; give its name."""
        name = f"{self.name}_{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name


def write(bundle: Bundle, out: Path) -> None:
    """Write a bundle as one ONNX file, after comparing it with the bundle on generated pixels.

    Its input `image` is uint8 (height, width, 3), upright RGB; its output `probabilities` is
    float (1, C). Channels and intensity window of 16-bit images are for the caller to apply; where
    the bundle sees cells in their canonical view, that window is the input (`images.see`), for no
    graph finds a nucleus, and the metadata entry `input` says so.

    Raises
    ------
    ParityError
        If a probability differs by more than 0.01 from the bundle's.
    """
    plain = copy.copy(bundle)
    record = replace(bundle.facts.preprocessing, cell=None)
    plain.facts = replace(bundle.facts, preprocessing=record)
    model = single(plain, CANONICAL if bundle.facts.preprocessing.cell is not None else PICTURE)
    _prove(plain, model)
    data = model.SerializeToString()
    write_with(out, lambda beside: beside.write_bytes(data))


def single(bundle: Bundle, shown: str = PICTURE) -> onnx.ModelProto:
    """Give the graph: crop, resize, backbone, head, temperature, softmax.

    Parameters
    ----------
    shown
        What the metadata say that the input is.
    """
    before = _preparation(bundle.facts.preprocessing)
    backbone = onnx.load_from_string(bundle.model)
    joined = compose.merge_models(
        before, compose.add_prefix(backbone, "network/"), [("prepared", "network/image")]
    )
    after = _head(bundle, backbone)
    whole: onnx.ModelProto = compose.merge_models(
        joined, after, [("network/features", "features")], outputs=["probabilities"]
    )
    whole.ir_version = min(whole.ir_version, 10)
    for key, value in (
        ("classes", ", ".join(bundle.classes)),
        ("bundle", bundle.digest),
        ("input", shown),
        ("use", "research use only, not an in vitro diagnostic"),
    ):
        entry = whole.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(whole)
    return whole


def _preparation(record: Preprocessing) -> onnx.ModelProto:
    """Do what `images.prepare` does, in the same whole pixels."""
    g = _Graph("preparation")
    size = g.constant([record.size], np.int64)
    shape = g.add("Shape", "image")
    axis = g.constant(0, np.int64)
    height = g.add("Slice", shape, g.constant([0], np.int64), g.constant([1], np.int64))
    width = g.add("Slice", shape, g.constant([1], np.int64), g.constant([2], np.int64))
    sides = g.add("Cast", g.add("Concat", height, width, axis=0), to=TensorProto.FLOAT)
    shorter = g.add("ReduceMin", sides, keepdims=1)
    longer = g.add("ReduceMax", sides, keepdims=1)
    pixels = "image"
    if record.crop < 1.0:
        side = g.add("Mul", shorter, g.constant([record.crop], np.float32))
        side = g.add("Cast", g.add("Round", side), to=TensorProto.INT64)
        spare = g.add("Sub", g.add("Concat", height, width, axis=0), side)
        start = g.add("Div", spare, g.constant([2], np.int64))
        stop = g.add("Add", start, side)
        axes = g.constant([0, 1], np.int64)
        pixels = g.add("Slice", pixels, start, stop, axes)
        inner = g.add("Concat", size, size, axis=0)
    else:
        scale = g.add("Div", g.constant([record.size], np.float32), longer)
        fitted = g.add("Round", g.add("Mul", sides, scale))
        fitted = g.add("Max", fitted, g.constant([1, 1], np.float32))
        square = g.constant([record.size] * 2, np.float32)
        near = g.add(
            "LessOrEqual", g.add("Div", longer, shorter), g.constant([SQUASHED], np.float32)
        )
        inner = g.add("Cast", g.add("Where", near, square, fitted), to=TensorProto.INT64)
    planes = g.add("Unsqueeze", g.add("Transpose", pixels, perm=[2, 0, 1]), axis)
    target = g.add("Concat", g.constant([1, 3], np.int64), inner, axis=0)
    mode = _MODES[record.interpolation]
    resized = g.add("Resize", planes, "", "", target, mode=mode, antialias=1, cubic_coeff_a=-0.5)
    resized = g.add("Transpose", resized, perm=[0, 2, 3, 1])
    g.add("Identity", _padded(g, resized, inner, record.size))
    g.nodes[-1].output[0] = "prepared"
    made = [1, record.size, record.size, 3]
    return _model(g, TensorProto.UINT8, "image", ["height", "width", 3], "prepared", made)


def _padded(g: _Graph, resized: str, inner: str, size: int) -> str:
    """Centre (1, h, w, 3) in a square filled with the mean of its own border."""
    values = g.add("Cast", resized, to=TensorProto.FLOAT)
    minus = [g.constant([v], np.int64) for v in (-1, 0, 1, 2**31)]
    ends = []
    for place in (1, 2):
        where = g.constant([place], np.int64)
        ends.append(g.add("Slice", values, minus[1], minus[2], where))
        ends.append(g.add("Slice", values, minus[0], minus[3], where))
    shape = g.constant([-1, 3], np.int64)
    edge = g.add("Concat", *[g.add("Reshape", e, shape) for e in ends], axis=0)
    fill = g.add("Floor", g.add("ReduceMean", edge, g.constant([0], np.int64), keepdims=1))
    spare = g.add("Sub", g.constant([size, size], np.int64), inner)
    first = g.add("Div", spare, g.constant([2], np.int64))
    last = g.add("Sub", spare, first)
    zero = g.constant([0], np.int64)
    pads = g.add("Concat", zero, first, zero, zero, last, zero, axis=0)
    framed = g.add("Pad", g.add("Sub", values, fill), pads, mode="constant")
    return g.add("Cast", g.add("Add", framed, fill), to=TensorProto.UINT8)


def _head(bundle: Bundle, backbone: onnx.ModelProto) -> onnx.ModelProto:
    g = _Graph("head")
    heated = 1.0 / bundle.facts.temperature
    weight = g.constant(bundle.head.weight.T * heated, np.float32)
    bias = g.constant(bundle.head.bias * heated, np.float32)
    logits = g.add("Add", g.add("MatMul", "features", weight), bias)
    g.nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=1))
    classes, width = bundle.head.weight.shape
    made = _model(g, TensorProto.FLOAT, "features", ["n", width], "probabilities", ["n", classes])
    made.ir_version = backbone.ir_version
    return made


def _model(
    g: _Graph, kind: int, source: str, shape: list[Any], target: str, made_shape: list[Any]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        g.nodes,
        target,
        [helper.make_tensor_value_info(source, kind, shape)],
        [helper.make_tensor_value_info(target, kind, made_shape)],
        g.constants,
    )
    made: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
    )
    return made


def _prove(bundle: Bundle, model: onnx.ModelProto) -> None:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for shape in ((97, 97), (200, 210), (240, 360), (363, 360)):
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        pixels = _grown(coarse, shape)
        ours = bundle.predict(pixels).probabilities[0]
        theirs = session.run(["probabilities"], {"image": pixels})[0][0]
        off = float(np.abs(ours - theirs).max())
        if not off <= 0.01:
            raise ParityError(
                f"The single file differs from the bundle by {off:.3f} at {shape}.",
                "Nothing was written. Please report this with the bundle's inspect output.",
            )


def _grown(coarse: Pixels, shape: tuple[int, int]) -> Pixels:
    rows = np.linspace(0, coarse.shape[0] - 1, shape[0]).round().astype(int)
    columns = np.linspace(0, coarse.shape[1] - 1, shape[1]).round().astype(int)
    grown: npt.NDArray[np.uint8] = np.ascontiguousarray(coarse[rows][:, columns])
    return grown
