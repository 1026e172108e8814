"""How long the plain install takes to learn 400 new images of five classes, report included.

    python benchmarks/frozen.py

The images are synthetic and new at every call, so nothing comes from the cache of features. Then,
on the same images: features from files to cache against the bare network on pixels in memory, turn
by turn; and a comparison, again from nothing and again from the cache.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import cytowell
from cytowell.evaluation.verdict import percent_range
from cytowell.images import load_many, worker_count
from cytowell.learners.features import cached_features
from cytowell.learners.frozen import open_backbones
from cytowell.runs.compare import Question, compare
from cytowell.runs.recipe import make
from cytowell.types import Dataset

ROUNDS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CYTOWELL_CACHE"] = str(Path(folder) / "cache")
        cells = cytowell.write_samples(folder, "cells", per_class=80, seed=time.time_ns() % 10**9)
        recipe, _ = make("frozen")
        data = cytowell.read(cells["cells"])
        runs = []
        seconds = timed(lambda: runs.append(cytowell.train(data, Path(folder) / "run", recipe)))
        found = runs[0].metrics
        print(f"{len(data)} synthetic images, {len(data.classes)} classes, frozen: {seconds:.0f} s")
        print(f"accuracy {percent_range(found['accuracy'])}, n = {found['n']}")
        features(data, Path(folder))
        again(data, Path(folder))


def timed(work: Callable[[], object]) -> float:
    """Give the seconds of a piece of work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def features(data: Dataset, folder: Path) -> None:
    """Print images a second from files to cached features, against the bare network."""
    backbone = next(iter(open_backbones(("imagenet",))))
    record = replace(backbone.record, crop=1.0)
    pixels = np.stack([p for p in load_many(data.samples, record) if isinstance(p, np.ndarray)])
    threads = worker_count()
    files, bare = [], []
    for i in range(ROUNDS):
        os.environ["CYTOWELL_CACHE"] = str(folder / f"cache-{i}")
        files.append(
            timed(lambda: cached_features(backbone.session, backbone.digest, record, data.samples))
        )
        bare.append(
            timed(
                lambda: [
                    backbone.session.features(pixels[k : k + 32], threads)
                    for k in range(0, len(pixels), 32)
                ]
            )
        )
    whole, forward = statistics.median(files), statistics.median(bare)
    print(f"features from files {len(data) / whole:.1f} images/s, {forward / whole:.2f} of bare")


def again(data: Dataset, folder: Path) -> None:
    """Print the seconds of a comparison, and of another one that finds its cells in the cache."""
    os.environ["CYTOWELL_CACHE"] = str(folder / "cache-compare")
    question = Question(words=("frozen", "random-forest", "svm:features", "logistic-regression"))
    told = {"a": "from nothing", "b": "in another folder", "a again": "in the same folder"}
    for name, said in told.items():
        out = folder / name.split()[0]
        seconds = timed(lambda out=out: compare(data, out, question))  # type: ignore[misc]
        print(f"comparison of {len(question.words)} learners, {said}: {seconds:.1f} s")


if __name__ == "__main__":
    main()
