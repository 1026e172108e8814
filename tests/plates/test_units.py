"""IU/mL against a reference serum: the published FAVN table, rounding, verdicts."""

from __future__ import annotations

import math

import pytest

from cytowell.errors import TitreError
from cytowell.plates.dilutions import Series
from cytowell.plates.titre import Estimate, reed_muench, spearman_karber
from cytowell.plates.units import per_millilitre, potency

TABLE = {
    0: 0.03, 4: 0.10, 7: 0.22, 9: 0.38, 10: 0.50, 11: 0.66, 12: 0.87, 13: 1.15, 14: 1.51, 15: 1.99,
    16: 2.62, 17: 3.46, 18: 4.56, 19: 5.87,
}  # fmt: skip
"""IU/mL by protected wells; log10 D50 rounded to two decimals, reference N = 10 of 0.5 IU/mL."""

PUBLISHED = [0.22, 0.38, 0.5, 0.66, 0.87, 1.15, 1.51, 1.99, 2.62, 3.46, 4.56, 6.01]
"""A reference laboratory's results, on steps of 0.12."""


def favn(n: int) -> Estimate:
    """Give the end point of N protected wells of four at each three-fold dilution."""
    protected = [min(4, max(0, n - 4 * i)) for i in range(6)]
    exponents = [-(i + 1) * math.log10(3) for i in range(6)]
    return spearman_karber(Series.of(protected, 4, exponents, "protected"))


@pytest.mark.parametrize(("n", "answer"), TABLE.items())
def test_favn_table(n: int, answer: float) -> None:
    assert round(potency(favn(n), favn(10), 0.5, "two-decimals").iu_per_ml, 2) == answer


def test_steps_give_every_published_result() -> None:
    steps = [7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    found = [round(potency(favn(n), favn(10), 0.5, "steps-0.12").iu_per_ml, 2) for n in steps]
    assert found == PUBLISHED
    assert round(potency(favn(19), favn(10), 0.5, "exact").iu_per_ml, 2) == 5.92


def test_rffit_serum_against_its_reference() -> None:
    serum, reference = (
        Estimate("reed-muench", math.log10(t), None, None, None) for t in (100, 200)
    )
    assert potency(serum, reference, 2.0).iu_per_ml == pytest.approx(1.0)


def test_the_references_own_error_widens_the_interval() -> None:
    serum = Estimate("probit", 1.5, 0.1, 1.304, 1.696)
    sure, unsure = (Estimate("probit", 1.43, se, None, None) for se in (0.0, 0.2))
    narrow, wide = potency(serum, sure, 0.5), potency(serum, unsure, 0.5)
    assert narrow.low is not None
    assert wide.low is not None
    assert wide.low < narrow.low
    assert narrow.low == pytest.approx(0.5 * 10 ** (0.07 - 1.959964 * 0.1), rel=1e-6)


@pytest.mark.parametrize(
    ("d50", "verdict"), [(2.4, "adequate"), (1.43, "indeterminate"), (0.5, "not adequate")]
)
def test_the_verdict_needs_the_whole_interval(d50: float, verdict: str) -> None:
    serum, reference = Estimate("probit", d50, 0.1, 0, 0), Estimate("probit", 1.43, 0.1, 0, 0)
    assert potency(serum, reference, 0.5).verdict == verdict


def test_wells_that_are_all_or_none_give_no_verdict() -> None:
    found = potency(favn(12), favn(8), 0.5)
    assert found.iu_per_ml > 0.5
    assert (found.low, found.high, found.verdict) == (None, None, "indeterminate")


def test_value_and_verdict_never_contradict_each_other() -> None:
    serum, reference = Estimate("probit", 2.004, 0, 2, 2), Estimate("probit", 2.0049, 0, 2, 2)
    found = potency(serum, reference, 0.5, "two-decimals")
    assert found.iu_per_ml == found.low == 0.5
    assert found.verdict == "adequate"


def test_flags_of_both_are_there() -> None:
    found = potency(favn(3), favn(10), 0.5)
    assert "not_bracketed" in found.flags
    low = potency(favn(10), favn(3), 0.5)
    assert "reference_not_bracketed" in low.flags


def test_what_cannot_be_compared_is_said() -> None:
    series = Series.of([4, 2, 0], 4, [-1, -2, -3], "protected")
    with pytest.raises(TitreError, match="The serum is by"):
        potency(spearman_karber(series), reed_muench(series), 0.5)
    with pytest.raises(TitreError, match="rounding"):
        potency(favn(9), favn(10), 0.5, "nearest")
    with pytest.raises(TitreError, match="0 IU/mL"):
        potency(favn(9), favn(10), 0.0)
    with pytest.raises(TitreError, match="volume"):
        per_millilitre(favn(9), 0.0)
