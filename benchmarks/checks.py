"""Recall of the checks on planted faults, and their false alarms on clean images.

Takes blood-cell photographs (`pbc/<class>/*.jpg` under `CYTOWELL_DATA`), plants faults in a
temporary folder and prints one line per fault. Run: ``python benchmarks/checks.py --images 1000``.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from cytowell.checks import check_all
from cytowell.learners.frozen import doubts
from cytowell.types import Dataset, Findings, FloatArray, Sample

DATA = Path(os.environ.get("CYTOWELL_DATA", Path(__file__).parents[2] / "shared" / "data"))

COPIES, EACH, SHIFT = 17, 20, 6
BLURS = (1.5, 2.0, 3.0)

Probabilities = Callable[[Dataset, Findings], FloatArray]
"""Out-of-fold probabilities (N, C), NaN where nothing could be read."""

ISSUE = {
    "byte copies": "exact_duplicate",
    "two labels": "two_labels",
    "recompressed": "near_duplicate",
    "flipped": "near_duplicate",
    "shifted": "near_duplicate",
    "blurred": "blurred",
    "truncated": "truncated",
    "mislabelled": "label",
}


@dataclass
class Planted:
    """Paths of each fault, and those of the images that a copy was made of."""

    faults: dict[str, list[Path]] = field(default_factory=lambda: {name: [] for name in ISSUE})
    copied: set[Path] = field(default_factory=set)


def plant(source: Path, folder: Path, images: int, seed: int) -> Planted:
    """Copy `images` photographs, each class in its share, and plant the faults."""
    draw = random.Random(seed)
    files = sorted(source.glob("*/*.jpg"))
    draw.shuffle(files)
    kept = []
    for file in sorted(files[:images]):
        target = folder / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        kept.append(target)
    draw.shuffle(kept)
    planted = Planted()
    rest = iter(kept)
    classes = sorted({p.parent.name for p in kept})
    for number in range(COPIES):
        original = next(rest)
        there = original.parent
        if number == 0:
            there = folder / draw.choice([c for c in classes if c != original.parent.name])
            planted.faults["two labels"] += [original]
        copy = there / f"copy_{number}_{original.name}"
        shutil.copyfile(original, copy)
        planted.faults["byte copies"] += [copy]
        planted.copied.add(original)
    planted.faults["two labels"] += planted.faults["byte copies"][:1]
    for name in ("recompressed", "flipped", "shifted"):
        for number in range(EACH):
            original = next(rest)
            copy = original.parent / f"{name}_{number}_{original.name}"
            copy.write_bytes(altered(original, name, draw))
            planted.faults[name] += [copy]
            planted.copied.add(original)
    for number in range(EACH):
        _spoil(next(rest), next(rest), next(rest), number, planted, draw, classes)
    return planted


def _spoil(
    blurred: Path,
    truncated: Path,
    moved: Path,
    number: int,
    planted: Planted,
    draw: random.Random,
    classes: list[str],
) -> None:
    image = Image.open(blurred).filter(ImageFilter.GaussianBlur(BLURS[number % len(BLURS)]))
    image.save(blurred, quality=92)
    planted.faults["blurred"] += [blurred]
    data = truncated.read_bytes()
    truncated.write_bytes(data[: int(len(data) * draw.uniform(0.2, 0.98))])
    planted.faults["truncated"] += [truncated]
    other = draw.choice([c for c in classes if c != moved.parent.name])
    planted.faults["mislabelled"] += [moved.rename(moved.parents[1] / other / moved.name)]


def altered(path: Path, how: str, draw: random.Random) -> bytes:
    """Give the bytes of a near copy."""
    image: Image.Image = Image.open(path)
    quality = 92
    if how == "recompressed":
        quality = 60
    elif how == "flipped":
        image = draw.choice([ImageOps.mirror, ImageOps.flip])(image)
    else:
        dx, dy = draw.choice([-SHIFT, SHIFT]), draw.choice([-SHIFT, 0, SHIFT])
        wide = np.pad(np.asarray(image), ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        top, left = SHIFT + dy, SHIFT + dx
        image = Image.fromarray(wide[top : top + image.height, left : left + image.width])
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def dataset_of(folder: Path) -> Dataset:
    """Read class folders."""
    files = sorted(folder.glob("*/*.jpg"))
    samples = tuple(Sample(str(f), f.parent.name) for f in files)
    return Dataset(samples, tuple(sorted({f.parent.name for f in files})), str(folder))


def shipped_probabilities(dataset: Dataset, found: Findings) -> FloatArray:
    """Give what `cytowell check` doubts labels by: frozen features of the shipped networks."""
    usable = (dataset.labels >= 0) & ~found.excluded
    probabilities = np.full((len(dataset), len(dataset.classes)), np.nan)
    probabilities[usable] = doubts(dataset.take(usable), seed=7)
    return probabilities


def report(dataset: Dataset, found: Findings, planted: Planted) -> dict[str, tuple[float, float]]:
    """Give recall and share of false alarms of each fault, and print them."""
    place = {Path(p): i for i, p in enumerate(dataset.paths)}
    touched = {p for paths in planted.faults.values() for p in paths} | planted.copied
    clean = np.array([Path(p) not in touched for p in dataset.paths])
    print(f"{'fault':<14}{'found':>10}{'recall':>9}   false alarms on {clean.sum()} clean images")
    figures = {}
    for name, issue in ISSUE.items():
        flagged = found.table[f"is_{issue}"].to_numpy(dtype=bool)
        hits = [bool(flagged[place[p]]) for p in planted.faults[name]]
        false = int(flagged[clean].sum())
        recall, share = sum(hits) / len(hits), false / int(clean.sum())
        figures[name] = (recall, share)
        print(f"{name:<14}{f'{sum(hits)}/{len(hits)}':>10}{recall:>8.1%}   {false} ({share:.2%})")
    others = [i for i in found.issues if i not in ISSUE.values()]
    flags = found.table[[f"is_{i}" for i in others]].to_numpy(dtype=bool)[clean]
    named = {i: int(n) for i, n in zip(others, flags.sum(axis=0), strict=True) if n}
    print(f"other issues on clean images: {named or 'none'}")
    at_all = int((found.table["why"].to_numpy() != "")[clean].sum())
    print(f"clean images with any flag: {at_all} ({at_all / clean.sum():.2%})")
    return figures


def run(
    images: int = 1000, seed: int = 7, probabilities: Probabilities = shipped_probabilities
) -> dict[str, tuple[float, float]]:
    """Plant, check, print.

    Parameters
    ----------
    probabilities
        Whose out-of-fold probabilities doubt the labels.
    """
    with tempfile.TemporaryDirectory() as name:
        planted = plant(DATA / "pbc", Path(name), images, seed)
        dataset = dataset_of(Path(name))
        start = time.perf_counter()
        found = check_all(dataset, only=["files", "duplicates"])
        seconds = time.perf_counter() - start
        print(f"{len(dataset)} files checked in {seconds:.1f} s ({len(dataset) / seconds:.0f}/s)")
        outside = probabilities(dataset, found)
        seen = np.isfinite(outside).all(axis=1)
        right = (outside[seen].argmax(axis=1) == dataset.labels[seen]).mean()
        print(f"out-of-fold accuracy of the probabilities, mislabelled included: {right:.1%}")
        return report(dataset, check_all(dataset, outside), planted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="photographs to take")
    parser.add_argument("--seed", type=int, default=7, help="of the draw and of the faults")
    given = parser.parse_args()
    if not (DATA / "pbc").is_dir():
        sys.exit(f"{DATA / 'pbc'} is not there. Set CYTOWELL_DATA to the folder that holds pbc.")
    run(given.images, given.seed)


if __name__ == "__main__":
    main()
