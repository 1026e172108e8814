"""The rows that can be judged, and every figure of them for any weights of their groups.

The data as they are and each bootstrap draw go through the same lines; only the weights differ.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from cytowell.evaluation import scores
from cytowell.evaluation.calibration import BINS, bin_of
from cytowell.types import BoolArray, FloatArray, IntArray, Predictions

Key = str | tuple[str, int]
"""A figure's name, or the name and the index of the class it belongs to."""


@dataclass(frozen=True)
class Judged:
    """Readable rows with a truth that the bundle knows; N rows, C classes, G groups.

    Attributes
    ----------
    group_of
        Index of each row's group; shape (N,).
    positive
        Index of the positive class of two, None where the binary figures are not wanted.
    prevalence
        Share of positives for predictive values, None where it is not stated.
    """

    classes: tuple[str, ...]
    truth: IntArray
    called: IntArray
    probabilities: FloatArray
    decided: BoolArray
    group_of: IntArray
    groups: int
    positive: int | None = None
    prevalence: float | None = None

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def alone(self) -> bool:
        """Whether every row is its own group."""
        return self.groups == len(self)

    @cached_property
    def right(self) -> BoolArray:
        """Where the likeliest class is the true one; shape (N,)."""
        right: BoolArray = self.called == self.truth
        return right

    @cached_property
    def top(self) -> FloatArray:
        """Confidence: the largest probability; shape (N,)."""
        top: FloatArray = self.probabilities.max(axis=1)
        return top

    @cached_property
    def confusion(self) -> IntArray:
        """Counts, truth down and calls across; shape (C, C)."""
        count = len(self.classes)
        cells = np.bincount(self.truth * count + self.called, minlength=count * count)
        return cells.reshape(count, count).astype(np.int64)

    def groups_where(self, mask: BoolArray) -> int:
        """Count the groups that have a row there."""
        return len(np.unique(self.group_of[mask]))

    def figures(self, weights: FloatArray) -> dict[Key, FloatArray]:
        """Give the figures that follow from sums over rows, for weights (R, G); each (R,)."""
        count = len(self.classes)
        totals: FloatArray = np.asarray(self._sums @ weights.T).T
        cells = totals[:, : count * count].reshape(-1, count, count)
        rows = cells.sum(axis=(1, 2))
        gaps, rest = totals[:, count * count : -4], totals[:, -4:]
        out: dict[Key, FloatArray] = dict(scores.overall_scores(cells).items())
        out |= {
            "ece": scores.divide(np.abs(gaps).sum(axis=1), rows),
            "brier": scores.divide(rest[:, 0], rows),
            "log_loss": scores.divide(rest[:, 1], rows),
            "coverage": scores.divide(rest[:, 2], rows),
            "accuracy_decided": scores.divide(rest[:, 3], rest[:, 2]),
        }
        if self.positive is not None:
            out.update(scores.binary_scores(cells, self.positive, self.prevalence).items())
        for name, values in scores.class_scores(cells).items():
            out |= {(name, c): values[:, c] for c in range(count)}
        return out

    def rank_figures(self, weights: FloatArray) -> dict[Key, FloatArray]:
        """Give the figures that follow from the order of the rows, as `figures` does."""
        pairs = []
        for c in range(len(self.classes)):
            if len(self):
                score, true = self.probabilities[:, c], self.truth == c
                pairs.append(scores.rank_scores(score, true, weights, self.group_of))
            else:
                pairs.append((np.full(len(weights), np.nan),) * 2)
        out: dict[Key, FloatArray] = {}
        for at, name in enumerate(("roc_auc", "average_precision")):
            out[name] = scores.mean_known(np.stack([pair[at] for pair in pairs], axis=1))
            out |= {(name, c): pair[at] for c, pair in enumerate(pairs)}
        return out

    def share(self, key: Key) -> BoolArray | None:
        """Give the rows below the line of a figure that is a share of rows, else None."""
        if not isinstance(key, str):
            name, c = key
            return {"recall": self.truth == c, "precision": self.called == c}.get(name)
        every = np.ones(len(self), dtype=np.bool_)
        known = {"accuracy": every, "coverage": every, "accuracy_decided": self.decided}
        if self.positive is not None:
            known |= {
                "sensitivity": self.truth == self.positive,
                "specificity": self.truth != self.positive,
                "ppv": self.called == self.positive,
                "npv": self.called != self.positive,
            }
        return known.get(key)

    @cached_property
    def _sums(self) -> Any:
        """What adds up over rows, by group: confusion cells, bin gaps, losses; sparse (K, G)."""
        count, n = len(self.classes), len(self)
        rows = np.arange(n)
        own = self.probabilities[rows, self.truth]
        hot = np.zeros((n, count))
        hot[rows, self.truth] = 1.0
        gap, loss = count * count, count * count + BINS
        parts = (
            (self.truth * count + self.called, np.ones(n)),
            (gap + bin_of(self.top), self.right - self.top),
            (np.full(n, loss), ((self.probabilities - hot) ** 2).sum(axis=1)),
            (np.full(n, loss + 1), -np.log(np.clip(own, np.finfo(np.float64).eps, 1.0))),
            (np.full(n, loss + 2), self.decided.astype(np.float64)),
            (np.full(n, loss + 3), (self.decided & self.right).astype(np.float64)),
        )
        at = np.concatenate([place for place, _ in parts])
        values = np.concatenate([value for _, value in parts])
        where = (at, np.tile(self.group_of, len(parts)))
        return sparse.csr_matrix((values, where), shape=(loss + 4, self.groups))


def judge(
    predictions: Predictions, positive: str | None = None, prevalence: float | None = None
) -> tuple[Judged, dict[str, Any]]:
    """Choose the rows that can be judged, and count the others by reason."""
    readable = predictions.readable & np.isfinite(predictions.probabilities).all(axis=1)
    labels = [sample.label or "" for sample in predictions.samples]
    kept = np.flatnonzero(readable & (predictions.truth >= 0))
    seen = [label for label, can in zip(labels, readable, strict=True) if can]
    foreign = Counter(label for label in seen if label and label not in predictions.classes)
    counts = {
        "n": len(kept),
        "unreadable": int((~readable).sum()),
        "unlabelled": seen.count(""),
        "unknown_labels": dict(sorted(foreign.items())),
    }
    binary = positive is not None and len(predictions.classes) == 2
    names, group_of = np.unique(predictions.groups[kept], return_inverse=True)
    judged = Judged(
        classes=predictions.classes,
        truth=predictions.truth[kept],
        called=predictions.called[kept],
        probabilities=predictions.probabilities[kept].astype(np.float64),
        decided=predictions.decided[kept].astype(np.bool_),
        group_of=group_of.astype(np.int64),
        groups=len(names),
        positive=predictions.classes.index(positive) if binary and positive else None,
        prevalence=prevalence,
    )
    return judged, counts
