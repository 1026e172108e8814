"""Boxes drawn on a photograph, with a name in each: what was found, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from cytowell.types import Box

COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#bbbbbb"
)  # fmt: skip
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

LONGEST = 1600
"""Longer side in pixels of a drawing: to be looked at, not measured."""


def draw_boxes(
    photograph: Image.Image,
    boxes: Sequence[Box],
    names: Sequence[str],
    kinds: Sequence[str] = (),
    round_ones: bool = False,
) -> Image.Image:
    """Draw boxes with their names.

    Parameters
    ----------
    photograph
        Upright RGB.
    boxes
        In its pixels.
    names
        Written in each box.
    kinds
        What each box is called; boxes of a kind share a colour, and a legend names it.
    round_ones
        Draw the circle that a box encloses, as for wells.
    """
    scale = min(1.0, LONGEST / max(photograph.size))
    size = (max(1, round(photograph.width * scale)), max(1, round(photograph.height * scale)))
    drawn = photograph.convert("RGB").resize(size, Image.Resampling.BOX)
    pen = ImageDraw.Draw(drawn)
    order = list(dict.fromkeys(kinds))
    thick = max(1, round(max(size) / 500))
    for i, (box, name) in enumerate(zip(boxes, names, strict=True)):
        colour = COLOURS[order.index(kinds[i]) % len(COLOURS)] if kinds else COLOURS[0]
        corners = (
            box.x * scale,
            box.y * scale,
            max(box.x, box.x + box.width) * scale,
            max(box.y, box.y + box.height) * scale,
        )
        shape = pen.ellipse if round_ones else pen.rectangle
        shape(corners, outline=colour, width=thick)
        text = ImageFont.load_default(max(9, min(28, int(0.28 * box.height * scale))))
        middle = ((corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2)
        pen.text(middle, name, colour, text, anchor="mm", stroke_width=2, stroke_fill="black")
    if order:
        _legend(pen, order)
    return drawn


def _legend(pen: ImageDraw.ImageDraw, kinds: Sequence[str]) -> None:
    font = ImageFont.load_default(16)
    for i, kind in enumerate(kinds):
        colour = COLOURS[i % len(COLOURS)]
        place = (8, 8 + 20 * i)
        pen.text(place, kind, colour, font, stroke_width=2, stroke_fill="black")
