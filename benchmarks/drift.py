"""Whether drift is noticed, and only drift: alarms at home, elsewhere, and on changed pictures.

    python benchmarks/drift.py [--draws 100] [--photographs 100] [--seed 0]

The shipped blood bundle. Its reference is cut in two by chance: one half of PBC's validation part
(which no network was trained on) stays the reference's, samples are drawn from the other half.
Samples of its own laboratory have mixes of classes of their own: Dirichlet(.3) over the eight
classes, which makes some samples nearly one class. Changed pictures are of that half too, with such
mixes: 10 % darker, blurred by 1.5 pixels, resized by 1.2 (larger, smaller). Other laboratories:
LISC (measured only), white cells of BCCD, BCD and Raabin, random draws. BCD, Raabin and BCCD taught
the bundle some cells; the reference is of PBC alone.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

import blood
import cytowell
from cytowell.evaluation.intervals import wilson
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.drift import DriftMonitor
from cytowell.runtime.pipeline import Batch
from cytowell.types import Dataset, IntArray, Sample
from elsewhere import lisc


@dataclass(frozen=True)
class Pictures:
    """Measured pictures of one source, and the class that a mix is drawn over."""

    batch: Batch
    labels: tuple[str, ...]


def measured(bundle: Bundle, sources: Sequence[Any], labels: Sequence[str]) -> Pictures:
    """Run the bundle on pictures once; samples are drawn from what comes out."""
    parts = list(bundle.features(sources))
    samples, kept = [], []
    number = 0
    for part in parts:
        for i in part.called:
            here = part.samples[int(i)]
            samples.append(here if here.path else Sample(f"picture {number + int(i)}"))
            kept.append(labels[number + int(i)])
        number += len(part.samples)
    batch = Batch(
        tuple(samples),
        ("",) * len(samples),
        np.concatenate([p.features for p in parts if len(p.features)]),
        (),
        np.concatenate([p.appearances for p in parts if len(p.features)]),
    )
    return Pictures(batch, tuple(kept))


def drawn(pictures: Pictures, count: int, rng: np.random.Generator, mixed: bool) -> IntArray:
    """Draw pictures without return: at random, or with a mix of classes of its own."""
    labels = np.array(pictures.labels)
    if not mixed:
        return rng.permutation(len(labels))[:count]
    names = np.unique(labels)
    shares = rng.dirichlet(np.full(len(names), 0.3))
    weights = shares[np.searchsorted(names, labels)] / np.array(
        [(labels == n).sum() for n in labels]
    )
    # Where a class is used up the others fill the sample.
    keys = rng.exponential(size=len(labels)) / np.maximum(weights, 1e-9)
    return np.argsort(keys)[:count]


def alarm(bundle: Bundle, pictures: Pictures, rows: IntArray) -> tuple[bool, list[str]]:
    """Say whether a sample differs, and in what."""
    monitor = DriftMonitor(bundle)
    b = pictures.batch
    monitor.add(
        Batch(
            tuple(b.samples[int(i)] for i in rows), ("",) * len(rows), b.features[rows], (),
            b.appearances[rows],
        )
    )  # fmt: skip
    found = monitor.result()
    return found.differs, [c.measure for c in found.comparisons if c.differs]


def darker(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * 0.9).round().astype(np.uint8))


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1.5))


def resized(factor: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        size = (round(image.width * factor), round(image.height * factor))
        return image.resize(size, Image.Resampling.BICUBIC)

    return change


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "10 % darker": darker,
    "blur of 1.5 px": blurred,
    "1.2 times as large": resized(1.2),
    "1.2 times as small": resized(1 / 1.2),
}


def halves(home: Dataset, seed: int) -> tuple[Dataset, IntArray, IntArray, IntArray]:
    """Give PBC, its training part and two halves of its validation part, by chance."""
    train, validation, _ = blood.parts(home)
    mixed = np.random.default_rng(seed).permutation(validation)
    return home, train, np.sort(mixed[::2]), np.sort(mixed[1::2])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--photographs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    home, train, kept, others = halves(blood.pbc(), given.seed)
    bundle = cytowell.load("blood")
    bundle = bundle.with_reference(blood.reference(bundle, home, train, kept))
    own = home.take(others).samples
    labels = [str(s.label) for s in own]
    print(f"bundle {bundle.digest[:12]}; reference {len(kept)} of PBC's validation part and")
    print(f"training images; samples of {given.photographs} from the other {len(others)}")
    print(f"{'photographs':28} {'draws':>5}  alarms  95 %            in what")
    cases: list[tuple[str, Pictures, bool]] = [("PBC", measured(bundle, own, labels), True)]
    for name, change in CHANGES.items():
        changed = [np.asarray(change(Image.open(s.path).convert("RGB"))) for s in own]
        cases.append((f"PBC, {name}", measured(bundle, changed, labels), True))
    files, truth = lisc()
    cases.append(("LISC", measured(bundle, [Sample(f) for f in files], truth), False))
    for source in ("bccd", "bcd", "raabin"):
        cells = blood.white_cells(source, reserved=None)
        cases.append((source, measured(bundle, cells, [str(s.label) for s in cells]), False))
    for name, pictures, mixed in cases:
        rng = np.random.default_rng(given.seed)
        found = [
            alarm(bundle, pictures, drawn(pictures, given.photographs, rng, mixed))
            for _ in range(given.draws)
        ]
        alarms = sum(a for a, _ in found)
        low, high = wilson(alarms, given.draws) or (0.0, 1.0)
        what = Counter(m for _, measures in found for m in measures)
        words = ", ".join(f"{m} {n}" for m, n in what.most_common(5))
        print(
            f"{name:28} {given.draws:5}  {alarms:6}  {100 * low:.1f}-{100 * high:.1f} %  {words}",
            flush=True,
        )


if __name__ == "__main__":
    main()
