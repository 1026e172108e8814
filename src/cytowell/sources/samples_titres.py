"""Draws what wells of a FAVN plate turn out to be, for sera whose titre is known.

Two truths are kept: the titre that the wells are drawn from, and what each well then is. No reader
can do better than the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cytowell.plates.layout import Layout
from cytowell.sources.samples_optics import Random

STEEPNESS = 0.15
"""log10 of the dilution factor in which the odds of a protected well change e-fold."""

CHALLENGE = 100.0
"""TCID50 of virus in each well."""

REFERENCE = 1.43
"""log10 D50 of the reference serum on average: ten protected wells of a FAVN plate."""

REFERENCE_IU = 0.5


@dataclass(frozen=True)
class Drawn:
    """A plate's wells.

    Attributes
    ----------
    infected
        Whether each well is, by name.
    truths
        (specimen, role, log10 D50, IU/mL) of each serum; the titres that wells were drawn from.
    """

    infected: dict[str, bool]
    truths: tuple[tuple[str, str, float, float], ...]


def draw_titration(layout: Layout, rng: Random) -> Drawn:
    """Draw the wells of a plate whose sera have titres of 0.1 to 4 IU/mL."""
    reference = REFERENCE + rng.normal(0, 0.06)
    infected: dict[str, bool] = {}
    truths = []
    for specimen in layout.specimens:
        end = reference
        if specimen.role == "test":
            end += rng.uniform(math.log10(0.1 / REFERENCE_IU), math.log10(4 / REFERENCE_IU))
        if specimen.role in ("reference", "test"):
            iu = REFERENCE_IU * 10 ** (end - reference)
            truths.append((specimen.name, specimen.role, end, iu))
        doses = specimen.dilutions or (0.0,) * len(specimen.wells)
        for well, dose in zip(specimen.wells, doses, strict=True):
            infected[well] = bool(rng.random() < _chance(specimen.role, end, dose))
    return Drawn(infected, tuple(truths))


def _chance(role: str, end: float, dose: float) -> float:
    """Give the probability that a well is infected."""
    if role == "cell-control":
        return 0.0
    if role in ("naive", "virus-control"):
        return 1.0
    if role == "back-titration":
        return float(-np.expm1(-math.log(2) * CHALLENGE * 10**-dose))
    return float(1 / (1 + math.exp(min(50.0, (end - dose) / STEEPNESS))))
