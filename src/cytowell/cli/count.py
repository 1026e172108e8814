"""cytowell count: a differential count from a table of calls."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cytowell import registry
from cytowell.cli.options import JsonOption, QuietOption
from cytowell.cli.voice import speaking
from cytowell.errors import CountError

NAME = "count"


def command(
    calls: Annotated[
        str,
        typer.Argument(
            metavar="CALLS",
            help="What predict wrote: label, decided, p_<class>.",
            show_default=False,
        ),
    ],
    by: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column that tells slides apart.", show_default=False),
    ] = "",
    bundle: Annotated[
        str,
        typer.Option(
            help="Correct by the confusion matrix of the bundle that called.", show_default=False
        ),
    ] = "",
    interval: Annotated[str, typer.Option(help="goodman or sison-glaz.")] = "goodman",
    ranges: Annotated[
        str,
        typer.Option(help="TOML file of usual ranges: neutrophil = [40, 75].", show_default=False),
    ] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=KIND",
            help="What a class is: white, erythroblast, platelet, red cell or other.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            help="Folder for results.csv, results.json and report.html.", show_default=False
        ),
    ] = "",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Count white cells by class, with intervals; others apart, undecided cells on their own."""
    loaded = registry.part("cytowell.runtime.bundle:load")(bundle) if bundle else None
    counts = "cytowell.runs.counts"
    with speaking(quiet or json_) as speaker:
        done = registry.part(f"{counts}:count_calls")(
            calls,
            by,
            loaded,
            kinds=_kinds(kind or [], registry.part(f"{counts}:KINDS")),
            interval=interval,
            ranges=registry.part(f"{counts}:read_ranges")(ranges) if ranges else None,
        )
        if out:
            registry.part(f"{counts}:write_counts")(out, done)
            speaker.said(f"Report: {out}/report.html")
    if json_:
        print(json.dumps(done.to_json(), indent=1))
    else:
        _show(done)


def _kinds(given: list[str], known: tuple[str, ...]) -> dict[str, str]:
    out = {}
    for text in given:
        name, equals, kind = text.rpartition("=")
        if not equals or kind not in known:
            raise CountError(
                f"--kind {text} is not known.", f"Write CLASS= and {', '.join(known)}."
            )
        out[name] = kind
    return out


def _show(done: Any) -> None:
    taken = registry.part("cytowell.evaluation.cell_kinds:TAKEN_FOR")
    for slide in done.slides:
        print(f"{slide.name}: {slide.white} white cells, {slide.undecided} cells not decided on")
        for line in slide.lines:
            shown = f"  {line.name:<22} {line.count:>6}"
            if line.share is not None:
                shown += f"  {line.share:5.1f} ({line.low:.1f} to {line.high:.1f})"
                if line.kind != "white":
                    shown += " per 100 white cells"
            if line.kind != "white":
                shown += f"  ({taken[line.kind]})"
            if line.corrected is not None:
                shown += (
                    f"  corrected {line.corrected:.1f} "
                    f"({line.corrected_low:.1f} to {line.corrected_high:.1f})"
                )
            print(f"{shown}  {line.review}".rstrip())
        for note in slide.notes:
            print(f"  {note}")
