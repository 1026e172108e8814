"""Boxes on a photograph that a person moves, sizes, adds and takes out, by pointer or by keys."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gradio as gr

from cytowell.errors import RecipeError
from cytowell.types import Box

MOST = 5000

NOTHING: dict[str, Any] = {
    "photograph": "", "version": "", "image": "",
    "width": 1, "height": 1, "boxes": [], "names": {}, "chosen": -1,
}  # fmt: skip

HERE = Path(__file__).parent


def editor() -> Any:
    """Make the editor; its value is a photograph with boxes."""
    template, script = (
        (HERE / f"boxes.{kind}").read_text(encoding="utf-8") for kind in ("html", "js")
    )
    return gr.HTML(value=NOTHING, html_template=template, js_on_load=script, elem_id="boxes")


def read_boxes(value: Any, photograph: str) -> list[Box]:
    """Read the editor's boxes: upper left corner, width, height, in pixels of the photograph.

    Parameters
    ----------
    photograph
        Which one is chosen; the boxes have to be of that one.

    Raises
    ------
    RecipeError
        If they are no boxes inside the photograph.
    """
    try:
        if value["photograph"] != photograph:
            raise RecipeError("These boxes are of another photograph.", "Wait until it is shown.")
        width, height = float(value["width"]), float(value["height"])
        sides = [[float(side) for side in box] for box in value["boxes"]]
    except (TypeError, KeyError, ValueError) as error:
        raise RecipeError("These are no boxes.", "Choose the photograph again.") from error
    if len(sides) > MOST:
        raise RecipeError(f"These are {len(sides)} boxes.", f"A photograph has {MOST} at most.")
    out = []
    for box in sides:
        if len(box) != 4 or not all(math.isfinite(side) for side in box):
            raise RecipeError("These are no boxes.", "Choose the photograph again.")
        x, y, w, h = box
        left, top = max(0.0, x), max(0.0, y)
        right, bottom = min(width, x + w), min(height, y + h)
        if right - left < 2 or bottom - top < 2:
            raise RecipeError("A box does not lie in the photograph.", "Move it or take it out.")
        out.append(
            Box(round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2))
        )
    return out
