"""Titres: how often the stated intervals cover the truth, and how long a plate takes.

    python benchmarks/titres.py [--plates 2000] [--picture docs/coverage.svg]

Each simulated run has a reference serum and four sera, four wells at six three-fold dilutions,
drawn from a known curve; logistic ones of several steepnesses and single hits. Counted are the sera
whose wells bracket the end point. A rule that gives no interval covers nothing.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import expit

from cytowell import registry
from cytowell.errors import TitreError
from cytowell.plates.assay import assay, assay_plates
from cytowell.plates.counting import Count, read_wells
from cytowell.plates.dilutions import Series
from cytowell.plates.layout import Layout
from cytowell.plates.layout_files import read_layout
from cytowell.plates.slope import Parallel
from cytowell.plates.titre import Estimate, spearman_karber
from cytowell.types import FloatArray

STEP = np.log10(3)
DOSES = STEP * np.arange(1, 7)
WELLS = 4
SERA = 4
RULES = ("spearman-karber, n-1", "spearman-karber, n", "reed-muench", "probit", "logit",
         "bayesian-logit", "shared-slope")  # fmt: skip

Curve = Callable[[FloatArray], FloatArray]
CURVES: dict[str, Curve] = {
    "logistic 0.1": lambda h: expit(h / 0.1),
    "logistic 0.2": lambda h: expit(h / 0.2),
    "logistic 0.3": lambda h: expit(h / 0.3),
    "single hit, power 1": lambda h: np.exp(-np.log(2) * 10 ** (-h)),
    "single hit, power 2": lambda h: np.exp(-np.log(2) * 10 ** (-2 * h)),
}
"""Share of protected wells by log10 of end point over dilution."""


@functools.cache
def interval(rule: str, protected: tuple[int, ...]) -> tuple[float, float] | None:
    """Give a rule's own interval of log10 D50."""
    series = series_of(protected)
    try:
        if rule == "spearman-karber, n":
            found: Estimate = spearman_karber(series, "n")
        else:
            found = registry.load("titre-rules", rule.split(",")[0])(series)
    except TitreError:
        return None
    return None if found.low is None or found.high is None else (found.low, found.high)


def series_of(protected: tuple[int, ...]) -> Series:
    """Give the counts as a series of a serum."""
    return Series(DOSES, np.array(protected), np.full(len(DOSES), WELLS), "serum")


def cover(curve: Curve, runs: int, layout: Layout, rng: np.random.Generator) -> dict[str, float]:
    """Give each rule's share of intervals that cover, and that of IU/mL."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        truth = rng.uniform(DOSES[0] + STEP / 2, DOSES[-1] - STEP / 2, SERA + 1)
        truth[0] = 1.43 + rng.uniform(-0.12, 0.12)
        drawn = rng.binomial(WELLS, curve(truth[:, None] - DOSES))
        keys = [tuple(int(v) for v in k) for k in drawn]
        together = Parallel([series_of(k) for k in keys])
        for i, key in enumerate(keys):
            if i == 0 or key[0] < WELLS or key[-1] > 0:
                continue
            for rule in RULES[:-1]:
                pair = interval(rule, key)
                hits[rule].append(pair is not None and pair[0] <= truth[i] <= pair[1])
            low, high = together.end_point(i).interval()
            hits["shared-slope"].append(low <= truth[i] <= high)
        counts = [_count(i, key) for i, key in enumerate(keys)]
        if keys[0][0] < WELLS or keys[0][-1] > 0:
            continue
        for titre in assay(counts, layout).titres:
            i = int(titre.count.name)
            if i == 0 or titre.value_low is None or titre.value_high is None:
                continue
            if titre.reported[0] in "<>n":
                continue
            iu = 0.5 * 10 ** (truth[i] - truth[0])
            hits["IU/mL"].append(titre.value_low <= iu <= titre.value_high)
    return {rule: float(np.mean(found)) for rule, found in hits.items()}


def _count(i: int, protected: tuple[int, ...]) -> Count:
    infected = tuple(WELLS - v for v in protected)
    full = (WELLS,) * len(DOSES)
    role = "test" if i else "reference"
    return Count("p", str(i), role, "serum", tuple((-DOSES).tolist()), infected, full, full)


def wells_of(plates: int, layout: Layout, rng: np.random.Generator) -> pd.DataFrame:
    """Give a table of that many FAVN plates that keep their controls."""
    rows = []
    for p in range(plates):
        ends = {"serum 1": rng.uniform(0.8, 2.5), "serum 2": rng.uniform(0.8, 2.5)}
        for s in layout.specimens:
            for well, dose in zip(s.wells, s.dilutions or (0.0,) * len(s.wells), strict=True):
                protected = expit((ends.get(s.name, 1.43) - dose) / 0.15)
                infected = {
                    "cell-control": False,
                    "naive": True,
                    "back-titration": dose < 1.9,
                }.get(s.role, rng.random() > protected)
                rows.append((f"plate {p}", well, str(int(infected))))
    return pd.DataFrame(rows, columns=["plate", "well", "positive"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plates", type=int, default=2000, help="simulated runs of each curve")
    parser.add_argument("--timed", type=int, default=2000, help="plates that are timed")
    parser.add_argument("--picture", default="", help="file for the picture of the coverage")
    given = parser.parse_args()
    layout = read_layout("favn")
    rng = np.random.default_rng(1)
    found = {n: cover(c, given.plates, layout, rng) for n, c in CURVES.items()}
    print(f"share of 95 % intervals that cover, {given.plates} runs of {SERA} sera a curve, seed 1")
    print(f"{'':24}" + "".join(f"{name:>21}" for name in CURVES))
    for rule in (*RULES, "IU/mL"):
        cells = "".join(f"{100 * found[name][rule]:>19.1f} %" for name in CURVES)
        print(f"{rule:24}{cells}")
    table = wells_of(given.timed, layout, rng)
    start = time.perf_counter()
    plates = read_wells(table, layout)
    read = time.perf_counter() - start
    runs = [assay_plates({name: wells}, layout) for name, wells in plates.items()]
    took = time.perf_counter() - start
    print(f"{given.timed} plates of 96 wells from a table: {took:.1f} s, "
          f"{1000 * (took - read) / given.timed:.1f} ms a plate for its titres "
          f"({sum(r.valid for r in runs)} valid)")  # fmt: skip
    if given.picture:
        draw(Path(given.picture), found)


def draw(path: Path, found: dict[str, dict[str, float]]) -> None:
    """Draw coverage by rule and curve."""
    with mpl.rc_context({"font.size": 8.5, "svg.hashsalt": "cytowell", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7.4, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.axhspan(93, 97, color="#e6f2ec")
        axes.axhline(95, color="#009E73", lw=0.8)
        marks = "os^Dv"
        for mark, (name, shares) in zip(marks, found.items(), strict=True):
            axes.plot([100 * shares[r] for r in RULES], mark, ms=5, label=name, alpha=0.85)
        axes.set_xticks(
            range(len(RULES)), [r.replace("-", "-\n", 1).replace(", ", "\n") for r in RULES]
        )
        axes.set_ylabel("intervals that cover, %")
        axes.legend(frameon=False, fontsize=7.5, loc="lower right")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
