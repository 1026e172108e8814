"""The choice: the cheapest candidate that the validation parts cannot call worse than the best.

One-standard-error rule (Breiman et al. 1984, *Classification and Regression Trees*, section 3.4.3),
paired and by group: candidates answered for the same images, and images of one slide err together.
A candidate is near enough if its difference to the best is within the standard error of that
difference over groups (the modified rule of Yates et al. 2023, *Ecological Monographs* 93:e1557,
pairs likewise). Between such candidates cost decides. It is a rule to choose by and no test: over
folds the training parts overlap, and no estimate of that variance is unbiased (Bengio & Grandvalet
2004, *JMLR* 5:1089). The test parts have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cytowell.errors import RunError
from cytowell.runs.candidates import Candidate
from cytowell.types import FloatArray, IntArray


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, and a sentence that says why."""

    candidate: Candidate | None
    sentence: str


def choose(done: Sequence[Any], units: IntArray | None = None) -> Choice:
    """Choose among cells with their answers (`.cell`, `.answer`), of one protocol.

    Only what ships can be chosen. Cost is the time of one call.

    Parameters
    ----------
    units
        Unit of each sample of the data set; without it each stands alone.

    Raises
    ------
    RunError
        If nothing that ships was computed.
    """
    found: dict[str, list[Any]] = {}
    for d in done:
        found.setdefault(d.cell.candidate.name, []).append(d)
    whole = {n: ds for n, ds in found.items() if not any(d.answer.error for d in ds)}
    shipping = {n: ds for n, ds in whole.items() if all(d.answer.ships for d in ds)}
    if not shipping:
        raise RunError(
            "None of the candidates can be chosen: those that ship failed or are not among them.",
            "Add frozen, finetune or a network to --learners.",
        )
    right, speed = {}, {}
    for name, ds in shipping.items():
        rows, right[name] = _validated(ds)
        speed[name] = float(np.median([d.answer.images_per_second for d in ds]))
    best = max(right, key=lambda n: (right[n].mean(), speed[n]))
    groups = rows if units is None else units[rows]
    behind = {n: right[best] - r for n, r in right.items()}
    enough = [n for n, d in behind.items() if d.mean() <= paired_error(d, groups)]
    name = max(enough, key=lambda n: speed[n])
    share, top = float(right[name].mean()), float(right[best].mean())
    sentence = f"Chosen: {name}, right on {share:.1%} of {len(rows)} validation images. "
    if name == best:
        sentence += (
            f"It is the best there, and the fastest to call of the {len(enough)} within one "
            "standard error of it, paired and by group."
            if len(enough) > 1
            else "No other comes within one standard error of it, paired and by group."
        )
    else:
        error = paired_error(behind[name], groups)
        sentence += (
            f"The best there was {best} ({top:.1%}); {name} is {float(behind[name].mean()):.1%} "
            f"behind it on the same images (standard error {error:.1%}, by group) and the fastest "
            f"to call of the {len(enough)} within one such error."
        )
    return Choice(found[name][0].cell.candidate, f"{sentence} The test part had no say.")


def _validated(done: Sequence[Any]) -> tuple[IntArray, FloatArray]:
    """Give the positions of the validation parts' samples, and how often each was called right."""
    rows = np.concatenate([d.cell.validation for d in done])
    right = np.concatenate([np.asarray(d.answer.validation_right, dtype=float) for d in done])
    names, place = np.unique(rows, return_inverse=True)
    return names, np.bincount(place, right) / np.bincount(place)


def paired_error(difference: FloatArray, groups: IntArray) -> float:
    """Give the standard error of a mean of paired differences (N,) whose groups err together.

    Of the ratio of group sums to group sizes (Cochran 1977, *Sampling Techniques*, chapter 9);
    0 where one group says nothing of others, so that only what is not behind at all is near enough.
    """
    _, place = np.unique(groups, return_inverse=True)
    rest = np.bincount(place, difference - difference.mean())
    count = len(rest)
    if count < 2:
        return 0.0
    return float(np.sqrt(count / (count - 1) * np.sum(rest**2)) / len(difference))
