"""cytowell export: a bundle for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import BundleArgument
from cytowell.errors import RecipeError

NAME = "export"


def command(
    bundle: BundleArgument,
    out: Annotated[str, typer.Argument(help="The .onnx file to write.", show_default=False)],
    single_file: Annotated[
        bool,
        typer.Option("--single-file", help="One ONNX from pixels of any size to probabilities."),
    ] = False,
) -> None:
    """Write a bundle as one ONNX file: upright RGB uint8 of any size to probabilities."""
    if not single_file:
        raise RecipeError("Nothing to export.", "Use --single-file; a bundle is a folder already.")
    registry.require_extra("train", "cytowell export")
    loaded = cytowell.load(bundle)
    registry.part("cytowell.export.single:write")(loaded, Path(out))
    print(out)
