"""Whether probabilities can be believed, and how they are made so: temperature, bias, bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from cytowell.types import BoolArray, FloatArray, IntArray

BINS = 15
"""Bins of equal width on the confidence, as in Guo et al. 2017."""

SLACK = 1.1
"""How much further than the farthest of a few images a photograph may lie and still be called."""

TEMPERATURES = (0.05, 20.0)
"""Between these the temperature is looked for."""

DEVIATION = 1.0
"""Standard deviation of the prior on a class's bias, in nats: a few images hardly move it, and with
forty to a hundred the log-loss of rare classes is lowest at about this."""


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


@dataclass(frozen=True)
class Calibration:
    """What makes logits probabilities: softmax(logits / temperature + bias).

    Attributes
    ----------
    bias
        One number a class; shape (C,).
    """

    temperature: float
    bias: FloatArray

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Give probabilities (N, C) of logits (N, C)."""
        found: FloatArray = softmax(logits / self.temperature + self.bias, axis=1)
        return found


def fit_calibration(
    logits: FloatArray,
    labels: IntArray,
    expected: Expected = UNKNOWN,
    shift: FloatArray | None = None,
) -> Calibration:
    """Find the temperature and a bias for each class that make logits probabilities.

    Bias-corrected temperature scaling (Alexandari et al. 2020, arXiv 1901.06852, section 3.1): one
    temperature cannot undo a prior that balanced weights or SMOTE have shifted. The prior of each
    bias is normal, with `DEVIATION` about `shift`: the bias that takes a model trained on one class
    mix to another (Saerens et al. 2002, doi 10.1162/089976602753284446, equation 2.4). The shift
    alone does not do: a regularised model's logits are too small, the temperature that sharpens
    them sharpens a shift that was added before it too, and rare classes would never be called.

    Parameters
    ----------
    logits
        Of images that were not learnt from; shape (N, C).
    labels
        Class indices; rows with -1 are left out.
    expected
        The prior of the temperature.
    shift
        log(class share / share that the model was trained for); (C,), 0 without it.
    """
    classes = logits.shape[1]
    middle = np.zeros(classes) if shift is None else shift - shift.mean()
    known = (labels >= 0) & np.isfinite(logits).all(axis=1)
    X, y = np.asarray(logits, dtype=np.float64)[known], labels[known]
    if len(y) < 2:
        return Calibration(expected.temperature, middle)
    hot = np.eye(classes)[y]
    start = np.log(expected.temperature)

    def loss(point: FloatArray) -> tuple[float, FloatArray]:
        scale, moved = np.exp(-point[0]), point[1:] - middle
        log = log_softmax(scale * X + point[1:], axis=1)
        gaps = np.exp(log) - hot
        off = (point[0] - start) / expected.doubt
        value = -(hot * log).sum() + 0.5 * off**2 + 0.5 * ((moved / DEVIATION) ** 2).sum()
        of_scale = -scale * (gaps * X).sum() + off / expected.doubt
        return float(value), np.append(of_scale, gaps.sum(axis=0) + moved / DEVIATION**2)

    bounds = [tuple(np.log(TEMPERATURES)), *[(-20.0, 20.0)] * classes]
    found = minimize(loss, np.append(start, middle), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(np.exp(found[0])), np.asarray(found[1:], dtype=np.float64))


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


def by_class(probabilities: FloatArray, truth: IntArray, called: IntArray) -> list[dict[str, Any]]:
    """Compare what was promised with what was kept, class by class.

    Many images of common classes hide in an error over all what is wrong with a rare one.

    Parameters
    ----------
    probabilities
        Shape (N, C).
    truth, called
        Class indices; shape (N,).

    Returns
    -------
    list
        One object per class: `calls`, mean `confidence` of these calls and the share of them that
        is `right`; mean `probability` of the class over all images and its `share` among them;
        `ece`, the mean gap between its probability and its frequency in `BINS` bins (classwise
        calibration error, Kull et al. 2019, arXiv 1910.12656, equation 3). Null without rows.
    """
    rows = []
    for c in range(probabilities.shape[1]):
        made, own, there = called == c, probabilities[:, c], truth == c
        rows.append(
            {
                "calls": int(made.sum()),
                "confidence": float(own[made].mean()) if made.any() else None,
                "right": float(there[made].mean()) if made.any() else None,
                "probability": float(own.mean()) if len(own) else None,
                "share": float(there.mean()) if len(own) else None,
                "ece": expected_calibration_error(reliability(own, there)),
            }
        )
    return rows
