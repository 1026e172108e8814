"""The equations of the figures, on many resamples at once: arrays in, arrays out.

Everything takes a leading axis R (resamples; 1 for the data as they are). Undefined is NaN.
"""

from __future__ import annotations

import numpy as np

from cytowell.types import BoolArray, FloatArray, IntArray


def divide(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide; NaN where the divisor is 0, without a warning."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    out: FloatArray = np.full(shape, np.nan)
    np.divide(above, below, out=out, where=np.broadcast_to(below != 0, shape))
    return out


def mean_known(values: FloatArray) -> FloatArray:
    """Average over the last axis what is defined; NaN where nothing is."""
    known = ~np.isnan(values)
    return divide(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def class_scores(confusion: FloatArray) -> dict[str, FloatArray]:
    """Give precision, recall and F1 of every class.

    Parameters
    ----------
    confusion
        Truth down, calls across; shape (R, C, C).

    Returns
    -------
    dict
        Name to (R, C). Precision is undefined for a class never called, recall for one without
        samples, F1 for one with neither; of a class that is called without being there it is 0.
    """
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    true, called = confusion.sum(axis=2), confusion.sum(axis=1)
    return {
        "precision": divide(hits, called),
        "recall": divide(hits, true),
        "f1": divide(2 * hits, true + called),
    }


def overall_scores(confusion: FloatArray) -> dict[str, FloatArray]:
    """Give accuracy, balanced accuracy, macro and weighted figures and MCC; name to (R,).

    Macro is the plain mean over the classes that are there or are called, as scikit-learn's
    `average="macro"` with `zero_division=0`: one that is called without being there counts 0, and
    so does the precision of one that is never called. Balanced accuracy is, as scikit-learn's, the
    mean recall of the classes that are there. MCC is Gorodkin's for many classes (2004, doi
    10.1016/j.compbiolchem.2004.09.006), 0 if all calls are one class, undefined if all truth is.
    """
    true, called = confusion.sum(axis=2), confusion.sum(axis=1)
    total = true.sum(axis=1)
    right = np.trace(confusion, axis1=1, axis2=2)
    scores = class_scores(confusion)
    out = {"accuracy": divide(right, total), "balanced_accuracy": mean_known(scores["recall"])}
    for name, values in scores.items():
        filled = np.where(true + called > 0, np.nan_to_num(values), np.nan)
        out[f"macro_{name}"] = mean_known(filled)
        out[f"weighted_{name}"] = divide((np.nan_to_num(filled) * true).sum(axis=1), total)
    spread_true = total**2 - (true**2).sum(axis=1)
    spread_called = total**2 - (called**2).sum(axis=1)
    shared = right * total - (true * called).sum(axis=1)
    mcc = np.nan_to_num(divide(shared, np.sqrt(spread_true * spread_called)))
    out["mcc"] = np.where(spread_true > 0, mcc, np.nan)
    return out


def binary_scores(
    confusion: FloatArray, positive: int, prevalence: float | None
) -> dict[str, FloatArray]:
    """Give the figures of a test with a positive and a negative answer; name to (R,).

    Likelihood ratios are infinite where nothing false is left to divide by. Predictive values at a
    stated prevalence follow from Bayes' rule.
    """
    p, q = positive, 1 - positive
    tp, fn = confusion[:, p, p], confusion[:, p, q]
    fp, tn = confusion[:, q, p], confusion[:, q, q]
    sensitivity, specificity = divide(tp, tp + fn), divide(tn, tn + fp)
    out = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": divide(tp, tp + fp),
        "npv": divide(tn, tn + fn),
    }
    out |= ratios(sensitivity, specificity)
    if prevalence is not None:
        out |= predictive_values(sensitivity, specificity, prevalence)
    return out


def predictive_values(
    sensitivity: FloatArray, specificity: FloatArray, prevalence: float
) -> dict[str, FloatArray]:
    """Give what a positive and a negative call are worth where this share is positive."""
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    cleared, alarmed = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return {
        "ppv_at_prevalence": divide(found, found + alarmed),
        "npv_at_prevalence": divide(cleared, cleared + missed),
    }


def ratios(sensitivity: FloatArray, specificity: FloatArray) -> dict[str, FloatArray]:
    """Give how much likelier a positive and a negative call is with the positive class."""
    return {
        "lr_positive": _ratio(sensitivity, 1 - specificity),
        "lr_negative": _ratio(1 - sensitivity, specificity),
    }


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    infinite = (below == 0) & (above > 0)
    return np.where(infinite, np.inf, divide(above, below))


def rank_scores(
    scores: FloatArray, positive: BoolArray, weights: FloatArray, group_of: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Give ROC-AUC and average precision of one class against the rest.

    AUC is the share of (positive, negative) pairs in the right order, ties half (Hanley & McNeil
    1982). Average precision is the sum over thresholds of recall gained times precision, without
    interpolation, as scikit-learn's.

    Parameters
    ----------
    scores, positive
        Probability of the class and whether it is the true one; shape (N,).
    weights
        How often each group counts; shape (R, G).
    group_of
        Group index of each row; shape (N,).

    Returns
    -------
    tuple
        Two arrays (R,); NaN where there are no positives or no negatives.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    every = weights[:, group_of[order]]
    good = every * positive[order]
    if len(starts) < len(ranked):
        every = np.add.reduceat(every, starts, axis=1)
        good = np.add.reduceat(good, starts, axis=1)
    seen, found = np.cumsum(every, axis=1), np.cumsum(good, axis=1)
    positives = found[:, -1].copy()
    negatives = seen[:, -1] - positives
    ordered = np.einsum("rt,rt->r", every - good, found - 0.5 * good)
    np.divide(found, seen, out=found, where=seen > 0)
    precision = np.einsum("rt,rt->r", good, found)
    auc = divide(ordered, positives * negatives)
    return auc, np.where(negatives > 0, divide(precision, positives), np.nan)
