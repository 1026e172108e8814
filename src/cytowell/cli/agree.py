"""cytowell agree: how well two readers, or a reader and the tool, agree."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cytowell import registry
from cytowell.cli.options import JsonOption, QuietOption
from cytowell.cli.voice import speaking

NAME = "agree"


def command(
    first: Annotated[
        str,
        typer.Argument(metavar="A", help="Table of calls or of titres.", show_default=False),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="The other reader's of the same wells or specimens.",
            show_default=False,
        ),
    ],
    fold: Annotated[float, typer.Option(help="Dilution step within which titres agree.")] = 3.0,
    out: Annotated[
        str, typer.Option(help="Folder for results.json and report.html.", show_default=False)
    ] = "",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare two tables: kappa of calls; share within a step and Bland-Altman of titres."""
    with speaking(quiet or json_) as speaker:
        found, about = registry.part("cytowell.runs.agreeing:compare_readers")(first, second, fold)
        if out:
            registry.part("cytowell.runs.agreeing:write_agreement")(out, found, about)
            speaker.said(f"Report: {out}/report.html")
    if json_:
        print(json.dumps(found.to_json() | {"about": about}, indent=1))
        return
    for line in registry.part("cytowell.runs.agreeing:in_words")(found):
        print(line)
    for name, count in zip("AB", about["alone"], strict=True):
        if count:
            print(f"{count} rows of {name} are not in the other table.")
