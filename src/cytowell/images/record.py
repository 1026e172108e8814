"""The preprocessing record: what travels in a bundle so that service does what training did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from PIL import Image

from cytowell.errors import RecipeError
from cytowell.images.cell import CellView
from cytowell.images.planes import parse_plane

INTERPOLATION = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}

READING = (
    "channels",
    "window",
    "plane",
    "margin",
    "square",
    "round",
    "whole",
    "crop_boxes",
    "cell",
)
"""How photographs are read and boxes cut out, whatever network looks at them."""


@dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the network's input; travels inside the bundle.

    Attributes
    ----------
    size
        Side of the square input in pixels.
    crop
        Share of the shorter side that is kept about the centre. At 1 nothing is cut: the whole
        picture is fitted into the square and the rest is filled with the mean of its own border.
    crop_boxes
        Whether the same share is kept of what a box cuts out, as where boxes or their cut-outs were
        learnt from. False where whole pictures were, whose centre is about what a box would show.
    interpolation
        `bilinear`, `bicubic` or `box`, always antialiased (Pillow's resize).
    jpeg_scale
        JPEGs are decoded at 1/1, 1/2, 1/4 or 1/8 of their size; faster, and not the same pixels.
    channels
        Which channels of a multi-channel TIFF become red, green and blue, counted from 0; None
        takes the first three, or the only one thrice.
    window
        Lowest and highest intensity of 16-bit images, mapped to 0 and 255; None takes the whole
        range of the data type. Never an image's own maximum: brightness would lose its meaning.
    plane
        Which plane of a stack is looked at, such as ``Z=3`` or ``Z=3,T=0``, counted from 0 (Z
        focus, T time, P position); empty where files hold one each.
    margin
        What is taken in around a box, as a share of its longer side, on every side.
    square
        Whether the shorter side of a box is widened to the longer one, as far as the photograph
        reaches.
    round
        Whether what lies outside the ellipse in a box is painted black: the corners between wells.
    whole
        Whether a box is left aside, and the photograph that it lies in is looked at.
    cell
        The canonical view of a stained cell (`cell.CellView`); None for everything else. With it
        the window follows from the nucleus alone: `crop`, `crop_boxes`, `margin`, `square` and
        `round` say nothing.
    """

    size: int = 224
    crop: float = 1.0
    interpolation: str = "bilinear"
    jpeg_scale: int = 1
    channels: tuple[int, ...] | None = None
    window: tuple[float, float] | None = None
    plane: str = ""
    margin: float = 0.0
    square: bool = False
    round: bool = False
    whole: bool = False
    crop_boxes: bool = True
    cell: CellView | None = None

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096:
            raise RecipeError(f"size = {self.size} is no image side.", "Use 8 to 4096 pixels.")
        if not 0.1 <= self.crop <= 1.0:
            raise RecipeError(f"crop = {self.crop} is no share.", "Use 0.1 to 1.0.")
        parse_plane(self.plane)
        if not 0.0 <= self.margin <= 2.0:
            raise RecipeError(f"margin = {self.margin} is no share.", "Use 0 to 2.")
        if self.interpolation not in INTERPOLATION:
            raise RecipeError(
                f"interpolation = {self.interpolation!r} is not known.",
                f"Use one of {', '.join(INTERPOLATION)}.",
            )
        if self.jpeg_scale not in (1, 2, 4, 8):
            raise RecipeError(f"jpeg_scale = {self.jpeg_scale} is not known.", "Use 1, 2, 4 or 8.")
        chosen = self.channels
        if chosen is not None and (not 1 <= len(chosen) <= 3 or min(chosen) < 0):
            raise RecipeError(
                f"channels = {chosen} is no choice.", "Give one to three, counted from 0."
            )
        if self.window is not None and (
            len(self.window) != 2 or not self.window[0] < self.window[1]
        ):
            raise RecipeError(f"window = {self.window} is empty.", "Give LOW,HIGH with LOW < HIGH.")

    def read_as(self, other: Preprocessing) -> Preprocessing:
        """Give this record, with photographs read and boxes cut out as another says."""
        return replace(self, **{name: getattr(other, name) for name in READING})

    @property
    def middle_of_boxes(self) -> float:
        """The share of a box, about its middle, that is looked at."""
        if self.cell is not None:
            return 1.0
        return self.crop if self.crop_boxes and not self.whole else 1.0

    @property
    def unscaled(self) -> Preprocessing:
        """The same for photographs with boxes, whose pixels are of the whole: no `jpeg_scale`."""
        return replace(self, jpeg_scale=1)

    def to_json(self) -> dict[str, Any]:
        """Give the record as it stands in a bundle; without a cell's view as in format 1."""
        record = asdict(self)
        if self.cell is None:
            del record["cell"]
        return record

    @staticmethod
    def from_json(record: dict[str, Any]) -> Preprocessing:
        """Read the record of a bundle.

        Raises
        ------
        ValueError
            If it has a setting that is not known: it would be left out of what the network sees.
        """
        if unknown := set(record) - set(Preprocessing.__dataclass_fields__):
            raise ValueError(f"unknown preprocessing: {', '.join(sorted(unknown))}")
        known = dict(record)
        if known.get("cell") is not None:
            known["cell"] = CellView.from_json(known["cell"])
        for name in ("channels", "window"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        return Preprocessing(**known)
