"""One ONNX file for other runtimes: upright RGB pixels of any size to calibrated probabilities."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, compose, helper, numpy_helper

from cytowell.errors import CytowellError, ParityError
from cytowell.images import SQUASHED, Preprocessing, cut_out, load, open_upright
from cytowell.runtime.bundle import Bundle
from cytowell.storage import write_with
from cytowell.types import Pixels, Sample

OPSET = 18
"""The first whose Resize can antialias, as Pillow's always does."""

PICTURE = "an upright picture, RGB"
CANONICAL = "the canonical view of one cell (cytowell.images.see): light divided out, RGB"

FINENESS = float(1 << 22)
"""Parts of 1 to which Pillow rounds the weights of a resampling."""

LARGEST = 0.005
"""Largest difference of a probability between the file and the bundle."""


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


def write(bundle: Bundle, out: Path, images: Sequence[Sample] = ()) -> int:
    """Write a bundle as one ONNX file, after comparing it with the bundle; give on how many images.

    Its input `image` is uint8 (height, width, 3), upright RGB; its output `probabilities` is
    float (1, C). Channels and intensity window of 16-bit images are for the caller to apply; where
    the bundle sees cells in their canonical view, that window is the input (`images.see`), for no
    graph finds a nucleus, and the metadata entry `input` says so.

    Parameters
    ----------
    images
        Real images on which both must agree, such as those of the run; generated ones are compared
        beside them. What cannot be read is passed over.

    Raises
    ------
    ParityError
        If a probability differs by more than `LARGEST` from the bundle's.
    """
    plain = copy.copy(bundle)
    record = replace(bundle.facts.preprocessing, cell=None)
    plain.facts = replace(bundle.facts, preprocessing=record)
    model = single(plain, CANONICAL if bundle.facts.preprocessing.cell is not None else PICTURE)
    shown = [*_generated(), *_real(images, bundle.facts.preprocessing)]
    _prove(plain, model, shown)
    data = model.SerializeToString()
    write_with(out, lambda beside: beside.write_bytes(data))
    return len(shown)


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
    resized = _resized(g, pixels, inner, record.interpolation)
    g.add("Identity", _padded(g, resized, inner, record.size))
    g.nodes[-1].output[0] = "prepared"
    made = [1, record.size, record.size, 3]
    return _model(g, TensorProto.UINT8, "image", ["height", "width", 3], "prepared", made)


def _resized(g: _Graph, pixels: str, inner: str, interpolation: str) -> str:
    """Resize (h, w, 3) to (1, *inner, 3) as Pillow does: columns first, whole pixels between.

    Weights are rounded to whole 2**-22ths there; in double precision the sums are exact here.
    """
    planes = g.add("Cast", g.add("Transpose", pixels, perm=[2, 0, 1]), to=TensorProto.DOUBLE)
    shape = g.add("Shape", pixels)
    for place in (1, 0):
        ends = [g.constant([v], np.int64) for v in (place, place + 1)]
        length, wanted = (g.add("Slice", sides, *ends) for sides in (shape, inner))
        weights = _weights(g, length, wanted, interpolation)
        if place:
            planes = g.add("MatMul", planes, g.add("Transpose", weights, perm=[1, 0]))
        else:
            planes = g.add("MatMul", weights, planes)
        planes = g.add("Floor", g.add("Add", planes, g.constant(0.5, np.float64)))
        planes = g.add("Clip", planes, g.constant(0, np.float64), g.constant(255, np.float64))
    made = g.add("Cast", g.add("Transpose", planes, perm=[1, 2, 0]), to=TensorProto.UINT8)
    return g.add("Unsqueeze", made, g.constant([0], np.int64))


def _weights(g: _Graph, length: str, wanted: str, interpolation: str) -> str:
    """Give the weights (wanted, length) of a pass of Pillow's resampling; both are int64 (1,)."""

    def number(value: float) -> str:
        return g.constant(value, np.float64)

    long, short = (g.add("Cast", v, to=TensorProto.DOUBLE) for v in (length, wanted))
    scale = g.add("Div", long, short)
    wide = g.add("Max", scale, number(1.0))
    steps = []
    for count in (wanted, length):
        none, one = g.constant(0, np.int64), g.constant(1, np.int64)
        last = g.add("Squeeze", count, g.constant([0], np.int64))
        places = g.add("Cast", g.add("Range", none, last, one), to=TensorProto.DOUBLE)
        steps.append(g.add("Add", places, number(0.5)))
    centres = g.add("Unsqueeze", g.add("Mul", steps[0], scale), g.constant([1], np.int64))
    away = g.add("Div", g.add("Sub", steps[1], centres), wide)
    t = g.add("Abs", away)
    if interpolation == "bilinear":
        found = g.add("Max", g.add("Sub", number(1.0), t), number(0.0))
    elif interpolation == "box":
        # The lower end is outside, the upper inside, as Pillow has it.
        inside = g.add("Greater", away, number(-0.5))
        inside = g.add("And", inside, g.add("LessOrEqual", away, number(0.5)))
        found = g.add("Cast", inside, to=TensorProto.DOUBLE)
    else:
        # Keys 1981, doi 10.1109/TASSP.1981.1163711, a = -0.5: two cubics.
        near = _polynomial(g, t, (1.5, -2.5, 0.0, 1.0))
        far = _polynomial(g, t, (-0.5, 2.5, -4.0, 2.0))
        far = g.add("Where", g.add("Less", t, number(2.0)), far, number(0.0))
        found = g.add("Where", g.add("Less", t, number(1.0)), near, far)
    total = g.add("ReduceSum", found, g.constant([1], np.int64), keepdims=1)
    fine = g.add("Mul", g.add("Div", found, total), number(FINENESS))
    # Halves go away from 0, as in Pillow.
    rounded = g.add("Floor", g.add("Add", g.add("Abs", fine), number(0.5)))
    return g.add("Div", g.add("Mul", g.add("Sign", fine), rounded), number(FINENESS))


def _polynomial(g: _Graph, t: str, terms: tuple[float, ...]) -> str:
    """Give a polynomial of t, the highest term first."""
    value = g.constant(terms[0], np.float64)
    for term in terms[1:]:
        value = g.add("Add", g.add("Mul", value, t), g.constant(term, np.float64))
    return value


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


def _generated() -> Iterator[Pixels]:
    rng = np.random.default_rng(0)
    for shape in ((97, 97), (200, 210), (240, 360), (363, 360)):
        yield _grown(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), shape)


def _real(images: Sequence[Sample], record: Preprocessing) -> Iterator[Pixels]:
    """Give what the file is shown of real images: the cell's view, the box, or the whole."""
    for sample in images:
        try:
            if record.cell is not None:
                yield load(sample, record)
                continue
            picture = open_upright(sample.path, record.unscaled)
            if sample.box is not None and not record.whole:
                picture = cut_out(picture, record, sample.box)
            yield np.asarray(picture, dtype=np.uint8)
        except CytowellError:
            continue


def _prove(bundle: Bundle, model: onnx.ModelProto, shown: Sequence[Pixels]) -> None:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for number, pixels in enumerate(shown):
        ours = bundle.predict(pixels).probabilities[0]
        theirs = session.run(["probabilities"], {"image": pixels})[0][0]
        off = float(np.abs(ours - theirs).max())
        if not off <= LARGEST:
            raise ParityError(
                f"The single file differs from the bundle by {off:.3f} on image {number + 1} of "
                f"{len(shown)} ({pixels.shape[1]} x {pixels.shape[0]} pixels).",
                "Nothing was written. Please report this with the bundle's inspect output.",
            )


def _grown(coarse: Pixels, shape: tuple[int, int]) -> Pixels:
    rows = np.linspace(0, coarse.shape[0] - 1, shape[0]).round().astype(int)
    columns = np.linspace(0, coarse.shape[1] - 1, shape[1]).round().astype(int)
    grown: npt.NDArray[np.uint8] = np.ascontiguousarray(coarse[rows][:, columns])
    return grown
