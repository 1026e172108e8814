"""cytowell fetch: public data, with checksum and resume."""

from __future__ import annotations

from typing import Annotated

import typer

import cytowell
from cytowell.cli.options import QuietOption
from cytowell.cli.voice import speaking

NAME = "fetch"


def command(
    name: Annotated[str, typer.Argument(help="bloodmnist, bloodmnist-64, -128 or -224.")],
    out: Annotated[str, typer.Option(help="Folder to write to.")] = ".",
    mirror: Annotated[
        str, typer.Option(help="Address of a folder that holds the file.", show_default=False)
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Download a public data set; a broken download goes on where it stopped."""
    with speaking(quiet) as speaker:
        file = cytowell.fetch(
            name,
            out,
            base_url=mirror or None,
            progress=lambda done, of: speaker.ticked(done, of or 0, "bytes"),
        )
    print(file)
