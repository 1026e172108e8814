"""Cut-outs of photographs as a data set of their own, whose groups are the photographs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cytowell.errors import EmptyDataset, ImageError
from cytowell.images import Preprocessing, cut_out, photograph_of, require_inside
from cytowell.images.cell import measure, window_of
from cytowell.images.failures import reading
from cytowell.images.planes import PIXEL_SIZE, pixel_size
from cytowell.storage import explaining, replacing_folder, require_free
from cytowell.types import GROUP_KEY, OBJECT, Box, Sample, file_of, printable

TABLE = "samples.csv"
UNLABELLED = "unlabelled"

AROUND = 0.4
"""Share of a cell's window that is cut out around it on every side: a training turns and zooms."""

LONGEST = 80
"""Characters of a label or a photograph's name that become part of a file's name."""


def crop(
    samples: Iterable[Sample],
    out: str | Path,
    record: Preprocessing | None = None,
    ticked: Callable[[int], None] | None = None,
) -> tuple[int, list[str]]:
    """Cut boxes out of photographs, at their own resolution, without loss.

    Writes ``<label>/<photograph>-<well or number>.png`` and ``samples.csv``, which `read` takes:
    path, label, group (the photograph, or what it belongs to), split, and where each came from.

    Parameters
    ----------
    samples
        Boxes in photographs; those without a box are left out and named.
    out
        A new folder.
    record
        Margin, square and round mask. With a cell's view the window of the cell is cut out, with
        some of its surroundings, and what was measured is written into the table: a cut-out that
        is called later gives the same pixels as its box in the photograph.

    Returns
    -------
    tuple
        How many were cut out, and a sentence for every photograph or box that could not be.

    Raises
    ------
    EmptyDataset
        If there was nothing to cut out.
    StorageError
        If `out` holds something already.
    """
    target, how = Path(out), record or Preprocessing()
    require_free(target)
    rows: list[dict[str, Any]] = []
    said: dict[str, None] = {}
    taken: set[str] = set()
    with replacing_folder(target) as beside:
        for number, sample in enumerate(samples, 1):
            if sample.box is None:
                said[sample.error or f"{sample.path}: {sample.nothing or 'no box in it.'}"] = None
                continue
            try:
                with reading(sample.path):
                    photograph = photograph_of(sample.path, how)
                    part, measured = _part(photograph, how, sample.box)
            except ImageError as error:
                named = "" if sample.path in str(error) else f"{sample.path}: "
                said[f"{named}{error}"] = None
                continue
            name = _name(sample, number, taken)
            with explaining(target / name):
                (beside / name).parent.mkdir(parents=True, exist_ok=True)
                part.save(beside / name, pnginfo=_told(sample))
            rows.append(_row(name, sample, pixel_size(photograph)) | measured)
            if ticked is not None:
                ticked(len(rows))
        if not rows:
            first = next(iter(said), "No photograph was given.")
            raise EmptyDataset(f"Nothing was cut out. {first}")
        pd.DataFrame(rows).to_csv(beside / TABLE, index=False, lineterminator="\n")
    return len(rows), list(said)


def _told(sample: Sample) -> PngInfo:
    """Give what a cut-out says of itself, so that its group survives whoever sorts it by hand.

    Without a group it is the photograph: its name, and a hash that tells two of one name apart. No
    folder of this machine travels on.
    """
    name = Path(file_of(sample.path)).name
    mark = hashlib.sha256(sample.path.encode(errors="surrogateescape")).hexdigest()[:8]
    told = PngInfo()
    told.add_itxt(GROUP_KEY, sample.group if sample.group not in (None, sample.path) else
                  f"{printable(name)} {mark}")  # fmt: skip
    return told


def _part(
    photograph: Image.Image, record: Preprocessing, box: Box
) -> tuple[Image.Image, dict[str, Any]]:
    """Cut out a box, or the surroundings of its cell with what was measured of it."""
    if record.cell is None:
        return cut_out(photograph, record, box), {}
    require_inside(photograph.size, box)
    measured = measure(photograph, record.cell, box)
    left, top, side = window_of(measured, record.cell)
    more = round(AROUND * side)
    area = (
        max(0, left - more),
        max(0, top - more),
        min(photograph.width, left + side + more),
        min(photograph.height, top + side + more),
    )
    return photograph.crop(area), measured.moved(-area[0], -area[1]).columns()


def _name(sample: Sample, number: int, taken: set[str]) -> str:
    """Give a path below the folder that says what, which photograph, which object."""
    stem = _harmless(Path(file_of(sample.path)).stem)
    plate, well = (str(sample.extra.get(k) or "") for k in ("plate", "well"))
    which = well or str(sample.extra.get(OBJECT) or number)
    if plate not in ("", "1"):
        which = f"{plate}-{which}"
    which, folder = _harmless(which), _harmless(sample.label or UNLABELLED)
    name, count = f"{folder}/{stem}-{which}.png", 1
    while name.casefold() in taken:
        count += 1
        name = f"{folder}/{stem}-{which}-{count}.png"
    taken.add(name.casefold())
    return name


def _harmless(name: str) -> str:
    """Give a name that is one part of a path and nothing else; labels come out of others' files."""
    plain = "".join("-" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in name)
    return plain.strip(" .")[:LONGEST] or "-"


def _row(name: str, sample: Sample, size: float | None) -> dict[str, Any]:
    box = sample.box
    assert box is not None
    row: dict[str, Any] = {
        "path": name,
        "label": sample.label,
        "group": sample.group or sample.path,
        "split": sample.split,
        "photo": sample.path,
    }
    if size is not None:
        row[PIXEL_SIZE] = size
    row |= {f"from_{k}": round(getattr(box, k), 2) for k in ("x", "y", "width", "height")}
    return row | {k: v for k, v in sample.extra.items() if k not in row}
