"""Networks that users exported themselves from YOLOv5, YOLOv8 or YOLOX, as detector bundles.

Nobody must train again: the file is taken as it is, and what it leaves unsaid (which family, how
its photographs are prepared) is told by the shapes of its input and output.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cytowell.errors import BundleError, RecipeError
from cytowell.runtime.detector import Detector
from cytowell.runtime.detector_facts import STRIDES, DetectorFacts, Reading
from cytowell.runtime.session import first_line, open_network, refuse_outside

LONGEST = 1 << 20
"""Characters of the metadata that are read."""

USUAL_SIDE = 640
"""Input side of networks that take any, and do not say which they learnt at."""

_READINGS: dict[str, dict[str, Any]] = {
    # YOLOX since 0.2 takes blue, green, red 0..255 in the upper left; YOLOv5 and later take red,
    # green, blue 0..1 in the middle.
    "yolox": {"blue_first": True},
    "yolov5": {"centred": True, "divisor": 255.0},
    "yolov8": {"centred": True, "divisor": 255.0},
}


def import_network(
    file: str | Path, names: Sequence[str] = (), side: int = 0, score: float = 0.3
) -> Detector:
    """Make a detector of an ONNX file.

    Parameters
    ----------
    names
        Classes in the network's order; those in the file's own metadata without it.
    side
        Input side in pixels, for a network that takes any.
    score
        Certainty from which on a box is one.

    Raises
    ------
    BundleError
        If the file is not there or is no such network; if classes are not told.
    RecipeError
        If `names` are not as many as the network has classes.
    """
    place = Path(file)
    try:
        model = place.read_bytes()
    except OSError as error:
        raise BundleError(f"{file} cannot be read.", "Check the path.") from error
    refuse_outside(model, str(place))
    session = open_network(model, str(place))
    told = {k: str(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    shapes = [given.shape for given in session.get_inputs()]
    shape = shapes[0] if len(shapes) == 1 else []
    if len(shape) != 4 or shape[1] != 3:
        raise BundleError(
            f"{place} takes {shapes} and not photographs as (N, 3, side, side).",
            "Export the network for detection, without anything before it.",
        )
    edge = side or next((v for v in shape[2:] if isinstance(v, int) and v > 0), 0) or _side(told)
    fixed = [v for v in shape[2:] if isinstance(v, int)]
    if any(v != edge for v in fixed):
        raise BundleError(
            f"{place} takes {fixed} pixels; square inputs are read.",
            "Export it with one side for width and height.",
        )
    Reading(edge)  # refuses a side that is none, before anything of that size is made
    out = _tried(session, edge, place)
    says = _family(out.shape, edge, place)
    count = out.shape[1] - 4 if says == "yolov8" else out.shape[2] - 5
    classes = tuple(names) or _names(told)
    if not classes:
        raise BundleError(
            f"{place} does not say what its {count} classes are called.",
            "Give --names first,second,... in the order that it learnt them in.",
        )
    if len(classes) != count:
        raise RecipeError(
            f"{place} has {count} classes and not {len(classes)}.",
            "Give --names for each of them, in the order that it learnt them in.",
        )
    origin = {"imported": place.name, "licence": told.get("license", "as its maker says")}
    facts = DetectorFacts(classes, Reading(edge, **_READINGS[says]), says, score, origin=origin)
    return Detector(facts, model, name=str(place))


def _tried(session: Any, side: int, place: Path) -> Any:
    """Run the network once on grey and give its first output."""
    given = session.get_inputs()[0]
    kind = np.float16 if "float16" in given.type else np.float32
    try:
        out = session.run(None, {given.name: np.full((1, 3, side, side), 0.5, dtype=kind)})[0]
    except Exception as error:
        raise BundleError(
            f"{place} does not take {side} pixels ({first_line(error)}).",
            "Give --side with the side that it was exported at.",
        ) from error
    if np.ndim(out) != 3:
        raise BundleError(
            f"{place} gives {np.shape(out)}, which is no list of boxes of a YOLO.",
            "Export it without non-maximum suppression.",
        )
    return out


def _family(shape: tuple[int, ...], side: int, place: Path) -> str:
    """Tell the family by how many boxes there are, and which way they lie.

    YOLOX and YOLOv8 say a box per cell of three grids, YOLOv5 three.
    """
    cells = sum((side // stride) ** 2 for stride in STRIDES)
    _, rows, columns = shape
    fits = {
        "yolov8": columns == cells and rows > 4,
        "yolox": rows == cells and columns > 5,
        "yolov5": rows == 3 * cells and columns > 5,
    }
    for family, does in fits.items():
        if does:
            return family
    raise BundleError(
        f"{place} gives {shape} at {side} pixels, which fits none of {', '.join(fits)}.",
        "Export it without non-maximum suppression, at the side that you name.",
    )


def _side(told: dict[str, str]) -> int:
    """Give the side in the metadata that YOLOv5 and later write."""
    given = _literal(told.get("imgsz", ""))
    first = given[0] if isinstance(given, list | tuple) and given else given
    return first if isinstance(first, int) else USUAL_SIDE


def _names(told: dict[str, str]) -> tuple[str, ...]:
    """Give the classes in the metadata that YOLOv5 and later write."""
    given = _literal(told.get("names", ""))
    if isinstance(given, dict) and all(isinstance(k, int) for k in given):
        return tuple(str(given[k]) for k in sorted(given))
    return tuple(map(str, given)) if isinstance(given, list | tuple) else ()


def _literal(text: str) -> Any:
    """Read a Python literal, None where it is none."""
    try:
        return ast.literal_eval(text) if len(text) < LONGEST else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
