"""The command line: one file per verb, each a line of the way of an image."""

from __future__ import annotations

import os
import sys

import typer

from cytowell.cli import (
    board,
    check,
    evaluate,
    export,
    fetch,
    inspect,
    list_,
    predict,
    samples,
    train,
)
from cytowell.cli.voice import complain
from cytowell.errors import CytowellError

app = typer.Typer(
    name="cytowell",
    help="Calls for cell and well photographs that a laboratory can sign.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (samples, fetch, check, train, evaluate, predict, inspect, export, list_, board):
    app.command(name=verb.NAME)(verb.command)


def main() -> None:
    """Run the command line; an error of the user's is two lines and exit status 2."""
    try:
        app()
    except CytowellError as error:
        if os.environ.get("CYTOWELL_DEBUG"):
            raise
        complain(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. A training goes on with the same command and --resume.", file=sys.stderr
        )
        sys.exit(130)
    except BrokenPipeError:
        # The reader has closed its end (head, less): nothing more to say to anyone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
