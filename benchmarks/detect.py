"""Wells found without a model: real plates, generated ones, and the seconds of a large photograph.

    python benchmarks/detect.py [--per-format 20] [--seed 1000]

A well is found if a box with its name overlaps it by more than half (intersection over union); one
that no well of its name overlaps so is invented. Generated photographs are turned by up to 20
degrees, tilted by up to 10 %, and a tenth of their wells is hidden; the finder was made with the
seeds 0 to 99 in view, so the default begins elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

import cytowell
from cytowell.evaluation.intervals import wilson
from cytowell.images import open_upright
from cytowell.images.boxes import overlaps
from cytowell.plates import Wells, wells_of
from cytowell.plates.window import FORMATS
from cytowell.sources.samples_plates import Scene, draw_plate
from cytowell.types import Box, FloatArray
from machine import data_folder

Truth = dict[str, Box]


def corners(box: Box) -> FloatArray:
    """Give left, top, right, bottom."""
    return np.array([box.x, box.y, box.x + box.width, box.y + box.height])


def overlap(a: Box, b: Box) -> float:
    """Give intersection over union."""
    return float(overlaps(corners(a), corners(b)[None])[0])


def real(root: Path) -> Iterator[tuple[Wells, Truth]]:
    """Give what was found in the real photographs, and what is there."""
    rows = defaultdict(list)
    with (root / "wells.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            rows[row["image"]].append(row)
    for name, wells in sorted(rows.items()):
        truth = {}
        for row in wells:
            x, y, r = (float(row[k]) for k in ("cx", "cy", "r"))
            truth[row["well"]] = Box(x - r, y - r, 2 * r, 2 * r)
        yield wells_of(open_upright(root / "images" / f"{name}.jpg")), truth


def generated(wells: int, numbers: Iterable[int]) -> Iterator[tuple[Wells, Truth]]:
    """Give what was found in generated photographs of one format, and what is there."""
    for number in numbers:
        rng = np.random.default_rng([wells, number])
        shape = FORMATS[wells]
        scene = Scene(
            wells,
            rng.random(shape) < 0.5,
            rng.random(shape) < 0.1,
            turn=float(rng.uniform(-20, 20)),
            perspective=float(rng.uniform(0, 0.1)),
            glare=float(rng.uniform(0, 0.8)),
            violet=bool(rng.random() < 0.5),
        )
        photograph, truth = draw_plate(scene, rng)
        yield wells_of(photograph), {w.name: w.box for w in truth}


def judge(what: str, pairs: Iterable[tuple[Wells, Truth]]) -> None:
    """Print how many wells were found, how many invented, and how well boxes lie."""
    there = hit = invented = photographs = 0
    overlaps: list[float] = []
    for found, truth in pairs:
        photographs += 1
        there += len(truth)
        for name, box in zip(found.names, found.boxes, strict=True):
            share = overlap(box, truth[name]) if name in truth else 0.0
            if share > 0.5:
                hit += 1
                overlaps.append(share)
            else:
                invented += 1
    low, high = wilson(hit, there) or (0.0, 1.0)
    print(
        f"{what:22s} {photographs:3d} photographs  {hit}/{there} wells found and named "
        f"({100 * low:.1f} to {100 * high:.1f} %), {invented} invented, "
        f"mean overlap {np.mean(overlaps) if overlaps else 0:.3f}",
        flush=True,
    )


def pace(root: Path) -> None:
    """Print the seconds that a photograph of 12 megapixels takes, from file to wells."""
    photograph = open_upright(root / "images" / "tmas_1.jpg").resize((4000, 3000))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.jpg"
        photograph.save(file, quality=90)
        cytowell.find_wells(file)
        took = []
        for _ in range(5):
            start = time.perf_counter()
            found = cytowell.find_wells(file)
            took.append(time.perf_counter() - start)
    print(f"12 megapixels, JPEG to {len(found)} wells: {np.median(took):.2f} s (median of 5)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-format", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1000)
    given = parser.parse_args()
    root = data_folder("plates")
    judge("real plates of 96", real(root))
    for wells in FORMATS:
        numbers = range(given.seed, given.seed + given.per_format)
        judge(f"generated, {wells} wells", generated(wells, numbers))
    pace(root)


if __name__ == "__main__":
    main()
