"""NumPy archives in MedMNIST layout: train_images, train_labels, val_..., test_..."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from cytowell.errors import DatasetError
from cytowell.images import npz_member
from cytowell.images.limits import MAX_ROWS
from cytowell.types import Dataset, Sample

_PARTS = (("train", "train"), ("val", "validation"), ("test", "test"))

NAMES = {
    # Order of BloodMNIST's labels (Yang et al. 2023, doi 10.1038/s41597-022-01721-8), with the
    # class names of the images that it is made of.
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "ig",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
}


def read(path: Path) -> Dataset:
    """Read an archive; its three parts become the given split.

    Raises
    ------
    DatasetError
        If images and labels are missing or of different length.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {n.removesuffix(".npy") for n in archive.namelist()}
    except Exception as error:  # zipfile raises whatever the broken bytes lead to
        raise DatasetError(f"{path} is no .npz archive.", "Fetch it again.") from error
    names = next((v for k, v in NAMES.items() if path.stem.lower().startswith(k)), None)
    samples: list[Sample] = []
    rows = 0
    for prefix, part in _PARTS:
        if f"{prefix}_images" not in members:
            continue
        if f"{prefix}_labels" not in members:
            raise DatasetError(f"{path} has {prefix}_images and no {prefix}_labels.")
        images = npz_member(str(path), f"{prefix}_images")
        labels = np.asarray(npz_member(str(path), f"{prefix}_labels"))
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1 or images.ndim < 3 or len(labels) != len(images):
            raise DatasetError(
                f"{path}: {prefix}_labels has the shape {labels.shape} for {len(images)} images.",
                "One whole number per image is read.",
            )
        known = names is None or np.isin(labels, range(len(names))).all()
        if labels.dtype.kind not in "iu" or not known:
            raise DatasetError(
                f"{path}: {prefix}_labels are not its class numbers.",
                f"Whole numbers from 0 {f'to {len(names) - 1} ' if names else ''}are read.",
            )
        rows += len(labels)
        if rows > MAX_ROWS or not images.size:
            raise DatasetError(
                f"{path} announces {rows:,} images of shape {images.shape[1:]}.",
                f"Up to {MAX_ROWS:,} images of some pixels are read.",
            )
        for i, value in enumerate(labels):
            label = names[int(value)] if names else f"class {int(value)}"
            samples.append(Sample(f"{path}::{prefix}_images/{i}", label, split=part))
    if not samples:
        raise DatasetError(
            f"{path} holds none of train_images, val_images, test_images.",
            "MedMNIST files do; for other arrays write a table.",
        )
    classes = tuple(sorted({s.label for s in samples if s.label is not None}))
    return Dataset(tuple(samples), classes)
