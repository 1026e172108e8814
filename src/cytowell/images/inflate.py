"""Inflates in small pieces, to learn how much there is before anybody holds all of it."""

from __future__ import annotations

import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cytowell.images.limits import Budget

PIECE = 1 << 16
"""Bytes that are held at once."""


def deflated(data: bytes) -> Iterator[bytes]:
    """Give what a zlib stream holds, piece by piece."""
    stream = zlib.decompressobj()
    rest = data
    while rest and not stream.eof:
        yield stream.decompress(rest, PIECE)
        rest = stream.unconsumed_tail


def lzma_packed(data: bytes) -> Iterator[bytes]:
    """Give what an LZMA stream holds, piece by piece."""
    stream = lzma.LZMADecompressor()
    rest = data
    while not stream.eof:
        piece = stream.decompress(rest, PIECE)
        rest = b""
        if not piece and stream.needs_input:
            return
        yield piece


def run_lengths(data: bytes) -> Iterator[bytes]:
    """Give what a PackBits stream holds, run by run."""
    at = 0
    while at < len(data):
        count = data[at]
        if count < 128:
            yield data[at + 1 : at + 2 + count]
            at += 2 + count
        elif count > 128:
            yield data[at + 1 : at + 2] * (257 - count)
            at += 2
        else:
            at += 1


INFLATERS: dict[int, Callable[[bytes], Iterator[bytes]]] = {
    8: deflated, 32946: deflated, 50013: deflated, 34925: lzma_packed, 32773: run_lengths,
}  # fmt: skip
"""By TIFF's number of a compression: those that tifffile itself inflates without an end. What
imagecodecs adds is told how much to expect."""


def arrays_in(data: bytes, budget: Budget) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an `.npz` that is held in memory; pickled objects are refused.

    Raises
    ------
    CytowellError
        The budget's, before more than it allows is unpacked.
    ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error
        If it is no such archive.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        budget.spend(sum(m.file_size for m in members))
        arrays = {}
        for member in members:
            # zipfile stops at the announced size, which is spent.
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(".npy")] = _array(stream.read())
        return arrays


def _array(data: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, kind = np.lib.format.read_array_header_2_0(stream)
    if math.prod(shape) * kind.itemsize > len(data):
        raise ValueError(f"an array of shape {shape} in {len(data):,} bytes")
    stream.seek(0)
    found: npt.NDArray[Any] = np.load(stream, allow_pickle=False)
    return found
