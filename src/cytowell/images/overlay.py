"""What was found, drawn on the photograph: boxes or rims in colours, each with a word."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from cytowell.errors import StorageError
from cytowell.images.planes import pixel_size
from cytowell.storage import replacing
from cytowell.types import Box, file_of

SIDE = 2000
"""Longer side in pixels of an overlay: names can be read, and a plate is no 10 MB."""

QUALITY = 88
"""Of the JPEG: names stay sharp."""

SMALLEST_TEXT = 9
"""Pixels below which a word is not written: it would be a smudge on its well."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#882255")
"""Told apart by colour-blind eyes too (Okabe & Ito 2008; the last is Tol's wine): none is grey."""


@dataclass(frozen=True)
class Mark:
    """One thing to be drawn: where, which word on it, in which colour, round or as a rectangle."""

    box: Box
    word: str = ""
    colour: str = COLOURS[0]
    round: bool = False
    strong: bool = False


@functools.lru_cache(maxsize=32)
def font_of(size: float) -> Any:
    """Give letters of Latin, Greek and Cyrillic in a size; Pillow's own font has no "µ"."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin:
        file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)


class Album:
    """A folder of drawn photographs: a name for each, and never one of the photographs themselves.

    Parameters
    ----------
    folder
        Where pictures go; made when the first comes.
    what
        What was drawn, which becomes part of every name.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self.what = folder, what
        self._taken: set[Path] = set()

    def save(self, picture: Image.Image, path: str) -> None:
        """Write the picture of a photograph as a JPEG without metadata.

        Raises
        ------
        StorageError
            If the photograph lies in the album's own folder: the next time it would be taken for
            a photograph, and drawn on again.
        """
        photograph = Path(file_of(path))
        if photograph.resolve().parent == self.folder.resolve():
            raise StorageError(
                f"{self.folder} is the folder of {photograph.name} itself.",
                "Give --overlay another folder: a picture there would pass for a photograph.",
            )
        number, out = 1, self.folder / f"{photograph.stem}-{self.what}.jpg"
        while out in self._taken:
            number += 1
            out = self.folder / f"{photograph.stem}-{self.what}-{number}.jpg"
        self._taken.add(out)
        with replacing(out) as beside:
            picture.save(beside, "JPEG", quality=QUALITY)


def draw(
    photograph: Image.Image,
    marks: Sequence[Mark],
    heading: str = "",
    legend: Sequence[tuple[str, str]] = (),
) -> Image.Image:
    """Give a copy of an upright photograph with marks on it; boxes are in the photograph's pixels.

    Parameters
    ----------
    heading
        A sentence above the photograph.
    legend
        Words and their colours, above the photograph too: nothing of it is covered. A photograph
        that knows the size of its pixels (`planes.pixel_size`) has a scale bar.
    """
    scale = min(1.0, SIDE / max(photograph.size))
    size = (max(1, round(photograph.width * scale)), max(1, round(photograph.height * scale)))
    picture = photograph.convert("RGB")
    picture = picture.copy() if scale == 1 else picture.resize(size, Image.Resampling.BOX)
    pen = ImageDraw.Draw(picture)
    for mark in marks:
        _draw(pen, mark, scale)
    if (um := pixel_size(photograph)) is not None:
        _scale_bar(pen, picture.size, um / scale)
    words = [*([(heading, "#000000")] if heading else []), *legend]
    return _headed(picture, words) if words else picture


def _headed(picture: Image.Image, words: Sequence[tuple[str, str]]) -> Image.Image:
    """Put words in their colours on a white strip above a picture, in as many lines as needed."""
    tall = max(14, round(max(picture.size) / 60))
    font = font_of(tall)
    gap, line = tall, round(1.6 * tall)
    x, y, placed = gap, round(0.3 * tall), []
    for word, colour in words:
        for part in _folded(word, font, picture.width - 2 * gap):
            wide = round(font.getlength(part))
            if x > gap and x + wide > picture.width - gap:
                x, y = gap, y + line
            placed.append((x, y, part, colour))
            x += wide + 2 * gap
    whole = Image.new("RGB", (picture.width, picture.height + y + line), "#ffffff")
    whole.paste(picture, (0, y + line))
    pen = ImageDraw.Draw(whole)
    for left, top, part, colour in placed:
        pen.text((left, top), part, colour, font)
    return whole


def _folded(sentence: str, font: Any, width: int) -> Iterator[str]:
    """Break a sentence into lines that fit."""
    line = ""
    for word in sentence.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
    yield line


def _scale_bar(pen: ImageDraw.ImageDraw, size: tuple[int, int], um: float) -> None:
    """Draw a bar of a round length, at most a quarter of the width, into the lower right corner."""
    most = size[0] / 4 * um
    power = 10.0 ** math.floor(math.log10(most))
    length = next(n * power for n in (5, 2, 1) if n * power <= most * (1 + 1e-9))
    tall = max(12, round(max(size) / 70))
    font = font_of(tall)
    word = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    bar, wide = round(length / um), round(font.getlength(word))
    pad = max(4, tall // 3)
    if bar < 1 or wide + 4 * pad > size[0] or 2 * tall + 5 * pad > size[1]:
        return  # there is no room for it
    right, bottom = size[0] - 2 * pad, size[1] - 2 * pad
    left, thick = right - max(bar, wide), max(3, tall // 4)
    top = bottom - thick - pad - tall
    pen.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill="#ffffff")
    middle = (left + right) / 2
    pen.text((middle, top + tall / 2), word, "#000000", font, anchor="mm")
    pen.rectangle((middle - bar / 2, bottom - thick, middle + bar / 2 - 1, bottom), fill="#000000")


def _draw(pen: ImageDraw.ImageDraw, mark: Mark, scale: float) -> None:
    b = mark.box
    corners = [v * scale for v in (b.x, b.y, b.x + b.width, b.y + b.height)]
    corners[2], corners[3] = max(corners[0], corners[2]), max(corners[1], corners[3])
    short = min(corners[2] - corners[0], corners[3] - corners[1])
    width = max(1, round(short / (14 if mark.strong else 40)))
    if mark.round:
        pen.ellipse(corners, outline=mark.colour, width=width)
    else:
        pen.rectangle(corners, outline=mark.colour, width=max(width, 2))
    if not mark.word:
        return
    if mark.round:
        _within(pen, mark, corners, short)
    else:
        _above(pen, mark, corners)


def _within(pen: ImageDraw.ImageDraw, mark: Mark, corners: Sequence[float], short: float) -> None:
    """Write along the upper rim of a well: what is in its middle stays to be seen."""
    size = min(24.0, 1.0 * short / max(3, len(mark.word)))
    if size < SMALLEST_TEXT:
        return
    middle = ((corners[0] + corners[2]) / 2, corners[1] + 0.08 * short + 0.6 * size)
    font = font_of(size)
    stroke = max(1, round(size / 9))
    pen.text(middle, mark.word, mark.colour, font, anchor="mm", stroke_width=stroke,
             stroke_fill="#ffffff")  # fmt: skip


def _above(pen: ImageDraw.ImageDraw, mark: Mark, corners: Sequence[float]) -> None:
    """Write on a label over a box, or in it where there is no room above."""
    font = font_of(14)
    left, top, right, bottom = pen.textbbox((0, 0), mark.word, font=font)
    tall, wide = bottom - top + 6, right - left + 6
    y = corners[1] - tall if corners[1] >= tall else corners[1]
    pen.rectangle((corners[0], y, corners[0] + wide, y + tall), fill=mark.colour)
    pen.text((corners[0] + 3 - left, y + 3 - top), mark.word, "#ffffff", font)
