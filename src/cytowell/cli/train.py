"""cytowell train: from a folder of photographs to a signed bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import (
    ChannelsOption,
    DataArgument,
    GroupOption,
    PlaneOption,
    QuietOption,
    SourceOption,
    WindowOption,
    reading,
)
from cytowell.cli.voice import speaking

NAME = "train"


def command(
    data: DataArgument,
    out: Annotated[str, typer.Option(metavar="RUN", help="Folder of the run.")] = "run",
    learner: Annotated[
        str, typer.Option(help="frozen or finetune; the best installed one.", show_default=False)
    ] = "",
    preset: Annotated[str, typer.Option(help="quick, standard or best.")] = "standard",
    recipe: Annotated[
        str, typer.Option(metavar="FILE.toml", help="Settings; replaces both.", show_default=False)
    ] = "",
    seed: Annotated[
        int | None, typer.Option(help="Of every random choice; 7.", show_default=False)
    ] = None,
    positive: Annotated[
        str, typer.Option(metavar="NAME", help="The class that counts as positive.")
    ] = "",
    final: Annotated[
        bool, typer.Option("--final", help="Then learn once more, from the test part too.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    split: Annotated[
        str, typer.Option(metavar="FILE.csv", help="A saved split.", show_default=False)
    ] = "",
    new_split: Annotated[
        bool, typer.Option("--new-split", help="Ignore the split that DATA brings.")
    ] = False,
    by_image: Annotated[
        bool, typer.Option("--by-image", help="Split single images though groups exist (leaks).")
    ] = False,
    backbone: Annotated[
        str, typer.Option(help="Network to start from, or ONNX file or bundle for frozen.")
    ] = "",
    weights: Annotated[
        str, typer.Option(help="File or bundle with first weights (finetune).")
    ] = "",
    source: SourceOption = "",
    group_pattern: GroupOption = "",
    channels: ChannelsOption = "",
    window: WindowOption = "",
    plane: PlaneOption = "",
    quiet: QuietOption = False,
) -> None:
    """Check, split, learn, export, evaluate and report into one folder."""
    with speaking(quiet) as speaker:
        settings: dict[str, Any] = {
            "seed": seed,
            "positive": positive or None,
            "new_split": new_split or None,
            "by_image": by_image or None,
            "group_pattern": group_pattern or None,
            **reading(channels, window, plane),
        }
        made, sentence = registry.part("cytowell.runs.recipe:from_flags")(
            Path(recipe) if recipe else None,
            learner or None,
            preset,
            backbone,
            weights,
            {k: v for k, v in settings.items() if v is not None},
        )
        # A reading that cannot hold is refused before anything is written.
        _ = made.reading
        if sentence:
            speaker.said(sentence)
        dataset = cytowell.read(data, source or None, made.group_pattern)
        for note in dataset.notes:
            speaker.said(note)
        given = None
        if split:
            given = registry.part("cytowell.splits:load")(Path(split), dataset)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        run = cytowell.train(dataset, out, made, given, final, resume, voice)
    percent_range = registry.part("cytowell.evaluation.verdict:percent_range")
    shown = "synthetic images" if dataset.synthetic else f"{run.metrics['n']} images"
    print(f"Accuracy on {shown}: {percent_range(run.metrics['accuracy'])}")
    print(f"Report: {run.report}")
    print(f"Next:   cytowell predict PHOTOS --bundle {run.folder} --out calls.csv")
