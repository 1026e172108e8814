"""What is in a photograph, before anybody says what it is: wells, cells, or the picture itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cytowell.errors import BundleError, ImageError, RecipeError, UnknownName
from cytowell.images import Preprocessing, ahead, open_upright
from cytowell.images.failures import reading
from cytowell.images.planes import PIXEL_SIZE, pixel_size
from cytowell.plates.grid import samples_of, wells_in
from cytowell.plates.search import ANYTHING, Expected
from cytowell.registry import did_you_mean
from cytowell.runtime.detector import SHIPPED, Detector, load_detector
from cytowell.types import COUNTED, FOUND, OBJECT, Box, Sample

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
        A detector bundle, for `cells`; the shipped one without.
    only
        Classes of the detector whose objects are given and called. Without, all are given, and
        those that the classifier is not for are counted and not called.
    expected
        What is known of plates: their format, how many a photograph shows.

    Raises
    ------
    UnknownName
        If there is no such thing to find, or the detector has no such class.
    RecipeError
        If classes of a detector are named for other things than cells.
    """
    if only and find != "cells":
        raise RecipeError("Classes of a detector are of found cells.", "Use --find cells too.")
    if find == "none":
        return None
    if find == "wells":
        return lambda path, record: samples_of(path, wells_in(path, rotate, record, expected))
    if find == "cells":
        loaded = load_detector(detector or SHIPPED)
        for name in set(only) - set(loaded.classes):
            known = did_you_mean(name, [*loaded.classes])
            raise UnknownName(f"The detector finds no {name!r}.", known)
        return CellFinder(loaded, frozenset(only))
    raise UnknownName(f"Nobody knows how to find {find!r}.", did_you_mean(find, [*FINDS]))


@dataclass(frozen=True)
class CellFinder:
    """Finds cells with a detector; what a classifier is not for is counted and not called.

    Attributes
    ----------
    only
        Classes whose objects are given, all of which are called; empty for every class.
    calls
        Classes that are called where `only` names none; empty for every class.
    """

    detector: Detector
    only: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()

    def calling(self, calls: Collection[str]) -> CellFinder:
        """Give what finds for a classifier of these classes.

        A detector of other classes, or one whose classes somebody has chosen, has all its objects
        called: only a person knows what they are.
        """
        known = {name.lower() for name in calls}
        wanted = frozenset(c for c in self.detector.classes if c.lower() in known)
        return self if self.only else replace(self, calls=wanted)

    def __call__(self, path: str, record: Preprocessing | None) -> list[Sample]:
        """Give a photograph's objects; one sample that says so where nothing was found."""
        # Photographs are looked at side by side: each has one thread.
        image = open_upright(path, record)
        found = self.detector.find(image, threads=1)
        measured = {PIXEL_SIZE: size} if (size := pixel_size(image)) else {}
        if not len(found):
            return [Sample(path, group=path, nothing="the detector found nothing")]
        out = []
        for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True):
            name = self.detector.classes[int(label)]
            if self.only and name not in self.only:
                continue
            nothing = COUNTED if self.calls and name not in self.calls else ""
            extra = {"confidence": round(float(score), 3), FOUND: name} | measured
            out.append(Sample(path, group=path, box=box, nothing=nothing, extra=extra))
        none = f"no {' or '.join(sorted(self.only))} was found"
        return out or [Sample(path, group=path, nothing=none)]


def _rounded(box: Box) -> Box:
    """Give a found box to a hundredth of a pixel, which is more than anything finds."""
    return Box(*(round(v, 2) for v in (box.x, box.y, box.width, box.height)))


def objects(
    photographs: Iterable[Sample],
    find: Finder | None,
    record: Preprocessing | None = None,
    calls: Collection[str] = (),
) -> Iterator[Sample]:
    """Give every object of photographs, numbered, with the photograph's own columns.

    A sample that has a box already is an object that somebody has found; it goes through.

    Parameters
    ----------
    record
        Channels, window and plane of multi-channel and 16-bit photographs and of stacks: whoever
        calls the objects reads them so too.
    calls
        Classes of a detector whose objects the bundle is for (`Facts.calls`); other objects are
        counted and not called.
    """
    how = record and record.unscaled
    if find is None:
        yield from photographs
        return
    look = find.calling(calls) if isinstance(find, CellFinder) else find

    def one(photograph: Sample) -> tuple[Sample, list[Sample]]:
        if photograph.box is not None:
            return photograph, []
        try:
            with reading(photograph.path, "cannot be searched"):
                return photograph, look(photograph.path, how)
        except (ImageError, BundleError) as error:
            # Not called whole: that would be an answer to another question.
            return photograph, [replace(photograph, error=str(error))]

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
                error=found.error,
                extra=extra,
            )
