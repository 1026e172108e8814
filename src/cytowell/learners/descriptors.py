"""Plain descriptors of an image: colour, texture, gradients, shape; what was used before networks.

Not learnt from anything, so a classical learner on them shows what the images alone give away.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from skimage.color import rgb2gray, rgb2hsv
from skimage.feature import hog, local_binary_pattern
from skimage.filters import threshold_otsu
from skimage.measure import label, moments_hu, regionprops
from skimage.morphology import closing, disk

from cytowell.errors import CytowellError
from cytowell.images import Preprocessing, ahead, load
from cytowell.images.failures import reading
from cytowell.runtime.pipeline import BATCH, Batch
from cytowell.types import Pixels, Sample

SIDE = 96
"""Side at which an image is described."""

BINS = 16
"""Bins of each colour histogram."""

LBP_RINGS = ((8, 1.0), (16, 2.0))
"""Points and radius of each ring of local binary patterns (Ojala et al. 2002)."""

VERSION = "descriptors-1"
"""Part of the cache's name: change it when what is computed changes."""


def describe(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Give the descriptors of one upright RGB image as one vector.

    Parameters
    ----------
    pixels
        uint8, shape (SIDE, SIDE, 3).

    Returns
    -------
    numpy.ndarray
        Colour histograms in RGB and HSV, local binary patterns (Ojala et al. 2002, doi
        10.1109/TPAMI.2002.1017623), histograms of oriented gradients (Dalal & Triggs 2005, doi
        10.1109/CVPR.2005.177), and the shape and colour of the largest dark object.
    """
    grey = rgb2gray(pixels)
    parts = [_histograms(pixels), _patterns(grey), _gradients(grey), _shape(pixels, grey)]
    return np.concatenate(parts).astype(np.float32)


def described(samples: Sequence[Sample], record: Preprocessing) -> Iterator[Batch]:
    """Describe samples batch by batch, in order, on all processors."""

    def one(chunk: Sequence[Sample]) -> Batch:
        rows, errors = [], []
        for sample in chunk:
            try:
                with reading(sample.path):
                    rows.append(describe(load(sample, record)))
                errors.append("")
            except CytowellError as problem:
                errors.append(str(problem))
        found = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
        return Batch(tuple(chunk), tuple(errors), found)

    chunks = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
    return ahead(one, chunks)


def _histograms(pixels: Pixels) -> npt.NDArray[np.float64]:
    parts = []
    for image, top in ((pixels.astype(np.float64), 255.0), (rgb2hsv(pixels), 1.0)):
        for channel in range(3):
            counts, _ = np.histogram(image[:, :, channel], bins=BINS, range=(0.0, top))
            parts.append(counts / counts.sum())
        flat = image.reshape(-1, 3) / top
        parts += [flat.mean(axis=0), flat.std(axis=0)]
    return np.concatenate(parts)


def _patterns(grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    whole = np.round(grey * 255).astype(np.uint8)
    parts = []
    for points, radius in LBP_RINGS:
        codes = local_binary_pattern(whole, points, radius, method="uniform")
        counts = np.bincount(codes.astype(np.int64).ravel(), minlength=points + 2)
        parts.append(counts / counts.sum())
    return np.concatenate(parts)


def _gradients(grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = hog(
        grey, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(2, 2)
    )
    return found


def _shape(pixels: Pixels, grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Describe the largest thing darker than Otsu's threshold: a nucleus, a cell, a well's rim."""
    out = np.zeros(20)
    if grey.max() - grey.min() < 1e-3:
        return out
    mask = closing(grey < threshold_otsu(grey), disk(1))
    regions = regionprops(label(mask))
    out[0] = mask.mean()
    if not regions:
        return out
    largest = max(regions, key=lambda r: r.area)
    around = max(float(largest.perimeter), 1.0)
    out[1] = len(regions) / 10
    out[2] = largest.area / mask.size
    out[3] = largest.eccentricity
    with warnings.catch_warnings():
        # A hull of a few pixels in a row is flat: its solidity is what it is.
        warnings.simplefilter("ignore")
        out[4] = largest.solidity
    out[5] = largest.extent
    out[6] = 4 * np.pi * largest.area / around**2
    with np.errstate(divide="ignore", invalid="ignore"):
        hu = moments_hu(largest.moments_normalized)
        out[7:14] = np.nan_to_num(np.sign(hu) * np.log10(np.abs(hu) + 1e-12))
    inside = pixels[label(mask) == largest.label].astype(np.float64) / 255
    out[14:17], out[17:20] = inside.mean(axis=0), inside.std(axis=0)
    return out
