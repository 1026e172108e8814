"""The blood-cell run: all of PBC, twin and final bundle, as `cytowell train --final` makes them.

    python benchmarks/pbc.py --preset best --out RUN      (goes on where it stopped)

What the recipe adds to the preset says how boxes are cut; PBC has none. The split is by image,
because no donor is known: optimistic. Prints Lite0's bare forward speed beside the minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cytowell
from cytowell.evaluation.verdict import number_range, percent_range
from cytowell.images import worker_count
from cytowell.runs.recipe import make
from cytowell.runs.run import Voice
from machine import bare_speed, data_folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="best")
    parser.add_argument("--out", default="runs/pbc")
    given = parser.parse_args()
    root = data_folder("pbc")
    out = Path(given.out)
    marks = {"start": time.monotonic()}

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - marks['start']:7.0f} s  {sentence}", flush=True)
        if sentence.startswith("now the final"):
            marks["final"] = time.monotonic()

    def ticked(done: int, total: int, what: str) -> None:
        if done % 100 == 0 and "px" in what:
            said(f"{what}: {done} of {total}")

    recipe, _ = make("finetune", given.preset)
    # A picture's centre is what a detector's box would show, a little wider than the cell.
    recipe = replace(recipe, crop_boxes=False, margin=0.05, square=True)
    data = cytowell.read(root)
    run = cytowell.train(data, out, recipe, None, True, out.exists(), Voice(said, ticked))
    end = time.monotonic()
    m = run.metrics
    print(f"preset {given.preset}, seed {recipe.seed}, twin's test part, n = {m['n']}, by image")
    print(f"accuracy      {percent_range(m['accuracy'], 2)}")
    print(f"macro-F1      {percent_range(m['macro_f1'], 2)}")
    print(f"balanced      {percent_range(m['balanced_accuracy'], 2)}")
    print(f"ECE           {number_range(m['ece'], 4)}")
    print(f"decided       {percent_range(m['coverage'], 2)}")
    print(f"right of them {percent_range(m['accuracy_decided'], 2)}")
    print(
        f"twin          {(marks.get('final', end) - marks['start']) / 60:.1f} min in this sitting"
    )
    print(f"final         {(end - marks.get('final', end)) / 60:.1f} min in this sitting")
    print(f"machine       {bare_speed():.0f} images/s, Lite0 at 224 px, {worker_count()} threads")


if __name__ == "__main__":
    main()
