"""A picture of wells, what is in it, and what an operator would say of it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from cytowell.types import Box

Truth = dict[tuple[str, str], Box]
Grey = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """A picture and what is in it.

    Attributes
    ----------
    level
        What was done to it, and how much.
    wells
        Box of every well that is in sight, by number of its plate and name.
    named
        Whether the picture tells which well is which.
    plates, wells_each
        What an operator would say of it.
    """

    level: str
    picture: Image.Image
    wells: Truth
    named: bool = True
    plates: int = 1
    wells_each: int = 96
