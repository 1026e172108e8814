"""The page of a smear: the differential count first, then every white cell, sorted by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from cytowell.evaluation.differential import FEW, USUAL, Differential, exact
from cytowell.evaluation.pages import environment, jpeg_uri
from cytowell.storage import write_text

THUMBNAIL = 96
"""Side of a white cell's picture, in pixels."""

MOST_PICTURED = 600
"""White cells of a slide that are shown; the table of calls holds all."""

UNDECIDED = "not decided"


@dataclass(frozen=True)
class WhiteCell:
    """One white cell of the gallery.

    Attributes
    ----------
    label, kind
        The likeliest class, and the kind within it ("" for none).
    probability, decided, reason
        Of the call.
    place
        Photograph and number of the object.
    row
        What `picture` of `write_smear_page` is asked for.
    """

    label: str
    kind: str
    probability: float
    decided: bool
    reason: str
    place: str
    row: int


@dataclass(frozen=True)
class SmearSlide:
    """What the page says of one slide.

    Attributes
    ----------
    count
        Its differential count.
    fields, red_cells, platelets, repeated
        Photographs; objects that were found; white cells that another field shows too.
    scale
        A sentence that says how large a pixel is and how that is known.
    cells
        Its white cells.
    cautions
        What to know before the count is used.
    """

    count: Differential
    fields: int
    red_cells: int
    platelets: int
    repeated: int
    scale: str
    cells: tuple[WhiteCell, ...]
    cautions: tuple[str, ...]


def write_smear_page(
    path: str | Path,
    slides: Sequence[SmearSlide],
    made_with: Mapping[str, str],
    picture: Callable[[int], Image.Image | None],
    synthetic: bool = False,
    compared: tuple[str, bool] = ("", False),
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    made_with
        Names and values of its last table.
    picture
        Gives what a row shows; None where it cannot be read.
    compared
        A sentence on the photographs against the training images, and whether they differ.
    """
    page = (
        environment()
        .get_template("smear.html.j2")
        .render(
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
            made_with=made_with,
            synthetic=synthetic,
            several=len(slides) > 1,
            compared=compared,
            slides=[_slide(s, picture) for s in slides],
        )
    )
    write_text(path, page)


def _slide(slide: SmearSlide, picture: Callable[[int], Image.Image | None]) -> dict[str, Any]:
    count = slide.count
    found = len(slide.cells)
    open_cells = [c for c in slide.cells if not c.decided]
    return {
        "name": count.name,
        "headline": _headline(count),
        "white": count.white,
        "progress": _progress(count.white),
        "lines": [_line(line) for line in count.lines if line.kind == "white"],
        "facts": _facts(slide, found),
        "open": len(open_cells),
        "open_reasons": Counter(_plain_reason(c.reason) for c in open_cells).most_common(),
        "cautions": [*_few(count.white), *slide.cautions],
        "gallery": _gallery(slide.cells, picture),
        "left_out": max(0, found - MOST_PICTURED),
    }


def _headline(count: Differential) -> str:
    if not count.white:
        return "No white cell was decided: there is no differential count."
    lines = sorted(
        (line for line in count.lines if line.kind == "white" and line.count),
        key=lambda line: -line.count,
    )
    shares = ", ".join(f"{line.name} {line.share or 0:.0f} %" for line in lines[:5])
    return f"{count.white} white cells counted: {shares}."


def _progress(white: int) -> dict[str, Any]:
    goal = FEW if white < FEW else USUAL
    return {"goal": goal, "percent": min(100, round(100 * white / goal)), "white": white}


def _line(line: Any) -> dict[str, Any]:
    share, low, high = (0.0 if v is None else float(v) for v in (line.share, line.low, line.high))
    return {
        "name": line.name,
        "count": line.count,
        "share": "" if line.share is None else f"{share:.1f}",
        "interval": "" if line.share is None else f"{low:.1f} to {high:.1f}",
        "bar": round(share, 1),
        "low": round(low, 1),
        "width": round(max(0.4, high - low), 1),
        "review": line.review,
    }


def _facts(slide: SmearSlide, found: int) -> list[tuple[str, str]]:
    """Give what else was counted: name and value, in words."""
    count = slide.count
    out = [("Fields", str(slide.fields)), ("White cells found", str(found))]
    for name, number in (("Red cells", slide.red_cells), ("Platelets", slide.platelets)):
        ratio = f"{number / found:.1f} per white cell, " if found else ""
        per_field = f"{number / max(1, slide.fields):.1f} per field"
        out.append((name, f"{number} ({ratio}{per_field})"))
    for line in count.lines:
        if line.kind == "erythroblast" and line.share is not None:
            limits = f"95 % interval {line.low or 0:.1f} to {line.high or 0:.1f}"
            value = f"{line.share:.1f} per 100 white cells ({line.count} counted; {limits})"
            out.append(("Nucleated red cells", value))
    if (bands := _bands(slide.cells)) is not None:
        out.append(("Band neutrophils", bands))
    if count.immature:
        out.append(("Immature granulocytes", f"{count.immature:.1f} per 100 white cells"))
    if slide.repeated:
        seen = f"{slide.repeated} white cells, counted once"
        out.append(("Shown by two overlapping fields", seen))
    out.append(("Scale", slide.scale))
    return out


def _bands(cells: Sequence[WhiteCell]) -> str | None:
    """Say how many of the decided neutrophils are bands, None where no kind is told."""
    kinds = [c.kind for c in cells if c.decided and c.label.startswith("neutrophil") and c.kind]
    if not kinds:
        return None
    bands = sum("band" in k for k in kinds)
    low, high = exact(bands, len(kinds))
    return (
        f"{bands} of {len(kinds)} neutrophils, {100 * bands / len(kinds):.0f} % "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f})"
    )


def _few(white: int) -> list[str]:
    if white < FEW:
        return [
            f"Only {white} white cells were decided; laboratories count {FEW} or {USUAL}. The "
            "intervals say how little this is."
        ]
    return []


def _plain_reason(reason: str) -> str:
    """Give a reason without its numbers, so that like ones are counted together."""
    return "not certain enough" if reason.startswith("probability") else reason or UNDECIDED


def _gallery(
    cells: Sequence[WhiteCell], picture: Callable[[int], Image.Image | None]
) -> list[dict[str, Any]]:
    """Give the pictures of each class, the most common first, the undecided cells last."""
    shown = cells[:MOST_PICTURED]
    often = Counter(c.label for c in shown if c.decided)
    groups = [(name, [c for c in shown if c.decided and c.label == name]) for name in often]
    groups.sort(key=lambda pair: -len(pair[1]))
    undecided = [c for c in shown if not c.decided]
    if undecided:
        groups.append((UNDECIDED, undecided))
    out = []
    for name, mine in groups:
        pictures = []
        for cell in sorted(mine, key=lambda c: (c.kind, -c.probability)):
            image = picture(cell.row)
            if image is not None:
                word = cell.kind or cell.label
                if not cell.decided:
                    word = f"{cell.label}?"
                pictures.append(
                    {
                        "uri": jpeg_uri(image, THUMBNAIL),
                        "word": word,
                        "place": cell.place,
                        "probability": f"{100 * cell.probability:.0f} %",
                    }
                )
        out.append({"name": name, "count": len(mine), "pictures": pictures})
    return out
