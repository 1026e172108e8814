"""Few labels: learn from some images a class with no other setting, judge on all the others.

    python benchmarks/few.py --per-class 168 [--learner finetune] [--seed 1]

What is judged is the final bundle, on the images of PBC that were not chosen: at least 10,000.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import cytowell
from cytowell.evaluation.verdict import number_range, percent_range
from cytowell.runs.recipe import from_flags
from cytowell.runs.run import Voice


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-class", type=int, default=168)
    parser.add_argument("--learner", default="finetune")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of images")
    parser.add_argument("--judged", type=int, default=0, help="judge on that many of the others")
    given = parser.parse_args()
    root = Path(os.environ.get("CYTOWELL_DATA", "../shared/data")) / "pbc"
    if not root.is_dir():
        sys.exit(f"{root} is not there: set CYTOWELL_DATA.")
    data = cytowell.read(root)
    rng = np.random.default_rng(given.seed)
    classes = range(len(data.classes))
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(data.labels == c))[: given.per_class] for c in classes]
    )
    others = rng.permutation(np.setdiff1d(np.arange(len(data)), chosen))
    if given.judged:
        others = others[: given.judged]
    recipe, _ = from_flags(None, given.learner, "standard", "", "", {})
    start = time.monotonic()
    marks: list[float] = []

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - start:7.0f} s  {sentence}", flush=True)
        if sentence.startswith("now the final"):
            marks.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = cytowell.train(
            data.take(np.sort(chosen)), out, recipe, None, True, False, Voice(said)
        )
        end = time.monotonic()
        bundle = cytowell.load(run.bundle)
        found = cytowell.evaluate(bundle, data.take(np.sort(others)))
    middle = marks[0] if marks else end
    print(f"{given.per_class} images a class, {given.learner}, n judged = {found['n']}")
    print(f"accuracy of the final bundle  {percent_range(found['accuracy'], 2)}")
    print(f"its twin promised             {percent_range(run.metrics['accuracy'], 2)}")
    print(f"ECE                           {number_range(found['ece'], 4)}")
    print(f"decided                       {percent_range(found['coverage'], 2)}")
    print(f"right of them                 {percent_range(found['accuracy_decided'], 2)}")
    print(f"twin {(middle - start) / 60:.1f} min, final {(end - middle) / 60:.1f} min")


if __name__ == "__main__":
    main()
