"""Wells found and named in photographs as laboratories take them: a table by transformation.

    python benchmarks/wells.py [--families close-ups taped ...] [--every 1] [--pace FOLDER]

Rows are families of pictures made from the real photographs and from drawn plates
(`well_pictures`, `well_drawings`). A well is found if a box overlaps it by more than half; a wrong
name is one under which another well lies; `silent` counts pictures with a wrong name and no reason,
and pictures of no plate in which wells were found without a reason. A family in `ASIDE` was not
looked at while the finder was made. `--every 3` takes every third picture. `--pace` compares the
seconds of a photograph of 12 megapixels with those of another checkout's src/ folder, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

import well_drawings as drawings
import well_pictures as made
from cytowell.images.boxes import overlaps
from cytowell.plates import Wells, wells_of
from cytowell.plates.grid import FIELD
from cytowell.plates.search import Expected
from cytowell.types import Box, FloatArray
from machine import data_folder
from well_cases import Case

ASIDE = ("lids", "hands")


def families(root: Path) -> dict[str, Iterator[Case]]:
    """Give the pictures of every family."""
    real = made.real(root)
    some = made.real(root, (1, 3))
    drawn = [made.drawn(wells, 30 + wells) for wells in (6, 12, 24, 48, 96)]
    margins = (0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
    return {
        "as they are": made.as_is(real),
        "drawn": made.as_is(drawn),
        "close-ups": made.close_ups(some + drawn[2:], margins),
        "taped": made.taped(some + drawn),
        "cut off": made.cut_off(some + drawn),
        "turned": made.turned(real[:2] + drawn[:2]),
        "small": made.small(some[:1] + drawn),
        "shrunk and blurred": made.shrunk(some),
        "several plates": made.several(some + drawn[:3]),
        "single wells": made.singles(some + drawn[:3]),
        "six looks": drawings.looks((6, 12, 24, 48, 96, 384), (0, 1, 2, 3, 4, 5)),
        "patterned grounds": drawings.grounds(),
        "no plates": drawings.no_plates(),
        "lids": made.lids(some[:1] + drawn),
        "hands": made.hands(some + drawn),
    }


def corners(box: Box) -> FloatArray:
    return np.array([box.x, box.y, box.x + box.width, box.y + box.height])


class Tally:
    """What was found in pictures of one row of the table."""

    def __init__(self) -> None:
        self.pictures = self.there = self.hit = self.false = 0
        self.right = self.wrong = self.bare = self.silent = 0
        self.shares: list[float] = []

    def add(self, case: Case, found: Wells) -> None:
        """Compare what was found with what is there."""
        keys = list(case.wells)
        truth = np.array([corners(case.wells[k]) for k in keys]).reshape(-1, 4)
        used: set[int] = set()
        wrong = 0
        for plate, name, box in zip(found.plates, found.names, found.boxes, strict=True):
            share = overlaps(corners(box), truth) if len(truth) else np.zeros(1)
            best = int(np.argmax(share))
            if share[best] <= 0.5 or best in used:
                self.false += 1
                wrong += bool(name and name != FIELD and keys)
                continue
            used.add(best)
            self.shares.append(float(share[best]))
            if name in ("", FIELD):
                self.bare += 1
            elif (plate, name) == keys[best]:
                self.right += 1
            else:
                wrong += 1
        self.pictures += 1
        self.there += len(keys)
        self.hit += len(used)
        self.wrong += wrong
        alone = bool(wrong or (found.boxes and not keys))
        self.silent += alone and not found.reason

    def line(self, said: str) -> str:
        """Write the row."""
        recall = self.hit / self.there if self.there else float("nan")
        boxes = self.hit + self.false
        precision = self.hit / boxes if boxes else float("nan")
        share = np.mean(self.shares) if self.shares else float("nan")
        return (
            f"{said:44s} {self.pictures:4d} {self.there:6d}  {recall:6.3f} {precision:6.3f} "
            f"{share:6.3f}  {self.right:5d} {self.wrong:5d} {self.bare:5d} {self.silent:6d}"
        )


HEAD = (
    f"{'':44s} {'pict':>4s} {'wells':>6s}  {'recall':>6s} {'precis':>6s} {'IoU':>6s}  "
    f"{'right':>5s} {'wrong':>5s} {'bare':>5s} {'silent':>6s}"
)


def table(name: str, cases: Iterable[Case], every: int) -> None:
    """Print a family: a row for each level, and one for all."""
    levels: dict[str, Tally] = {}
    whole = Tally()
    told = Tally()
    for number, case in enumerate(cases):
        if number % every:
            continue
        found = wells_of(case.picture)
        for tally in (levels.setdefault(case.level, Tally()), whole):
            tally.add(case, found)
        if name == "several plates":
            expected = Expected(case.wells_each, case.plates)
            told.add(case, wells_of(case.picture, expected=expected))
    aside = " (kept aside)" if name in ASIDE else ""
    print(whole.line(f"{name}{aside}"), flush=True)
    if name == "several plates":
        print(told.line("  with --format and --plates"))
    for level, tally in levels.items():
        print(tally.line(f"  {level}"))


_TIMED = """
import sys, time, cytowell
cytowell.find_wells(sys.argv[1])
for _ in range(3):
    start = time.process_time()
    cytowell.find_wells(sys.argv[1])
    print(time.process_time() - start)
"""


def pace(root: Path, other: str) -> None:
    """Print the processor's seconds for 12 megapixels, here and in another checkout, in turns."""
    photograph = made.real(root, (1,))[0].picture.resize((4000, 3000))
    took: dict[str, list[float]] = {"here": [], "there": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.jpg"
        photograph.save(file, quality=90)
        for _ in range(3):
            for which, source in (
                ("here", str(Path(__file__).parent.parent / "src")),
                ("there", other),
            ):
                env = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
                said = subprocess.run(
                    [sys.executable, "-c", _TIMED, str(file)],
                    env=env,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                took[which] += map(float, said.stdout.split())
    here, there = (statistics.median(took[k]) for k in ("here", "there"))
    print(f"12 megapixels: {here:.2f} s here, {there:.2f} s there, ratio {here / there:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--pace", default="", help="src/ folder of another checkout")
    given = parser.parse_args()
    root = data_folder("plates")
    if given.pace:
        pace(root, given.pace)
        return
    print(HEAD)
    for name, cases in families(root).items():
        if not given.families or name in given.families:
            table(name, cases, given.every)


if __name__ == "__main__":
    main()
