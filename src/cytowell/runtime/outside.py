"""What an ONNX file keeps, and whether it reads other files, as ONNX Runtime would.

The messages of onnx.proto are walked by their field numbers, because a plain install has no onnx.
"""

from __future__ import annotations

from collections.abc import Iterator

_WITHIN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 40
_GRAPH, _INITIALISER, _DIMS, _DATA_TYPE = 7, 5, 1, 2
_FLOATING = (1, 10, 11, 16)
"""Data types of onnx.proto: float, half, double, bfloat16."""


def reaches_outside(model: bytes) -> bool:
    """Whether any tensor of the model keeps its numbers in another file.

    Raises
    ------
    ValueError
        If the bytes are no ONNX model.
    """
    return _any_outside(memoryview(model), "model", 0)


def parameters(model: bytes) -> int:
    """Count the numbers that a network keeps: its floating-point initialisers.

    Examples
    --------
    >>> parameters(b"")
    0
    """
    total = 0
    for number, graph in _fields(memoryview(model)):
        if number != _GRAPH or not isinstance(graph, memoryview):
            continue
        for field, tensor in _fields(graph):
            if field == _INITIALISER and isinstance(tensor, memoryview):
                total += _numbers(tensor)
    return total


def _numbers(tensor: memoryview) -> int:
    count, kind = 1, 0
    for number, value in _fields(tensor):
        if number == _DIMS and isinstance(value, int):
            count *= value
        elif number == _DIMS and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                size, at = _varint(value, at)
                count *= size
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
    return count if kind in _FLOATING else 0


def _any_outside(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    for number, value in _fields(message):
        if kind == "tensor" and (
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
        ):
            return True
        inner = _WITHIN[kind].get(number)
        if (
            inner is not None
            and isinstance(value, memoryview)
            and _any_outside(value, inner, depth + 1)
        ):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Give the fields of a protocol buffer message: number and value (0 for fixed-width ones)."""
    for number, start, stop in fields_at(message, 0, len(message)):
        yield number, message[start:stop] if start >= 0 else stop


def fields_at(message: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give the fields of a message that stands between two places, and where each stands.

    Yields number, start and stop of what has a length; number, -1 and the value of a number (0 for
    one of fixed width).

    Raises
    ------
    ValueError
        If the bytes are no such message.
    """
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, -1, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        else:
            length = {1: 8, 5: 4}.get(wire, end)
        if at + length > end:
            raise ValueError("no ONNX model")
        yield (number, at, at + length) if wire == 2 else (number, -1, 0)
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("no ONNX model")
