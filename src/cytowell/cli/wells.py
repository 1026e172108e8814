"""cytowell wells: where the wells of photographs are, without training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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


def command(
    paths: PathsArgument,
    out: Annotated[
        str, typer.Option(help="Table to write; printed as CSV without.", show_default=False)
    ] = "",
    overlay: OverlayOption = "",
    rotate: RotateOption = 0,
    channels: ChannelsOption = "",
    window: WindowOption = "",
    plane: PlaneOption = "",
    quiet: QuietOption = False,
) -> None:
    """Find plates and round fields: a row per well; a photograph without wells has a reason."""
    record = registry.part("cytowell.images:Preprocessing")(**reading(channels, window, plane))
    samples, _, total = registry.part("cytowell.sources.paths:named")(paths)
    wells_in = registry.part("cytowell.plates.grid:wells_or_why")
    rows = registry.part("cytowell.plates.listing:rows")
    album = registry.part("cytowell.images.overlay:Album")(Path(overlay), "wells")
    found: list[dict[str, Any]] = []
    told: list[str] = []
    plates = number = 0
    with speaking(quiet) as speaker:
        for number, path in enumerate(_photographs(samples), 1):
            wells = wells_in(path, rotate, record)
            found += rows(path, wells)
            plates += len(set(wells.plates))
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
        count = sum(1 for row in found if row["well"])
        speaker.said(f"{number} photographs: {count} wells on {plates} plates or fields.")


def _photographs(samples: Iterator[Any]) -> Iterator[str]:
    """Give each photograph once, as named."""
    seen = set()
    for sample in samples:
        if sample.path not in seen:
            seen.add(sample.path)
            yield sample.path
