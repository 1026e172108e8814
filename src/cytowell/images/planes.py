"""Which plane of a stack is looked at, and how large its pixels are."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from PIL import Image

from cytowell.errors import ImageError, PlaneNotChosen, RecipeError

PIXEL_SIZE = "um_per_pixel"
"""Key of an image's `info`, and name of a column: the side of a pixel in micrometres."""

AXES = {"Z": "focus planes", "T": "points in time", "P": "positions"}
"""What the axes of a stack are called; other letters are the file's own."""

ANY = "\0"
"""The choice of whoever asks for a stack's size alone: it is the same of all its planes. No command
line can say it."""

SMALLEST, LARGEST = 1e-4, 1e4
"""Micrometres: sides of pixels that are believed, an electron microscope's to a hand lens's."""

_CHOICE = re.compile(r"([A-Z])=(\d{1,6})")


@functools.lru_cache(maxsize=64)
def parse_plane(said: str) -> dict[str, int]:
    """Read a choice such as ``Z=3,T=0``: an index, counted from 0, for each axis.

    Raises
    ------
    RecipeError
        If it is no such choice.
    """
    chosen: dict[str, int] = {}
    if said == ANY:
        return chosen
    for part in said.split(",") if said else ():
        found = _CHOICE.fullmatch(part.strip().upper())
        if found is None or found[1] in chosen or found[1] in "XYCS":
            raise RecipeError(
                f"plane = {said!r} is no choice.",
                "Give an index for each axis, such as Z=3 or Z=3,T=0 (P for positions).",
            )
        chosen[found[1]] = int(found[2])
    return chosen


def choose(sizes: Mapping[str, int], said: str, shown: str) -> dict[str, int]:
    """Give an index for every axis of a stack; an axis of several is never guessed.

    Parameters
    ----------
    sizes
        How many planes each axis has, without Y, X and channels.
    said
        The choice, as `parse_plane` reads it; `ANY` takes the first of all. An axis that this file
        lacks may be chosen at 0: a folder may hold single pictures beside stacks.

    Raises
    ------
    PlaneNotChosen
        If an axis of several planes is not chosen.
    ImageError
        If it has no such plane.
    """
    if said == ANY:
        return dict.fromkeys(sizes, 0)
    chosen = parse_plane(said)
    for axis, count in sizes.items():
        if count > 1 and axis not in chosen:
            raise PlaneNotChosen(
                f"{shown} has {count} {AXES.get(axis, f'planes along {axis}')}.",
                f"Choose one: --plane {axis}=0 to {axis}={count - 1}.",
            )
    for axis, index in chosen.items():
        count = sizes.get(axis, 1)
        if index >= count:
            what = AXES.get(axis, f"planes along {axis}")
            raise ImageError(
                f"{shown} has {count} {what}, not {axis}={index}.",
                f"Choose --plane {axis}=0" + (f" to {axis}={count - 1}." if count > 1 else "."),
            )
    return {axis: chosen.get(axis, 0) for axis in sizes}


def sensible(size: float) -> float | None:
    """Give a pixel's side in micrometres, None for one that no microscope has."""
    return float(size) if SMALLEST <= size <= LARGEST else None


def pixel_size(image: Image.Image) -> float | None:
    """Give the side of a pixel in micrometres, None where the file does not say."""
    found = image.info.get(PIXEL_SIZE)
    return float(found) if found else None
