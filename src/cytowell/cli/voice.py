"""How the command line speaks to the person who waits: sentences and one bar, on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cytowell.errors import CytowellError

EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""


def complain(error: CytowellError) -> None:
    """Print what is wrong and what to do."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[bold red]Error:[/] ", end="")
    console.print(error.problem, markup=False)
    if error.remedy:
        console.print(error.remedy, markup=False)


class Speaker:
    """Says sentences and shows progress; quiet says nothing but errors."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._last = time.monotonic()

    def said(self, sentence: str) -> None:
        """Print a sentence."""
        if not self._quiet:
            self._console.print(sentence, markup=False)

    def ticked(self, done: int, total: int, what: str) -> None:
        """Show how far something is."""
        if self._quiet:
            return
        if self._bar is not None:
            if self._task is None or what.split(",")[0] != self._what:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(what, total=total or None)
                self._what = what.split(",")[0]
            self._bar.update(self._task, completed=done, total=total or None, description=what)
        elif time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            print(f"{what}: {done} of {total or '?'}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def speaking(quiet: bool = False) -> Iterator[Speaker]:
    """Give a speaker whose bar is gone when the work is done."""
    speaker = Speaker(quiet)
    if quiet or not sys.stderr.isatty():
        yield speaker
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=speaker._console, transient=True) as bar:
        speaker._bar = bar
        yield speaker
