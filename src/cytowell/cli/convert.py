"""cytowell convert: annotated photographs from one format to another."""

from __future__ import annotations

from typing import Annotated

import typer

import cytowell
from cytowell.cli.options import QuietOption
from cytowell.cli.voice import speaking

NAME = "convert"


def command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Annotated photographs (YOLO, COCO, VOC, Label Studio, CVAT, LabelMe, QuPath, "
            "ImageJ) as a folder or zip, or a table with boxes.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(help="New folder, or a table (.csv, .parquet).", show_default=False),
    ],
    to: Annotated[
        str, typer.Option(help="yolo, coco, voc, label-studio, cvat, labelme, geojson or objects.")
    ] = "yolo",
    label: Annotated[
        str, typer.Option(help="Class of boxes that have none.", show_default=False)
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Write annotated photographs in another format; boxes stay as they are."""
    with speaking(quiet) as speaker:
        written = cytowell.convert(
            data, out, to, label, lambda done, of: speaker.ticked(done, of, "copying")
        )
        for note in written.notes:
            speaker.said(note)
        boxes = sum(s.box is not None for s in written.samples)
        photographs = len(set(written.paths))
        speaker.said(f"{photographs} photographs, {boxes} boxes, {len(written.classes)} classes.")
    print(out)
