"""Photographs to IU/mL on synthetic FAVN plates whose titre is known.

    python benchmarks/plates.py [--plates 60] [--learner finetune] [--per-class 200]

A classifier learns from generated well photographs (quick preset), then calls plates that were
drawn with another seed, 96 photographs each. N is the number of protected wells of a serum: as
read, and as the wells truly are. The interval is judged by the titre that they were drawn from.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import cytowell
from cytowell.evaluation.intervals import wilson
from cytowell.plates.layout_files import read_layout
from cytowell.runs.plate import place, titrate_photographs
from cytowell.runs.recipe import make
from cytowell.sources.paths import named
from cytowell.sources.samples import PER_PLATE, write_samples


def share(right: list[bool]) -> str:
    """Write a share with its interval and n."""
    low, high = wilson(sum(right), len(right)) or (0.0, 1.0)
    mean = 100 * float(np.mean(right))
    return f"{mean:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {len(right)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plates", type=int, default=60)
    parser.add_argument("--learner", default="finetune")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--out", default="", help="folder that is kept; a second start goes on")
    given = parser.parse_args()
    layout = read_layout("favn")
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(given.out or temporary)
        if not (out / "wells").is_dir():
            write_samples(out, "wells", given.per_class, seed=11)
        if not (out / "titres").is_dir():
            write_samples(out, "titres", PER_PLATE * given.plates, seed=12)
        recipe, _ = make(given.learner, given.preset, positive="positive")
        run = cytowell.train(
            cytowell.read(out / "wells"), out / "run", recipe, resume=(out / "run").is_dir()
        )
        samples = list(named([str(out / "titres")])[0])
        bundle = cytowell.load(run.bundle)
        placed = place(samples, "named", layout)
        done = titrate_photographs(placed, bundle, layout, out / "calls.csv", "positive")
        calls = pd.read_csv(out / "calls.csv")
        truth = pd.read_csv(out / "titres" / "truth.csv")
        states = pd.read_csv(out / "titres" / "wells.csv").set_index(["plate", "well"])["state"]
    titres = {
        (str(row["plate"]), str(row["sample"])): float(row["iu_per_ml"])
        for row in truth.to_dict("records")
    }
    infected = {s.name: set(s.wells) for s in layout.specimens}
    near, covered, decided, close = [], [], [], []
    for result in done.runs:
        for titre in result.titres:
            count = titre.count
            if count.role != "test":
                continue
            wells = infected[count.name]
            true = sum(states[count.plate, w] == "positive" for w in wells)
            near.append(abs(sum(count.positives) - true) <= 1)
            if not result.valid or titre.value_low is None or titre.value_high is None:
                continue
            iu = titres[count.plate, count.name]
            covered.append(titre.value_low <= iu <= titre.value_high)
            decided.append(titre.verdict != "indeterminate")
            close.append(abs(np.log10((titre.value or iu) / iu)) <= 0.12)
    called = calls.set_index(["plate", "well"])["label"]
    right = called == states.reindex(called.index)
    print(f"{given.learner}, {given.per_class} wells a class; {given.plates} plates, seeds 11, 12")
    print(f"accuracy on held-out wells   {100 * run.metrics['accuracy']['value']:.2f} %")
    print(f"wells of plates read right   {100 * right.mean():.2f} % of {len(right)}")
    print(f"runs that are valid          {share([r.valid for r in done.runs])}")
    print(f"N within one well            {share(near)} sera")
    print(f"interval covers the titre    {share(covered)} sera of valid runs")
    print(f"within 0.12 of the titre     {share(close)}")
    print(f"verdict not indeterminate    {share(decided)}")


if __name__ == "__main__":
    main()
