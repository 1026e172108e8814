"""Ten labels a class: whether the printed interval holds on the rest, or a warning comes.

    python benchmarks/honest_groups.py [--runs 50]      (or: scripts/bench honest --only groups)

Cells of LISC (measured only), BCCD and PBC; features of the blood bundle, which PBC, and other
photographs of BCCD, taught: its figures there are those of a network that knows the laboratory.
Ten of each class are labelled at random, as they come (neighbours in the order of names), or from
one of two clusters of light and stain. The head's settings are fixed here (stages 8, 16 and 32,
C = 0.03, five folds): what is measured is the interval, Wilson's of the out-of-fold calls, against
the accuracy on all other cells, and the warnings of `cytowell check`. Seeds are 0, 1, 2 ...
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

import blood
from cytowell.checks.labelled import MEASURES, cautions
from cytowell.checks.scan import Scan, look
from cytowell.evaluation.intervals import wilson
from cytowell.learners.features import cached_features
from cytowell.learners.frozen import TRAVELLING, columns, open_backbones
from cytowell.learners.linear import fit_head, folds, out_of_fold
from cytowell.types import Dataset, FloatArray, IntArray, Sample
from elsewhere import lisc

Row = dict[str, Any]
RUNS, EACH, LEAST, STRENGTH = 50, 10, 20, 0.03
PBC_EACH = 150
"""Pictures of each class of PBC that are looked at."""


def cells() -> Iterator[tuple[str, Dataset]]:
    """Give the data sets, without groups; classes of fewer than `LEAST` cells are left out."""
    files, truth = lisc()
    yield "LISC", _dataset([Sample(f, t) for f, t in zip(files, truth, strict=True)])
    away = blood.white_cells("bccd", reserved=None)
    yield "BCCD", _dataset([replace(s, group=None) for s in away])
    home = blood.pbc()
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(home.labels == c))[:PBC_EACH]
            for c in range(len(home.classes))]  # fmt: skip
    yield "PBC", _dataset([home.samples[i] for i in np.sort(np.concatenate(rows))])


def _dataset(samples: list[Sample]) -> Dataset:
    names = [s.label for s in samples]
    classes = tuple(sorted({str(n) for n in names if names.count(n) >= LEAST}))
    return Dataset(tuple(s for s in samples if s.label in classes), classes)


def chosen(data: Dataset, how: str, clusters: IntArray, seed: int) -> IntArray:
    """Give the positions of the labelled cells."""
    rng = np.random.default_rng(seed)
    rows = []
    for c in range(len(data.classes)):
        own = np.flatnonzero(data.labels == c)
        if how == "as they come":
            own = np.roll(own, -int(rng.integers(len(own))))
        else:
            own = rng.permutation(own)
        if how.startswith("cluster"):
            inside = own[clusters[own] == int(how[-1])]
            own = inside if len(inside) > 1 else own
        rows.append(own[:EACH])
    return np.sort(np.concatenate(rows))


def one_draw(data: Dataset, scan: Scan, X: FloatArray, rows: IntArray) -> dict[str, float]:
    """Label these cells: what is printed, what is true, whether it warns."""
    y, count = data.labels, len(data.classes)
    names = np.arange(len(rows)).astype(np.str_)
    cuts = folds(y[rows], names, 5, 7)
    inside = out_of_fold(X[rows], y[rows], cuts, count, STRENGTH, "balanced", 7)
    low, high = wilson(int((inside.argmax(axis=1) == y[rows]).sum()), len(rows)) or (0.0, 1.0)
    rest = np.setdiff1d(np.arange(len(data)), rows)
    head = fit_head(X[rows], y[rows], count, STRENGTH, "balanced", 7)
    true = float((head.logits(X[rest]).argmax(axis=1) == y[rest]).mean())
    known = set(rows.tolist())
    samples = tuple(s if i in known else replace(s, label=None)
                    for i, s in enumerate(data.samples))  # fmt: skip
    warned = bool(cautions(replace(data, samples=samples), scan))
    return {"holds": low <= true <= high, "width": high - low, "warned": warned}


def rows(runs: int = RUNS) -> list[Row]:
    """Give a row per data set, way to choose and figure."""
    out: list[Row] = []
    network = open_backbones(("blood",))[0]
    for name, data in cells():
        scan = look(data)
        features = cached_features(network.session, network.digest, network.record, data.samples)
        X = features[:, columns(network.maps, TRAVELLING, features.shape[1])].astype(np.float64)
        looks = scan.spread(scan.facts[list(MEASURES)].to_numpy(dtype=np.float64))
        looks = (looks - looks.mean(axis=0)) / np.maximum(looks.std(axis=0), 1e-9)
        clusters = KMeans(2, n_init=5, random_state=0).fit_predict(looks).astype(np.int64)
        for how in ("at random", "as they come", "cluster 0", "cluster 1"):
            found = pd.DataFrame(
                [one_draw(data, scan, X, chosen(data, how, clusters, s)) for s in range(runs)]
            )
            setting = f"{name}, ten of each of {len(data.classes)} classes, {how}"
            figures = {
                "interval holds": (np.nan, found["holds"]),
                "interval holds or warning": (0.9, found["holds"] | found["warned"]),
                "warning": (0.1 if how == "at random" else np.nan, found["warned"]),
                "median width": (0.2, pd.Series([found["width"].median()])),
            }
            for what, (nominal, values) in figures.items():
                out.append(
                    {
                        "what": what,
                        "setting": setting,
                        "n": len(data),
                        "nominal": nominal,
                        "measured": float(values.mean()),
                        "simulations": runs,
                    }
                )
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS)
    print(pd.DataFrame(rows(parser.parse_args().runs)).to_string(index=False))
