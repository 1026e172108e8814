"""How far few labels, or none, take a bundle in another laboratory.

    python benchmarks/adapt.py [--bundle blood] [--per-class 10] [--draws 5] [--only WHERE ...]

Labels are drawn at random, as many of each class; all other photographs evaluate. Macro-F1 over the
classes that are there, calls over all classes of the bundle. Five-class accuracy as in `elsewhere`.
Without labels, 100 photographs are drawn and the others evaluate; where nothing is kept, the bundle
calls as before. LISC is for research: measured, and nothing was chosen on it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import blood
import cytowell
from cytowell.runs.adapt import adapt
from cytowell.runs.adaptation import Adaptation
from cytowell.runs.adapting import macro_f1
from cytowell.runtime.bundle import Bundle
from cytowell.types import Dataset, Predictions, Sample
from elsewhere import lisc, measured

UNLABELLED = 100


def places() -> dict[str, list[Sample]]:
    """Give labelled photographs of LISC, BCCD, Raabin and of PBC's test part."""
    files, truth = lisc()
    home = blood.pbc()
    test = home.take(blood.parts(home)[2])
    at_home = [s for c in test.classes for s in [s for s in test.samples if s.label == c][:60]]
    return {
        "LISC": [Sample(f, t) for f, t in zip(files, truth, strict=True)],
        "BCCD": blood.white_cells("bccd", "bcd", reserved=True),
        "Raabin": blood.white_cells("raabin", reserved=None),
        "PBC": [replace(s, subclass=None) for s in at_home],
    }


def drawn(samples: Sequence[Sample], per_class: int, seed: int) -> tuple[list[int], list[int]]:
    """Give positions of as many of each class at random, and of all others."""
    rng = np.random.default_rng(seed)
    names = np.array([str(s.label) for s in samples])
    chosen: list[int] = []
    for name in np.unique(names):
        here = np.flatnonzero(names == name)
        if len(here) >= 2 * per_class:
            chosen += rng.permutation(here)[:per_class].tolist()
    kept = np.isin(names, np.unique(names[chosen]))
    return chosen, [int(i) for i in np.flatnonzero(kept) if i not in set(chosen)]


def figures(bundle: Bundle, samples: Sequence[Sample]) -> tuple[Predictions, float]:
    """Give the calls of samples and macro-F1."""
    calls = bundle.predict(list(samples))
    return calls, macro_f1(calls.truth, np.nan_to_num(calls.probabilities, nan=-1))


def with_labels(bundle: Bundle, samples: list[Sample], per_class: int, draws: int) -> None:
    """Print what labels give, and what permuted labels do."""
    gains = []
    for seed in range(draws):
        chosen, others = drawn(samples, per_class, seed)
        own = [samples[i] for i in chosen]
        rest = [samples[i] for i in others]
        start = time.monotonic()
        done = adapt(bundle, dataset(own), seed=seed)
        seconds = time.monotonic() - start
        _, before = figures(bundle, rest)
        calls, after = figures(done.bundle or bundle, rest)
        right = (calls.called == calls.truth)[calls.decided]
        gains.append((before, after))
        print(
            f"  {per_class} a class, draw {seed}: macro-F1 {before:.3f} -> {after:.3f} on "
            f"{len(rest)} others; {foretold(done)}; decided {calls.decided.sum()}, right "
            f"{right.sum()}; {seconds:.0f} s",
            flush=True,
        )
        names = np.random.default_rng(seed).permutation([str(s.label) for s in own])
        mixed = [replace(s, label=str(n)) for s, n in zip(own, names, strict=True)]
        wrong = adapt(bundle, dataset(mixed), seed=seed)
        print(f"    permuted labels: {'helped' if wrong.helped else 'did not help'}", flush=True)
    before, after = np.mean(gains, axis=0)
    print(f"  mean of {draws} draws: macro-F1 {before:.3f} -> {after:.3f}", flush=True)


def foretold(done: Adaptation) -> str:
    """Give what the adaptation itself reports of left-out labels."""
    head = next(p for p in done.parts if p.name == "head")
    found = f"it says {done.figures.get('macro_f1', float('nan')):.3f}"
    return f"{found}, gain {head.gain:+.3f} ({head.low:+.3f} to {head.high:+.3f})"


def dataset(samples: Sequence[Sample]) -> Dataset:
    return Dataset(tuple(samples), tuple(sorted({str(s.label) for s in samples})))


def without_labels(bundle: Bundle, samples: list[Sample], draws: int) -> None:
    """Print what unlabelled photographs give."""
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(samples))
        count = min(UNLABELLED, len(samples) // 2)
        new = [replace(samples[i], label=None) for i in order[:count]]
        rest = [samples[i] for i in order[count:]]
        done = adapt(bundle, None, new, seed=seed)
        truth = [str(s.label) for s in rest]
        kept = "kept" if done.helped else "not kept"
        print(measured(f"  {count} unlabelled, draw {seed}: before", bundle.predict(rest), truth))
        after = (done.bundle or bundle).predict(rest)
        print(measured(f"    after ({kept})", after, truth), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="blood")
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    bundle = cytowell.load(given.bundle)
    for name, samples in places().items():
        if given.only and name not in given.only:
            continue
        print(f"{name}, n = {len(samples)}", flush=True)
        without_labels(bundle, samples, min(3, given.draws))
        with_labels(bundle, samples, given.per_class, given.draws)


if __name__ == "__main__":
    main()
