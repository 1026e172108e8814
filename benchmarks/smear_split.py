"""Who trains, chooses and tests the smear detector: TXL and BCCD split by content, as a table.

    python benchmarks/smear_split.py OUT.csv

Columns: path (below the data folder), split (train, validation, test), group, source. A group holds
one field and all its copies: every 640x480 and 416x416 photograph of TXL is one of BCCD's, some of
them resized, turned, flipped, cropped or brightened. Such a copy joins the BCCD photograph that its
thumbnail correlates with most in one of eight orientations (looked at: right down to .58, the least
that occurs); photographs of one source join where they correlate over .85.

BCCD's fields without a copy in TXL are all `test`: nobody boxed their red cells completely, so that
they could not teach anyway. Of the other groups of each source shares go to test and validation.
Nothing is random: groups are drawn by the hash of their name.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cytowell
from cytowell.types import Dataset
from machine import data_folder

THUMBNAIL = 24
ALIKE = 0.85
TEST, VALIDATION = 0.1, 0.06

SOURCES = {575: "raabin", 360: "barcelona", 366: "barcelona", 416: "bcd", 640: "bccd"}
"""Source by the width of the picture."""

Row = tuple[str, str, str, str]


def split_by_content(root: Path) -> list[Row]:
    """Give path, split, group and source of every photograph of TXL and BCCD.

    Parameters
    ----------
    root
        The folder that holds ``txl`` and ``bccd``.
    """
    txl = sorted(root.glob("txl/images/*/*.jpg"))
    bccd = sorted(root.glob("bccd/JPEGImages/*.jpg"))
    paths = [*bccd, *txl]
    views, sources = [], []
    for path in paths:
        with Image.open(path) as image:
            sources.append(SOURCES[image.width])
            views.append(_views(image))
    groups = _groups(np.array(views), np.array(sources), len(bccd))
    names = [f"{p.relative_to(root).as_posix()}" for p in paths]
    named = [Path(names[g]).stem for g in groups]
    parts = _parts(groups, named, sources, len(bccd))
    return [
        (path, parts[group], name, source)
        for path, group, name, source in zip(names, groups, named, sources, strict=True)
    ]


def _views(image: Image.Image) -> Any:
    """Give the standardised grey thumbnail in eight orientations, (8, T * T)."""
    small = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float64).mean(axis=2)
    turned = [np.rot90(v, k).ravel() for v in (grey, grey[:, ::-1]) for k in range(4)]
    rows = np.array(turned) - grey.mean()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _groups(views: Any, sources: Any, originals: int) -> list[int]:
    """Give for each photograph the first one of its group."""
    alike = np.max([views[:, 0] @ views[:, k].T for k in range(8)], axis=0)
    first = list(range(len(views)))

    def head(i: int) -> int:
        while first[i] != i:
            i = first[i]
        return i

    for i in range(originals, len(views)):
        if sources[i] in ("bcd", "bccd"):
            first[head(i)] = head(int(alike[i, :originals].argmax()))
    for i, j in zip(*np.nonzero(np.triu(alike > ALIKE, 1)), strict=True):
        a, b = sorted((head(int(i)), head(int(j))))
        first[b] = a
    return [head(i) for i in range(len(views))]


def _parts(groups: list[int], named: list[str], sources: list[str], originals: int) -> Any:
    """Give the part of each group, by its number."""
    copied = {g for i, g in enumerate(groups) if i >= originals}
    parts = dict.fromkeys(set(groups) - copied, "test")
    names = dict(zip(groups, named, strict=True))
    for source in ("bccd", "barcelona", "raabin"):
        rows = [g for g in copied if sources[g] == source]
        rows.sort(key=lambda g: hashlib.sha256(names[g].encode()).hexdigest())
        test, validation = (round(share * len(rows)) for share in (TEST, VALIDATION))
        for place, group in enumerate(rows):
            parts[group] = (
                "test" if place < test else "validation" if place < test + validation else "train"
            )
    return parts


def annotated(root: Path) -> Dataset:
    """Give TXL's photographs with boxes, each with its part of the split by content."""
    parts = {str((root / path).resolve()): part for path, part, _, _ in split_by_content(root)}
    data = cytowell.read(root / "txl")
    samples = tuple(
        dataclasses.replace(s, split=parts[str(Path(s.path).resolve())]) for s in data.samples
    )
    return dataclasses.replace(data, samples=samples)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    given = parser.parse_args()
    rows = split_by_content(data_folder("txl").parent)
    with Path(given.out).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "split", "group", "source"))
        writer.writerows(rows)
    for part in ("train", "validation", "test"):
        here = [r for r in rows if r[1] == part]
        counts = {
            f"{which} {s}": sum(r[3] == s and r[0].startswith(which) for r in here)
            for which, s in (
                ("txl", "raabin"),
                ("txl", "barcelona"),
                ("txl", "bcd"),
                ("txl", "bccd"),
                ("bccd", "bccd"),
            )
        }
        print(f"{part:11} {len({r[2] for r in here}):4} groups  {counts}")


if __name__ == "__main__":
    main()
