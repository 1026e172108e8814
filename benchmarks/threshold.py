"""How sure a call must be to be made, when few images calibrate: what is decided, what of it right.

    python benchmarks/threshold.py --run RUN [--draws 400]

Of a run's test part (predictions.csv), some images are drawn to calibrate as its validation part
would; calibration and threshold are fitted on them, and the others are judged. Beside it the lowest
threshold at which at most one call in a hundred was wrong, proven or not. The run is one of
`finetune`, whose labels are smoothed by 0.1; probabilities are read with the six digits that the
table has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from cytowell.evaluation.calibration import Expected, fit_calibration
from cytowell.evaluation.promise import promise
from cytowell.export.bundle import SMOOTHED, SMOOTHED_DOUBT
from cytowell.types import FloatArray, IntArray

PARTS = (8, 16, 30, 60, 94, 200, 600, 1200)


def read(run: Path) -> tuple[FloatArray, IntArray]:
    """Give logits (N, C) and labels of a run's test part."""
    table = pd.read_csv(run / "predictions.csv")
    table = table[(table["split"] == "test") & table["error"].isna()]
    names = [c for c in table.columns if c.startswith("p_")]
    temperature = json.loads((run / "bundle" / "bundle.json").read_text())["temperature"]
    labels = np.array([names.index(f"p_{t}") for t in table["truth"]])
    return temperature * np.log(np.clip(table[names].to_numpy(), 1e-9, 1.0)), labels


def _unproven(sure: FloatArray, labels: IntArray, wrong: float = 0.01) -> float:
    """Give the lowest certainty at which at most this share of the calls was wrong."""
    top, missed = sure.max(axis=1), sure.argmax(axis=1) != labels
    order = np.argsort(-top, kind="stable")
    share = np.cumsum(missed[order]) / np.arange(1, len(top) + 1)
    kept = np.flatnonzero(share <= wrong)
    return float(top[order][kept[-1]]) if len(kept) else 1.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--draws", type=int, default=400)
    given = parser.parse_args()
    logits, labels = read(Path(given.run))
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    print(f"{len(labels)} images, {accuracy:.2%} right, means of {given.draws} draws")
    random, expected = np.random.default_rng(0), Expected(SMOOTHED, SMOOTHED_DOUBT)
    for count in (c for c in PARTS if c < len(labels)):
        made = np.zeros((given.draws, 2, 2))
        for row in made:
            drawn = random.permutation(len(labels))
            few, others = drawn[:count], drawn[count:]
            fitted = fit_calibration(logits[few], labels[few], expected)
            sure = fitted.probabilities(logits[few])
            found = fitted.probabilities(logits[others])
            top, right = found.max(axis=1), found.argmax(axis=1) == labels[others]
            thresholds = (promise(sure, labels[few]).threshold, _unproven(sure, labels[few]))
            for rule, threshold in zip(row, thresholds, strict=True):
                decided = top >= threshold
                rule[:] = decided.mean(), right[decided].mean() if decided.any() else np.nan
        for name, rule in zip(("as it is", "unproven"), made.transpose(1, 0, 2), strict=True):
            decided, correct = rule.T
            print(
                f"{count:3d} calibrate, {name:9s} decided {decided.mean():.1%} (nothing in "
                f"{np.isnan(correct).sum()}), right of them {np.nanmean(correct):.2%}, in the "
                f"worst tenth {np.nanquantile(correct, 0.1):.2%} or less"
            )


if __name__ == "__main__":
    main()
