"""cytowell space: a bundle as a Hugging Face Space."""

from __future__ import annotations

from typing import Annotated

import typer

from cytowell import registry
from cytowell.cli.options import QuietOption
from cytowell.cli.voice import speaking

NAME = "space"


def command(
    bundle: Annotated[str, typer.Argument(help="Bundle, run folder or name.")],
    out: Annotated[str, typer.Argument(help="New folder to write to.")],
    title: Annotated[str, typer.Option(help="Its heading.")] = "Cytowell",
    examples: Annotated[
        str,
        typer.Option(
            help="Folder of photographs to try; generated ones without.", show_default=False
        ),
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Write a Space that only has to be pushed: page, bundle, model card, pinned requirements."""
    folder = registry.part("cytowell.serving.space:write_space")(bundle, out, title, examples)
    with speaking(quiet) as speaker:
        speaker.said(f"{folder}: python app.py starts it here; push the folder to a Space.")
