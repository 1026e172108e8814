"""cytowell detect: networks that find objects in photographs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import cytowell
from cytowell import registry
from cytowell.cli.options import JsonOption, QuietOption, SourceOption
from cytowell.cli.voice import speaking

NAME = "detect"

app = typer.Typer(help="Detectors: train one, take one in, and measure it.", no_args_is_help=True)


@app.command("import")
def import_(
    network: Annotated[
        str, typer.Argument(help="ONNX file of YOLOv5, YOLOv8 or YOLOX.", show_default=False)
    ],
    out: Annotated[str, typer.Option(help="Folder of the bundle.")] = "detector",
    names: Annotated[
        str,
        typer.Option(
            help="Classes in the network's order, with commas; the file's own without.",
            show_default=False,
        ),
    ] = "",
    side: Annotated[int, typer.Option(help="Input side, for a network that takes any.")] = 0,
    score: Annotated[float, typer.Option(help="Certainty from which on a box is one.")] = 0.3,
) -> None:
    """Make a detector bundle of a network that you exported yourself: nobody must train again."""
    made = registry.part("cytowell.runtime.imported:import_network")(
        network, [n.strip() for n in names.split(",") if n.strip()], side, score
    )
    facts = made.facts
    classes = ", ".join(facts.classes[:12]) + (" ..." if len(facts.classes) > 12 else "")
    card = (
        f"# Detector\n\nImported from {Path(network).name} ({facts.says}, {facts.reading.side} px)."
        f"\nClasses: {classes}.\nResearch use only, not an in vitro diagnostic.\n"
    )
    made.save(Path(out), card)
    print(f"{out}: {facts.says}, {facts.reading.side} px, {len(facts.classes)} classes ({classes})")
    print(f"cytowell predict PHOTOGRAPHS --find cells --detector {out}")


@app.command("train")
def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Annotated photographs: YOLO, COCO or VOC.", show_default=False
        ),
    ],
    out: Annotated[str, typer.Option(metavar="RUN", help="Folder of the run.")] = "detector-run",
    preset: Annotated[str, typer.Option(help="quick, standard or best.")] = "standard",
    network: Annotated[str, typer.Option(help="Registered detector.", show_default=False)] = "",
    weights: Annotated[
        str,
        typer.Option(
            help="Official ONNX file of YOLOX, or a detector bundle, to begin with.",
            show_default=False,
        ),
    ] = "",
    recipe: Annotated[
        str,
        typer.Option(metavar="FILE.toml", help="Settings laid on the preset.", show_default=False),
    ] = "",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of every random choice; 7.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    new_split: Annotated[
        bool, typer.Option("--new-split", help="Ignore the split that DATA brings.")
    ] = False,
    source: SourceOption = "",
    quiet: QuietOption = False,
) -> None:
    """Learn to find objects from annotated photographs; leaves a detector bundle."""
    with speaking(quiet) as speaker:
        settings = registry.part("cytowell.training.detection_recipe:preset")(preset)
        number = 7
        if recipe:
            read = registry.part("cytowell.runs.detector:read_recipe")
            settings, number = read(Path(recipe), settings)
        given = {k: v for k, v in (("network", network), ("weights", weights)) if v}
        settings = dataclasses.replace(settings, **given)
        dataset = cytowell.read(data, source or None)
        for note in dataset.notes:
            speaker.said(note)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        run = registry.part("cytowell.runs.detector:train_detector")(
            dataset, out, settings, number if seed is None else seed, resume, new_split, voice
        )
    show(run.metrics)
    print(f"Report: {run.folder}/report.html")
    print(f"Next:   cytowell predict PHOTOGRAPHS --find cells --detector {run.folder}")


@app.command("evaluate")
def evaluate(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Detector bundle.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Annotated photographs: YOLO, COCO or VOC.", show_default=False
        ),
    ],
    part: Annotated[
        str,
        typer.Option(
            help="Only that part: train, validation or test, of the split of BUNDLE's run, else of "
            "the one that DATA brings."
        ),
    ] = "",
    json_: JsonOption = False,
    source: SourceOption = "",
    quiet: QuietOption = False,
) -> None:
    """Judge a detector on annotated photographs: average precision, counts, confusion."""
    with speaking(quiet or json_) as speaker:
        detector = registry.part("cytowell.runtime.detector:load_detector")(bundle)
        dataset = cytowell.read(data, source or None)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        metrics = registry.part("cytowell.runs.detecting:judge_detector")(
            detector, dataset, part, voice, Path(bundle)
        )
        for sentence in metrics["unreadable"]:
            speaker.said(sentence)
    if json_:
        print(json.dumps(metrics, indent=1, ensure_ascii=False))
        return
    show(metrics)


def show(metrics: dict[str, Any]) -> None:
    """Print the figures as a table."""
    percent = registry.part("cytowell.evaluation.verdict:percent_range")
    number = registry.part("cytowell.evaluation.verdict:number_range")
    console = Console(highlight=False)
    console.print(f"{metrics['n']} photographs, {metrics['objects']} objects")
    console.print(f"mAP50      {percent(metrics['map50'])}")
    console.print(f"mAP50-95   {percent(metrics['map50_95'])}")
    table = Table("class", "n", "AP50", "AP50-95", "precision", "recall", "count error")
    for row in metrics["per_class"]:
        if not row["n"] and row["precision"] is None:
            continue
        shares = [
            "" if row[k] is None else f"{100 * row[k]:.1f} %" for k in ("precision", "recall")
        ]
        points = ["" if row[k] is None else percent(row[k]) for k in ("ap50", "ap50_95")]
        table.add_row(
            escape(row["class"]), str(row["n"]), *points, *shares, number(row["count_error"])
        )
    console.print(table)
    console.print(f"precision, recall and counts at a certainty of {metrics['score']:g}")
