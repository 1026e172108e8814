"""Few labels: learn from some images a class with no other setting, judge on all the others.

    python benchmarks/few.py --per-class 168 [--learner finetune] [--backbone imagenet] [--seed 1]

What is judged is what `cytowell train --final` delivers from the chosen images, on the images of
PBC that were not chosen: all of them, or as many as `--judged` says.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import cytowell
from cytowell import splits
from cytowell.evaluation.verdict import number_range, percent_range
from cytowell.images import worker_count
from cytowell.runs.recipe import Flags, from_flags
from cytowell.runs.run import Voice
from cytowell.types import Split
from machine import data_folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-class", type=int, default=168)
    parser.add_argument("--learner", default="finetune")
    parser.add_argument(
        "--backbone", default="", help="frozen: the blood bundle knows these images"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the choice of images")
    parser.add_argument("--out", default="", help="keep the run in this folder")
    parser.add_argument("--judged", type=int, default=0, help="judge on that many of the others")
    given = parser.parse_args()
    root = data_folder("pbc")
    data = cytowell.read(root)
    rng = np.random.default_rng(given.seed)
    classes = range(len(data.classes))
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(data.labels == c))[: given.per_class] for c in classes]
    )
    others = rng.permutation(np.setdiff1d(np.arange(len(data)), chosen))
    if given.judged:
        others = others[: given.judged]
    recipe, _ = from_flags(Flags(learner=given.learner, backbone=given.backbone))
    start = time.monotonic()

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - start:7.0f} s  {sentence}", flush=True)

    # The final bundle learns from every image it is given but the validation part; a split says
    # so, and the images that nobody learns from judge it. The twin would only cost time here.
    both = data.take(np.concatenate([chosen, others]))
    pool = data.take(chosen)
    parts = np.full(len(both), "test", dtype="<U10")
    share = recipe.validation * (1 - recipe.test)
    units = np.arange(len(pool))
    parts[: len(pool)] = splits.allocate(pool.labels, units, {"validation": share}, recipe.seed)
    split = Split(parts, both.paths, how="chosen images learn, the others judge", seed=recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(given.out or Path(folder) / "run")
        run = cytowell.train(both, place, recipe, split, voice=Voice(said))
        curve = json.loads((run.folder / "report.json").read_text())["curve"]
    found = run.metrics
    print(f"{given.per_class} images a class, {given.learner}, n judged = {found['n']}")
    print(f"accuracy       {percent_range(found['accuracy'], 2)}")
    print(f"ECE            {number_range(found['ece'], 4)}")
    print(f"decided        {percent_range(found['coverage'], 2)}")
    print(f"right of them  {percent_range(found['accuracy_decided'], 2)}")
    if curve:
        minutes = curve[-1]["seconds"] / 60
        print(f"training alone {minutes:.1f} min on {worker_count()} processors")


if __name__ == "__main__":
    main()
