"""A detector of wells, learnt from generated plates: judged on its own split and on real ones.

    python benchmarks/well_detector.py [--plates 40] [--weights FILE.onnx] [--out runs/wells]

One class. Generated photographs of 6 to 96 wells are divided 60/20/20 by plate. Then every group of
the real photographs is left out once: the detector goes on learning from the other real ones among
generated ones, and finds the wells of those that were left out.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from pathlib import Path

import numpy as np

import cytowell
from cytowell.evaluation.verdict import percent_range
from cytowell.images import worker_count
from cytowell.runs.detecting import look
from cytowell.runs.detector import train_detector
from cytowell.runs.run import Voice
from cytowell.runtime.detector import load_detector
from cytowell.training.detection_recipe import Detection
from cytowell.types import Box, Dataset, Sample
from machine import bare_speed, data_folder

GROUPS = ((1,), (2, 4), (3,), (5,))
"""Of the five real photographs; 2 and 4 show the same plate."""

SIDE = 640


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plates", type=int, default=40, help="generated ones of each format")
    parser.add_argument("--weights", default="")
    parser.add_argument("--steps", type=int, nargs=3, default=(400, 500, 60))
    parser.add_argument("--out", default="runs/wells")
    given = parser.parse_args()
    root = data_folder("plates")
    out = Path(given.out)
    start = time.monotonic()
    voice = Voice(lambda s: print(f"{time.monotonic() - start:7.0f} s  {s}", flush=True))
    small, large, more = given.steps
    plates = generated(out / "plates", given.plates)
    settings = Detection(
        phases=((SIDE * 2 // 3 // 32 * 32, small), (SIDE, large)), weights=given.weights, zoom=0.2
    )
    first = train_detector(plates, out / "first", settings, resume=True, voice=voice)
    lines = [("generated plates, own split", first.metrics)]
    settings = dataclasses.replace(
        settings, phases=((SIDE, more),), weights=str(first.bundle), rate=5e-4, evaluations=3,
        mosaic=0.3, plain=0.4,
    )  # fmt: skip
    found = []
    for group in GROUPS:
        name = "-".join(map(str, group))
        both, others = left_out(root, plates, group)
        run = train_detector(both, out / f"without-{name}", settings, resume=True, voice=voice)
        detector = load_detector(run.bundle)
        found.append(look(detector, others, voice).metrics(detector))
        lines.append((f"real, {name} left out", found[-1]))
    for said, m in lines:
        print(
            f"{said:28} {m['n']:3} photographs, {m['objects']:5} wells: "
            f"mAP50-95 {percent_range(m['map50_95'], 2)}, mAP50 {percent_range(m['map50'], 2)}"
        )
    mean = np.mean([m["map50_95"]["value"] for m in found])
    print(f"real, mean of {len(found)} groups: mAP50-95 {100 * mean:.2f} %")
    print(f"minutes {(time.monotonic() - start) / 60:.1f} in this sitting")
    print(f"machine {bare_speed():.0f} images/s, Lite0 at 224 px, {worker_count()} threads")


def generated(folder: Path, count: int) -> Dataset:
    """Give generated plates of 6 to 96 wells, every well of one class, divided by plate."""
    if not folder.is_dir():
        cytowell.write_samples(folder, "plates", per_class=6 * count, seed=2026)
    read = cytowell.read(folder / "plates")
    kept = [s for s in read.samples if "plate-384" not in s.path]
    plates = sorted({str(s.group) for s in kept})
    order = np.random.default_rng(7).permutation(len(plates))
    part = {plates[i]: ("test", "validation", *["train"] * 3)[k % 5] for k, i in enumerate(order)}
    samples = [dataclasses.replace(s, label="well", split=part[str(s.group)]) for s in kept]
    return Dataset(tuple(samples), ("well",), origin="generated plates", synthetic=True)


def left_out(root: Path, plates: Dataset, group: tuple[int, ...]) -> tuple[Dataset, Dataset]:
    """Give real photographs among generated ones to learn from, and those of one group, left out.

    The run itself judges generated ones: a single photograph is too few for its test part.
    """
    known: list[Sample] = []
    others: list[Sample] = []
    with (root / "wells.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            x, y, r = (float(row[k]) for k in ("cx", "cy", "r"))
            path = str(root / "images" / f"{row['image']}.jpg")
            box = Box(x - r, y - r, 2 * r, 2 * r)
            left = int(row["image"].split("_")[-1]) in group
            (others if left else known).append(Sample(path, "well", path, "train", box=box))
    parts = {"train": 12, "validation": 4, "test": 10}
    for part, every in parts.items():
        paths = {*sorted({s.path for s in plates.samples if s.split == part})[::every]}
        known += [s for s in plates.samples if s.path in paths]
    both = Dataset(tuple(known), ("well",), origin="real and generated plates", synthetic=True)
    return both, Dataset(tuple(others), ("well",), origin=str(root))


if __name__ == "__main__":
    main()
