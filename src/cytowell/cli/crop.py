"""cytowell crop: what is found in photographs, cut out as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import (
    ChannelsOption,
    DetectorOption,
    FindOption,
    MarginOption,
    OnlyOption,
    PlaneOption,
    QuietOption,
    RotateOption,
    RoundOption,
    SquareOption,
    WindowOption,
    names,
    reading,
)
from cytowell.cli.voice import speaking
from cytowell.errors import RecipeError

NAME = "crop"


def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="Photographs, folders, globs; or one annotated data set or table with boxes.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Option(help="New folder to write to.")] = "cut-outs",
    find: FindOption = "none",
    detector: DetectorOption = "",
    only: OnlyOption = "",
    bundle: Annotated[
        str,
        typer.Option(
            help="Cut out as this bundle sees a box, with what it measures.", show_default=False
        ),
    ] = "",
    rotate: RotateOption = None,
    margin: MarginOption = None,
    square: SquareOption = False,
    round_: RoundOption = False,
    channels: ChannelsOption = "",
    window: WindowOption = "",
    plane: PlaneOption = "",
    quiet: QuietOption = False,
) -> None:
    """Cut wells, cells or annotated boxes out of photographs, without loss, groups kept."""
    said = reading(channels, window, plane)
    if bundle:
        own = cytowell.load(bundle).reading(
            **said, margin=margin, square=square or None, round=round_ or None
        )
        record = own.facts.preprocessing
    else:
        record = registry.part("cytowell.images:Preprocessing")(
            **said, margin=margin or 0.0, square=square, round=round_
        )
    looks = registry.part("cytowell.runtime.finding:finder")(find, rotate, detector, names(only))
    samples: Any
    with speaking(quiet) as speaker:
        if looks is None:
            if len(paths) > 1:
                raise RecipeError(
                    "One data set with boxes is cut out at a time.",
                    "Name one, or say what is to be found: --find wells.",
                )
            samples = cytowell.read(paths[0]).samples
        else:
            named, _, _ = registry.part("cytowell.sources.paths:named")(paths)
            samples = registry.part("cytowell.runtime.finding:objects")(named, looks, record)
        done, remarks = registry.part("cytowell.runtime.cutting:crop")(
            samples, Path(out), record, lambda done: speaker.ticked(done, 0, "cutting out")
        )
        for sentence in remarks:
            speaker.said(sentence)
        speaker.said(f"{done} cut-outs.")
    print(out)
