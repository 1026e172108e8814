"""Labels that the images speak against, by cleanlab's quality of each on out-of-fold probabilities.

Northcutt, Jiang, Chuang 2021, doi 10.1613/jair.1.12125. A label is doubted if another is likelier
and its own quality is very low; confident learning's estimate of how many are wrong is not asked,
because it misses the only wrong label of a small set.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
import numpy.typing as npt
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from cytowell.checks.issues import Issue, findings, shown
from cytowell.errors import DatasetError
from cytowell.types import Dataset, Findings, FloatArray

DOUBTFUL = 0.1
"""Probability of the given label above which it is not doubted. With probabilities that are right
in 84 of 100 images, four in five of planted wrong labels lie below it, 2 to 3 % of the clean."""


def check(dataset: Dataset, probabilities: FloatArray | None = None) -> Findings:
    """Find labels that are likely wrong.

    Issue: `label`; its score is cleanlab's label quality (self-confidence). A suspicion is for a
    human to look at: nothing is excluded or changed.

    Parameters
    ----------
    probabilities
        Out-of-fold, (N, C) in the order of the data set's classes: each row by a model that did not
        learn from that sample or its group. NaN rows are passed over. Without them nothing is
        looked for.
    """
    if probabilities is None:
        return findings(dataset, {})
    if probabilities.shape != (len(dataset), len(dataset.classes)):
        raise DatasetError(
            f"The probabilities have the shape {probabilities.shape}, the data set "
            f"{len(dataset)} samples and {len(dataset.classes)} classes.",
            "Give one row per sample, in order, and one column per class.",
        )
    known = np.isfinite(probabilities).all(axis=1) & (dataset.labels >= 0)
    score, flagged = np.ones(len(dataset)), np.zeros(len(dataset), dtype=np.bool_)
    present, labels = np.unique(dataset.labels[known], return_inverse=True)
    if len(present) > 1:
        chosen = _proper(probabilities[known][:, present])
        score[known], flagged[known] = _suspect(labels, chosen)
    why = {
        int(i): f"looks like {dataset.classes[int(np.argmax(probabilities[i]))]}"
        for i in np.flatnonzero(flagged)
    }
    remarks = []
    if why:
        named = [f"{dataset.paths[i]} ({words})" for i, words in why.items()]
        remarks.append(f"{len(why)} labels are worth a second look: {shown(named)}.")
    return findings(dataset, {"label": Issue(score, flagged, why)}, remarks=remarks)


def _proper(probabilities: FloatArray) -> FloatArray:
    """Make rows sum to 1 again after classes without samples were left out."""
    safe = np.clip(probabilities, 1e-9, 1.0)
    return np.asarray(safe / safe.sum(axis=1, keepdims=True))


def _suspect(
    labels: npt.NDArray[np.int64], probabilities: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    with contextlib.redirect_stdout(io.StringIO()):
        doubted = find_label_issues(
            labels,
            probabilities,
            filter_by="predicted_neq_given",
            n_jobs=1,
        )
    return np.asarray(quality, dtype=np.float64), np.asarray(doubted & (quality < DOUBTFUL))
