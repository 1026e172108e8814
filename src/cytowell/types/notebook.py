"""How values look in a notebook: a summary and a table of HTML, with small pictures of samples."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cytowell.types.data import Sample

ROWS = 20
"""Rows of a long table that a notebook shows."""


def picture(sample: Sample) -> str:
    """Give an `img` element of what a sample shows, "" where it cannot be read."""
    # Pixels are nothing that this package knows; a notebook alone asks for them.
    from cytowell.images.thumbnails import thumbnail  # noqa: PLC0415

    drawn = thumbnail(sample)
    if not drawn:
        return ""
    data = base64.b64encode(drawn).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'


def page(
    summary: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    pictures: Sequence[str] = (),
    left_out: int = 0,
) -> str:
    """Give a summary with a table below it; all text is escaped.

    Parameters
    ----------
    pictures
        An element for each row, which becomes its first column; or none.
    left_out
        Rows that there are beyond those given.
    """
    heads = ([""] if pictures else []) + [escape(h) for h in headings]
    lines = []
    for number, row in enumerate(rows):
        cells = [pictures[number]] if pictures else []
        cells += [escape(str(cell)) for cell in row]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = f"<p>{left_out} more rows.</p>" if left_out > 0 else ""
    head = "".join(f"<th>{h}</th>" for h in heads)
    return (
        f"<p>{escape(summary)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>{more}"
    )


def listed(counts: dict[str, int], most: int = 8) -> str:
    """Say how many of what, the first few of them."""
    shown = [f"{number} {name}" for name, number in list(counts.items())[:most]]
    return ", ".join(shown) + (", ..." if len(counts) > most else "")
