"""Whether probabilities can be believed, and how they are made so: temperature, threshold, bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from cytowell.types import BoolArray, FloatArray, IntArray

BINS = 15
"""Bins of equal width on the confidence, as in Guo et al. 2017."""

SLACK = 1.1
"""How much further than the farthest of a few images a photograph may lie and still be called."""

TEMPERATURES = (0.05, 20.0)
"""Between these the temperature is looked for."""


@dataclass(frozen=True)
class Expected:
    """What is known of a temperature before any image is held back; log T is normal.

    Attributes
    ----------
    temperature
        The likeliest one.
    doubt
        Standard deviation of log T. At 1 it is worth about one image.
    """

    temperature: float = 1.0
    doubt: float = 1.0


UNKNOWN = Expected()
"""Next to nothing is known: as likely above 1 as below."""


def fit_temperature(logits: FloatArray, labels: IntArray, expected: Expected = UNKNOWN) -> float:
    """Find the one number that logits are divided by before the softmax.

    Minimises the log-loss over log T (Guo et al. 2017, arXiv 1706.04599, section 4.2) within
    `TEMPERATURES`, with a normal prior on log T. The prior vanishes beside hundreds of images. It
    matters in a tiny validation part where every call is right: there the log-loss alone would
    drive T to its bound and call everything certain.

    Parameters
    ----------
    logits
        Of images that were not learnt from; shape (N, C).
    labels
        Class indices; rows with -1 are left out.
    expected
        The prior: what this way of learning is known to need.

    Returns
    -------
    float
        T > 0; the expected one with fewer than two labelled rows.
    """
    known = (labels >= 0) & np.isfinite(logits).all(axis=1)
    X, y = np.asarray(logits, dtype=np.float64)[known], labels[known]
    if len(y) < 2:
        return expected.temperature
    rows = np.arange(len(y))
    middle = np.log(expected.temperature)

    def loss(log_t: float) -> float:
        chosen = log_softmax(X / np.exp(log_t), axis=1)[rows, y]
        return float(-chosen.sum() + 0.5 * ((log_t - middle) / expected.doubt) ** 2)

    found = minimize_scalar(
        loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def fit_farthest(distances: FloatArray, declined: float = 0.01) -> float:
    """Find how far from the training images a photograph may lie and still be called.

    The split-conformal quantile (Papadopoulos et al. 2002; Bates et al. 2023, arXiv 2104.08279): a
    further image like these lies beyond it with a probability of at most `declined`. With fewer
    than 1/`declined` images no such quantile is known; then it is the largest distance and a tenth.

    Parameters
    ----------
    distances
        Of images that were not learnt from; shape (N,), N >= 1.
    """
    rank = int(np.ceil((len(distances) + 1) * (1 - declined)))
    if rank > len(distances):
        return SLACK * float(distances.max())
    return float(np.sort(distances)[rank - 1])


def fit_threshold(probabilities: FloatArray, labels: IntArray, wrong: float = 0.01) -> float:
    """Find how sure a call has to be to be made.

    The lowest confidence (largest probability of a row) seen, at which the calls of at least that
    confidence are wrong in at most a share of `wrong`. A call is made at or above the threshold.

    Where no confidence satisfies the rule (the surest call is wrong), it is just above the surest
    error, at most 1. Without any labelled row it is 1: nothing speaks for deciding.

    Fewer than 3/`wrong` images prove no share of `wrong` even if all are right (the rule of three;
    Hanley & Lippman-Hand 1983, doi 10.1001/jama.1983.03330370053031): eight that are right by luck
    would let nearly everything be decided. The probabilities then have a say: the threshold is
    1 - 5 `wrong` at least, 0.9 where that is less, and a network that is never so sure decides
    nothing. With fewer than 1/`wrong` one sure error would stop next to all deciding: a single one,
    no more than the probabilities promise (their sum, and two standard deviations), lifts the
    threshold no further than that.

    Parameters
    ----------
    probabilities
        Calibrated, of images that were not learnt from; shape (N, C).
    labels
        Class indices; rows with -1 are left out.
    """
    known = (labels >= 0) & np.isfinite(probabilities).all(axis=1)
    if not known.any():
        return 1.0
    top = probabilities[known].max(axis=1)
    missed = probabilities[known].argmax(axis=1) != labels[known]
    order = np.argsort(-top, kind="stable")
    top, missed = top[order], missed[order]
    share = np.cumsum(missed) / np.arange(1, len(top) + 1)
    # Equal confidences are decided together: only the last of them is a place to cut.
    last = np.append(top[1:] < top[:-1], True)
    kept = np.flatnonzero(last & (share <= wrong))
    if len(kept):
        found = float(top[kept[-1]])
    else:
        found = float(min(1.0, np.nextafter(top[missed].max(), 2.0)))
    unproven = max(0.9, 1 - 5 * wrong)
    promised = float((1 - top).sum() + 2 * np.sqrt((top * (1 - top)).sum()))
    if len(top) * wrong < 1 and missed.sum() == 1 and promised >= 1:
        return unproven
    return max(found, unproven) if len(top) * wrong < 3 else found


def bin_of(confidence: FloatArray, bins: int = BINS) -> IntArray:
    """Give the bin of each confidence; bin b holds (b / bins, (b + 1) / bins]."""
    found: IntArray = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(np.int64)
    return found


def reliability(
    confidence: FloatArray, correct: BoolArray, bins: int = BINS
) -> list[dict[str, Any]]:
    """Compare what was promised with what was kept, bin by bin.

    Parameters
    ----------
    confidence
        Largest probability of each row; shape (N,).
    correct
        Whether the likeliest class was the true one; shape (N,).

    Returns
    -------
    list
        One object per bin: `low`, `high`, `n`, mean `confidence`, `accuracy`; null without rows.
    """
    where = bin_of(confidence, bins)
    count = np.bincount(where, minlength=bins)
    promised = np.bincount(where, weights=confidence, minlength=bins)
    kept = np.bincount(where, weights=correct.astype(np.float64), minlength=bins)
    return [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "n": int(count[b]),
            "confidence": float(promised[b] / count[b]) if count[b] else None,
            "accuracy": float(kept[b] / count[b]) if count[b] else None,
        }
        for b in range(bins)
    ]


def expected_calibration_error(table: list[dict[str, Any]]) -> float | None:
    """Give the mean gap between confidence and accuracy, weighted by bin (Guo et al. 2017, eq. 3).

    Parameters
    ----------
    table
        What `reliability` gives.
    """
    rows = sum(row["n"] for row in table)
    if not rows:
        return None
    gaps = (row["n"] * abs(row["accuracy"] - row["confidence"]) for row in table if row["n"])
    return float(sum(gaps) / rows)
