"""Batch normalisation inside an ONNX file: its statistics are measured anew and rewritten.

A plain install has no `onnx`. The file's messages are walked by their field numbers, as `outside`
does; numbers of the same count and type are written in their place, so that nothing else of the
file moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cytowell.runtime.outside import fields_at
from cytowell.runtime.session import open_network, refuse_outside
from cytowell.types import FloatArray, Pixels

_GRAPH = 7
_NODE, _INITIALISER, _OUTPUT = 1, 5, 12
_INPUTS, _OUTPUTS, _NODE_NAME, _OPERATOR, _ATTRIBUTE = 1, 2, 3, 4, 5
_NAME, _RAW, _DATA_TYPE = 8, 9, 2
_FLOAT, _INT = 1, 2
_TYPES: dict[int, str] = {1: "<f4", 10: "<f2", 11: "<f8"}
"""Data types of onnx.proto whose raw numbers can be rewritten, and what NumPy calls them."""

TOGETHER = 32
"""Pictures of which one pass takes the statistics: half a gigabyte with two views of 160 px."""

Statistic = tuple[FloatArray, FloatArray]
"""Mean and variance (C,) of one layer."""


@dataclass(frozen=True)
class Stored:
    """Where an initialiser's numbers stand in the file, and of which type they are."""

    start: int
    stop: int
    dtype: str

    def read(self, model: bytes) -> FloatArray:
        """Give the numbers."""
        return np.frombuffer(model[self.start : self.stop], self.dtype).astype(np.float64)

    def write(self, model: bytearray, values: FloatArray) -> None:
        """Put other numbers in their place, kept within what the type can hold."""
        most = float(np.finfo(np.dtype(self.dtype)).max)
        model[self.start : self.stop] = np.clip(values, -most, most).astype(self.dtype).tobytes()


@dataclass(frozen=True)
class NormLayer:
    """One batch normalisation: its node, and where its statistics stand."""

    node: tuple[int, int]
    mean: Stored
    variance: Stored


@dataclass(frozen=True)
class _Node:
    operator: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]


def norm_layers(model: bytes) -> tuple[NormLayer, ...]:
    """Give the batch normalisations whose statistics stand in the file itself, in graph order.

    Networks without any (transformers, norms folded into convolutions) give none.
    """
    stored: dict[str, Stored] = {}
    made_from: dict[str, str] = {}
    norms: list[tuple[tuple[int, int], _Node]] = []
    for _, start, stop in _parts(model, 0, len(model), _GRAPH):
        for field, a, b in _parts(model, start, stop, _NODE, _INITIALISER):
            if field == _INITIALISER:
                name, found = _initialiser(model, a, b)
                if found is not None:
                    stored[name] = found
                continue
            node = _node(model, a, b)
            if node.operator in ("Cast", "Identity") and node.takes and node.gives:
                made_from[node.gives[0]] = node.takes[0]
            elif node.operator == "BatchNormalization" and len(node.takes) == 5:
                norms.append(((a, b), node))
    layers = []
    for place, node in norms:
        mean, variance = (stored.get(made_from.get(name, name)) for name in node.takes[3:])
        if mean is not None and variance is not None:
            layers.append(NormLayer(place, mean, variance))
    return tuple(layers)


def statistics_in(model: bytes) -> list[Statistic]:
    """Give mean and variance of each layer as the file has them."""
    return [(x.mean.read(model), x.variance.read(model)) for x in norm_layers(model)]


def remeasured(model: bytes, pixels: Pixels, share: float, threads: int = 1) -> list[Statistic]:
    """Give the statistics of each layer, taken a share of the way to those of other pictures.

    What a layer is given depends on the statistics of those before it: each is measured behind
    layers that are already at theirs. All at once, each from the network as it was, correct the
    same shift twice (of 160 home images 65 % instead of 99 were then called correctly).

    Parameters
    ----------
    pixels
        (N, size, size, 3); `TOGETHER` at a time are measured, and the results averaged.
    share
        0 leaves the statistics as they are, 1 takes those of the pictures.

    Raises
    ------
    BundleCorrupt
        If the network cannot be run.
    """
    layers = norm_layers(model)
    names = [name for i in range(len(layers)) for name in _given(i)]
    session = open_network(_measuring(model, layers, share), "the network", threads)
    pieces = np.array_split(np.arange(len(pixels)), max(1, round(len(pixels) / TOGETHER)))
    total: list[FloatArray] = [np.zeros(())] * len(names)
    for rows in pieces:
        found = session.run(names, {"image": pixels[rows]})
        part = len(rows) / len(pixels)
        total = [t + part * f.astype(np.float64) for t, f in zip(total, found, strict=True)]
    return list(zip(total[::2], total[1::2], strict=True))


def rewritten(model: bytes, statistics: Sequence[Statistic]) -> bytes:
    """Give the file with these means and variances in place of its own."""
    refuse_outside(model, "the backbone")
    out = bytearray(model)
    for layer, (mean, variance) in zip(norm_layers(model), statistics, strict=True):
        layer.mean.write(out, mean)
        layer.variance.write(out, variance)
    return bytes(out)


def _given(layer: int) -> tuple[str, str]:
    return f"cytowell_mean_{layer}", f"cytowell_variance_{layer}"


def _measuring(model: bytes, layers: Sequence[NormLayer], share: float) -> bytes:
    """Give a file whose layers normalise by the statistics of what they are given, blended.

    Before each normalisation stands another in training mode: its further outputs are the running
    statistics after one batch, the momentum being what is kept of the old ones.
    """
    order = {layer.node: i for i, layer in enumerate(layers)}
    whole = b""
    for number, start, stop in _everything(model, 0, len(model)):
        if number != _GRAPH:
            whole += _field(number, model[start:stop] if start >= 0 else stop)
            continue
        parts = []
        for field, a, b in _everything(model, start, stop):
            value: bytes | int = model[a:b] if a >= 0 else b
            if field == _NODE and (a, b) in order:
                parts += _blended(model, (a, b), order[a, b], share)
            else:
                parts.append(_field(field, value))
        outputs = [name for i in range(len(layers)) for name in _given(i)]
        parts += [_field(_OUTPUT, _field(1, name.encode())) for name in outputs]
        whole += _field(_GRAPH, b"".join(parts))
    return whole


def _blended(model: bytes, place: tuple[int, int], layer: int, share: float) -> list[bytes]:
    node = _node(model, *place)
    kept = b""
    for _, a, b in _parts(model, *place, _ATTRIBUTE):
        if _text(model, a, b, 1) not in ("training_mode", "momentum"):
            kept += _field(_ATTRIBUTE, model[a:b])
    training = _attribute("training_mode", _field(3, 1), _INT)
    momentum = _attribute("momentum", _float(2, 1 - share), _FLOAT)
    names = _given(layer)
    inner = _made(node.takes, (f"cytowell_unused_{layer}", *names), kept + training + momentum)
    return [inner, _made((*node.takes[:3], *names), node.gives[:1], kept)]


def _made(takes: Sequence[str], gives: Sequence[str], attributes: bytes) -> bytes:
    inputs = b"".join(_field(_INPUTS, name.encode()) for name in takes)
    outputs = b"".join(_field(_OUTPUTS, name.encode()) for name in gives)
    operator = _field(_OPERATOR, b"BatchNormalization")
    return _field(_NODE, inputs + outputs + operator + attributes)


def _attribute(name: str, value: bytes, kind: int) -> bytes:
    return _field(_ATTRIBUTE, _field(1, name.encode()) + value + _field(20, kind))


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _everything(model: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    return fields_at(memoryview(model), start, stop)


def _parts(model: bytes, start: int, stop: int, *wanted: int) -> Iterator[tuple[int, int, int]]:
    """Give number, start and stop of the messages of these kinds within a message."""
    for number, a, b in _everything(model, start, stop):
        if number in wanted and a >= 0:
            yield number, a, b


def _text(model: bytes, start: int, stop: int, number: int) -> str:
    for _, a, b in _parts(model, start, stop, number):
        return model[a:b].decode("utf-8", "replace")
    return ""


def _initialiser(model: bytes, start: int, stop: int) -> tuple[str, Stored | None]:
    kind, place = 0, (0, 0)
    for number, a, b in _everything(model, start, stop):
        if number == _RAW and a >= 0:
            place = (a, b)
        elif number == _DATA_TYPE and a < 0:
            kind = b
    name = _text(model, start, stop, _NAME)
    if kind not in _TYPES or place == (0, 0):
        return name, None
    return name, Stored(*place, _TYPES[kind])


def _node(model: bytes, start: int, stop: int) -> _Node:
    operator = ""
    takes: list[str] = []
    gives: list[str] = []
    for number, a, b in _parts(model, start, stop, _INPUTS, _OUTPUTS, _OPERATOR):
        text = model[a:b].decode("utf-8", "replace")
        if number == _OPERATOR:
            operator = text
        else:
            (takes if number == _INPUTS else gives).append(text)
    return _Node(operator, tuple(takes), tuple(gives))
