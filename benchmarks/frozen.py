"""How long the plain install takes to learn 400 new images of five classes, report included.

    python benchmarks/frozen.py

The images are synthetic and new at every call, so nothing comes from the cache of features.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import cytowell
from cytowell.evaluation.verdict import percent_range
from cytowell.runs.recipe import from_flags


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CYTOWELL_CACHE"] = str(Path(folder) / "cache")
        cells = cytowell.write_samples(folder, "cells", per_class=80, seed=time.time_ns() % 10**9)
        recipe, _ = from_flags(None, "frozen", "standard", "", "", {})
        start = time.perf_counter()
        data = cytowell.read(cells["cells"])
        run = cytowell.train(data, Path(folder) / "run", recipe)
        seconds = time.perf_counter() - start
    print(f"{len(data)} synthetic images, {len(data.classes)} classes, frozen: {seconds:.0f} s")
    print(f"accuracy {percent_range(run.metrics['accuracy'])}, n = {run.metrics['n']}")


if __name__ == "__main__":
    main()
