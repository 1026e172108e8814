"""Titre rules that fit a curve of tolerances by maximum likelihood (statsmodels)."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import statsmodels.api as sm
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from cytowell.errors import TitreError
from cytowell.plates.dilutions import Series
from cytowell.plates.titre import Estimate, Z, normal, scattered


def probit(series: Series) -> Estimate:
    """Fit a normal distribution of tolerances by maximum likelihood (Bliss 1934); delta method."""
    return _fitted("probit", series, sm.families.links.Probit(), 0.0)


def logit(series: Series) -> Estimate:
    """Fit a logistic distribution of tolerances by maximum likelihood; delta method."""
    return _fitted("logit", series, sm.families.links.Logit(), 0.0)


def cloglog(series: Series) -> Estimate:
    """Fit complementary log-log with a free slope by maximum likelihood; delta method."""
    return _fitted("cloglog", series, sm.families.links.CLogLog(), math.log(math.log(2)))


def _fitted(rule: str, series: Series, link: Any, level: float) -> Estimate:
    """Fit p = F(a + b x) and give where a + b x is `level`."""
    design = sm.add_constant(series.dilutions)
    counts = np.stack([series.affected, series.wells - series.affected], axis=1)
    flags = list(series.flags)
    partial = int(((series.shares > 0) & (series.shares < 1)).sum())
    if partial < 2:
        raise TitreError(
            f"{rule} needs two dilutions at which some wells are affected and others not; there "
            f"{'is one' if partial else 'is none'}.",
            "Use --rule spearman-karber.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        fit = sm.GLM(counts, design, family=sm.families.Binomial(link=link)).fit(maxiter=200)
    a, b = (float(v) for v in fit.params)
    if not fit.converged or not b < 0:
        raise TitreError(
            f"{rule} finds no falling curve in these counts.", "Use --rule spearman-karber."
        )
    middle = (level - a) / b
    span = float(np.ptp(series.dilutions))
    if not series.dilutions[0] - span <= middle <= series.dilutions[-1] + span:
        raise TitreError(
            f"{rule} puts the end point far outside of what was counted.",
            "Count at dilutions on both sides of it, or use --rule spearman-karber.",
        )
    covariance = np.asarray(fit.cov_params())
    gradient = np.array([-1.0 / b, -middle / b])
    se: float | None = math.sqrt(float(gradient @ covariance @ gradient))
    if Z * math.sqrt(float(covariance[1, 1])) >= -b:
        # A slope that may be none leaves the end point without limits (Fieller 1954).
        flags.append("slope_uncertain")
        se = None
    flags += scattered(series.affected, series.wells, np.asarray(fit.fittedvalues), 2)
    return replace(normal(rule, series, middle, se, ()), flags=tuple(flags))
