"""cytowell plate: from photographs of a plate to its titres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import JsonOption, PathsArgument, QuietOption, RotateOption
from cytowell.cli.titre import exit_if_refused, positive_class, show_titres
from cytowell.cli.voice import speaking
from cytowell.errors import LayoutError

NAME = "plate"
SHOWN = 6


def command(
    paths: PathsArgument,
    layout: Annotated[
        str, typer.Option(help="A .toml or .csv file, or favn, rffit ...", show_default=False)
    ],
    out: Annotated[
        str,
        typer.Option(
            help="Folder for wells.csv, results.csv, results.json and report.html.",
            show_default=False,
        ),
    ],
    bundle: Annotated[str, typer.Option(help="Bundle that calls wells.", show_default=False)],
    positive: Annotated[
        str, typer.Option(help="The class that is a positive well, if not the bundle's.")
    ] = "",
    wells: Annotated[
        str,
        typer.Option(
            help="How photographs say which well is which: found, named, ordered or table; told by "
            "what they bring without.",
            show_default=False,
        ),
    ] = "",
    rotate: RotateOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --wells ordered: the order shown is right.")
    ] = False,
    history: Annotated[
        str,
        typer.Option(help="Folder of past results, for the control chart.", show_default=False),
    ] = "",
    reference_iu: Annotated[
        float | None,
        typer.Option(help="IU/mL of the reference serum as it was diluted.", show_default=False),
    ] = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Call the wells of photographed plates and report their titres, or why there is none.

    Exit status: 0 if any run is valid, 1 if every run was refused, 2 for an error.
    """
    part = registry.part
    chosen = part("cytowell.runs.titres:settings")(
        part("cytowell.plates.layout_files:read_layout")(layout), {"reference_iu": reference_iu}
    )
    loaded = cytowell.load(bundle)
    called = positive_class(positive, bundle)
    if called not in loaded.classes:
        raise LayoutError(
            f"{bundle} calls {', '.join(loaded.classes)}; nobody said which is a positive well.",
            "Give --positive NAME.",
        )
    past = part("cytowell.runs.titres:past")(history) if history else []
    samples = list(part("cytowell.sources.paths:named")(paths)[0])
    way = part("cytowell.runs.plate:way_of")(samples, wells)
    placed = part("cytowell.runs.plate:place")(samples, way, chosen, rotate)
    with speaking(quiet or json_) as speaker:
        _say_how(way, placed, speaker)
        if way == "ordered" and not yes:
            raise LayoutError(
                "The order of the photographs says which well is which: it has to be confirmed.",
                "Look at the list above, and give --yes if it is right.",
            )
        voice = part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        made: Any = part("cytowell.runs.titres:write_results_of")(
            out,
            lambda folder: part("cytowell.runs.plate:titrate_photographs")(
                placed, loaded, chosen, folder / "wells.csv", called, [v for _, v in past], voice
            ),
            past,
        )
        speaker.said(f"Report: {Path(out) / 'report.html'}")
        if loaded.facts.synthetic:
            speaker.said("This bundle learnt from synthetic images: its calls mean nothing.")
    if json_:
        print(json.dumps(made.to_json(), indent=1))
    else:
        show_titres(made)
    exit_if_refused(made)


def _say_how(way: str, placed: list[Any], speaker: Any) -> None:
    words = {
        "found": "Each photograph shows a plate: its wells were found.",
        "named": "Wells by the names of the photographs:",
        "ordered": "Wells by the order of the photographs:",
        "table": "Wells by the table.",
    }
    speaker.said(words[way])
    if way in ("named", "ordered"):
        listed = placed if len(placed) <= 2 * SHOWN else [*placed[:SHOWN], *placed[-SHOWN:]]
        for s in listed:
            speaker.said(f"  {s.path}: plate {s.extra['plate']}, well {s.extra['well']}")
