"""CZI of ZEISS and ND2 of Nikon: one plane with its channels, and how large its pixels are.

Readers are extras; only the blocks of the chosen plane are read, so that a stack of gigabytes
costs what its plane costs.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from defusedxml import ElementTree

from cytowell.errors import ImageError, MissingDecoder, how_to_install
from cytowell.images.arrays import to_rgb_array
from cytowell.images.failures import reading
from cytowell.images.limits import DECODED, cap
from cytowell.images.planes import choose, sensible
from cytowell.images.record import Preprocessing
from cytowell.types import Pixels

CZI = b"ZISRAWFILE"
ND2 = b"\xda\xce\xbe\n"

OVERLAP = 4
"""How many times blocks may cover the picture: those of a slide overlap by a few per cent."""

_COMPRESSED = {1: "JPEG", 2: "LZW", 4: "JPEG-XR", 5: "Zstandard", 6: "Zstandard"}
"""Of CZI, by the number in a block's entry (ZISRAW file format, DirectoryEntryDV)."""


def is_microscope_file(head: bytes) -> bool:
    """Tell by the first bytes whether a file is CZI or ND2."""
    return head.startswith((CZI, ND2))


def read_microscope_file(
    stream: BinaryIO, record: Preprocessing, shown: str
) -> tuple[Pixels, float | None]:
    """Read a plane as RGB, and the side of a pixel in micrometres where the file tells it.

    Raises
    ------
    MissingDecoder
        Without the microscopy extra.
    ImageError
        If the file is damaged, compressed in a way that is not read, or the plane is not chosen.
    """
    czi = stream.read(len(CZI)) == CZI
    stream.seek(0)
    with reading(shown, remedy="Copy it again from the microscope."):
        try:
            array, size, bits = (_czi if czi else _nd2)(stream, record, shown)
        except ImportError as error:
            raise MissingDecoder(
                f"{shown} is {'CZI' if czi else 'ND2'}, which a plain install does not read.",
                f"{how_to_install('microscopy')}; or save it as OME-TIFF.",
            ) from error
        if not array.any():
            # What the readers give for blocks that are not there; no camera does.
            raise ImageError(
                f"{shown} holds nothing but zeros there.", "Copy it again from the microscope."
            )
        if record.window is None and array.dtype == np.uint16 and 8 < bits < 16:
            record = replace(record, window=(0.0, 2.0**bits - 1))
        return to_rgb_array(array, record, shown), size


_Read = tuple[npt.NDArray[Any], float | None, int]
"""A plane (H, W, channels), the side of a pixel in micrometres, and the camera's bits or 0."""


def _czi(stream: BinaryIO, record: Preprocessing, shown: str) -> _Read:
    import czifile  # noqa: PLC0415  (an extra: absent from a plain install)

    # Not `multifile`: a header may name any other file of this machine.
    with czifile.CziFile(stream, multifile=False) as file:
        # Smaller copies of the same pixels, for slide viewers, are left out.
        blocks = [b for b in file.filtered_subblock_directory if _is_whole(b)]
        if not blocks:
            raise ImageError(f"{shown} holds no picture.", "Save it again, or as OME-TIFF.")
        places = [_place(block) for block in blocks]
        stacked: dict[str, set[int]] = defaultdict(set)
        for place in places:
            for axis, (start, _) in place.items():
                if axis not in "YXC":
                    stacked["P" if axis == "S" else axis].add(start)
        first = {axis: min(starts) for axis, starts in stacked.items()}
        sizes = {axis: max(starts) - first[axis] + 1 for axis, starts in stacked.items()}
        wanted = choose(sizes, record.plane, shown)
        chosen = [
            (block, place)
            for block, place in zip(blocks, places, strict=True)
            if all(
                place.get("S" if axis == "P" else axis, (0, 1))[0] == first[axis] + index
                for axis, index in wanted.items()
            )
        ]
        if not chosen:
            raise ImageError(f"{shown} holds nothing at {record.plane}.", "Choose another --plane.")
        return _mosaic(chosen, file.dtype, shown), _czi_size(file), _czi_bits(file)


def _is_whole(block: Any) -> bool:
    """Whether a block holds one plane with as many pixels as it covers."""
    return not block.pyramid_type and all(
        d.stored_size == d.size and (d.size == 1 or d.dimension in "XY")
        for d in block.dimension_entries
    )


def _place(block: Any) -> dict[str, tuple[int, int]]:
    """Give start and length of a block along each of its axes but the mosaic's."""
    return {d.dimension: (d.start, d.size) for d in block.dimension_entries if d.dimension != "M"}


def _mosaic(chosen: list[tuple[Any, dict[str, tuple[int, int]]]], dtype: Any, shown: str) -> Any:
    """Lay tiles side by side, channel after channel: (H, W, channels or samples)."""
    low = {a: min(place[a][0] for _, place in chosen) for a in "YX"}
    high = {a: max(sum(place[a]) for _, place in chosen) for a in "YX"}
    tall, wide = high["Y"] - low["Y"], high["X"] - low["X"]
    channels = sorted({place.get("C", (0, 1))[0] for _, place in chosen})
    samples = max(int(block.shape[-1]) for block, _ in chosen)
    cap((wide, tall), shown, samples * len(channels) * np.dtype(dtype).itemsize)
    if sum(place["Y"][1] * place["X"][1] for _, place in chosen) > OVERLAP * tall * wide * len(
        channels
    ):
        raise ImageError(f"{shown} has blocks upon blocks.", "Copy it again from the microscope.")
    canvas = np.zeros((len(channels), tall, wide, samples), dtype=dtype)
    for block, place in chosen:
        y, x = place["Y"][0] - low["Y"], place["X"][0] - low["X"]
        part = _pixels(block, shown).reshape(place["Y"][1], place["X"][1], -1)
        at = channels.index(place.get("C", (0, 1))[0])
        canvas[at, y : y + part.shape[0], x : x + part.shape[1], : part.shape[2]] = part
    return np.moveaxis(canvas, 0, 2).reshape(tall, wide, -1)


def _pixels(block: Any, shown: str) -> npt.NDArray[Any]:
    """Read a block, if it is what the directory says: its own entry may announce anything."""
    held = block.data_segment()
    bytes_of = int(np.prod(block.shape)) * np.dtype(block.dtype[-2:]).itemsize
    if (held.stored_shape, held.dtype) != (block.shape, block.dtype) or (
        not block.compression and held.data_size != bytes_of
    ):
        raise ValueError("a block is not what its directory says")
    try:
        pixels: npt.NDArray[Any] = held.data(resize=False)
    except (KeyError, TypeError, ValueError) as error:
        if block.compression in _COMPRESSED:
            raise ImageError(
                f"{shown} is compressed as {_COMPRESSED[block.compression]}.",
                "Save it uncompressed, or as OME-TIFF; pip install imagecodecs may read it.",
            ) from error
        raise
    return pixels


def _czi_size(file: Any) -> float | None:
    try:
        root = ElementTree.fromstring(file.metadata())
        for distance in root.iter("Distance"):
            if distance.get("Id") == "X":
                return sensible(float(distance.findtext("Value", "")) * 1e6)
    except Exception:  # whatever broken metadata lead to: the pixels are fine
        return None
    return None


def _czi_bits(file: Any) -> int:
    try:
        root = ElementTree.fromstring(file.metadata())
        told = {int(e.text or 0) for e in root.iter("ComponentBitCount")}
        return max(told) if len(told) == 1 else 0
    except Exception:  # as for the size
        return 0


class Inflater:
    """Stands in for zlib where nd2 inflates."""

    @staticmethod
    def decompress(data: bytes) -> bytes:
        """Inflate, or raise ValueError beyond `DECODED` bytes or before the stream's end."""
        stream = zlib.decompressobj()
        out = stream.decompress(data, DECODED)
        if not stream.eof:
            raise ValueError(f"more than {DECODED >> 20} MB of it are compressed, or it is cut")
        return out


def _nd2(stream: BinaryIO, record: Preprocessing, shown: str) -> _Read:
    import nd2  # noqa: PLC0415  (an extra: absent from a plain install)
    from nd2._parse import _clx_lite  # noqa: PLC0415  (the same)
    from nd2._readers._modern import modern_reader  # noqa: PLC0415  (the same)

    # nd2 inflates frames and settings without end: a small file could fill the memory. Its two
    # modules that do so are given a zlib that stops.
    _clx_lite.zlib = modern_reader.zlib = Inflater
    with nd2.ND2File(stream) as file:
        sizes = dict(file.sizes)
        wide, tall = sizes.pop("X"), sizes.pop("Y")
        channels, samples = sizes.pop("C", 1), sizes.pop("S", 1)
        cap((wide, tall), shown, channels * samples * np.dtype(file.dtype).itemsize)
        wanted = choose(sizes, record.plane, shown)
        at = 0
        for axis, count in sizes.items():  # frames lie as the loops of the experiment do
            at = at * count + wanted[axis]
        # A copy: what is read is a view of a file that is closed below.
        frame = np.array(file.read_frame(at))
        if frame.ndim == 3 and samples == 1:
            frame = np.moveaxis(frame, 0, -1)
        return frame, _nd2_size(file), _nd2_bits(file)


def _nd2_bits(file: Any) -> int:
    try:
        return int(file.attributes.bitsPerComponentSignificant)
    except Exception:  # as for the size
        return 0


def _nd2_size(file: Any) -> float | None:
    # Not `metadata`: nd2 0.12 cannot read it where a channel has no fluorescent probe.
    name = "ImageMetadataSeqLV|0"
    try:
        told = file.unstructured_metadata(strip_prefix=False, include={name})[name]
        told = told.get("SLxPictureMetadata", told)
        return sensible(told["dCalibration"]) if told["bCalibrated"] else None
    except Exception:  # whatever broken metadata lead to: the pixels are fine
        return None
