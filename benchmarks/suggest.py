"""Whether suggested photographs are worth more than random ones and than the first of each class.

    python benchmarks/suggest.py [--per-class 5 10 20] [--draws 10] [--only LISC]

Of each data set 60 % are the pool and the others the test part, anew for each draw, by chance.
From the pool as many photographs as classes times labels a class are suggested without any label,
drawn at random (median of 7 draws), drawn at random within classes (which nobody can without
labels), or are the first of each class. A head of the shipped ImageNet features is fitted on them;
macro-F1 on the test part. LISC + Raabin and BCCD + Raabin are of two stains: the pool is sorted by
laboratory, as photographs lie on a disk, so that the first of each class are of one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.metrics import f1_score

import blood
from cytowell.learners.coverage import choose, space_of
from cytowell.learners.frozen import open_backbones
from cytowell.learners.linear import fit_head
from cytowell.runtime.pipeline import features
from cytowell.types import FloatArray, IntArray, Sample
from elsewhere import FIVE, lisc

FEWEST = 20
"""Images of a class below which it is left out."""


def sets() -> Iterator[tuple[str, list[Sample]]]:
    """Give the data sets by name, each laboratory's photographs together."""
    files, truth = lisc()
    iran = [Sample(f, t) for f, t in zip(files, truth, strict=True)]
    raabin = blood.white_cells("raabin", reserved=None)
    bccd = blood.white_cells("bccd", reserved=None)
    home = blood.pbc()
    rows = np.random.default_rng(0).permutation(len(home))[:800]
    yield "LISC", iran
    yield "Raabin", raabin
    yield "PBC", [home.samples[int(i)] for i in np.sort(rows)]
    yield "LISC + Raabin", [s for s in [*iran, *raabin] if s.label in FIVE]
    yield "BCCD + Raabin", [*bccd, *raabin]


def measured(samples: Sequence[Sample]) -> tuple[FloatArray, FloatArray, list[Sample]]:
    """Give features and appearances of the samples that can be read."""
    backbone = open_backbones(("imagenet",))[0]
    parts = list(features(backbone.session, backbone.record, samples))
    kept = [p.samples[int(i)] for p in parts for i in p.called]
    return (
        np.concatenate([p.features for p in parts]),
        np.concatenate([p.appearances for p in parts]),
        kept,
    )


def score(X: FloatArray, y: IntArray, rows: IntArray, test: IntArray) -> float:
    """Give macro-F1 on the test part of a head fitted on some rows."""
    classes = int(y.max()) + 1
    told = fit_head(X[rows], y[rows], classes).logits(X[test]).argmax(axis=1)
    found: float = f1_score(y[test], told, average="macro", labels=range(classes), zero_division=0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    print("| data | a class | suggest | random | random in classes | first | >= random |")
    print("|---|---|---|---|---|---|---|")
    for name, samples in sets():
        if given.only and given.only != name:
            continue
        X, looks, kept = measured(samples)
        labels = np.array([str(s.label) for s in kept])
        names, counts = np.unique(labels, return_counts=True)
        rows = np.flatnonzero(np.isin(labels, names[counts >= FEWEST]))
        y = np.unique(labels[rows], return_inverse=True)[1]
        X, looks = X[rows], looks[rows]
        for each in given.per_class:
            found = [one(X, looks, y, each, draw) for draw in range(given.draws)]
            if not found[0]:
                continue
            table = np.array(found)
            mean = " | ".join(f"{v:.3f}" for v in table.mean(axis=0))
            wins = int((table[:, 0] >= table[:, 1]).sum())
            print(f"| {name} | {each} | {mean} | {wins} of {given.draws} |", flush=True)


def one(X: FloatArray, looks: FloatArray, y: IntArray, each: int, draw: int) -> tuple[float, ...]:
    """Give macro-F1 of suggested, random, random in classes and first images of one draw."""
    rng = np.random.default_rng(draw)
    mixed = rng.permutation(len(y))
    pool, test = np.sort(mixed[: int(0.6 * len(y))]), mixed[int(0.6 * len(y)) :]
    classes = int(y.max()) + 1
    count = each * classes
    if count > 0.7 * len(pool):
        return ()
    chosen = choose(space_of(X[pool], looks[pool]), count, seed=draw)
    suggested = pool[[c.position for c in chosen]]
    of_class = [pool[y[pool] == c] for c in range(classes)]
    first = np.concatenate([rows[:each] for rows in of_class])
    random = [score(X, y, rng.permutation(pool)[:count], test) for _ in range(7)]
    within = [
        score(X, y, np.concatenate([rng.permutation(rows)[:each] for rows in of_class]), test)
        for _ in range(7)
    ]
    return (
        score(X, y, suggested, test),
        float(np.median(random)),
        float(np.median(within)),
        score(X, y, first, test),
    )


if __name__ == "__main__":
    main()
