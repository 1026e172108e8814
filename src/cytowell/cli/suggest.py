"""cytowell suggest: which photographs to label."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cytowell.cli.options import PathsArgument, QuietOption, SeedOption
from cytowell.cli.voice import speaking

NAME = "suggest"


def command(
    paths: PathsArgument,
    n: Annotated[int, typer.Option("--n", help="Photographs to suggest.")] = 40,
    bundle: Annotated[
        str,
        typer.Option(
            help="Bundle whose features compare photographs and whose doubt counts; the shipped "
            "ImageNet network without.",
            show_default=False,
        ),
    ] = "",
    labelled: Annotated[
        str,
        typer.Option(
            help="Table with path and label (and round, if they came in rounds) of what has labels "
            "already; suggest.csv with its column label filled in is one.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        str,
        typer.Option(
            help="Folder for suggest.csv and the contact sheet sheet.jpg; printed as CSV without.",
            show_default=False,
        ),
    ] = "",
    seed: SeedOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Suggest which photographs to label: those that together show best what there is."""
    from cytowell.learners.frozen import open_backbones
    from cytowell.runs.suggest import suggest
    from cytowell.runtime.bundle import load

    loaded = load(bundle) if bundle else None
    with speaking(quiet) as speaker:
        made = suggest(paths, n, bundle=loaded, labelled=labelled, seed=seed, ticked=speaker.ticked)
        for number, r in enumerate(made.rounds, 1):
            words = f"round {number}: {r.labels} labels"
            if r.expected is not None:
                words += f", expected accuracy {100 * r.expected:.0f} %"
            if r.measured is not None:
                words += f", measured on its new labels {100 * r.measured:.0f} %"
            speaker.said(words)
        for remark in made.remarks:
            speaker.said(remark)
    if not out:
        made.to_frame().to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    record = loaded.facts.preprocessing if loaded else open_backbones(("imagenet",))[0].record
    made.save(out, record)
    print(f"{out}/suggest.csv")
