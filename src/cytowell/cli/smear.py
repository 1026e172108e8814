"""cytowell smear: from smear photographs to a differential count, in one step."""

from __future__ import annotations

from typing import Annotated

import typer

from cytowell.cli.options import PathsArgument, QuietOption
from cytowell.cli.voice import speaking

NAME = "smear"


def command(
    paths: PathsArgument,
    out: Annotated[
        str,
        typer.Option(
            help="Folder for calls.csv, count.csv, overlays/ and report.html.", show_default=False
        ),
    ],
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column that tells slides apart; slide takes the folder of each photograph where "
            "no table names it.",
            show_default=False,
        ),
    ] = "",
    bundle: Annotated[str, typer.Option(help="Bundle that calls white cells.")] = "blood",
    detector: Annotated[
        str, typer.Option(help="Detector bundle; the shipped one without.", show_default=False)
    ] = "",
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel, where known.", show_default=False),
    ] = None,
    red_cell: Annotated[
        float, typer.Option(help="Diameter of a red cell in micrometres, the ruler otherwise.")
    ] = 7.5,
    quiet: QuietOption = False,
) -> None:
    """Find the cells of smear photographs, call the white ones, count, and report."""
    from cytowell.runs.run import Voice
    from cytowell.runs.smear import smear

    with speaking(quiet) as speaker:
        done = smear(
            paths,
            out,
            by=by,
            bundle=bundle,
            detector=detector,
            pixel_size=pixel_size,
            red_cell=red_cell,
            voice=Voice(speaker.said, speaker.ticked),
        )
        if done.drift is not None:
            speaker.said(done.drift.sentence)
        for slide in done.slides:
            measured = done.measures[slide.name]
            shares = ", ".join(
                f"{line.name} {line.share:.1f} % ({line.low:.1f} to {line.high:.1f})"
                for line in slide.lines
                if line.kind == "white" and line.share is not None and line.count
            )
            speaker.said(
                f"{slide.name}: {slide.white} white cells, {slide.undecided} not decided; "
                f"{measured.red_cells} red cells, {measured.platelets} platelets. {shares}"
            )
            for caution in measured.cautions:
                speaker.said(caution)
    print(f"{out}/report.html")
