"""The blood-cell run: all of PBC, twin and final bundle, as `cytowell train --final` makes them.

    python benchmarks/pbc.py --preset best --out RUN      (goes on where it stopped)

Sub-classes come from the file prefixes (MMY, MY, PMY; SNE, BNE), which PBC's authors document; the
images themselves are all that is learnt from. The split is by image, because no donor is known:
optimistic. Prints Lite0's bare forward speed of the machine beside the minutes.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from pathlib import Path

import cytowell
from cytowell.evaluation.verdict import number_range, percent_range
from cytowell.images import worker_count
from cytowell.runs.recipe import from_flags
from cytowell.runs.run import Voice
from cytowell.sources.walk import walk
from machine import bare_speed

UNTOLD = ("NEUTROPHIL", "IG")
"""Prefixes that name the mixture, not the sub-class."""


def write_table(root: Path, table: Path) -> None:
    """Write path, label and subclass of every image."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["path", "label", "subclass"])
        for file in walk(root):
            if file.suffix == ".jpg":
                prefix = file.name.split("_")[0]
                known = prefix not in UNTOLD
                rows.writerow([file.resolve(), file.parent.name, prefix if known else ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="best")
    parser.add_argument("--out", default="runs/pbc")
    given = parser.parse_args()
    root = Path(os.environ.get("CYTOWELL_DATA", "../shared/data")) / "pbc"
    if not root.is_dir():
        sys.exit(f"{root} is not there: set CYTOWELL_DATA.")
    out = Path(given.out)
    table = out.with_name(f"{out.name}-table.csv")
    write_table(root, table)
    marks = {"start": time.monotonic()}

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - marks['start']:7.0f} s  {sentence}", flush=True)
        if sentence.startswith("now the final"):
            marks["final"] = time.monotonic()

    def ticked(done: int, total: int, what: str) -> None:
        if done % 100 == 0 and "px" in what:
            said(f"{what}: {done} of {total}")

    recipe, _ = from_flags(None, "finetune", given.preset, "", "", {})
    data = cytowell.read(table)
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
