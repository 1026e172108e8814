"""cytowell samples: an embedded synthetic set to try everything on."""

from __future__ import annotations

from typing import Annotated

import typer

import cytowell
from cytowell.cli.options import QuietOption, SeedOption
from cytowell.cli.voice import speaking

NAME = "samples"


def command(
    out: Annotated[str, typer.Argument(help="Folder to write to.", show_default=False)],
    kind: Annotated[
        str, typer.Option(help="cells, wells, plates, titres, all of these; or smear.")
    ] = "all",
    per_class: Annotated[int, typer.Option(help="Pictures of each class.")] = 60,
    seed: SeedOption = 7,
    quiet: QuietOption = False,
) -> None:
    """Write photographs to try: generated cells, wells and plates, or real blood smears (smear)."""
    with speaking(quiet) as speaker:
        folders = cytowell.write_samples(
            out, kind, per_class, seed, lambda done, of: speaker.ticked(done, of, "drawing")
        )
    for name, folder in folders.items():
        source = "real, BCCD, MIT licence" if name == "smear" else "synthetic"
        print(f"{name}: {folder} ({source})")
