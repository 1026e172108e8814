"""What benchmarks share: the pace of the machine, printed beside minutes, and where data lie."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from cytowell.images import worker_count
from cytowell.learners.frozen import open_backbones


def data_folder(name: str) -> Path:
    """Give a data set's folder, or end with the remedy."""
    root = Path(os.environ.get("CYTOWELL_DATA", "../shared/data")) / name
    if not root.is_dir():
        sys.exit(f"{root} is not there: set CYTOWELL_DATA.")
    return root


def bare_speed() -> float:
    """Give Lite0's forward images/s at 224 px on all threads."""
    backbone = open_backbones(("imagenet",))[0]
    pixels = np.zeros((32, 224, 224, 3), dtype=np.uint8)
    backbone.session.features(pixels, worker_count())
    start = time.perf_counter()
    for _ in range(4):
        backbone.session.features(pixels, worker_count())
    return 128 / (time.perf_counter() - start)


if __name__ == "__main__":
    print(f"machine   {bare_speed():.0f} images/s, Lite0 at 224 px, {worker_count()} threads")
