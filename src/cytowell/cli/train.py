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
    names,
    reading,
)
from cytowell.cli.voice import speaking
from cytowell.runs.settings import RunSettings
from cytowell.settings import describe
from cytowell.training.recipe import Finetune

NAME = "train"


def _of_run(name: str, *flags: str, metavar: str | None = None) -> Any:
    """Give the option of a field at the top of a recipe."""
    return typer.Option(*flags, help=_help(RunSettings, name), metavar=metavar, show_default=False)


def _of_network(name: str) -> Any:
    """Give the option of a setting that only networks have."""
    return typer.Option(help=_help(Finetune, name), show_default=False)


def _help(cls: type, name: str) -> str:
    # Typer takes what stands in brackets for markup.
    return describe(cls, name).replace("[", "(").replace("]", ")")


def command(
    data: DataArgument,
    out: Annotated[str, typer.Option(metavar="RUN", help="Folder of the run.")] = "run",
    learner: Annotated[
        str,
        typer.Option(help="One of cytowell list learners; finetune with PyTorch, else frozen."),
    ] = "",
    preset: Annotated[str, _of_run("preset")] = "",
    recipe: Annotated[
        str,
        typer.Option(
            metavar="FILE.toml", help="Settings (docs/recipe.md); flags win.", show_default=False
        ),
    ] = "",
    seed: Annotated[int | None, _of_run("seed")] = None,
    positive: Annotated[str, _of_run("positive", metavar="NAME")] = "",
    epochs: Annotated[float | None, _of_network("epochs")] = None,
    batch: Annotated[int | None, _of_network("batch")] = None,
    side: Annotated[
        int | None,
        typer.Option(
            help="Side of the images at which a network learns and serves. (32 to 4096 pixels)",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[float | None, _of_network("rate")] = None,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help=_help(Finetune, "find_rate"))
    ] = False,
    callbacks: Annotated[
        str, typer.Option(help=_help(Finetune, "callbacks"), metavar="NAMES", show_default=False)
    ] = "",
    loggers: Annotated[
        str,
        typer.Option(
            help="Experiment trackers that hear of the training: mlflow, wandb, one's own.",
            metavar="NAMES",
            show_default=False,
        ),
    ] = "",
    final: Annotated[
        bool, typer.Option("--final", help="Then learn once more, from the test part too.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    split: Annotated[
        str, typer.Option(metavar="FILE.csv", help="A saved split.", show_default=False)
    ] = "",
    new_split: Annotated[bool, _of_run("new_split", "--new-split")] = False,
    by_image: Annotated[bool, _of_run("by_image", "--by-image")] = False,
    backbone: Annotated[
        str,
        typer.Option(
            help="Network to start from: a name of cytowell list backbones, timm:NAME, "
            "hf-hub:OWNER/MODEL, a folder with config.json; for frozen an ONNX file or bundle too."
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            help="File or bundle with first weights (finetune, or frozen with timm:NAME)."
        ),
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
        speaker.said(f"training on {data} into {out}")
        top: dict[str, Any] = {
            "seed": seed,
            "positive": positive or None,
            "new_split": new_split or None,
            "by_image": by_image or None,
            "group_pattern": group_pattern or None,
            **reading(channels, window, plane),
        }
        flags = registry.part("cytowell.runs.recipe:Flags")(
            Path(recipe) if recipe else None,
            learner,
            preset,
            backbone,
            weights,
            {k: v for k, v in top.items() if v is not None},
            {
                "epochs": epochs,
                "batch": batch,
                "side": side,
                "rate": rate,
                "find_rate": find_rate or None,
                "callbacks": names(callbacks) or None,
            },
        )
        made, sentences = registry.part("cytowell.runs.recipe:from_flags")(flags)
        # A reading that cannot hold is refused before anything is written.
        _ = made.reading
        registry.part("cytowell.runs.ready:require_names")(made)
        if tracked := names(loggers):
            registry.part("cytowell.training.loggers:require")(tracked)
        for sentence in sentences:
            speaker.said(sentence)
        dataset = cytowell.read(data, source or None, made.group_pattern)
        for note in dataset.notes:
            speaker.said(note)
        given = None
        if split:
            given = registry.part("cytowell.splits:load")(Path(split), dataset)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked, tracked)
        run = cytowell.train(dataset, out, made, given, final, resume, voice)
    percent_range = registry.part("cytowell.evaluation.verdict:percent_range")
    shown = "synthetic images" if dataset.synthetic else f"{run.metrics['n']} images"
    print(f"Accuracy on {shown}: {percent_range(run.metrics['accuracy'])}")
    print(f"Report: {run.report}")
    print(f"Next:   cytowell predict PHOTOS --bundle {run.folder} --out calls.csv")
