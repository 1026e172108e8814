"""How the blood bundle does away from home: real cells of other laboratories, and stand-ins.

    python benchmarks/elsewhere.py [--bundle FOLDER] [--lisc] [--parts] [--each 60]

Five-class accuracy: the most probable of basophil, eosinophil, lymphocyte, monocyte, neutrophil,
every picture counts. Decided right: the label given, over all classes, is the true one. Intervals
are Wilson's, by image. `--parts` switches the parts of the canonical view off one by one. LISC
(for research, measured only) has ranked finalists: its figure is optimistic.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

import blood
import cytowell
from cytowell.evaluation.intervals import wilson
from cytowell.images import CellView
from cytowell.runtime.bundle import Bundle
from cytowell.types import Predictions
from machine import data_folder
from standins import SEEN, UNSEEN

FIVE = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
PER_CLASS = 60


@dataclass(frozen=True)
class Measured:
    """One row: name, images, five-class accuracy, decided, right of the decided (counts)."""

    name: str
    n: int
    five: int
    of_five: int
    decided: int
    right: int

    def __str__(self) -> str:
        low, high = wilson(self.five, self.of_five) or (0.0, 1.0)
        right = f"{100 * self.right / self.decided:6.1f} %" if self.decided else "      -"
        return (
            f"{self.name:34} {self.n:5}  {100 * self.five / max(1, self.of_five):5.1f} % "
            f"({100 * low:.1f}-{100 * high:.1f})   {100 * self.decided / self.n:5.1f} %   {right}"
        )


def measured(name: str, calls: Predictions, truth: Sequence[str]) -> Measured:
    """Count what was right."""
    five = [calls.classes.index(c) for c in FIVE]
    told = np.array(FIVE)[np.nan_to_num(calls.probabilities[:, five], nan=-1).argmax(axis=1)]
    true = np.array(truth)
    of_five = np.isin(true, FIVE) & calls.readable
    right = (np.array(calls.labels) == true) & calls.decided
    return Measured(
        name,
        len(true),
        int((told == true)[of_five].sum()),
        int(of_five.sum()),
        int(calls.decided.sum()),
        int(right.sum()),
    )


def lisc() -> tuple[list[str], list[str]]:
    """Give LISC's pictures and their classes."""
    files = sorted(data_folder("lisc").glob("*/*"))
    return [str(f) for f in files], [f.parent.name for f in files]


def at_home(test: Any, each: int) -> tuple[list[Image.Image], list[str]]:
    """Give the first pictures of each class of PBC's test part."""
    chosen = [s for c in test.classes for s in [s for s in test.samples if s.label == c][:each]]
    return [Image.open(s.path).convert("RGB") for s in chosen], [str(s.label) for s in chosen]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="blood")
    parser.add_argument("--lisc", action="store_true")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--each", type=int, default=PER_CLASS)
    given = parser.parse_args()
    bundle = cytowell.load(given.bundle)
    print(f"bundle {bundle.name} {bundle.digest[:12]}")
    print(f"{'images':34} {'n':>5}  five classes, right      decided   right of them")
    for source in ("raabin", "bccd", "bcd"):
        samples = blood.white_cells(source, reserved=True if source == "bccd" else None)
        print(measured(source, bundle.predict(samples), [str(s.label) for s in samples]))
    if given.lisc:
        files, truth = lisc()
        print(measured("LISC", bundle.predict(files), truth))
    home = blood.pbc()
    images, truth = at_home(home.take(blood.parts(home)[2]), given.each)
    views = {"": bundle}
    if given.parts:
        views |= parts_off(bundle)
    for name, seen in views.items():
        mark = f", {name}" if name else ""
        print(measured(f"PBC{mark}", seen.predict(images), truth))
        for kind, change in (SEEN | UNSEEN).items():
            unseen = " (unseen kind)" if kind in UNSEEN else ""
            changed = [change(i) for i in images]
            print(measured(f"{kind}{unseen}{mark}", seen.predict(changed), truth))


def parts_off(bundle: Bundle) -> dict[str, Bundle]:
    """Give the bundle with one part of the canonical view off."""
    view = bundle.facts.preprocessing.cell or CellView()
    return {
        "light as it is": bundle.reading(cell=replace(view, light=False)),
        "not centred": bundle.reading(cell=replace(view, centre=False)),
    }


if __name__ == "__main__":
    main()
