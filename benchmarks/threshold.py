"""How sure a call must be to be made, when few images calibrate: what is decided, what of it right.

    python benchmarks/threshold.py --run RUN [--draws 400]

Of a run's test part (predictions.csv), some images are drawn to calibrate as its validation part
would; temperature and threshold are fitted on them, and the others are judged. Beside it the same
with the rule for fewer than three hundred images left out: each image is then counted so often
that there are as many, which moves no share. The run is one of `finetune`, whose labels are
smoothed by 0.1; probabilities are read with the six digits that the table has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from cytowell.evaluation.calibration import Expected, fit_temperature, fit_threshold
from cytowell.export.bundle import SMOOTHED, SMOOTHED_DOUBT
from cytowell.types import FloatArray, IntArray

PARTS = (8, 16, 30, 60, 94, 200)


def read(run: Path) -> tuple[FloatArray, IntArray]:
    """Give logits (N, C) and labels of a run's test part."""
    table = pd.read_csv(run / "predictions.csv")
    table = table[(table["split"] == "test") & table["error"].isna()]
    names = [c for c in table.columns if c.startswith("p_")]
    temperature = json.loads((run / "bundle" / "bundle.json").read_text())["temperature"]
    labels = np.array([names.index(f"p_{t}") for t in table["truth"]])
    return temperature * np.log(np.clip(table[names].to_numpy(), 1e-9, 1.0)), labels


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--draws", type=int, default=400)
    given = parser.parse_args()
    logits, labels = read(Path(given.run))
    right = logits.argmax(axis=1) == labels
    print(f"{len(labels)} images, {right.mean():.2%} right, means of {given.draws} draws")
    random, expected = np.random.default_rng(0), Expected(SMOOTHED, SMOOTHED_DOUBT)
    for count in PARTS:
        made = np.zeros((given.draws, 2, 2))
        for row in made:
            drawn = random.permutation(len(labels))
            few, others = drawn[:count], drawn[count:]
            temperature = fit_temperature(logits[few], labels[few], expected)
            sure = softmax(logits[few] / temperature, axis=1)
            top = softmax(logits[others] / temperature, axis=1).max(axis=1)
            for rule, times in zip(row, (1, -(-300 // count)), strict=True):
                threshold = fit_threshold(np.repeat(sure, times, 0), np.repeat(labels[few], times))
                decided = top >= threshold
                rule[:] = decided.mean(), right[others][decided].mean() if decided.any() else np.nan
        for name, rule in zip(("as it is", "without"), made.transpose(1, 0, 2), strict=True):
            decided, correct = rule.T
            print(
                f"{count:3d} calibrate, {name:9s} decided {decided.mean():.1%} (nothing in "
                f"{np.isnan(correct).sum()}), right of them {np.nanmean(correct):.2%}, in the "
                f"worst tenth {np.nanquantile(correct, 0.1):.2%} or less"
            )


if __name__ == "__main__":
    main()
