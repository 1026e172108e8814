"""Titres: how often stated intervals and bounds hold, from simulation with known truth.

    python benchmarks/honest_titres.py [--runs 150]

`rows` gives one row per interval and setting. An interval holds if the truth lies in it; one with
an open side if the truth lies on the right side of its bound, which is promised for 97.5 %. Runs
are whole ones: a reference serum and four sera, or four viruses, through `assay`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from cytowell.evaluation.agreement import agree_on_titres
from cytowell.plates.assay import Titre, assay
from cytowell.plates.counting import Count
from cytowell.plates.layout_files import read_layout
from cytowell.types import FloatArray, IntArray

SEED = 23
SERA = 4
RUNS = 150

Curve = Callable[[FloatArray], FloatArray]
CURVES: dict[str, Curve] = {
    "logistic 0.1": lambda h: expit(h / 0.1),
    "logistic 0.3": lambda h: expit(h / 0.3),
    "single hit, power 2": lambda h: np.exp(-np.log(2) * 10 ** (-2 * h)),
}
"""Share of protected wells by log10 of end point over dilution."""

Row = dict[str, Any]


def rows(runs: int = RUNS) -> list[Row]:
    """Give a row per interval and setting: what, setting, n, nominal, measured, simulations."""
    rng = np.random.default_rng(SEED)
    out: list[Row] = []
    for curve in CURVES:
        out += _favn(curve, runs, rng)
    for wells in (4, 8, 32):
        out += _single_hit(wells, runs, rng)
    for spread in (0.0, 0.5, 1.0):
        out += _rffit(spread, runs, rng)
    for pairs in (10, 40):
        out += _two_readers(pairs, 10 * runs, rng)
    return out


def _row(what: str, setting: str, n: int, nominal: float, held: list[bool]) -> Row:
    return {
        "what": what,
        "setting": setting,
        "n": n,
        "nominal": nominal,
        "measured": round(float(np.mean(held)), 4) if held else float("nan"),
        "simulations": len(held),
    }


def _count(
    name: str, infected: IntArray, wells: int, dilutions: FloatArray, role: str, titrates: str
) -> Count:
    k, n = tuple(int(v) for v in infected), (wells,) * len(infected)
    return Count("p", name, role, titrates, tuple((-dilutions).tolist()), k, n, n)


def _holds(low: float | None, high: float | None, truth: float) -> bool:
    return (low is None or low <= truth) and (high is None or truth <= high)


def _kept(titre: Titre, truth: float, held: dict[str, list[bool]], name: str) -> None:
    """Note whether a titre's interval, or its bound, and its value hold."""
    low, high = titre.low, titre.high
    if titre.estimate is None or (low is None and high is None):
        return
    censored = low is None or high is None
    held[f"{name}, {'bound' if censored else 'interval'}"].append(_holds(low, high, truth))
    held["value in its interval"].append(_holds(low, high, titre.estimate.log10_d50))


def _rows_of(held: dict[str, list[bool]], setting: str, n: int) -> Iterator[Row]:
    for what, found in held.items():
        nominal = 0.975 if what.endswith("bound") else 1.0 if what.startswith("value") else 0.95
        yield _row(what, setting, n, nominal, found)


def _favn(curve: str, runs: int, rng: np.random.Generator) -> list[Row]:
    """Simulate FAVN: end points on the plate and beyond its ends, shared slope and IU/mL."""
    step, wells = np.log10(3), 4
    dilutions = step * np.arange(1, 7)
    layout = replace(read_layout("favn"), rounding="exact")
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        truth = rng.uniform(dilutions[0] - step, dilutions[-1] + step, SERA + 1)
        truth[0] = 1.43 + rng.uniform(-0.12, 0.12)
        drawn = wells - rng.binomial(wells, CURVES[curve](truth[:, None] - dilutions))
        run = [
            _count(str(i), k, wells, dilutions, "test" if i else "reference", "serum")
            for i, k in enumerate(drawn)
        ]
        for titre in assay(run, layout).titres:
            i = int(titre.count.name)
            if titre.reported == "invalid" or i == 0:
                continue
            _kept(titre, float(truth[i]), held, "log10 D50, shared slope")
            iu = 0.5 * 10 ** float(truth[i] - truth[0])
            if titre.value_low is not None or titre.value_high is not None:
                kind = "bound" if None in (titre.value_low, titre.value_high) else "interval"
                held[f"IU/mL, {kind}"].append(_holds(titre.value_low, titre.value_high, iu))
        for rule in ("spearman-karber", "reed-muench", "bayesian-logit"):
            own = replace(layout, interval="own", rule=rule)
            for titre in assay(run, own).titres:
                i = int(titre.count.name)
                if titre.reported != "invalid" and i:
                    _kept(titre, float(truth[i]), held, f"log10 D50, {rule}'s own")
    return [*_rows_of(held, f"FAVN, {curve}", wells)]


def _single_hit(wells: int, runs: int, rng: np.random.Generator) -> list[Row]:
    dilutions = np.arange(1.0, 8.0)
    layout = replace(read_layout("tcid50"), rule="single-hit")
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        truth = rng.uniform(2, 5, SERA)
        drawn = rng.binomial(wells, -np.expm1(-(10.0 ** (truth[:, None] - dilutions))))
        run = [_count(str(i), k, wells, dilutions, "test", "virus") for i, k in enumerate(drawn)]
        for titre in assay(run, layout).titres:
            _kept(titre, float(truth[int(titre.count.name)]), held, "infectious units, single-hit")
    return [*_rows_of(held, "ten-fold, Poisson", wells)]


def _rffit(spread: float, runs: int, rng: np.random.Generator) -> list[Row]:
    """Simulate chambers of 20 fields that differ by a standard deviation of their log odds."""
    fields, dilutions = 20, np.log10(5) * np.arange(1, 5)
    layout = read_layout("rffit")
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(max(runs // 3, 1)):
        truth = rng.uniform(dilutions[0] + 0.2, dilutions[-1] - 0.2, SERA)
        odds = (truth[:, None] - dilutions) / 0.2 + spread * rng.normal(size=(SERA, 4))
        infected = fields - rng.binomial(fields, expit(odds))
        for chambers in (True, False):
            run = [
                _chambers(_count(str(i), k, fields, dilutions, "test", "serum"), chambers)
                for i, k in enumerate(infected)
            ]
            bare = replace(layout, reference_iu=None)
            name = "chambers are the unit" if chambers else "fields as replicates (not used)"
            for titre in assay(run, bare).titres:
                _kept(titre, float(truth[int(titre.count.name)]), held, f"log10 D50, {name}")
    return [*_rows_of(held, f"RFFIT, chambers differ by {spread:g} logit", fields)]


def _chambers(count: Count, are: bool) -> Count:
    each = tuple((i, k, n) for i, (k, n) in enumerate(zip(count.positives, count.replicates,
                                                          strict=True)))  # fmt: skip
    return replace(count, chambers=each) if are else count


def _two_readers(pairs: int, runs: int, rng: np.random.Generator) -> list[Row]:
    held: dict[str, list[bool]] = defaultdict(list)
    for d in rng.normal(0.1, 0.2, (runs, pairs)):
        found = agree_on_titres((10**d).tolist(), [1.0] * pairs)
        held["Bland-Altman, bias"].append(_holds(found.bias_low, found.bias_high, 0.1))
        for sign, limit in ((-1, found.lower), (1, found.upper)):
            held["Bland-Altman, limit of agreement"].append(
                _holds(limit[1], limit[2], 0.1 + sign * 1.96 * 0.2)
            )
    return [*_rows_of(held, "log10 differences normal", pairs)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS, help="simulated runs of each setting")
    print(pd.DataFrame(rows(parser.parse_args().runs)).to_string(index=False))


if __name__ == "__main__":
    main()
