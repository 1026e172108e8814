"""The command line: one file per verb, each a line of the way of an image."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings

import typer

from cytowell.cli import (
    adapt,
    agree,
    audit,
    board,
    check,
    compare,
    convert,
    count,
    crop,
    detect,
    drift,
    evaluate,
    export,
    fetch,
    inspect,
    list_,
    plate,
    predict,
    replay,
    samples,
    serve,
    smear,
    space,
    suggest,
    titre,
    train,
    wells,
)
from cytowell.cli.voice import complain
from cytowell.errors import CytowellError, StorageError
from cytowell.storage import REMEDIES

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

app = typer.Typer(
    name="cytowell",
    help="Calls for cell and well photographs that a laboratory can sign.",
    epilog="Exit status: 0 done; 1 done, and nothing in it to go on with (no photograph could be "
    "read, or every run of a titration was refused); 2 wrong use or an error, with its remedy on "
    "standard error; 130 after Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS = (
    samples, fetch, check, convert, train, adapt, evaluate, wells, crop, predict, smear, plate,
    titre, count, agree, drift, suggest, serve, space, compare, replay, inspect, export, list_,
    board,
)  # fmt: skip

for verb in VERBS:
    app.command(name=verb.NAME)(verb.command)
app.add_typer(detect.app, name=detect.NAME)
app.add_typer(audit.app, name=audit.NAME)


def main() -> None:
    """Run the command line; an error of the user's is two lines and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    # Pillow warns of what it then refuses, or of metadata that nobody reads here.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        try:
            app(prog_name="cytowell")
        finally:
            sys.stdout.flush()
    except CytowellError as error:
        if os.environ.get("CYTOWELL_DEBUG"):
            raise
        complain(error)
        sys.exit(2)
    except SystemExit as end:
        # Typer makes an exit status of Ctrl-C and says nothing.
        if end.code == INTERRUPTED:
            interrupted()
        raise
    except KeyboardInterrupt:
        interrupted()
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed its end (head, less): nothing more to say to anyone.
        drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        drop_output()
        what = error.filename or "What is printed"
        complain(StorageError(f"{what} cannot be written.", REMEDIES[error.errno]))
        sys.exit(2)


def interrupted() -> None:
    """Say what Ctrl-C has left."""
    print("\nInterrupted. A training goes on with the same command and --resume.", file=sys.stderr)


def drop_output() -> None:
    """Let what is left in the buffer go nowhere; it would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
