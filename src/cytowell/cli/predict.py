"""cytowell predict: calls for new photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import QuietOption
from cytowell.cli.voice import speaking
from cytowell.errors import EmptyDataset

NAME = "predict"


def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="Photographs, folders, globs, a table, or - for a list on standard input.",
            show_default=False,
        ),
    ],
    bundle: Annotated[str, typer.Option(help="Bundle, run folder or name.")] = "blood",
    out: Annotated[
        str,
        typer.Option(help=".csv, .parquet or .jsonl; printed as CSV without.", show_default=False),
    ] = "",
    workers: Annotated[
        int | None, typer.Option(help="Threads; one per processor.", show_default=False)
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Call photographs: a row each, in order; a bad file is a row with its error."""
    loaded = cytowell.load(bundle)
    samples, known, total = registry.part("cytowell.sources.paths:named")(paths)
    opened = registry.part("cytowell.runtime.calls:writer")(Path(out) if out else None, known)
    done = failed = declined = 0
    with speaking(quiet) as speaker, opened as write:
        for calls in loaded.stream(samples, workers):
            write(calls)
            bad = sum(1 for e in calls.errors if e)
            done, failed = done + len(calls), failed + bad
            declined += int((~calls.decided).sum()) - bad
            speaker.ticked(done, total or 0, "calling")
        if not done:
            raise EmptyDataset("Nothing was named to be called.", "Give photographs or folders.")
        speaker.said(
            f"{done} images: {done - failed - declined} called, {declined} cannot be decided, "
            f"{failed} could not be read."
        )
        if loaded.facts.synthetic:
            speaker.said("This bundle learnt from synthetic images: its calls mean nothing.")
