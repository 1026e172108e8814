"""True counts from a classifier's calls: what its known errors, and what it declines, take away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cytowell.types import FloatArray

RESAMPLES = 2000

PRIOR = 1.0
"""Calls that are added to a row of the confusion matrix, spread evenly over its cells (Perks 1947;
Berger, Bernardo & Sun 2015, *Bayesian Analysis* 10:189): a confusion that ten images a class have
not shown is not impossible."""


@dataclass(frozen=True)
class KnownErrors:
    """How a classifier called the images of a test part, to correct counts by.

    Attributes
    ----------
    confusion
        Counts (C, C), truth down, calls across, in the order of the classes that are counted.
    undecided
        Images of each true class that it declined, (C,), where `confusion` is of decided calls.
        None where `confusion` is of all calls, decided or not: all calls of a slide are then
        corrected, because a matrix says nothing of calls that were chosen otherwise.
    """

    confusion: npt.NDArray[np.integer]
    undecided: npt.NDArray[np.integer] | None = None


def joined(
    cells: FloatArray, called: int, reviewed: npt.NDArray[np.integer], seed: int
) -> FloatArray:
    """Add what a person called to draws of what the classifier called.

    Both are samples of the slide: how many of each there are, and of which classes, is drawn too.
    """
    rng = np.random.default_rng([seed, 1])
    draws, by_hand = len(cells) - 1, int(reviewed.sum())
    share = rng.beta(called + 0.5, by_hand + 0.5, draws) if called else np.zeros(draws)
    total = called + by_hand
    theirs = (1 - share)[:, None] * total * rng.dirichlet(reviewed + 0.5, draws)
    ours = cells[1:] * (share * total / max(called, 1))[:, None]
    return np.concatenate([cells[:1] + reviewed, ours + theirs])


def true_cells(
    counts: npt.NDArray[np.integer],
    errors: KnownErrors,
    open_share: float = 1.0,
    seed: int = 7,
    draws: int = RESAMPLES,
) -> FloatArray:
    """Take a classifier's known errors out of counts of its calls.

    A cell of class t is decided on with probability q_t and then called c with probability M_tc.
    Decided calls are multinomial(rho M), rho the true shares of what is decided; they are found by
    expectation-maximisation (misclassification as in Rogan & Gladen 1978 for two classes), and of
    each class there are rho_t / q_t cells: what declines one class more than another would shift
    the shares otherwise. Uncertainty comes from draws of the posteriors of counts (Dirichlet,
    Jeffreys' prior), of each row of M (`PRIOR`) and of each q (beta, Jeffreys' prior).

    Parameters
    ----------
    counts
        Calls by class, (C,), decided or all, as `errors` are.
    open_share
        Share of what was not decided on that is missing from the counts.

    Returns
    -------
    numpy.ndarray
        (1 + draws, C): cells of each class, first the likeliest.
    """
    rng = np.random.default_rng(seed)
    confusion = np.asarray(errors.confusion, dtype=np.float64)
    classes, total = len(confusion), float(counts.sum())
    # Half a cell more of each class: one that was not met may still be there.
    drawn = total * rng.dirichlet(counts + 0.5, draws)
    rows = [rng.dirichlet(row + PRIOR / classes, draws) for row in confusion]
    likely = confusion + 0.5 * np.eye(classes)
    matrices = np.concatenate(
        [[likely / likely.sum(axis=1, keepdims=True)], np.stack(rows, axis=1)]
    )  # (1 + draws, C, C), each row a truth
    cells = total * _unmixed(np.concatenate([[counts], drawn]).astype(np.float64), matrices)
    if errors.undecided is None:
        return cells
    known, left = confusion.sum(axis=1) + 0.5, np.asarray(errors.undecided) + 0.5
    decided = np.concatenate([[known / (known + left)], rng.beta(known, left, (draws, classes))])
    whole: FloatArray = cells * (1 + open_share * (1 / np.maximum(decided, 1e-6) - 1))
    return whole


def _unmixed(counts: FloatArray, matrix: FloatArray) -> FloatArray:
    """Give the likeliest true shares (R, C) of counts (R, C) called through matrices (R, C, C)."""
    share = np.full(counts.shape, 1.0 / counts.shape[1])
    for _ in range(200):
        called = np.matmul(share[:, None, :], matrix)[:, 0]
        weight = counts / np.maximum(called, 1e-12)
        moved = share * np.matmul(matrix, weight[:, :, None])[:, :, 0]
        moved /= np.maximum(moved.sum(axis=1, keepdims=True), 1e-12)
        settled = np.abs(moved - share).max() < 1e-7
        share = moved
        if settled:
            break
    return share
