"""cytowell evaluate: every figure of a bundle on labelled photographs, with its interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import cytowell
from cytowell import registry
from cytowell.cli.options import (
    BundleArgument,
    DataArgument,
    GroupOption,
    JsonOption,
    QuietOption,
    SourceOption,
    names,
)
from cytowell.cli.voice import speaking
from cytowell.errors import RecipeError, UnknownName

NAME = "evaluate"


def command(
    bundle: BundleArgument,
    data: DataArgument,
    by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Figures for each value of a column.")
    ] = "",
    positive: Annotated[
        str, typer.Option(metavar="NAME", help="The positive class, if not the bundle's.")
    ] = "",
    prevalence: Annotated[
        float | None, typer.Option(help="For predictive values, 0 to 1.", show_default=False)
    ] = None,
    ignore: Annotated[
        str,
        typer.Option(
            metavar="CLASS,...",
            help="Classes of the data whose images are left out.",
            show_default=False,
        ),
    ] = "",
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="DATA=BUNDLE",
            help="A class of the data counts as one of the bundle; may be repeated.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="Folder for report and calls.", show_default=False)] = "",
    json_: JsonOption = False,
    source: SourceOption = "",
    group_pattern: GroupOption = "",
    quiet: QuietOption = False,
) -> None:
    """Judge a bundle on labelled photographs."""
    with speaking(quiet or json_) as speaker:
        loaded = cytowell.load(bundle)
        mapped = mapping(map_ or [], loaded.classes)
        dataset = cytowell.read(data, source or None, group_pattern)
        relabelled = registry.part("cytowell.runs.judge:relabelled")
        dataset = relabelled(dataset, names(ignore), mapped)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        metrics = cytowell.evaluate(
            loaded,
            dataset,
            by=by,
            positive=positive,
            prevalence=prevalence,
            out=Path(out) if out else None,
            voice=voice,
        )
    if json_:
        print(json.dumps(metrics, indent=1, ensure_ascii=False))
        return
    show(metrics)
    if out:
        print(f"Report: {Path(out) / 'report.html'}")


def mapping(pairs: list[str], classes: tuple[str, ...]) -> dict[str, str]:
    """Read which class of the data counts as which of the bundle.

    Raises
    ------
    RecipeError
        If a pair has no equals sign.
    UnknownName
        If the bundle has no such class.
    """
    found = {}
    for pair in pairs:
        own, equals, theirs = (part.strip() for part in pair.rpartition("="))
        if not equals or not own:
            raise RecipeError(f"--map {pair} is no pair.", "Write it like --map seg=neutrophil.")
        if theirs not in classes:
            raise UnknownName(
                f"--map {pair}: the bundle has no class {theirs!r}.",
                registry.did_you_mean(theirs, [*classes]),
            )
        found[own] = theirs
    return found


def show(metrics: dict[str, Any]) -> None:
    """Print the figures as two tables."""
    report = registry.part("cytowell.evaluation.report:SHARES")
    numbers = registry.part("cytowell.evaluation.report:NUMBERS")
    percent_range = registry.part("cytowell.evaluation.verdict:percent_range")
    number_range = registry.part("cytowell.evaluation.verdict:number_range")
    console = Console(highlight=False)
    table = Table("figure", "value (95 % interval)", title=f"{metrics['n']} images")
    for key, name in report.items():
        if metrics.get(key) is not None:
            table.add_row(name, percent_range(metrics[key]))
    for key, name in numbers.items():
        if metrics.get(key) is not None:
            table.add_row(name, number_range(metrics[key]))
    console.print(table)
    classes = Table("class", "n", "recall", "precision", "F1")
    for row in metrics["per_class"]:
        shares = [percent_range(row[k]) for k in ("recall", "precision", "f1")]
        classes.add_row(str(row["class"]), str(row["n"]), *shares)
    console.print(classes)
    for sentence in registry.part("cytowell.runs.judge:in_words")(metrics.get("other_classes", ())):
        console.print(sentence, markup=False)
    if metrics.get("no_test"):
        console.print(metrics["no_test"], markup=False)
    for column, values in metrics.get("by", {}).items():
        parts = Table(column, "n", "accuracy", "macro-F1")
        for value, found in values.items():
            parts.add_row(
                str(value),
                str(found["n"]),
                percent_range(found["accuracy"]),
                percent_range(found["macro_f1"]),
            )
        console.print(parts)
