"""Titre rules by name: what every rule must keep, wherever it comes from."""

from __future__ import annotations

import math
from dataclasses import replace

from cytowell import registry
from cytowell.errors import TitreError
from cytowell.plates.dilutions import Series, design_effect
from cytowell.plates.titre import Estimate

DENOMINATED = "spearman-karber"
"""The rule whose variance has a denominator to choose."""


def compute(rule: str, series: Series, denominator: str = "n-1") -> Estimate:
    """Give the end point of a series by the rule of this name.

    The value lies in its interval. The interval of a rule takes wells for independent; where fields
    of one chamber were counted, it is widened by `dilutions.design_effect`.

    Raises
    ------
    TitreError
        If the rule does not apply to the series, fails, or gives no finite number.
    """
    function = registry.load("titre-rules", rule)
    try:
        found: Estimate = function(series, denominator) if rule == DENOMINATED else function(series)
    except TitreError:
        raise
    # A laboratory's own rule may raise anything; one specimen must not end the others' results.
    except Exception as error:
        raise TitreError(
            f"{rule} cannot be computed of {series.counted()} ({type(error).__name__}: {error}).",
            "Use --rule spearman-karber.",
        ) from error
    if not math.isfinite(found.log10_d50):
        raise TitreError(
            f"{rule} gives no finite end point of {series.counted()}.",
            "Use --rule spearman-karber.",
        )
    value, more = found.log10_d50, math.sqrt(design_effect(series))
    low = None if found.low is None else min(value, value - more * (value - found.low))
    high = None if found.high is None else max(value, value + more * (found.high - value))
    se = None if found.se is None else more * found.se
    return replace(found, se=se, low=low, high=high, open_ends=series.open_ends)
