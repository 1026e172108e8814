"""Arrays of any type and many channels to RGB, and NumPy archives."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cytowell.errors import ImageError, ImageTooLarge
from cytowell.images.failures import reading
from cytowell.images.limits import (
    BAND,
    DECODED,
    KEPT_BYTES,
    NO_FILE_GROWS_SO,
    ON_DISK,
    Budget,
    cap,
    grown,
)
from cytowell.images.record import Preprocessing
from cytowell.storage import cache_folder, make_room, write_with
from cytowell.types import Pixels, file_of


def to_rgb_array(array: npt.NDArray[Any], record: Preprocessing, shown: str) -> Pixels:
    """Choose channels, map the intensity window to 0..255; (H, W[, C]) of any type to RGB."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise ImageError(
            f"{shown} has {array.ndim} axes.", "Save one plane of it: height, width, channels."
        )
    if not array.size or array.dtype.kind not in "buif":
        raise ImageError(
            f"{shown} holds no pixels (shape {array.shape}, type {array.dtype}).",
            "Save it again as numbers: height, width, channels.",
        )
    channels = record.channels
    if channels is None:
        channels = (0, 1, 2) if array.shape[2] >= 3 else (0, 0, 0)
    if max(channels) >= array.shape[2]:
        raise ImageError(
            f"{shown} has {array.shape[2]} channels, not channel {max(channels)}.",
            f"Choose --channels from 0 to {array.shape[2] - 1}.",
        )
    if len(channels) == 1:
        channels = channels * 3
    rgb = np.empty((*array.shape[:2], 3), dtype=np.uint8)
    rows = max(1, BAND // max(1, array.shape[1]))
    for top in range(0, array.shape[0], rows):
        part = array[top : top + rows]
        chosen = [part[:, :, c] for c in channels]
        chosen += [np.zeros_like(chosen[0])] * (3 - len(chosen))
        rgb[top : top + rows] = _eight_bits(np.stack(chosen, axis=2), record)
    return rgb


def _eight_bits(array: npt.NDArray[Any], record: Preprocessing) -> Pixels:
    """Map the intensity window to 0..255."""
    if array.dtype == np.uint8 and record.window is None:
        return array
    if record.window is not None:
        low, high = record.window
    elif np.issubdtype(array.dtype, np.integer):
        # A 16-bit PNG arrives from Pillow as 32-bit integers whose range is still 16 bits.
        wide = array.dtype.itemsize > 2
        low, high = (0.0, 65535.0) if wide else (0.0, float(np.iinfo(array.dtype).max))
    else:
        low, high = 0.0, 1.0
    with np.errstate(all="ignore"):  # what is no number, or beyond any, ends at 0 or 255
        scaled = (array.astype(np.float32) - low) * (255.0 / (high - low))
        rounded: Pixels = np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)
    return rounded


@functools.lru_cache(maxsize=8)
def npz_member(file: str, member: str) -> npt.NDArray[Any]:
    """Map one array of an `.npz` into memory without holding it: unpacked once into the cache.

    Raises
    ------
    ImageError
        If the file is no npz, lacks the member, holds pickled objects, or would grow more than
        photographs do.
    """
    remedy = "MedMNIST files hold train_images, train_labels, val_..., test_..."
    with reading(file, f"is no readable .npz with an array {member!r}", remedy):
        stat = Path(file).stat()
        key = hashlib.sha256(
            f"{Path(file).resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{member}".encode()
        ).hexdigest()[:24]
        unpacked = cache_folder() / "npz" / f"{key}.npy"
        if unpacked.exists():
            with contextlib.suppress(OSError):
                os.utime(unpacked)  # it is in use: others go first
        else:
            _unpack(file, member, unpacked)
        array: npt.NDArray[Any] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
        return array


def _unpack(file: str, member: str, target: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        total = sum(m.file_size for m in archive.infolist())
        allowed = grown(Path(file).stat().st_size, ON_DISK)
        Budget(file, allowed, ImageTooLarge, NO_FILE_GROWS_SO).spend(total)
        name = f"{member}.npy"
        make_room(target.parent, archive.getinfo(name).file_size, KEPT_BYTES)
        # zipfile stops at the announced size and checks the sum: a header cannot lie.
        with archive.open(name) as stream:

            def copy(path: Path) -> None:
                with path.open("wb") as out:
                    shutil.copyfileobj(stream, out, 1 << 20)

            write_with(target, copy)


def npz_image(path: str) -> npt.NDArray[Any]:
    """Give the image that ``file.npz::name/index`` names, as it is stored."""
    file = file_of(path)
    rest = path[len(file) + 2 :]
    member, _, index = rest.rpartition("/")
    array = npz_member(file, member)
    try:
        image = np.asarray(array[int(index)])
    except (IndexError, ValueError) as error:
        raise ImageError(
            f"{path} is not in the file.",
            f"{member} holds {len(array) if array.ndim else 0} images, from 0.",
        ) from error
    if image.ndim >= 2:
        cap((image.shape[1], image.shape[0]), path)
    Budget(path, DECODED).spend(image.nbytes)
    return image
