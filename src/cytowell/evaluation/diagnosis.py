"""From a training and a test score to words: what learnt by heart, what did not learn.

The rule, by accuracy: a gap of 0.15 or more is strong overfitting; one of 0.05 or more is
overfitting, unless the test score's interval reaches the training score; a training score below
0.8 whose test score is no farther than that is underfitting; a test score whose interval holds
what always calling the commonest class would reach has learnt nothing that carries over.
"""

from __future__ import annotations

STRONG, SOME, LOW = 0.15, 0.05, 0.8


def diagnosis(train: float, test: float, test_high: float, test_low: float, chance: float) -> str:
    """Say in words how a candidate's training and test accuracy stand.

    Parameters
    ----------
    test_high, test_low
        Ends of the test score's 95 % interval.
    chance
        Share of the commonest class in the test part.

    Examples
    --------
    >>> diagnosis(1.0, 0.71, 0.8, 0.6, 0.25)
    'strong overfitting: 1.00 against 0.71'
    >>> diagnosis(0.99, 0.985, 0.99, 0.98, 0.25)
    'fits: 0.99 against 0.98'
    """
    figures = f"{train:.2f} against {_below(test, train):.2f}"
    gap = train - test
    if test_low <= chance and gap >= SOME:
        return f"strong overfitting, nothing carries over: {figures}"
    if gap >= STRONG:
        return f"strong overfitting: {figures}"
    if gap >= SOME and test_high < train:
        return f"overfitting: {figures}"
    if test_low <= chance:
        return f"learnt nothing: {figures}"
    if train < LOW:
        return f"underfitting: {figures}"
    return f"fits: {figures}"


def _below(test: float, train: float) -> float:
    """Round the lower of two scores down, so that two that differ are not printed alike."""
    return int(test * 100) / 100 if test < train else test
