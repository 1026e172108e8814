"""Arrays of any type and many channels to RGB, and NumPy archives."""

from __future__ import annotations

import functools
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cytowell.errors import ImageError, StorageError
from cytowell.images.record import Preprocessing
from cytowell.storage import cache_folder, write_with
from cytowell.types import Pixels


def to_rgb_array(array: npt.NDArray[Any], record: Preprocessing, shown: str) -> Pixels:
    """Choose channels, map the intensity window to 0..255; (H, W[, C]) of any type to RGB."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise ImageError(
            f"{shown} has {array.ndim} axes.", "Save one plane of it: height, width, channels."
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
    if len(channels) == 2:
        array = np.concatenate([array, np.zeros_like(array[:, :, :1])], axis=2)
        channels = (*channels, array.shape[2] - 1)
    array = array[:, :, list(channels)]
    if array.dtype == np.uint8 and record.window is None:
        return np.ascontiguousarray(array)
    if record.window is not None:
        low, high = record.window
    elif np.issubdtype(array.dtype, np.integer):
        # A 16-bit PNG arrives from Pillow as 32-bit integers whose range is still 16 bits.
        wide = array.dtype.itemsize > 2
        low, high = (0.0, 65535.0) if wide else (0.0, float(np.iinfo(array.dtype).max))
    elif array.dtype == np.bool_:
        low, high = 0.0, 1.0
    else:
        low, high = 0.0, 1.0
    scaled = (array.astype(np.float32) - low) * (255.0 / (high - low))
    rounded: Pixels = np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)
    return rounded


@functools.lru_cache(maxsize=8)
def npz_member(file: str, member: str) -> npt.NDArray[Any]:
    """Map one array of an `.npz` into memory without holding it: unpacked once into the cache.

    Raises
    ------
    ImageError
        If the file is no npz, lacks the member, or holds pickled objects.
    """
    try:
        stat = Path(file).stat()
        key = hashlib.sha256(
            f"{Path(file).resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{member}".encode()
        ).hexdigest()[:24]
        unpacked = cache_folder() / "npz" / f"{key}.npy"
        if not unpacked.exists():
            with zipfile.ZipFile(file) as archive, archive.open(f"{member}.npy") as stream:

                def copy(path: Path) -> None:
                    with path.open("wb") as out:
                        while block := stream.read(1 << 20):
                            out.write(block)

                write_with(unpacked, copy)
        array: npt.NDArray[Any] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
    except StorageError:
        raise
    except Exception as error:  # zipfile and zlib raise whatever the broken bytes lead to
        raise ImageError(
            f"{file} is no readable .npz with an array {member!r} ({error}).",
            "MedMNIST files hold train_images, train_labels, val_..., test_...",
        ) from error
    return array


def npz_image(path: str) -> npt.NDArray[Any]:
    """Give the image that ``file.npz::name/index`` names, as it is stored."""
    file, _, rest = path.partition("::")
    member, _, index = rest.rpartition("/")
    array = npz_member(file, member)
    try:
        return np.asarray(array[int(index)])
    except (IndexError, ValueError) as error:
        raise ImageError(
            f"{path} is not in the file.", f"{member} holds {len(array)} images, from 0."
        ) from error
