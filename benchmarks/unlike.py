"""What a bundle decides on pictures of another kind: wells of plates, cells of another stain.

    python benchmarks/unlike.py [--bundle blood] [--per-kind 360]

The shipped bundle knows white cells and platelets of one hospital. Nothing here is one: whole wells
of the real plates, and red cells, white cells and platelets cut out of BCCD's smears. Beside them
stand PBC's own images, most of which the shipped bundle learnt from.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

import cytowell
from cytowell.evaluation.intervals import wilson
from cytowell.types import Dataset, Predictions
from stain import write_table


def stored_again(image: Image.Image) -> Image.Image:
    """Give an image as JPEG of quality 60 keeps it."""
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=60)
    return Image.open(kept).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 60": stored_again,
    "a tenth lighter": lambda i: ImageEnhance.Brightness(i).enhance(1.1),
    "15 % darker": lambda i: ImageEnhance.Brightness(i).enhance(0.85),
    "a fifth paler": lambda i: ImageEnhance.Color(i).enhance(0.8),
    "blurred by a pixel": lambda i: i.filter(ImageFilter.GaussianBlur(1)),
}
"""What may happen to a picture of the same cells on the same microscope."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="blood")
    parser.add_argument("--per-kind", type=int, default=360)
    given = parser.parse_args()
    root = Path(os.environ.get("CYTOWELL_DATA", "../shared/data"))
    if not (root / "bccd").is_dir():
        sys.exit(f"{root / 'bccd'} is not there: set CYTOWELL_DATA.")
    bundle = cytowell.load(given.bundle)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "bccd.csv"
        write_table(root / "bccd", table)
        cells = cytowell.read(table)
        labels = np.array([s.label for s in cells.samples])
        kinds: dict[str, Dataset] = {"PBC, one cell": cytowell.read(root / "pbc")}
        kinds["plates, one well"] = cytowell.find_wells(sorted((root / "plates/images").iterdir()))
        for name in np.unique(labels):
            kinds[f"BCCD, {name}"] = cells.take(np.flatnonzero(labels == name))
        # As boxes are seen, and as their cut-outs would be: pictures, of which the middle is.
        pictures = bundle.reading(crop_boxes=True, margin=0.0)
        for kind, dataset in kinds.items():
            order = np.random.default_rng(0).permutation(len(dataset))[: given.per_kind]
            tell(kind, bundle.predict(dataset.take(order)))
            if dataset.samples[0].box is not None:
                tell(f"{kind}, cut out", pictures.predict(dataset.take(order)))

        order = np.random.default_rng(0).permutation(len(kinds["PBC, one cell"]))[: given.per_kind]
        for name, change in CHANGES.items():
            some = kinds["PBC, one cell"].take(order).samples
            changed = [np.asarray(change(Image.open(s.path).convert("RGB"))) for s in some]
            tell(f"PBC, {name}", bundle.predict(changed))


def tell(kind: str, calls: Predictions) -> None:
    """Print how many are decided, and how many declined for what they look like."""
    unlike = sum(reason.startswith("unlike") for reason in calls.reasons)
    k, n = int(calls.decided.sum()), len(calls)
    low, high = wilson(k, n) or (0.0, 1.0)
    print(
        f"{kind:26} n = {n:4}  decided {k / n:6.1%} ({low:.1%}-{high:.1%})"
        f"  unlike the images learnt from {unlike / n:6.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
