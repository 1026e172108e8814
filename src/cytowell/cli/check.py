"""cytowell check: what is wrong with a folder before anything learns from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import cytowell
from cytowell import registry
from cytowell.cli.options import (
    ChannelsOption,
    DataArgument,
    GroupOption,
    PlaneOption,
    QuietOption,
    SeedOption,
    SourceOption,
    WindowOption,
    reading,
)
from cytowell.cli.voice import speaking

NAME = "check"


def command(
    data: DataArgument,
    out: Annotated[
        str, typer.Option(help="Write the findings table there (CSV).", show_default=False)
    ] = "",
    labels: Annotated[
        bool, typer.Option(help="Doubt labels too: takes a look through the shipped network.")
    ] = True,
    source: SourceOption = "",
    group_pattern: GroupOption = "",
    channels: ChannelsOption = "",
    window: WindowOption = "",
    plane: PlaneOption = "",
    seed: SeedOption = 7,
    quiet: QuietOption = False,
) -> None:
    """Find unreadable, damaged, odd, doubled and doubtful images; exit status 1 if it blocks."""
    with speaking(quiet) as speaker:
        record = registry.part("cytowell.images:Preprocessing")(**reading(channels, window, plane))
        dataset = cytowell.read(data, source or None, group_pattern)
        for note in dataset.notes:
            speaker.said(note)
        voice = registry.part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        findings = cytowell.check(dataset, voice, doubt=labels, seed=seed, record=record)
        if out:
            registry.part("cytowell.storage:write_with")(
                Path(out), lambda f: findings.frame().to_csv(f, index=False)
            )
    show(findings, dataset.synthetic)
    if out:
        print(f"All findings: {out}")
    if findings.blocking:
        raise typer.Exit(1)


def show(findings: Any, synthetic: bool) -> None:
    """Print the findings: a line per issue with an example, then what holds for the whole."""
    console = Console(highlight=False)
    table = Table("issue", "images", title="synthetic images" if synthetic else None)
    table.add_column("for example", overflow="fold")
    for issue, count in findings.counts().items():
        if count:
            flagged = findings.table.loc[findings.table[f"is_{issue}"]]
            worst = flagged.sort_values(f"{issue}_score").iloc[0]
            table.add_row(issue.replace("_", " "), str(count), str(worst["path"]))
    if table.row_count:
        console.print(table)
    else:
        console.print("Nothing found.")
    for remark in findings.remarks:
        console.print(remark, markup=False)
    for sentence in findings.blocking:
        console.print("[bold red]Blocks:[/] ", end="")
        console.print(sentence, markup=False)
