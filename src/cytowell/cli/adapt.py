"""cytowell adapt: fit a bundle to another laboratory's photographs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import cytowell
from cytowell.cli.options import BundleArgument, GroupOption, JsonOption, QuietOption, SeedOption
from cytowell.cli.voice import speaking

NAME = "adapt"


def command(
    bundle: BundleArgument,
    out: Annotated[str, typer.Option(help="New folder for the bundle.", show_default=False)],
    labelled: Annotated[
        str,
        typer.Option(metavar="TABLE", help="Labelled photographs: table or class folders."),
    ] = "",
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(metavar="PHOTOGRAPHS", help="Further photographs; may be given again."),
    ] = None,
    wrong: Annotated[float, typer.Option(help="Share of the calls made that may be wrong.")] = 0.01,
    group_pattern: GroupOption = "",
    seed: SeedOption = 7,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fit a bundle to another laboratory's photographs; keep what helps on left-out ones."""
    from cytowell.errors import RecipeError
    from cytowell.runs.adaptation import part_in_words
    from cytowell.runs.run import Voice
    from cytowell.sources.paths import named

    if not 0 < wrong < 1:
        raise RecipeError(f"--wrong {wrong:g} cannot hold.", "Give a share between 0 and 1.")
    with speaking(quiet or json_) as speaker:
        known = cytowell.read(labelled, None, group_pattern) if labelled else None
        others = list(named(unlabelled)[0]) if unlabelled else []
        done = cytowell.adapt(
            bundle, known, others, out, seed, wrong, Voice(speaker.said, speaker.ticked)
        )
    if json_:
        print(json.dumps(done.to_json(), indent=1, ensure_ascii=False))
        return
    for part in done.parts:
        print(part_in_words(part))
    if "decided" in done.figures:
        f = done.figures
        print(
            f"Left-out photographs (n = {f['n']}): macro-F1 {f['macro_f1_before']:.3f} before, "
            f"{f['macro_f1']:.3f} after; {f['decided']} decided, {f['right_of_decided']} right."
        )
    for note in done.notes:
        print(note)
    print(f"Bundle: {out}" if done.helped else "It did not help: nothing was written.")
