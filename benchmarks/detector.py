"""A detector learnt from BCCD's own split, judged on its test part; and how fast it finds.

    python benchmarks/detector.py [--network NAME] [--weights FILE.onnx] [--out RUN]

BCCD's own split is what others' figures are of; photographs that are near copies lie on both sides
of it, which the run says. Nothing was chosen by the test part.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

import cytowell
from cytowell.evaluation.verdict import number_range, percent_range
from cytowell.images import open_upright, worker_count
from cytowell.images.boxes import letterbox
from cytowell.runs.detector import train_detector
from cytowell.runs.run import Voice
from cytowell.runtime.detector import load_detector
from cytowell.runtime.finding import finder
from cytowell.training.detection_recipe import preset
from machine import bare_speed, data_folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--network", default="yolox-nano")
    parser.add_argument("--weights", default="")
    parser.add_argument("--out", default="runs/detector")
    parser.add_argument("--new-split", action="store_true")
    given = parser.parse_args()
    root = data_folder("bccd")
    settings = dataclasses.replace(
        preset(given.preset), network=given.network, weights=given.weights
    )
    out = Path(given.out)
    start = time.monotonic()

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - start:7.0f} s  {sentence}", flush=True)

    data = cytowell.read(root)
    run = train_detector(
        data, out, settings, resume=out.exists(), new_split=given.new_split, voice=Voice(said)
    )
    minutes = (time.monotonic() - start) / 60
    m = run.metrics
    print(f"{given.preset}, {settings.network}, from {given.weights or 'what it brings along'}")
    print(f"test part     n = {m['n']} photographs, {m['objects']} objects")
    print(f"mAP50         {percent_range(m['map50'], 2)}")
    print(f"mAP50-95      {percent_range(m['map50_95'], 2)}")
    for row in m["per_class"]:
        print(
            f"{row['class']:13} n = {row['n']:4}  AP50 {percent_range(row['ap50'], 1)}  "
            f"count error {number_range(row['count_error'], 3)}"
        )
    print(f"minutes       {minutes:.1f} in this sitting")
    speed(run.bundle, sorted(set(data.paths))[:60])
    smears(run.bundle, sorted(set(data.paths))[:60])
    print(f"machine       {bare_speed():.0f} images/s, Lite0 at 224 px, {worker_count()} threads")


def speed(bundle: Path, paths: list[str]) -> None:
    """Print photographs a second from files to boxes, against the bare network, turn by turn."""
    detector = load_detector(bundle)
    side = detector.facts.reading.side
    pixels = [letterbox(open_upright(p), side, False).pixels[None] for p in paths]
    taken: dict[str, list[float]] = {"files to boxes": [], "bare": []}
    for _ in range(3):
        start = time.perf_counter()
        for _ in detector.find_all(paths):
            pass
        taken["files to boxes"].append(time.perf_counter() - start)
        start = time.perf_counter()
        for block in pixels:
            detector.raw(block)
        taken["bare"].append(time.perf_counter() - start)
    whole, bare = (float(np.median(v)) for v in taken.values())
    print(f"finding       {len(paths) / whole:.1f} photographs/s, {bare / whole:.2f} of bare")


def smears(bundle: Path, paths: list[str]) -> None:
    """Print seconds from a smear's file to the calls of its cells by the shipped bundle."""
    blood = cytowell.load("blood")
    for only in ((), ("WBC", "Platelets"), ("WBC",)):
        look = finder("cells", 0, str(bundle), only=only)
        assert look is not None
        taken, count = [], 0
        for path in paths:
            start = time.perf_counter()
            calls = blood.predict(look(path, None))
            taken.append(time.perf_counter() - start)
            count += sum(1 for s in calls.samples if s.box is not None)
        what = " and ".join(only) or "all found"
        print(
            f"smear         {np.median(taken):.3f} s to calls, one after another, 95 % within "
            f"{np.quantile(taken, 0.95):.3f} s; {what}: {count / len(paths):.1f} a photograph"
        )


if __name__ == "__main__":
    main()
