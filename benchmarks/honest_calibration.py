"""Calibration, promises and intervals: what is stated and what holds, with known truth.

    python benchmarks/honest_calibration.py [--runs 300]

Four classes of equal share, Gaussian in four dimensions: the softmax of their logits is the true
probability, so the risk of a set of calls is known without counting errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from cytowell.evaluation.agreement import kappa_limits
from cytowell.evaluation.calibration import fit_calibration, fit_farthest, fit_temperature
from cytowell.evaluation.detection import Seen, evaluate_boxes
from cytowell.evaluation.differential import differential
from cytowell.evaluation.intervals import Interval, percentile_interval, resample_weights, wilson
from cytowell.evaluation.metrics import evaluate
from cytowell.evaluation.promise import promise, without_proof
from cytowell.learners.linear import fit_head
from cytowell.types import Box, FloatArray, IntArray, Predictions, Sample

SEED = 21
RUNS = 300
FRESH = 20_000

Row = dict[str, Any]


def rows(runs: int = RUNS) -> list[Row]:
    """Give a row per figure and setting: what, setting, n, nominal, measured, simulations."""
    out: list[Row] = []
    for part in (_promises, _decided, _rare, _distance, _shares, _kappa, _groups, _figures):
        out += [*part(runs, np.random.default_rng(SEED))]
    return [*out, *_boxes(max(20, runs // 5), np.random.default_rng(SEED))]


def _row(what: str, setting: str, n: int, nominal: float, found: Any) -> Row:
    return {
        "what": what,
        "setting": setting,
        "n": n,
        "nominal": nominal,
        "measured": float(np.mean(found)),
        "simulations": len(found),
    }


def _cells(n: int, apart: float, random: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Give logits (N, 4) whose softmax is true, and labels."""
    labels = random.integers(4, size=n)
    X = random.normal(size=(n, 4))
    X[np.arange(n), labels] += apart
    return apart * X, labels


def _promises(runs: int, random: np.random.Generator) -> Iterator[Row]:
    """Fit temperature, bias and threshold on n images, whose network is 1.7 times too sure."""
    for apart, right in ((2.4, "89 %"), (3.0, "96 %"), (3.9, "99.2 %")):
        fresh, _ = _cells(FRESH, apart, random)
        true = softmax(fresh, axis=1)
        for wrong in (0.01, 0.001) if apart == 3.0 else (0.01,):
            for n in (50, 300, 600, 2000):
                made, broken, before = [], [], []
                for _ in range(runs):
                    logits, labels = _cells(n, apart, random)
                    fitted = fit_calibration(1.7 * logits, labels)
                    sure = fitted.probabilities(1.7 * logits)
                    found = promise(sure, labels, wrong)
                    order = np.argsort(-sure.max(axis=1))
                    missed = (sure.argmax(axis=1) != labels)[order]
                    old = without_proof(sure.max(axis=1)[order], missed, wrong)
                    p = fitted.probabilities(1.7 * fresh)
                    called = p.argmax(axis=1)
                    risks = 1 - true[np.arange(FRESH), called]
                    top = p.max(axis=1)
                    made.append(found.made)
                    broken.append(found.made and _mean(risks[top >= found.threshold]) > wrong)
                    before.append(_mean(risks[top >= old]) > wrong)
                asked = f"at most {100 * wrong:g} % wrong, {right} right"
                yield _row("promise is made", asked, n, np.nan, made)
                yield _row("promise is broken (at most)", asked, n, 0.05, broken)
                yield _row("rule without proof is broken", asked, n, np.nan, before)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _decided(runs: int, random: np.random.Generator) -> Iterator[Row]:
    """Say how many images a promise of 1 % leaves undecided where 99.2 % are called correctly."""
    fresh, _ = _cells(FRESH, 3.9, random)
    top = softmax(fresh, axis=1).max(axis=1)
    for n in (300, 400, 600, 837, 1200):
        share = []
        for _ in range(runs):
            logits, labels = _cells(n, 3.9, random)
            share.append((top >= promise(softmax(logits, axis=1), labels).threshold).mean())
        yield _row("share decided", "at most 1 % wrong, 99.2 % right", n, np.nan, share)


def _rare(runs: int, random: np.random.Generator) -> Iterator[Row]:
    """Teach a balanced head two classes, one of 5 %, and ask how often it says so."""

    def drawn(n: int) -> tuple[Any, IntArray]:
        labels = (random.random(n) < 0.05).astype(np.int64)
        X = random.normal(size=(n, 20))
        X[:, 0] += 1.5 * labels
        return X.astype(np.float32), labels

    for n in (100, 300, 1000):
        alone, biased = [], []
        for _ in range(max(20, runs // 5)):
            (X, y), (held, truth), (fresh, _) = drawn(600), drawn(n), drawn(4000)
            head = fit_head(X, y, 2, 0.03, "balanced")
            shift = np.log(np.maximum(np.bincount(y, minlength=2), 0.5) / len(y))
            one = fit_temperature(head.logits(held), truth)
            alone.append(softmax(head.logits(fresh) / one, axis=1)[:, 1].mean())
            fitted = fit_calibration(head.logits(held), truth, shift=shift)
            biased.append(fitted.probabilities(head.logits(fresh))[:, 1].mean())
        what = "mean probability of a class of 5 %"
        yield _row(what, "balanced, temperature alone", n, 0.05, alone)
        yield _row(what, "balanced, bias of each class", n, 0.05, biased)


def _distance(runs: int, random: np.random.Generator) -> Iterator[Row]:
    for n in (100, 300, 1000):
        beyond = [
            (random.chisquare(8, FRESH) > fit_farthest(random.chisquare(8, n))).mean()
            for _ in range(runs)
        ]
        yield _row("declined as unlike (at most)", "images alike", n, 0.01, beyond)


def _shares(runs: int, random: np.random.Generator) -> Iterator[Row]:
    for p in (0.5, 0.9, 0.99):
        for n in (10, 30, 100, 1000):
            ends = [wilson(int(k), n) for k in random.binomial(n, p, 10 * runs)]
            held = [e is not None and e[0] <= p <= e[1] for e in ends]
            yield _row("interval of a share (Wilson)", f"share {p:g}", n, 0.95, held)
    names = ("lymphocyte", "monocyte", "neutrophil", "eosinophil")
    true = np.array([0.3, 0.07, 0.6, 0.03])
    for n in (50, 100, 200):
        held = []
        for counts in random.multinomial(n, true, runs):
            calls = [c for c, k in zip(names, counts, strict=True) for _ in range(k)]
            lines = differential("s", calls, [True] * n, names).lines
            held.append(
                all(
                    line.low is not None and line.high is not None
                    and line.low <= 100 * t <= line.high
                    for line, t in zip(lines, true, strict=True)
                )
            )  # fmt: skip
        yield _row("differential, all classes at once (Goodman)", "four classes", n, 0.95, held)


def _kappa(runs: int, random: np.random.Generator) -> Iterator[Row]:
    for name, shares in (("even classes", (0.5, 0.5)), ("one of ten", (0.9, 0.1))):
        for kappa in (0.0, 0.6, 0.9):
            chance = np.outer(shares, shares)
            table = (1 - kappa) * chance + kappa * np.diag(shares)
            for n in (10, 30, 100):
                held = []
                for counts in random.multinomial(n, table.ravel(), runs):
                    square = counts.reshape(2, 2)
                    if max(square.sum(axis=0).max(), 0) == n == square.sum(axis=1).max():
                        continue  # both only ever said one and the same: there is no kappa
                    low, high = kappa_limits(square)
                    held.append(low - 1e-12 <= kappa <= high + 1e-12)
                yield _row("interval of kappa", f"{name}, kappa {kappa:g}", n, 0.95, held)


def _groups(runs: int, random: np.random.Generator) -> Iterator[Row]:
    draws: dict[str, tuple[Callable[[int], FloatArray], Interval]] = {
        "means of groups, normal": (lambda g: random.normal(size=g), (-np.inf, np.inf)),
        "accuracy of slides, mean 0.9": (lambda g: random.beta(9, 1, g) - 0.9, (-0.9, 0.1)),
    }
    for name, (draw, span) in draws.items():
        for groups in (3, 5, 10, 20, 50):
            weights = np.concatenate([*resample_weights(groups, 1000, 1)]) / groups
            found = [percentile_interval(weights @ draw(groups), groups, span) for _ in range(runs)]
            held = [e is not None and e[0] <= 0 <= e[1] for e in found]
            yield _row("interval by the bootstrap over groups", name, groups, 0.95, held)


def _figures(runs: int, random: np.random.Generator) -> Iterator[Row]:
    names = ("accuracy", "macro_f1", "mcc", "roc_auc", "average_precision", "brier")
    true = evaluate(_calls(FRESH, random, 1), resamples=2)
    for n, size in ((30, 1), (100, 1), (300, 1), (100, 10), (300, 10)):
        found = [evaluate(_calls(n, random, size), resamples=300) for _ in range(runs // 3)]
        for name in names:
            value = true[name]["value"]
            held = [
                f[name]["low"] is not None and f[name]["low"] <= value <= f[name]["high"]
                for f in found
            ]
            setting = "images" if size == 1 else f"slides of {size} images"
            yield _row(f"interval of {name}", setting, n, 0.95, held)


def _calls(n: int, random: np.random.Generator, size: int) -> Predictions:
    """Give calls of which those of one slide err together, for slides of more than one image."""
    logits, labels = _cells(n, 2.0, random)
    slide = np.arange(n) // size
    if size > 1:
        logits += 2.0 * random.normal(size=(slide.max() + 1, 4))[slide]
    else:
        logits += 2.0 * random.normal(size=(n, 4))
    p = softmax(logits, axis=1)
    samples = tuple(
        Sample(f"{i}.png", "abcd"[c], f"s{s}")
        for i, (c, s) in enumerate(zip(labels, slide, strict=True))
    )
    none = ("",) * n
    return Predictions(samples, tuple("abcd"), p, p.max(axis=1) > 0.8, none, none)


def _boxes(runs: int, random: np.random.Generator) -> Iterator[Row]:
    """Photographs of five cells; some photographs are harder than others."""

    def photograph() -> Seen:
        places = [Box(40.0 * k, 10, 20, 20) for k in range(5)]
        hard = random.random() < 0.3
        found = [b for b in places if random.random() < (0.6 if hard else 0.95)]
        false = [Box(40.0 * k, 200, 20, 20) for k in range(random.poisson(1.5 if hard else 0.2))]
        scores = np.append(random.beta(5, 2, len(found)), random.beta(2, 4, len(false)))
        labels = np.zeros(len(scores), dtype=np.int64)
        return Seen(
            tuple(places), np.zeros(5, dtype=np.int64), (*found, *false), labels, scores + 0.01
        )

    true = evaluate_boxes([photograph() for _ in range(1500)], ("cell",), 0.5, resamples=0)
    value = true["map50"]["value"]
    for n in (3, 5, 10, 30):
        held = []
        for _ in range(runs):
            entry = evaluate_boxes([photograph() for _ in range(n)], ("cell",), 0.5)["map50"]
            held.append(entry["low"] <= value <= entry["high"])
        yield _row("interval of average precision", "photographs of five cells", n, 0.95, held)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS)
    print(pd.DataFrame(rows(parser.parse_args().runs)).to_string(index=False))
