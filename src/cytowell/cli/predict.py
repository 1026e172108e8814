"""cytowell predict: calls for new photographs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import (
    ChannelsOption,
    CropBoxesOption,
    DetectorOption,
    FindOption,
    MarginOption,
    OnlyOption,
    OverlayOption,
    PathsArgument,
    PlaneOption,
    QuietOption,
    RotateOption,
    RoundOption,
    SquareOption,
    WindowOption,
    names,
    reading,
)
from cytowell.cli.voice import speaking
from cytowell.errors import EmptyDataset, RecipeError, UnknownName

NAME = "predict"

NOTHING = 1
"""Exit status where the work was done and there is nothing in it to go on with."""

COMPARED = 2_000
"""Images, the latest, that are compared with the training images: memory is bounded."""

SYNTHETIC = "This bundle learnt from synthetic images: its calls mean nothing."


def command(
    paths: PathsArgument,
    bundle: Annotated[str, typer.Option(help="Bundle, run folder or name.")] = "blood",
    out: Annotated[
        str,
        typer.Option(
            help=".csv, .parquet or .jsonl, a folder with --engine ray; printed as CSV without.",
            show_default=False,
        ),
    ] = "",
    find: FindOption = "none",
    detector: DetectorOption = "",
    only: OnlyOption = "",
    rotate: RotateOption = None,
    margin: MarginOption = None,
    square: SquareOption = False,
    round_: RoundOption = False,
    crop_boxes: CropBoxesOption = None,
    channels: ChannelsOption = "",
    window: WindowOption = "",
    plane: PlaneOption = "",
    overlay: OverlayOption = "",
    workers: Annotated[
        int | None, typer.Option(help="Threads; one per processor.", show_default=False)
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local, or ray to share a long list out on a cluster.")
    ] = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster.", show_default=False)] = "",
    quiet: QuietOption = False,
) -> None:
    """Call photographs, or what is found in them: a row each, in order, a bad file one too.

    Exit status: 0 if any was read, 1 if none could be, 2 for an error.
    """
    from cytowell.types import FOUND

    if engine == "ray":
        registry.require_extra("scale", "--engine ray")
    said = reading(channels, window, plane)
    loaded = cytowell.load(bundle).reading(
        **said,
        margin=margin,
        square=square or None,
        round=round_ or None,
        crop_boxes=crop_boxes,
    )
    record = loaded.facts.preprocessing
    skipped: list[str] = []
    samples, known, total = registry.part("cytowell.sources.paths:named")(paths, None, skipped)
    looks = registry.part("cytowell.runtime.finding:finder")(find, rotate, detector, names(only))
    if looks is not None:
        samples = registry.part("cytowell.runtime.finding:objects")(
            samples, looks, record, loaded.facts.calls
        )
        known, total = known | {"group", "box"}, None
    if engine == "ray":
        cut_otherwise = margin is not None or square or round_ or crop_boxes is not None
        if looks is not None or overlay or said or cut_otherwise:
            raise RecipeError(
                "On a cluster photographs are called whole, and read as the bundle learnt them.",
                "Leave these options, or --engine, away.",
            )
        _share_out(samples, bundle, out, known, address, quiet)
        if loaded.facts.synthetic and not quiet:
            print(SYNTHETIC, file=sys.stderr)
        return
    if engine != "local":
        known_engines = registry.did_you_mean(engine, ["local", "ray"])
        raise UnknownName(f"There is no engine {engine!r}.", known_engines)
    opened = registry.part("cytowell.runtime.calls:writer")(Path(out) if out else None, known)
    overlays = registry.part("cytowell.runtime.overlays:Overlays")
    drawn = overlays(Path(overlay), record) if overlay else None
    done = failed = declined = empty = boxes = 0
    counted: dict[str, int] = {}
    monitor = registry.part("cytowell.runtime.drift:DriftMonitor")(loaded, COMPARED)
    with speaking(quiet) as speaker, opened as write:
        for calls in loaded.stream(samples, workers, monitor.add):
            write(calls)
            if drawn is not None:
                drawn(calls)
            bad = sum(1 for e in calls.errors if e)
            bare = sum(1 for s in calls.samples if s.nothing)
            for sample in calls.take(calls.counted).samples:
                name = str(sample.extra.get(FOUND))
                counted[name] = counted.get(name, 0) + 1
            boxes += sum(1 for s in calls.samples if s.box is not None and not s.nothing)
            done, failed = done + len(calls) - bare, failed + bad
            empty += bare - int(calls.counted.sum())
            declined += int((~calls.decided).sum()) - bad - bare
            speaker.ticked(done, total or 0, "calling")
        if drawn is not None:
            drawn.flush()
        if not done and not empty and not counted:
            raise EmptyDataset("Nothing was named to be called.", "Give photographs or folders.")
        if len(monitor):
            speaker.said(monitor.result().sentence)
        speaker.said(_summed(done, declined, failed))
        if skipped:
            few = ", ".join(Path(f).name for f in skipped[:3]) + (" ..." if skipped[3:] else "")
            speaker.said(f"{len(skipped)} files are no pictures and were skipped: {few}.")
        if counted:
            seen = ", ".join(f"{number} {name}" for name, number in sorted(counted.items()))
            speaker.said(f"Counted and not called: {seen}.")
        if empty:
            speaker.said(f"{empty} photographs have nothing in them: their rows say why.")
        if boxes and crop_boxes is None and record.middle_of_boxes < 1:
            speaker.said(
                f"Of each box the middle {record.crop:.0%} was looked at, as of the pictures "
                "learnt from. If those had one cell in the middle: --whole-boxes."
            )
        if loaded.facts.synthetic:
            speaker.said(SYNTHETIC)
    if done and failed == done:
        raise typer.Exit(NOTHING)


def _share_out(
    samples: Iterable[object],
    bundle: str,
    out: str,
    known: frozenset[str],
    address: str,
    quiet: bool,
) -> None:
    """Call on a cluster, into a folder of Parquet parts."""
    if not out or Path(out).suffix:
        raise RecipeError(
            "With --engine ray the calls go into a folder of Parquet parts.",
            "Give --out FOLDER; pandas.read_parquet reads the folder as one table.",
        )
    with speaking(quiet) as speaker:
        share = registry.part("cytowell.runs.calling:call_in_parts")
        done = share(samples, bundle, Path(out), known, address, speaker.ticked)
        if not done.photographs:
            raise EmptyDataset("Nothing was named to be called.", "Give photographs or folders.")
        speaker.said(_summed(done.photographs, done.declined, done.failed))


def _summed(done: int, declined: int, failed: int) -> str:
    return (
        f"{done} images: {done - failed - declined} called, {declined} cannot be decided, "
        f"{failed} could not be read."
    )
