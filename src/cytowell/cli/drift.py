"""cytowell drift: whether photographs are still what the bundle was trained on."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cytowell.cli.options import (
    BundleArgument,
    DetectorOption,
    FindOption,
    JsonOption,
    OnlyOption,
    PathsArgument,
    QuietOption,
    names,
)
from cytowell.cli.voice import speaking

NAME = "drift"

DIFFERS = 1
"""Exit status where something differs, as of diff; 2 is an error."""


def command(
    bundle: BundleArgument,
    paths: PathsArgument,
    find: FindOption = "none",
    detector: DetectorOption = "",
    only: OnlyOption = "",
    history: Annotated[
        str,
        typer.Option(
            help="CSV of this laboratory's earlier batches: the mix of classes is compared with "
            "them, and this batch is added.",
            show_default=False,
        ),
    ] = "",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare light, stain, sharpness, size and features of photographs with the training images.

    Exit status 1 says that something differs by more than chance.
    """
    from cytowell.runs.drift import drift
    from cytowell.runs.run import Voice
    from cytowell.runtime.finding import finder

    with speaking(quiet or json_) as speaker:
        voice = Voice(speaker.said, speaker.ticked)
        looks = finder(find, None, detector, names(only))
        made = drift(bundle, paths, find=looks, history=history, voice=voice)
    if json_:
        print(json.dumps(made.to_json(), indent=1, ensure_ascii=False))
    elif not quiet:
        _show(made)
    if made.differs:
        raise typer.Exit(DIFFERS)


def _show(made: Any) -> None:
    from cytowell.runtime.drift import NAMES

    print(made.sentence)
    for c in made.comparisons:
        mark = "DIFFERS" if c.differs else "as in training"
        print(f"  {NAMES[c.measure]:20} {mark:15} {c.words} (p = {c.p:.2g}, n = {c.groups})")
    for words in made.missing:
        print(f"  not compared: {words}")
    if made.copies:
        print(
            f"{made.copies} of {made.images} images were trained on: they say nothing of new ones."
        )
    if made.history:
        print(made.history)
    if made.unusual:
        print("Photographs that differ most:")
        for one in made.unusual:
            print(f"  {one.path}  ({one.words})")
    for remedy in made.remedies:
        print(remedy)
