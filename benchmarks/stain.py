"""Another laboratory's stain: ten labelled cells a class, judged on all the others.

    python benchmarks/stain.py [--per-class 10] [--draws 5]

The cells are those that BCCD's boxes cut out of its smears (RBC, WBC, platelets): another hospital,
another camera, another stain than the shipped bundle's. Chosen cells and judged cells never come
from the same photograph. What is judged is what `cytowell train --learner frozen` delivers.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

import cytowell
from cytowell.runs.recipe import make
from machine import data_folder


def write_table(root: Path, table: Path) -> None:
    """Write every box of BCCD that has an area, its photograph as its group."""
    with table.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["path", "label", "group", "x", "y", "width", "height"])
        for file in sorted((root / "Annotations").glob("*.xml")):
            photo = root / "JPEGImages" / f"{file.stem}.jpg"
            for item in ElementTree.parse(file).iter("object"):
                x0, y0, x1, y1 = (
                    float(item.findtext(f"bndbox/{name}", "0"))
                    for name in ("xmin", "ymin", "xmax", "ymax")
                )
                if x1 - x0 > 8 and y1 - y0 > 8:
                    name = item.findtext("name")
                    rows.writerow([photo.resolve(), name, file.stem, x0, y0, x1 - x0, y1 - y0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--draws", type=int, default=5)
    given = parser.parse_args()
    root = data_folder("bccd")
    recipe, _ = make("frozen")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "bccd.csv"
        write_table(root, table)
        data = cytowell.read(table)
        for draw in range(given.draws):
            rng = np.random.default_rng(draw)
            chosen = np.concatenate(
                [
                    rng.permutation(np.flatnonzero(data.labels == c))[: given.per_class]
                    for c in range(len(data.classes))
                ]
            )
            others = np.flatnonzero(~np.isin(data.groups, data.groups[chosen]))
            run = cytowell.train(data.take(chosen), Path(folder) / f"run-{draw}", recipe)
            calls = cytowell.load(run.folder).predict(data.take(others))
            right = calls.probabilities.argmax(axis=1) == data.labels[others]
            each = [right[data.labels[others] == c].mean() for c in range(len(data.classes))]
            found.append(float(np.mean(each)))
            shares = ", ".join(
                f"{name} {100 * share:.1f}" for name, share in zip(data.classes, each, strict=True)
            )
            made = calls.decided
            print(f"draw {draw}: balanced {100 * found[-1]:.1f} % of n = {len(others)}; {shares}")
            print(
                f"        decided {100 * made.mean():.1f} %, right {100 * right[made].mean():.1f} %"
            )
    print(f"{given.per_class} a class, frozen: {100 * np.mean(found):.1f} % balanced accuracy")
    print(f"lowest of {given.draws} draws {100 * min(found):.1f} %")


if __name__ == "__main__":
    main()
