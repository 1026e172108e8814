"""Wells without training: most plates are a lattice of circles, most eyepieces one round field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from cytowell.errors import ImageError, RecipeError
from cytowell.images import Preprocessing, open_upright, upright_size
from cytowell.images.failures import reading
from cytowell.plates.extent import FORMATS
from cytowell.plates.eyepiece import find_field
from cytowell.plates.naming import checked_well, names_of, numbered, well_in_name, well_names
from cytowell.plates.search import (
    ANYTHING,
    SIDE,
    Expected,
    contradicted,
    find_plates,
    plain,
    settled,
    worth,
)
from cytowell.plates.single import Single, find_single
from cytowell.plates.window import Plate
from cytowell.types import Box, Dataset, FloatArray, Pixels, Sample

__all__ = ["FIELD", "Expected", "Wells", "find_wells", "well_names", "wells_of"]

FIELD = "field"
"""Name of the one round field of an eyepiece."""

ROTATIONS = (0, 90, 180, 270)

SMALL = 600
"""Longer side in pixels to which smaller photographs are enlarged, fourfold at most."""

SURER = 0.4
"""Edge that a single well explains, beside that of a plate which it is taken in place of."""

Opened = Callable[[int], Image.Image]
"""Gives the photograph with at least so many pixels on its longer side, if it has them."""


@dataclass(frozen=True)
class Wells:
    """What was found in one photograph.

    Attributes
    ----------
    boxes
        In pixels of the upright photograph, plate by plate, row by row.
    plates, names
        Number of the plate and name of the well of each box ("A1"; "field" of an eyepiece; "" where
        nothing tells which well it is).
    confidence
        Of each box, 0..1: the share of its rim that was seen; less where it was told by its
        neighbours alone.
    reason
        Why nothing was found, or what must be known of what was; "" for a whole plate.
    orientations
        Of each box, where A1 of its plate was taken to be and whether that was given or assumed;
        "" where wells have no names.
    """

    boxes: tuple[Box, ...]
    plates: tuple[str, ...]
    names: tuple[str, ...]
    confidence: FloatArray
    reason: str = ""
    orientations: tuple[str, ...] = ()


def find_wells(
    photographs: str | Path | Dataset | Iterable[str | Path],
    rotate: int | None = None,
    expected: Expected = ANYTHING,
) -> Dataset:
    """Find the wells of photographs, as samples with a box, `plate`, `well` and `confidence`.

    Parameters
    ----------
    photographs
        One path, several, or a data set, whose photographs are each looked at once.
    rotate
        By how many degrees the plate is turned clockwise against A1 in the upper left; None where
        nobody has looked: A1 is then assumed there, and `orientation` of each sample says so.
    expected
        What is known of them: format, number of plates, name of a single well.

    Returns
    -------
    Dataset
        A sample per well, with what must be known of its plate as `note`. A photograph without
        wells, or that cannot be decoded, stays in it as one sample with `nothing` to be called and
        why. Groups are the photographs.

    Raises
    ------
    RecipeError
        If `rotate` is no quarter turn, or what is expected is no plate or well.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "plates", per_class=1)["plates"]
    >>> wells = cytowell.find_wells(folder / "images" / "plate-96-001a.jpg")
    >>> len(wells), wells.samples[0].extra["well"]
    (96, 'A1')
    """
    if isinstance(photographs, str | Path):
        photographs = [photographs]
    if isinstance(photographs, Dataset):
        photographs = dict.fromkeys(photographs.paths)
    samples: list[Sample] = []
    notes = []
    for path in map(str, photographs):
        wells = wells_or_why(path, rotate, expected=expected)
        samples += samples_of(path, wells)
        if wells.reason:
            notes.append(f"{path}: {wells.reason}")
    return Dataset(tuple(samples), (), notes=tuple(notes))


def wells_in(
    path: str,
    rotate: int | None = None,
    record: Preprocessing | None = None,
    expected: Expected = ANYTHING,
) -> Wells:
    """Find the wells of a file.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    RecipeError
        If `rotate` is no quarter turn.
    """
    size = upright_size(path, record)

    def opened(side: int) -> Image.Image:
        # A JPEG is decoded no finer than it is looked at: most of the time goes there else.
        scale = next((s for s in (8, 4, 2) if max(size) >= s * side), 1)
        return open_upright(path, replace(record or Preprocessing(), jpeg_scale=scale))

    found = _found(opened, rotate, size, expected)
    if found.names == ("",) and (name := well_in_name(path)):
        return replace(found, names=(name,), reason=f"one well, {name} by the file's name")
    return found


def wells_or_why(
    path: str,
    rotate: int | None = None,
    record: Preprocessing | None = None,
    expected: Expected = ANYTHING,
) -> Wells:
    """Find the wells of a file; one that cannot be decoded has none, and its reason."""
    try:
        with reading(path, "cannot be searched"):
            return wells_in(path, rotate, record, expected)
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
            # To a hundredth of a pixel, as tables hold it: every way to a well cuts out the same.
            box=Box(*(round(v, 2) for v in (box.x, box.y, box.width, box.height))),
            extra={
                "plate": plate,
                "well": name,
                "confidence": round(float(sure), 3),
                "orientation": where,
                "note": wells.reason,
            },
        )
        for box, plate, name, sure, where in zip(
            wells.boxes, wells.plates, wells.names, wells.confidence, wells.orientations,
            strict=True,
        )
    ]  # fmt: skip


def wells_of(
    photograph: Image.Image, rotate: int | None = None, expected: Expected = ANYTHING
) -> Wells:
    """Find the wells of one upright photograph.

    Raises
    ------
    RecipeError
        If `rotate` is no quarter turn, or what is expected is no plate or well.
    """
    return _found(lambda side: photograph, rotate, photograph.size, expected)


def _found(opened: Opened, rotate: int | None, whole: tuple[int, int], expected: Expected) -> Wells:
    """Find the wells of a photograph of so many pixels, in copies no larger than is needed."""
    if rotate not in (None, *ROTATIONS):
        raise RecipeError(f"A plate is not turned by {rotate} degrees.", "Use 0, 90, 180 or 270.")
    if expected.wells not in (0, *FORMATS):
        raise RecipeError(
            f"No plate of {expected.wells} wells is known.",
            f"Use one of {', '.join(map(str, FORMATS))}.",
        )
    well = checked_well(expected.well) if expected.well else ""
    photograph = opened(SIDE)
    pixels = _pixels(photograph, SIDE, whole)
    exact = np.array(whole) / np.array(pixels.shape[1::-1])
    field = None if expected.wells or expected.plates else find_field(pixels)
    if field is not None:
        box = _scaled(field.box, exact, whole)
        name = well or FIELD
        return Wells((box,), ("1",), (name,), np.array([field.confidence]), field.reason, ("",))
    plates = [] if well else find_plates(pixels, expected)
    enough = plain(plates, expected) or (settled(plates) and len(plates) >= expected.plates)
    if not well and not enough:
        plates, exact = _harder(opened, pixels, whole, expected, plates)
    if not any(p.verdict.origin is not None for p in plates):
        single = None if expected.wells or expected.plates else find_single(pixels)
        if single is not None and (well or _outweighs(single, plates, exact, whole)):
            scale = np.array(whole) / np.array(pixels.shape[1::-1])
            box = _scaled(single.box, scale, whole)
            said = "" if well else ONE
            return Wells((box,), ("1",), (well,), np.array([single.confidence]), said, ("",))
    if not plates:
        return _none("no lattice of circles, no round field and no single well was found")
    return _listed(plates, rotate, exact, whole, expected)


def _harder(
    opened: Opened,
    pixels: Pixels,
    whole: tuple[int, int],
    expected: Expected,
    plates: list[Plate],
) -> tuple[list[Plate], FloatArray]:
    """Look for square wells and in a larger copy, where circles alone did not explain enough."""
    exact = np.array(whole) / np.array(pixels.shape[1::-1])
    squares = find_plates(pixels, expected, square=True)
    if worth(squares) > worth(plates) and not any(contradicted(s, plates) for s in squares):
        plates = squares
    if plain(plates, expected):
        return plates, exact
    if max(whole) > 1.2 * SIDE:
        larger = _pixels(opened(2 * SIDE), 2 * SIDE, whole)
        again = find_plates(larger, expected)
        scale = larger.shape[1] / pixels.shape[1]
        if worth(again) > worth(plates) and not any(contradicted(p, plates, scale) for p in again):
            return again, np.array(whole) / np.array(larger.shape[1::-1])
    return plates, exact


ONE = "one well fills the photograph: its name comes from the file's name, a table, or --well"


def _outweighs(
    single: Single, plates: list[Plate], exact: FloatArray, whole: tuple[int, int]
) -> bool:
    """Whether one well explains more edge than what was taken for wells without names."""
    alone = single.confidence * np.pi * single.box.width / single.scale
    return all(
        alone > plate.evidence * float(exact[0]) / max(whole)
        or (
            alone > SURER * plate.evidence * float(exact[0]) / max(whole)
            and single.confidence > plate.strength + 0.2
        )
        for plate in plates
    )


def _pixels(photograph: Image.Image, side: int, whole: tuple[int, int]) -> Pixels:
    """Give a copy with so many pixels on the longer side; a small one is enlarged."""
    longest = max(whole)
    wanted = min(side, max(longest, min(SMALL * side // SIDE, 4 * longest)))
    scale = max(photograph.size) / wanted
    size = (max(1, round(photograph.width / scale)), max(1, round(photograph.height / scale)))
    how = Image.Resampling.BOX if scale >= 1 else Image.Resampling.BICUBIC
    return np.asarray(photograph.convert("RGB").resize(size, how))


def _none(reason: str) -> Wells:
    return Wells((), (), (), np.zeros(0), reason)


def _scaled(box: Box, scale: FloatArray, whole: tuple[int, int]) -> Box:
    """Give a box in the photograph's own pixels, without what reaches out of it."""
    across, down = map(float, scale)
    left, top = max(0.0, box.x * across), max(0.0, box.y * down)
    right = min(float(whole[0]), (box.x + box.width) * across)
    bottom = min(float(whole[1]), (box.y + box.height) * down)
    return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))


def _listed(
    plates: list[Plate],
    rotate: int | None,
    scale: FloatArray,
    whole: tuple[int, int],
    expected: Expected,
) -> Wells:
    """Name the wells of every plate."""
    boxes: list[Box] = []
    numbers: list[str] = []
    names: list[str] = []
    sure: list[float] = []
    where: list[str] = []
    reasons: list[str] = []
    for number, plate in enumerate(numbered(plates), 1):
        inside = plate.inside
        named, said, corner = names_of(plate, rotate)
        boxes += [_scaled(box, scale, whole) for box in plate.boxes()]
        numbers += [str(number)] * int(inside.sum())
        names += [str(named[r, c]) for r, c in zip(*np.nonzero(inside), strict=True)]
        where += [corner] * int(inside.sum())
        sure += np.clip(plate.scores[inside], 0.0, 1.0).tolist()
        reasons += [part for part in (said, plate.verdict.reason) if part]
    if expected.plates and len(plates) != expected.plates:
        reasons.insert(0, f"{len(plates)} of {expected.plates} plates were found")
    elif len(plates) > 1:
        reasons.insert(0, f"{len(plates)} plates, numbered from the left, then from the top")
    said = "; ".join(dict.fromkeys(reasons))
    return Wells(tuple(boxes), tuple(numbers), tuple(names), np.array(sure), said, tuple(where))
