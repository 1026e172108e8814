"""What is in a photograph, before anybody says what it is: wells, cells, or the picture itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from cytowell.errors import ImageError, RecipeError, UnknownName
from cytowell.images import Preprocessing, ahead, open_upright
from cytowell.images.planes import PIXEL_SIZE, pixel_size
from cytowell.plates.grid import samples_of, wells_in
from cytowell.plates.search import ANYTHING, Expected
from cytowell.registry import did_you_mean
from cytowell.runtime.detector import Detector, load_detector
from cytowell.types import OBJECT, Box, Sample

FINDS = ("none", "wells", "cells")

Finder = Callable[[str, Preprocessing | None], list[Sample]]
"""Gives a sample with a box for every object of a photograph, which is read as the record says;
one with `nothing` for none."""


def finder(
    find: str,
    rotate: int | None = None,
    detector: str = "",
    only: Collection[str] = (),
    expected: Expected = ANYTHING,
) -> Finder | None:
    """Give what looks for objects; None where photographs are called whole.

    Parameters
    ----------
    find
        `none`, `wells` (no model needed) or `cells`.
    rotate
        Degrees by which plates are turned clockwise; None where nobody has looked.
    detector
        A detector bundle, for `cells`.
    only
        Classes of the detector whose objects are given, all of them without: a smear has a white
        cell or two among hundreds of red ones.
    expected
        What is known of plates: their format, how many a photograph shows.

    Raises
    ------
    UnknownName
        If there is no such thing to find, or the detector has no such class.
    RecipeError
        If cells are to be found without a detector, or classes of one are named for other things.
    """
    if only and find != "cells":
        raise RecipeError("Classes of a detector are of found cells.", "Use --find cells too.")
    if find == "none":
        return None
    if find == "wells":
        return lambda path, record: samples_of(path, wells_in(path, rotate, record, expected))
    if find == "cells":
        if not detector:
            raise RecipeError(
                "Cells are found by a detector.",
                "Give --detector BUNDLE (cytowell detect import makes one), or use --find wells.",
            )
        return _detecting(load_detector(detector), frozenset(only))
    raise UnknownName(f"Nobody knows how to find {find!r}.", did_you_mean(find, [*FINDS]))


def _detecting(detector: Detector, only: frozenset[str]) -> Finder:
    names = detector.facts.classes
    for name in only - set(names):
        raise UnknownName(f"The detector finds no {name!r}.", did_you_mean(name, [*names]))

    def find(path: str, record: Preprocessing | None) -> list[Sample]:
        # Photographs are looked at side by side: each has one thread.
        image = open_upright(path, record)
        found = detector.find(image, threads=1)
        told = {PIXEL_SIZE: size} if (size := pixel_size(image)) else {}
        if not len(found):
            return [Sample(path, group=path, nothing="the detector found nothing")]
        return [
            Sample(
                path,
                group=path,
                box=box,
                extra={"confidence": round(float(sure), 3), "found": names[int(label)]} | told,
            )
            for box, label, sure in zip(found.boxes, found.labels, found.scores, strict=True)
            if not only or names[int(label)] in only
        ] or [Sample(path, group=path, nothing=f"no {' or '.join(sorted(only))} was found")]

    return find


def _rounded(box: Box) -> Box:
    """Give a found box to a hundredth of a pixel, which is more than anything finds."""
    return Box(*(round(v, 2) for v in (box.x, box.y, box.width, box.height)))


def objects(
    photographs: Iterable[Sample], find: Finder | None, record: Preprocessing | None = None
) -> Iterator[Sample]:
    """Give every object of photographs, numbered, with the photograph's own columns.

    A sample that has a box already is an object that somebody has found; it goes through.

    Parameters
    ----------
    record
        Channels, window and plane of multi-channel and 16-bit photographs and of stacks: whoever
        calls the objects reads them so too.
    """
    reading = record and record.unscaled
    if find is None:
        yield from photographs
        return
    look = find

    def one(photograph: Sample) -> tuple[Sample, list[Sample]]:
        if photograph.box is not None:
            return photograph, []
        try:
            return photograph, look(photograph.path, reading)
        except ImageError:
            # Whoever calls it will fail to read it too, and say so in the usual words.
            return photograph, [photograph]

    for photograph, listed in ahead(one, photographs, waiting=1):
        if photograph.box is not None:
            yield photograph
        for number, found in enumerate(listed, 1):
            place = dict(found.extra)
            if len(listed) == 1 and place.get("well") == "":
                # A single well is the one that the table says it is.
                place["well"] = str(photograph.extra.get("well") or "")
            extra: dict[str, Any] = {
                OBJECT: None if found.box is None else number,
                "plate": place.pop("plate", ""),
                "well": place.pop("well", ""),
                "score": place.pop("confidence", None),
                **place,
            }
            for name, value in photograph.extra.items():
                # What was found keeps its name; a column that the table brought is given_...
                while name in extra:
                    name = f"given_{name}"
                extra[name] = value
            yield replace(
                photograph,
                group=photograph.group or photograph.path,
                box=found.box and _rounded(found.box),
                nothing=found.nothing,
                extra=extra,
            )
