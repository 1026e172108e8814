"""cytowell wells: where the wells of photographs are, without training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cytowell import registry
from cytowell.cli.options import (
    ChannelsOption,
    OverlayOption,
    PathsArgument,
    PlaneOption,
    QuietOption,
    RotateOption,
    WindowOption,
    reading,
)
from cytowell.cli.voice import speaking
from cytowell.errors import EmptyDataset

NAME = "wells"

ASSUMED = (
    "where A1 is was assumed (column orientation): nothing in a photograph of wells tells a plate "
    "from one turned by 180 degrees. Look at one and say --rotate 0, 90, 180 or 270."
)


def command(
    paths: PathsArgument,
    out: Annotated[
        str, typer.Option(help="Table to write; printed as CSV without.", show_default=False)
    ] = "",
    overlay: OverlayOption = "",
    rotate: RotateOption = None,
    plate_format: Annotated[
        int,
        typer.Option(
            "--format", help="Wells of the plates: 6, 12, 24, 48, 96 or 384.", show_default=False
        ),
    ] = 0,
    plates: Annotated[
        int, typer.Option(help="How many plates each photograph shows.", show_default=False)
    ] = 0,
    well: Annotated[
        str,
        typer.Option(
            help="Name of the single well that a photograph shows, such as B7.", show_default=False
        ),
    ] = "",
    channels: ChannelsOption = "",
    window: WindowOption = "",
    plane: PlaneOption = "",
    quiet: QuietOption = False,
) -> None:
    """Find plates, single wells and round fields: a row per well, or a reason why there is none.

    Where nothing tells which well is which, wells have boxes, no names, and a reason.
    """
    record = registry.part("cytowell.images:Preprocessing")(**reading(channels, window, plane))
    samples, _, total = registry.part("cytowell.sources.paths:named")(paths)
    wells_in = registry.part("cytowell.plates.grid:wells_or_why")
    rows = registry.part("cytowell.plates.listing:rows")
    album = registry.part("cytowell.images.overlay:Album")(Path(overlay), "wells")
    found: list[dict[str, Any]] = []
    told: list[str] = []
    seen = assumed = number = 0
    said = registry.part("cytowell.plates.search:Expected")(plate_format, plates, well)
    with speaking(quiet) as speaker:
        for number, (path, named) in enumerate(_photographs(samples), 1):
            wells = wells_in(path, rotate, record, replace(said, well=well or named))
            found += rows(path, wells)
            seen += len(set(wells.plates))
            assumed += len({p for p, o in zip(wells.plates, wells.orientations, strict=True)
                            if "assumed" in o})  # fmt: skip
            if wells.reason:
                told.append(f"{path}: {wells.reason}")
            if overlay and wells.boxes:
                album.save(
                    registry.part("cytowell.plates.listing:drawn")(path, wells, record), path
                )
            speaker.ticked(number, total or 0, "finding wells")
        if not found:
            raise EmptyDataset("Nothing was named to be looked at.", "Give photographs or folders.")
        table = registry.part("cytowell.plates.listing:table")(found)
        if out:
            registry.part("cytowell.storage:write_frame")(table, Path(out))
        else:
            table.to_csv(sys.stdout, index=False, lineterminator="\n")
        for sentence in told:
            speaker.said(sentence)
        if assumed:
            speaker.said(f"{assumed} plates: {ASSUMED}")
        count = sum(1 for row in found if row["plate"])
        bare = sum(1 for row in found if row["plate"] and not row["well"])
        less = f", {bare} of them without a name" if bare else ""
        speaker.said(f"{number} photographs: {count} wells{less} on {seen} plates or fields.")


def _photographs(samples: Iterator[Any]) -> Iterator[tuple[str, str]]:
    """Give each photograph once, as named, and the well that a table says it shows."""
    seen = set()
    for sample in samples:
        if sample.path not in seen:
            seen.add(sample.path)
            yield sample.path, str(sample.extra.get("well") or "")
