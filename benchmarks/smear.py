"""The smear detector on held-back photographs: what is found, what is counted, how fast.

    python benchmarks/smear.py [--bundle smear]

Test part of `smear_split.py`: TXL's photographs of each source, none of whose fields taught the
detector or chose a threshold; and BCCD's own photographs that stay out, by their white cells alone
(their red cells are boxed by half). Intervals: 95 %, Wilson of shares, bootstrap over photographs
of medians and average precision.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from statsmodels.stats.proportion import proportion_confint

import cytowell
from cytowell.errors import ImageError
from cytowell.evaluation.detection import Seen, evaluate_boxes
from cytowell.evaluation.verdict import percent_range
from cytowell.images import open_upright, upright_size, worker_count
from cytowell.runtime.detector import FAINTEST, Detector, load_detector
from cytowell.runtime.ruler import ruler_of, whole_cells
from cytowell.types import Dataset
from machine import bare_speed, data_folder
from smear_split import annotated, split_by_content

SOURCES = ("raabin", "barcelona", "bcd", "bccd")
RESAMPLES = 1000


def seen_by_source(
    detector: Detector, data: Dataset, part: str, sources: dict[str, str]
) -> dict[str, list[Seen]]:
    """Find in a part of a data set; give what is there and what was found, by source."""
    truth: dict[str, list[Any]] = {s.path: [] for s in data.samples if s.split == part}
    for s in data.samples:
        if s.split == part and s.box is not None and s.label is not None:
            truth[s.path].append((s.box, detector.classes.index(s.label)))
    out: dict[str, list[Seen]] = {}
    every = detector.find_all(truth, FAINTEST)
    for (path, objects), found in zip(truth.items(), every, strict=True):
        if isinstance(found, ImageError):
            raise found
        labels = np.array([k for _, k in objects], dtype=np.int64)
        boxes = tuple(b for b, _ in objects)
        one = Seen(boxes, labels, found.boxes, found.labels, found.scores)
        out.setdefault(sources[path], []).append(one)
    return {s: out[s] for s in SOURCES if s in out}


def count_errors(seen: list[Seen], k: int, score: float) -> Any:
    """Give |found - boxed| / boxed of a class, of each photograph that has any; (N,)."""
    out = []
    for p in seen:
        there = int((p.truth_labels == k).sum())
        if there:
            found = int(((p.found_labels == k) & (p.scores >= score)).sum())
            out.append(abs(found - there) / there)
    return np.array(out)


def median_range(values: Any, seed: int = 7) -> str:
    """Give a median and its interval by the bootstrap."""
    rng = np.random.default_rng(seed)
    drawn = np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{100 * np.median(values):5.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def share(hit: int, of: int) -> str:
    """Give a share and Wilson's interval."""
    if not of:
        return "-"
    low, high = proportion_confint(hit, of, method="wilson")
    return f"{100 * hit / of:6.2f} % ({100 * low:.1f}-{100 * high:.1f}; {hit} of {of})"


def found_line(name: str, seen: list[Seen], classes: tuple[str, ...], k: int, score: float) -> None:
    """Print recall and precision of a class at an overlap of a half."""
    if not any((p.truth_labels == k).any() for p in seen):
        return
    row = evaluate_boxes(seen, classes, score, resamples=0)["per_class"][k]
    hit = round((row["recall"] or 0.0) * row["n"])
    called = sum(int(((p.found_labels == k) & (p.scores >= score)).sum()) for p in seen)
    print(
        f"{name:22} n = {len(seen):3}  recall {share(hit, row['n'])}  "
        f"precision {share(hit, called)}"
    )


def rulers(seen: list[Seen], sizes: list[tuple[int, int]], k: int, score: float) -> str:
    """Compare the ruler by found boxes with that by the annotators' boxes."""
    found, boxed, ratios = [], [], []
    for p, size in zip(seen, sizes, strict=True):
        sure = [i for i in range(len(p.found)) if p.scores[i] >= score]
        mine = whole_cells([p.found[i] for i in sure], p.found_labels[sure], k, size)
        theirs = whole_cells(p.truth, p.truth_labels, k, size)
        found.append(mine)
        boxed.append(theirs)
        if len(mine) >= 3 and len(theirs) >= 3:
            ratios.append(np.median(mine) / np.median(theirs))
    a, b = ruler_of(found), ruler_of(boxed)
    if a.diameter is None or b.diameter is None or not ratios:
        return "too few whole cells"
    return (
        f"{a.diameter:6.1f} px of {a.cells} cells (spread {a.spread:.1%}), boxed {b.diameter:6.1f} "
        f"px of {b.cells}: ratio {a.diameter / b.diameter:.3f}; by photograph median "
        f"{np.median(ratios):.3f}, n = {len(ratios)}"
    )


def speed(bundle: str, paths: list[str]) -> None:
    """Print seconds from a 640x480 file to boxes, warm, on all processors."""
    detector = load_detector(bundle)
    for path in paths[:3]:
        detector.find(open_upright(path))
    taken = []
    for path in paths:
        start = time.perf_counter()
        detector.find(open_upright(path))
        taken.append(time.perf_counter() - start)
    start = time.perf_counter()
    list(detector.find_all(paths))
    every = len(paths) / (time.perf_counter() - start)
    print(
        f"speed                  {1000 * np.median(taken):.0f} ms a photograph of 640x480, one "
        f"after another; {every:.1f} photographs/s side by side; {worker_count()} threads"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="smear")
    parser.add_argument("--part", default="test", help="validation, for whoever changes something")
    given = parser.parse_args()
    root = data_folder("txl").parent
    rows = split_by_content(root)
    sources = {str(root / row[0]): row[3] for row in rows}
    detector = load_detector(given.bundle)
    classes, score = detector.classes, detector.facts.score
    white, red, platelet = (classes.index(c) for c in ("WBC", "RBC", "Platelets"))
    data = annotated(root)
    by = seen_by_source(detector, data, given.part, sources)
    sizes = _sizes(data, sources, given.part)
    together = [p for part in by.values() for p in part]
    for k, name in ((white, "white cells"), (platelet, "platelets"), (red, "red cells")):
        for source, part in by.items():
            found_line(f"{name}, {source}", part, classes, k, score)
        found_line(f"{name}, all", together, classes, k, score)
    for source, part in by.items():
        errors = count_errors(part, red, score)
        print(f"red cell count, {source:10} n = {len(errors):3}  {median_range(errors)}")
        print(f"ruler, {source:10}     {rulers(part, sizes[source], red, score)}")
    m = evaluate_boxes(together, classes, score)
    print(f"mAP50                  {percent_range(m['map50'], 1)}")
    print(f"mAP50-95               {percent_range(m['map50_95'], 1)}")
    paths = {str(root / p) for p, part, _, _ in rows if part == given.part and p[:4] == "bccd"}
    held = _white_cells(root, paths)
    out = seen_by_source(detector, held, "test", dict.fromkeys(held.paths, "bccd"))["bccd"]
    found_line("white cells, BCCD", out, classes, white, score)
    speed(given.bundle, sorted(paths)[:60])
    print(f"machine                {bare_speed():.0f} images/s, Lite0 at 224 px")


def _sizes(data: Dataset, sources: dict[str, str], part: str) -> dict[str, list[tuple[int, int]]]:
    out: dict[str, list[tuple[int, int]]] = {}
    for path in dict.fromkeys(s.path for s in data.samples if s.split == part):
        out.setdefault(sources[path], []).append(upright_size(path))
    return out


def _white_cells(root: Path, paths: set[str]) -> Dataset:
    """Give BCCD's photographs that stay out, with the boxes of their white cells."""
    data = cytowell.read(root / "bccd")
    kept = tuple(
        dataclasses.replace(s, split="test")
        for s in data.samples
        if str(s.path) in paths and s.label == "WBC"
    )
    return dataclasses.replace(data, samples=kept)


if __name__ == "__main__":
    main()
