"""The choice: the cheapest candidate that the validation parts cannot call worse than the best.

One-standard-error rule (Breiman et al. 1984, *Classification and Regression Trees*, section 3.4.3):
between candidates whose difference is within the error of the best one's figure, cost decides. The
test parts have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cytowell.errors import RunError
from cytowell.runs.candidates import Candidate


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, and a sentence that says why."""

    candidate: Candidate | None
    sentence: str


def choose(done: Sequence[Any]) -> Choice:
    """Choose among cells with their answers (`.cell`, `.answer`), of one protocol.

    Only what ships can be chosen. Cost is the time of one call.

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
    right, count, speed = {}, {}, {}
    for name, ds in shipping.items():
        n = np.array([d.answer.validation_count for d in ds])
        count[name] = int(n.sum())
        right[name] = float(np.sum(n * [d.answer.validation_accuracy for d in ds]) / n.sum())
        speed[name] = float(np.median([d.answer.images_per_second for d in ds]))
    best = max(right, key=lambda n: (right[n], speed[n]))
    error = float(np.sqrt(max(right[best] * (1 - right[best]), 1 / count[best]) / count[best]))
    enough = [n for n in right if right[n] >= right[best] - error]
    name = max(enough, key=lambda n: speed[n])
    sentence = (
        f"Chosen: {name}, right on {right[name]:.1%} of {count[name]} validation images. "
        f"The best there was {best} ({right[best]:.1%}, standard error {error:.1%}); "
        f"{name} is the fastest to call of the {len(enough)} within that error. The test part had "
        "no say."
    )
    return Choice(found[name][0].cell.candidate, sentence)
