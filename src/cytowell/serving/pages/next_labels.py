"""Label these next: which photographs of a sitting help most, round after round."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytowell.errors import EmptyDataset
from cytowell.evaluation.calls_page import is_counted
from cytowell.evaluation.pages import jpeg_uri
from cytowell.runs.suggest import Round, Suggestions, suggest_of
from cytowell.serving.house import House, box_of
from cytowell.serving.kept import Kept
from cytowell.serving.pages.parts import drawn
from cytowell.serving.pages.words import say
from cytowell.types import Sample

A_ROUND = 12
"""Photographs that are suggested at once, and labels that make a round."""

PICTURE = 160
"""Longer side of a picture, in pixels."""


def next_labels(house: House, language: str, sitting: str) -> str:
    """Choose what to label next; the review page shows it first. Give what the page says of it.

    Raises
    ------
    EmptyDataset
        If no sitting is chosen, or every photograph of it has a label.
    """
    if not sitting:
        raise EmptyDataset(say(language, "teach.what"))
    kept = [k for k in house.sittings.calls(sitting) if not is_counted(k.row)]
    found, positions = suggestions(house, sitting, kept)
    house.label_next[sitting] = positions
    at = {k.position: k for k in kept}
    pictures = []
    for number, (position, choice) in enumerate(zip(positions, found.choices, strict=True), 1):
        image = house.picture(sitting, at[position])
        if image is not None:
            words = f"{number} · {at[position].name} ({choice.stands_for})"
            pictures.append({"uri": jpeg_uri(image, PICTURE), "words": words})
    return drawn(
        "next",
        intro=say(language, "teach.next_intro", n=len(positions)),
        pictures=pictures,
        heads=[
            say(language, name) for name in ("teach.labels", "teach.expected", "teach.measured")
        ],
        rounds=[_round(r) for r in found.rounds],
        remarks=found.remarks,
    )


def suggestions(
    house: House, sitting: str, kept: list[Kept], n: int = A_ROUND
) -> tuple[Suggestions, list[int]]:
    """Give what to label next among a sitting's calls, and the calls' numbers in that order."""
    said = [k for k in kept if k.said and k.said[-1].label]
    said.sort(key=lambda k: (k.said[0].when, k.position))
    known = [Sample(k.file, k.said[-1].label, box=box_of(k.row)) for k in said]
    # Nobody can say what some are: they teach nothing, and are not asked for again.
    free = [k for k in kept if not k.said and not k.row["error"]]
    if not free:
        raise EmptyDataset("Every photograph has a label already.", "Give more photographs.")
    found = suggest_of(
        [Sample(k.file, box=box_of(k.row)) for k in free],
        n,
        known,
        [int(i) // A_ROUND + 1 for i in np.arange(len(known))],
        house.bundle_of(house.sittings.about(sitting)),
    )
    places = {(k.file, box_of(k.row)): k.position for k in free}
    return found, [places[(s.path, s.box)] for s in found.samples]


def _round(made: Round) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.0f} %"

    return {"labels": made.labels, "values": [shown(made.expected), shown(made.measured)]}
