"""Every interval of the product lies in its range, holds its value, and is never a point."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cytowell
from cytowell.evaluation.agreement import agree_on_calls, agree_on_titres
from cytowell.evaluation.correction import KnownErrors
from cytowell.evaluation.detection import Seen, evaluate_boxes
from cytowell.evaluation.differential import differential
from cytowell.evaluation.intervals import bootstrap, unseen, wilson
from cytowell.evaluation.metrics import evaluate
from cytowell.runs.adapting import gain_of
from cytowell.types import Box, Predictions, Sample

MAKERS = {
    "ppf", "isf", "proportion_confint", "multinomial_proportions_confint", "conf_int", "confint",
    "percentile", "nanpercentile", "quantile", "nanquantile", "interval", "percentile_interval",
    "wilson", "unseen", "bootstrap",
}  # fmt: skip
"""What limits are computed with."""

SHOWN = {
    "evaluation.agreement:kappa_limits": "calls of two readers",
    "evaluation.agreement:agree_on_titres": "titres of two readers",
    "evaluation.agreement:_wilson": "calls of two readers",
    "evaluation.comparison:accuracy_interval": "bootstrap and Wilson; tests of the comparison",
    "evaluation.detection:_range": "boxes",
    "evaluation.detection:_poisson": "boxes",
    "evaluation.differential:_intervals": "a differential count",
    "evaluation.differential:exact": "a differential count",
    "evaluation.differential:correct": "a differential count",
    "evaluation.correction:corrected": "a differential count",
    "evaluation.figures:reliability_plot.draw": "Wilson",
    "evaluation.intervals:wilson": "Wilson",
    "evaluation.intervals:percentile_interval": "bootstrap and Wilson",
    "evaluation.intervals:bootstrap": "bootstrap and Wilson",
    "evaluation.metrics:_entries": "figures",
    "evaluation.spread:interval": "figures",
    "evaluation.spread:_stand_in": "figures",
    "evaluation.spread:_corners": "figures",
    "plates.assay:_in_units": "tests of the plates: titre rules and units",
    "plates.assay:_difference": "tests of the plates: titre rules and units",
    "plates.endpoint:bounded": "tests of the plates: titre rules and units",
    "plates.slope:Density.interval": "tests of the plates: titre rules and units",
    "plates.slope:bayesian_logit": "tests of the plates: titre rules and units",
    "plates.titre:<module>": "tests of the plates: titre rules and units",
    "runs.adapting:around": "the gain of an adaptation",
    "runs.adapting:gain_of": "the gain of an adaptation",
    "runs.diagnose:_interval": "tests of the learning curves",
    "runs.diagnose:interval": "tests of the learning curves",
    "runs.diagnose:_point": "tests of the learning curves",
    "runs.table:_ends": "bootstrap and Wilson",
}
"""Functions that give an interval, and what shows that it keeps the rules."""

OTHERS = {
    "checks.duplicates:_tolerance": "a limit for likeness",
    "checks.scan:_light": "the light of a picture",
    "checks.scan:_detail": "the detail of a picture",
    "images.appearance:_bright": "the light of a picture",
    "images.cell:_nucleus": "the stain of a picture",
    "images.cell:light_of": "the light of a picture",
    "plates.lattice:_worth": "a score",
}
"""What takes a quantile for another purpose."""


def _limits() -> Iterator[str]:
    root = Path(cytowell.__file__).parent
    for file in sorted(root.rglob("*.py")):
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        yield from _inside(ast.parse(file.read_text(encoding="utf-8")), module, [])


def _inside(node: ast.AST, module: str, names: list[str]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        within = names
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            within = [*names, child.name]
        if isinstance(child, ast.Call):
            called = child.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in MAKERS:
                yield f"{module}:{'.'.join(within) or '<module>'}"
        yield from _inside(child, module, within)


def test_every_function_that_gives_an_interval_is_known_here() -> None:
    unknown = sorted({*_limits()} - {*SHOWN} - {*OTHERS})
    assert not unknown, f"show that their intervals keep the rules, and add them: {unknown}"


def _keeps(
    value: float | None,
    low: float | None,
    high: float | None,
    span: tuple[float, float] = (0.0, 1.0),
) -> None:
    if value is None or low is None or high is None:
        return  # an interval that is not known is not stated
    assert span[0] - 1e-12 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= span[1] + 1e-12
    assert high - low > 1e-6


@given(st.integers(1, 3000), st.floats(0, 1))
def test_wilson(count: int, share: float) -> None:
    right = round(share * count)
    low, high = wilson(right, count) or (0.0, 0.0)
    _keeps(right / count, low, high)
    _keeps(right / count, *unseen(right / count, count))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=12), st.integers(1, 4))
def test_bootstrap(right: list[int], groups: int) -> None:
    p = np.array(right, dtype=np.float64)
    names = np.array([f"g{i % groups}" for i in range(len(right))])
    truth = np.zeros(len(p), dtype=np.int64)
    ends = bootstrap(lambda _, q: float(q.mean()), truth, p, names, 40, span=(0.0, 1.0))
    assert ends is not None
    assert 0 <= ends[0] < ends[1] <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=15), st.data())
def test_calls_of_two_readers(first: list[str], data: st.DataObject) -> None:
    other = st.lists(st.sampled_from("abc"), min_size=len(first), max_size=len(first))
    for second in (first, data.draw(other)):
        found = agree_on_calls(first, second)
        _keeps(found.agreed, found.agreed_low, found.agreed_high)
        _keeps(found.kappa, found.kappa_low, found.kappa_high, (-1.0, 1.0))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 99), st.floats(0.1, 99)), min_size=3, max_size=9))
def test_titres_of_two_readers(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    if np.std(np.log10(first) - np.log10(second)) < 1e-4:
        return
    found = agree_on_titres(first, second)
    _keeps(found.within, found.within_low, found.within_high)
    for entry in ((found.bias, found.bias_low, found.bias_high), found.lower, found.upper):
        _keeps(*entry, (-np.inf, np.inf))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 6)), min_size=1, max_size=14),
    st.integers(1, 14),
    st.integers(0, 99),
)
def test_figures(rows: list[tuple[int, float]], groups: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(rows), 3))
    for i, (truth, sharp) in enumerate(rows):
        logits[i, truth] += sharp
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    samples = tuple(Sample(f"{i}.png", "abc"[t], f"g{i % groups}") for i, (t, _) in enumerate(rows))
    none = ("",) * len(rows)
    calls = Predictions(samples, ("a", "b", "c"), p, p.max(axis=1) > 0.6, none, none)
    found = evaluate(calls, resamples=60)
    spans = {"mcc": (-1.0, 1.0), "brier": (0.0, 2.0), "log_loss": (0.0, np.inf)}
    entries = {k: v for k, v in found.items() if isinstance(v, dict) and "low" in v}
    assert len(entries) > 12
    for name, entry in entries.items():
        _keeps(entry["value"], entry["low"], entry["high"], spans.get(name, (0.0, 1.0)))
    for row in found["per_class"]:
        for name in ("precision", "recall", "f1", "roc_auc", "average_precision"):
            _keeps(row[name]["value"], row[name]["low"], row[name]["high"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.sampled_from(["goodman"]))
def test_a_differential_count(cells: list[int], method: str) -> None:
    names = ("lymphocyte", "monocyte", "neutrophil", "erythroblast")
    confusion = np.diag([9, 9, 9, 9]) + np.eye(4, k=1, dtype=np.int64)
    calls = [names[i] for i in cells]
    found = differential(
        "s", calls, [True] * len(calls), names, interval=method, errors=KnownErrors(confusion)
    )
    for line in found.lines:
        most = 100.0 if line.kind == "white" else np.inf
        _keeps(line.share, line.low, line.high, (0.0, most))
        if line.corrected_low is not None and line.corrected_high is not None:
            assert 0 <= line.corrected_low < line.corrected_high <= most


BOX, FAR = Box(10, 10, 20, 20), Box(90, 90, 9, 9)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["found", "missed", "both", "empty"]), min_size=1, max_size=4))
def test_boxes(kinds: list[str]) -> None:
    boxes = {"found": (BOX,), "missed": (FAR,), "both": (BOX, FAR), "empty": ()}
    one = np.zeros(1, dtype=np.int64)
    photographs = [
        Seen((BOX,), one, found, np.zeros(len(found), dtype=np.int64), np.full(len(found), 0.9))
        for found in (boxes[k] for k in kinds)
    ]
    told = evaluate_boxes(photographs, ("cell",), 0.5, resamples=40)
    row = told["per_class"][0]
    for entry in (told["map50"], told["map50_95"], row["ap50"], row["ap50_95"]):
        _keeps(entry["value"], entry["low"], entry["high"])
    count = row["count_error"]
    _keeps(count["value"], count["low"], count["high"], (0.0, np.inf))


@pytest.mark.parametrize("method", ["sison-glaz"])
@pytest.mark.parametrize("counts", [(1, 0, 0), (30, 0, 0), (3, 2, 1)])
def test_sison_glaz(method: str, counts: tuple[int, ...]) -> None:
    names = ("lymphocyte", "monocyte", "neutrophil")
    calls = [n for n, k in zip(names, counts, strict=True) for _ in range(k)]
    found = differential("s", calls, [True] * len(calls), names, interval=method)
    for line in found.lines:
        _keeps(line.share, line.low, line.high, (0.0, 100.0))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=6, max_size=20), st.integers(0, 99), st.booleans())
def test_the_gain_of_an_adaptation(labels: list[int], seed: int, same: bool) -> None:
    truth = np.array([0, 1, *labels])
    random = np.random.default_rng(seed)
    before = random.normal(size=(len(truth), 3))
    after = before if same else before + 3 * np.eye(3)[truth]
    groups = np.array([f"g{i % 4}" for i in range(len(truth))])
    found = gain_of(truth, before, after, groups)
    _keeps(found.value, found.low, found.high, (-1.0, 1.0))
