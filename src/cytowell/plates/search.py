"""The plates of a photograph: circles, or squares, to lattices, and lattices to plates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cytowell.plates.lattice import Lattice, lattices
from cytowell.plates.rims import CIRCLE, SQUARE
from cytowell.plates.rings import Edges, edges_of, main_angle, peaks, ring_scores, square_scores
from cytowell.plates.window import Plate, plate_of
from cytowell.types import FloatArray, Pixels

SIDE = 800
"""Longer side in pixels at which a photograph is searched: a well of 384 has ten then."""

RADII = np.geomspace(9.0, 190.0, 24)
"""Radii in pixels that are tried: neighbours differ by 14 %, a ring is as thick as that."""

LEAST = 0.15
"""Score below which a circle is chance: the edges of noise score 0."""

TRIED = 6
"""Radii, and then lattices, that are followed up, the likeliest first."""

MOST = 600
"""Circles of one radius that are kept: a plate of 384, and as many that are chance."""

CHANCE = 2.0
"""Score of the best rings of noise, for a ring of one pixel; it falls with the root of length."""

FINE = 26.0
"""Pitch in pixels below which a plate is searched at a larger size too."""

FOLLOWED = 24
"""Lattices that are followed up where the likeliest are no plates: a table may be a pattern."""

SAME = 0.05
"""Share by which pitches differ of lattices that are the same."""

ALIKE = 0.2
"""How far pitches of plates in one photograph differ, as a logarithm."""

NEARLY, MOSTLY = 0.9, 0.6
"""What wells without names must weigh, beside named ones, and the share of them that lies there."""

NAMED = 6.0
"""How much more a plate is worth whose wells have names: it is one that is sold, and whole."""

STRONG = 0.55
"""How plain rims are, at least, of round wells about which there is no doubt."""

LITTLE = 0.05
"""Share of the most evidence below which circles of a radius are not followed up."""

FAINTER = 0.6
"""How plain a further plate must be beside the plainest: what is fainter is chance."""


@dataclass(frozen=True)
class Expected:
    """What an operator says of a photograph; 0 where nothing is said.

    Attributes
    ----------
    wells
        Format of its plates, 6 to 384.
    plates
        How many plates it shows.
    well
        Name of its well, if it shows a single one; "" if nothing is said.
    """

    wells: int = 0
    plates: int = 0
    well: str = ""


ANYTHING = Expected()


def find_plates(pixels: Pixels, expected: Expected = ANYTHING, square: bool = False) -> list[Plate]:
    """Find the plates in pixels (H, W, 3), the fullest first.

    Parameters
    ----------
    square
        Whether squares are looked for, in place of circles.
    """
    shorter = min(pixels.shape[:2])
    radii = RADII[: int(np.searchsorted(RADII, 0.45 * shorter))]
    if not len(radii):
        return []
    edges = edges_of(pixels, float(radii[-1]))
    searched = _searched(edges, radii, square)
    said = expected.wells, expected.plates
    found: list[Plate] = []
    for radius, lattice in _grown(searched[:TRIED], square) if not square else ():
        if any(other.covers(lattice.places) for other in found):
            continue
        # What is left beside a plate is another plate, as plain as the first, or chance.
        if found and lattice.scores.mean() < FAINTER * found[0].lattice.scores.mean():
            continue
        found += [
            plate
            for plate in plate_of(edges, lattice, radius, CIRCLE, said)
            if not any(_overlap(plate, other) for other in found)
        ]
    found = _alike(found)
    if plain(found, expected):
        return [plate.placed(edges) for plate in found]
    likely = [s for s in searched if s[0] > LITTLE * searched[0][0]]
    thorough = _thoroughly(edges, _grown(likely, square)[:FOLLOWED], square, expected)
    best = thorough if worth(thorough) > worth(found) else found
    return [plate.placed(edges) for plate in best]


def _thoroughly(
    edges: Edges, grown: list[tuple[float, Lattice]], square: bool, expected: Expected
) -> list[Plate]:
    """Give the plates that are worth most, where a pattern explains more edge than they do."""
    made: list[Plate] = []
    curve = SQUARE if square else CIRCLE
    for radius, lattice in grown:
        if any(
            abs(p.lattice.pitch / lattice.pitch - 1) < SAME and p.covers(lattice.places)
            and p.verdict.origin is not None
            for p in made
        ):  # fmt: skip
            continue
        made += plate_of(edges, lattice, radius, curve, (expected.wells, expected.plates))
    made = [p for p in made if not contradicted(p, made)]
    made.sort(key=lambda p: -worth([p]))
    found: list[Plate] = []
    for plate in made:
        fainter = found and plate.strength < FAINTER * found[0].strength
        if not fainter and not any(_overlap(plate, other) for other in found):
            found.append(plate)
    return _alike(found)


def _alike(plates: list[Plate]) -> list[Plate]:
    """Leave out what has no names beside a plate that has, and other wells: it is the table."""
    whole = [p for p in plates if p.verdict.origin is not None]
    return [
        p
        for p in plates
        if p.verdict.origin is not None
        or not whole
        or any(abs(np.log(p.lattice.pitch / other.lattice.pitch)) < ALIKE for other in whole)
    ]


def _overlap(a: Plate, b: Plate) -> bool:
    return a.covers(b.centres) or b.covers(a.centres)


Searched = tuple[float, float, FloatArray, FloatArray]
"""Evidence of circles of one radius, the radius, their places and scores."""


def _searched(edges: Edges, radii: FloatArray, square: bool) -> list[Searched]:
    """Give the circles of every radius, or squares, the radius with most evidence first."""
    searched: list[Searched] = []
    angle = main_angle(edges) if square else 0.0
    for radius in map(float, radii):
        thick = max(1.0, 0.07 * radius)
        scores, step = (
            square_scores(edges, radius, thick, angle) if square
            else ring_scores(edges, radius, thick)
        )  # fmt: skip
        places, sure = peaks(scores, 1.5 * radius / step, LEAST)
        best = np.argsort(-sure, kind="stable")[:MOST]
        # Half of a square's sides are sides of smaller ones too: plain squares come first.
        weight = sure[best] ** 2 if square else sure[best]
        searched.append((_evidence(weight, radius), radius, places[best] * step, sure[best]))
    return sorted(searched, key=lambda s: -s[0])


def _grown(searched: list[Searched], square: bool) -> list[tuple[float, Lattice]]:
    """Give lattices of circles, and their radius, the plainest first."""
    grown = [
        (_evidence(lattice.scores**2 if square else lattice.scores, radius), radius, lattice)
        for _, radius, places, sure in searched
        for lattice in lattices(places, sure, radius)
    ]
    grown.sort(key=lambda g: -g[0])
    return [(radius, lattice) for _, radius, lattice in grown]


def _evidence(scores: FloatArray, radius: float) -> float:
    """Give the length of edge in pixels that circles explain beyond what chance does.

    A small ring finds some edge of noise that suits it, a large one averages over many.
    """
    chance = CHANCE / np.sqrt(2 * np.pi * radius)
    return float(np.maximum(scores - chance, 0.0).sum() * 2 * np.pi * radius)


def contradicted(plate: Plate, others: Iterable[Plate], scale: float = 1.0) -> bool:
    """Whether wells that have no names are seen more plainly where this plate has named ones.

    Parameters
    ----------
    scale
        Pixels of the plate for one of the others', if they were found in a smaller copy.
    """
    if plate.verdict.origin is None:
        return False
    room = 0.5 * plate.lattice.pitch
    low, high = plate.centres.min(axis=0) - room, plate.centres.max(axis=0) + room
    for other in others:
        if other.verdict.origin is not None or scale * _weight(other) < NEARLY * _weight(plate):
            continue
        # A pattern of the table is not seen where the plate lies on it.
        seen = scale * other.centres[other.scores[other.inside] > 0.5]
        if len(seen) and ((seen > low) & (seen < high)).all(axis=1).mean() > MOSTLY:
            return True
    return False


def _weight(plate: Plate) -> float:
    return plate.evidence * plate.strength


def worth(plates: Iterable[Plate]) -> float:
    """Rate what was found: how much edge it explains and how plainly, more where it is named."""
    return sum(
        p.evidence * p.strength / p.lattice.pitch * (1.0 if p.verdict.origin is None else NAMED)
        for p in plates
    )


def settled(plates: list[Plate]) -> bool:
    """Whether round wells are seen so well that neither squares nor a larger copy show more."""
    return bool(plates) and all(
        p.lattice.pitch >= FINE and p.strength >= STRONG and not p.squarish for p in plates
    )


def plain(plates: list[Plate], expected: Expected) -> bool:
    """Whether nothing more is to be looked for."""
    return (
        bool(plates)
        and len(plates) >= expected.plates
        and all(
            p.verdict.origin is not None and p.lattice.pitch >= FINE and not p.squarish
            for p in plates
        )
    )
