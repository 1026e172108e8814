"""The simulations of comparisons and counts: what they say, of a few draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "honest_compare.py"


@pytest.mark.parametrize(
    "name", ["paired_tests", "fold_tests", "pooled_intervals", "corrected_counts"]
)
def test_every_row_says_what_was_promised_and_what_was_measured(name: str) -> None:
    spec = importlib.util.spec_from_file_location("honest_compare", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = getattr(module, name)(simulations=8)
    assert rows
    for row in rows:
        assert list(row) == ["what", "setting", "n", "nominal", "measured", "simulations"]
        assert row["simulations"] == 8
        assert 0 <= row["measured"] <= 1
        assert row["nominal"] in (0.05, 0.95)
        if row["nominal"] == 0.05:
            assert row["measured"] <= 0.5
