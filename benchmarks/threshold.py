"""How sure a call must be to be made, when few images calibrate: what is decided, what of it right.

    python benchmarks/threshold.py --run RUN [--draws 400]

Of a run's test part (predictions.csv), some images are drawn to calibrate as its validation part
would; temperature and threshold are fitted on them, and the others are judged. Beside it the same
with the rule for fewer than a hundred images left out: each image is then counted so often that
there are a hundred, which moves no share.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from cytowell.evaluation.calibration import Expected, fit_temperature, fit_threshold
from cytowell.types import FloatArray, IntArray

PARTS = (8, 16, 30, 60, 94)

EXPECTED = Expected(0.6, 0.3)
"""What a network that learnt labels smoothed by 0.1 is known to need (`export.bundle`)."""


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
    random = np.random.default_rng(0)
    for count in PARTS:
        made = np.zeros((given.draws, 2, 2))
        for row in made:
            drawn = random.permutation(len(labels))
            few, others = drawn[:count], drawn[count:]
            temperature = fit_temperature(logits[few], labels[few], EXPECTED)
            sure = softmax(logits[few] / temperature, axis=1)
            top = softmax(logits[others] / temperature, axis=1).max(axis=1)
            for rule, times in zip(row, (1, -(-100 // count)), strict=True):
                threshold = fit_threshold(np.repeat(sure, times, 0), np.repeat(labels[few], times))
                decided = top >= threshold
                rule[:] = decided.mean(), right[others][decided].mean() if decided.any() else 1.0
        for name, rule in zip(("as it is", "without"), made.transpose(1, 0, 2), strict=True):
            print(
                f"{count:3d} calibrate, {name:9s} decided {rule[:, 0].mean():.1%}, right of them "
                f"{rule[:, 1].mean():.2%}, in the worst tenth {np.quantile(rule[:, 1], 0.1):.2%} "
                f"or less"
            )


if __name__ == "__main__":
    main()
