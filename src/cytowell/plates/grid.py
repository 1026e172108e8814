"""Wells without training: most plates are a lattice of circles, most eyepieces one round field."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cytowell.errors import ImageError, RecipeError
from cytowell.images import Preprocessing, open_upright, upright_size
from cytowell.plates.eyepiece import find_field
from cytowell.plates.lattice import lattices
from cytowell.plates.rings import edges_of, peaks, ring_scores
from cytowell.plates.window import Plate, plate_of
from cytowell.types import Box, Dataset, FloatArray, Pixels, Sample

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

FIELD = "field"
"""Name of the one round field of an eyepiece."""

ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True)
class Wells:
    """What was found in one photograph.

    Attributes
    ----------
    boxes
        In pixels of the upright photograph, plate by plate, row by row.
    plates, names
        Number of the plate and name of the well of each box ("A1"; "field" of an eyepiece).
    confidence
        Of each box, 0..1: the share of its rim that was seen; less where it was told by its
        neighbours alone.
    reason
        Why nothing was found, or what must be known of what was; "" for a whole plate.
    """

    boxes: tuple[Box, ...]
    plates: tuple[str, ...]
    names: tuple[str, ...]
    confidence: FloatArray
    reason: str = ""


def find_wells(
    photographs: str | Path | Dataset | Iterable[str | Path], rotate: int = 0
) -> Dataset:
    """Find the wells of photographs, as samples with a box, `plate`, `well` and `confidence`.

    Parameters
    ----------
    photographs
        One path, several, or a data set, whose photographs are each looked at once.
    rotate
        By how many degrees the plate is turned clockwise against A1 in the upper left.

    Returns
    -------
    Dataset
        A sample per well, with what must be known of its plate as `note`. A photograph without
        wells, or that cannot be decoded, stays in it as one sample with `nothing` to be called and
        why. Groups are the photographs.

    Raises
    ------
    RecipeError
        If `rotate` is no quarter turn.
    """
    if isinstance(photographs, str | Path):
        photographs = [photographs]
    if isinstance(photographs, Dataset):
        photographs = dict.fromkeys(photographs.paths)
    samples: list[Sample] = []
    notes = []
    for path in map(str, photographs):
        wells = wells_or_why(path, rotate)
        samples += samples_of(path, wells)
        if wells.reason:
            notes.append(f"{path}: {wells.reason}")
    return Dataset(tuple(samples), (), notes=tuple(notes))


def wells_in(path: str, rotate: int = 0, record: Preprocessing | None = None) -> Wells:
    """Find the wells of a file.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    RecipeError
        If `rotate` is no quarter turn.
    """
    size = upright_size(path, record)
    # A JPEG is decoded no finer than it is looked at: most of the time goes there else.
    scale = next((s for s in (8, 4, 2) if max(size) >= s * SIDE), 1)
    how = replace(record or Preprocessing(), jpeg_scale=scale)
    return wells_of(open_upright(path, how), rotate, size)


def wells_or_why(path: str, rotate: int = 0, record: Preprocessing | None = None) -> Wells:
    """Find the wells of a file; one that cannot be decoded has none, and its reason."""
    try:
        return wells_in(path, rotate, record)
    except ImageError as error:
        return _none(str(error))


def samples_of(path: str, wells: Wells) -> list[Sample]:
    """Give a sample per well of a photograph, or the photograph itself where there is none."""
    if not wells.boxes:
        return [Sample(path, group=path, nothing=wells.reason)]
    return [
        Sample(
            path,
            group=path,
            box=box,
            extra={
                "plate": plate,
                "well": name,
                "confidence": round(float(sure), 3),
                "note": wells.reason,
            },
        )
        for box, plate, name, sure in zip(
            wells.boxes, wells.plates, wells.names, wells.confidence, strict=True
        )
    ]


def wells_of(
    photograph: Image.Image, rotate: int = 0, whole: tuple[int, int] | None = None
) -> Wells:
    """Find the wells of one upright photograph.

    Parameters
    ----------
    whole
        Width and height that boxes are wanted for, if `photograph` is a smaller copy.

    Raises
    ------
    RecipeError
        If `rotate` is no quarter turn.
    """
    if rotate not in ROTATIONS:
        raise RecipeError(f"A plate is not turned by {rotate} degrees.", "Use 0, 90, 180 or 270.")
    scale = max(1.0, max(photograph.size) / SIDE)
    size = (max(1, round(photograph.width / scale)), max(1, round(photograph.height / scale)))
    pixels = np.asarray(photograph.convert("RGB").resize(size, Image.Resampling.BOX))
    whole = whole or photograph.size
    exact = np.array(whole) / np.array(size)
    field = find_field(pixels)
    if field is not None:
        box = _scaled(field.box, exact, whole)
        return Wells((box,), ("1",), (FIELD,), np.array([field.confidence]))
    plates = find_plates(pixels)
    if not plates:
        return _none("no lattice of circles and no round field was found")
    return _named(plates, rotate, exact, whole)


def find_plates(pixels: Pixels) -> list[Plate]:
    """Find the plates in pixels (H, W, 3), the fullest first."""
    shorter = min(pixels.shape[:2])
    radii = RADII[: int(np.searchsorted(RADII, 0.45 * shorter))]
    if not len(radii):
        return []
    edges = edges_of(pixels, float(radii[-1]))
    searched = []
    for radius in map(float, radii):
        scores, step = ring_scores(edges, radius, max(1.0, 0.07 * radius))
        places, sure = peaks(scores, 1.5 * radius / step, LEAST)
        best = np.argsort(-sure, kind="stable")[:MOST]
        searched.append((_evidence(sure[best], radius), radius, places[best] * step, sure[best]))
    searched.sort(key=lambda s: -s[0])
    grown = [
        (_evidence(lattice.scores, radius), radius, lattice)
        for _, radius, places, sure in searched[:TRIED]
        for lattice in lattices(places, sure, radius)
    ]
    grown.sort(key=lambda g: -g[0])
    found: list[Plate] = []
    for _, radius, lattice in grown:
        if any(other.covers(lattice.places) for other in found):
            continue
        # What is left beside a plate is another plate, as plain as the first, or chance.
        if found and lattice.scores.mean() < 0.6 * found[0].lattice.scores.mean():
            continue
        found += [
            plate
            for plate in plate_of(edges, lattice, radius)
            if not any(other.covers(plate.centres) for other in found)
        ]
    return found


def _evidence(scores: FloatArray, radius: float) -> float:
    """Give the length of edge in pixels that circles explain beyond what chance does.

    A small ring finds some edge of noise that suits it, a large one averages over many.
    """
    chance = CHANCE / np.sqrt(2 * np.pi * radius)
    return float(np.maximum(scores - chance, 0.0).sum() * 2 * np.pi * radius)


def _none(reason: str) -> Wells:
    return Wells((), (), (), np.zeros(0), reason)


def _scaled(box: Box, scale: FloatArray, whole: tuple[int, int]) -> Box:
    """Give a box in the photograph's own pixels, without what reaches out of it."""
    across, down = map(float, scale)
    left, top = max(0.0, box.x * across), max(0.0, box.y * down)
    right = min(float(whole[0]), (box.x + box.width) * across)
    bottom = min(float(whole[1]), (box.y + box.height) * down)
    return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))


def _named(plates: list[Plate], rotate: int, scale: FloatArray, whole: tuple[int, int]) -> Wells:
    """Name the wells of every plate, left to right."""
    plates = sorted(plates, key=lambda p: float(p.centres[:, 0].mean()))
    boxes: list[Box] = []
    numbers: list[str] = []
    names: list[str] = []
    sure: list[float] = []
    reasons = []
    for number, plate in enumerate(plates, 1):
        inside = plate.inside
        named, said = names_of(plate, rotate)
        boxes += [_scaled(box, scale, whole) for box in plate.boxes()]
        numbers += [str(number)] * int(inside.sum())
        names += [str(named[r, c]) for r, c in zip(*np.nonzero(inside), strict=True)]
        sure += np.clip(plate.scores[inside], 0.0, 1.0).tolist()
        reasons += [part for part in (said, plate.verdict.reason) if part]
    if len(plates) > 1:
        reasons.insert(0, f"{len(plates)} plates, numbered from the left")
    return Wells(tuple(boxes), tuple(numbers), tuple(names), np.array(sure), "; ".join(reasons))


def names_of(plate: Plate, rotate: int) -> tuple[npt.NDArray[np.str_], str]:
    """Give the names of a plate's places (rows, columns), "" where they are not known, and why."""
    verdict = plate.verdict
    rows, columns = plate.scores.shape
    if verdict.origin is None:
        return np.full((rows, columns), ""), ""
    named, said = well_names(verdict.shape, rotate)
    row, column = verdict.origin
    return named[row : row + rows, column : column + columns], said


def well_names(shape: tuple[int, int], rotate: int = 0) -> tuple[npt.NDArray[np.str_], str]:
    """Give the names of the wells of a window as it is seen, and what must be said of them.

    Parameters
    ----------
    shape
        Rows and columns in the photograph.
    rotate
        Degrees by which the plate is turned clockwise.

    Returns
    -------
    tuple
        Names (rows, columns), and a sentence, "" for a plate that lies across with A1 in the
        upper left, or as was asked for.
    """
    rows, columns = shape
    said = ""
    if rows > columns and rotate in (0, 180):
        rotate += 90
        where = "upper right" if rotate == 90 else "lower left"
        said = (
            f"the plate stands upright: A1 is taken as the {where}; it is turned by {rotate} "
            f"degrees, or else by {360 - rotate}"
        )
    elif rows <= columns and rotate in (90, 270):
        rotate -= 90
        said = "the plate lies across, so a quarter turn does not fit it: A1 is taken as the " + (
            "upper left" if rotate == 0 else "lower right"
        )
    row, column = np.mgrid[:rows, :columns]
    if rotate == 180:
        row, column = rows - 1 - row, columns - 1 - column
    elif rotate == 90:
        row, column = columns - 1 - column, row
    elif rotate == 270:
        row, column = column, rows - 1 - row
    letters = np.array([*string.ascii_uppercase])
    return np.char.add(letters[row], (column + 1).astype(str)), said
