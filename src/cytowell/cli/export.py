"""cytowell export: a bundle for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import BundleArgument
from cytowell.errors import RecipeError

NAME = "export"

COMPARED = 64
"""Real images on which the file is compared with the bundle."""


def command(
    bundle: BundleArgument,
    out: Annotated[str, typer.Argument(help="The .onnx file to write.", show_default=False)],
    single_file: Annotated[
        bool,
        typer.Option("--single-file", help="One ONNX from pixels of any size to probabilities."),
    ] = False,
    images: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Real images on which file and bundle must agree; those of the run without it.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Write a bundle as one ONNX file: upright RGB uint8 of any size to probabilities.

    It is compared with the bundle first, on images of the run that BUNDLE names or of --images.
    """
    if not single_file:
        raise RecipeError("Nothing to export.", "Use --single-file; a bundle is a folder already.")
    registry.require_extra("train", "cytowell export")
    loaded = cytowell.load(bundle)
    write = registry.part("cytowell.export.single:write")
    compared = write(loaded, Path(out), _real(bundle, images))
    print(out)
    print(f"compared with the bundle on {compared} images")


def _real(bundle: str, images: str) -> list[Any]:
    """Give images to compare on: those that are named, else those of the run, spread over it."""
    table = Path(bundle) / "predictions.csv"
    if images:
        samples = list(cytowell.read(images).samples)
    elif table.is_file():
        samples = list(registry.part("cytowell.sources.table:read_to_call")(table).samples)
    else:
        samples = []
    return samples[:: max(1, len(samples) // COMPARED)][:COMPARED]
