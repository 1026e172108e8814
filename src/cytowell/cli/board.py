"""cytowell board: what a fine-tuning left in TensorBoard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cytowell import registry
from cytowell.errors import RunError

NAME = "board"


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run.")],
    port: Annotated[int, typer.Option(help="Of the page.")] = 6006,
) -> None:
    """Open TensorBoard on a run; Ctrl-C ends it."""
    registry.require_extra("train", "cytowell board")
    folder = Path(run)
    if not any(folder.rglob("events.out.tfevents.*")):
        raise RunError(f"{run} holds nothing for TensorBoard.", "Only finetune writes it.")
    registry.part("tensorboard.main:run_main", "cytowell board")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    subprocess.run([*command, "--port", str(port), "--host", "127.0.0.1"], check=False)
