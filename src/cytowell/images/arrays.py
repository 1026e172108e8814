"""What Pillow would squeeze to 8 bits: TIFF of 16 bits and many channels, and NumPy archives."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from cytowell.errors import CytowellError, ImageError, ImageTooLarge, StorageError
from cytowell.images.limits import MAX_PIXELS, SMALLER, cap
from cytowell.images.record import Preprocessing
from cytowell.storage import cache_folder, write_with
from cytowell.types import Pixels


def read_tiff(data: bytes, record: Preprocessing, shown: str) -> Pixels | None:
    """Read what Pillow would squeeze: 16 bits, floats, many channels. None leaves it to Pillow."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages.first
            cap((int(page.imagewidth), int(page.imagelength)), shown)
            series = tiff.series[0]
            if int(np.prod(series.shape)) > 8 * MAX_PIXELS:
                raise ImageTooLarge(f"{shown} holds {series.shape} values.", SMALLER)
            axes = series.axes
            grey = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, None)
            many = "C" in axes or (page.samplesperpixel > 1 and grey)
            one = axes in ("YX", "YXS", "SYX")
            # Pillow 12 reads four values a pixel where uncompressed YCbCr has three.
            plain = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression == 1
            whole = page.tags.valueof(530, (2, 2)) == (1, 1) and axes == "YXS"
            easy = page.dtype == np.uint8 and not many and (one or record.channels is None)
            if easy and not (plain and whole):
                return None
            array = np.asarray(series.asarray())
            if easy:
                array = np.asarray(Image.fromarray(array, "YCbCr").convert("RGB"))
            orientation = page.tags.valueof(274, 1)
    except CytowellError:
        raise
    except Exception:
        return None
    for axis in [a for a in axes if a not in "YXSC"]:
        if axis in "IQ" and "C" not in axes and "S" not in axes:
            axes = axes.replace(axis, "C", 1)
            continue
        array = np.take(array, 0, axis=axes.index(axis))
        axes = axes.replace(axis, "", 1)
    colour = next((a for a in "CS" if a in axes), None)
    if colour is not None:
        array = np.moveaxis(array, axes.index(colour), -1)
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    # In each pair: whether the rows and the columns of what is now upright run backwards.
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
        orientation, (1, 1)
    )
    return to_rgb_array(array[::rows, ::columns], record, shown)


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
