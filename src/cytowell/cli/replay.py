"""cytowell replay: what the two source projects asked, step by step."""

from __future__ import annotations

from typing import Annotated

import typer

import cytowell
from cytowell import registry
from cytowell.cli.compare import EpochsOption, SideOption, WeightsOption, show, words
from cytowell.cli.options import GroupOption, QuietOption, SeedOption, SourceOption
from cytowell.cli.voice import speaking

NAME = "replay"


def command(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="blood-cells or rabies-wells.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.")],
    out: Annotated[str, typer.Option(metavar="RUN", help="Folder of the answers.")] = "replay",
    side: SideOption = None,
    epochs: EpochsOption = None,
    weights: WeightsOption = "",
    steps: Annotated[str, typer.Option(help="Only these steps.", show_default=False)] = "",
    seed: SeedOption = 7,
    source: SourceOption = "",
    group_pattern: GroupOption = "",
    quiet: QuietOption = False,
) -> None:
    """Replay a source project on your images; each step leaves a report."""
    with speaking(quiet) as speaker:
        fit = registry.part("cytowell.runs.candidates:Fit")(
            side=side, epochs=epochs, weights=weights, seed=seed
        )
        dataset = cytowell.read(data, source or None, group_pattern)
        for note in dataset.notes:
            speaker.said(note)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        answers = registry.part("cytowell.runs.replay:replay")(
            project, dataset, out, fit, words(steps), voice
        )
    for name, done in answers.items():
        print(f"\n{name}")
        show(done)
