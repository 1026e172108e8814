"""A process that decodes pictures of strangers, and may die of one: `processes` talks to it.

It has a limit of memory, answers on what was its standard output, and ends when nobody asks more.
A request is a JSON line and the file's bytes; an answer is a JSON line and the pixels, some rows at
a time. Nothing is unpickled on either side.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cytowell.errors import CytowellError
from cytowell.images.decode import open_upright
from cytowell.images.limits import BAND
from cytowell.images.planes import pixel_size
from cytowell.images.record import Preprocessing

HEADROOM = 1 << 30
"""Bytes of address space beyond what the interpreter and its libraries take: twice `DECODED`."""


def main() -> None:
    """Decode what is asked for, until the other end is closed."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    # Ctrl-C goes to all processes of a terminal; what is under way is still decoded.
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    _limit()
    _say(answers, {"ready": True})
    while line := asked.readline():
        told = json.loads(line)
        data = asked.read(told["bytes"]) if told["path"] is None else b""
        _answer(answers, told, data)


def _answer(answers: BinaryIO, told: dict[str, object], data: bytes) -> None:
    record = told["record"]
    how = Preprocessing.from_json(record) if isinstance(record, dict) else None
    source = data if told["path"] is None else str(told["path"])
    try:
        image = open_upright(source, how, str(told["name"]))
    except CytowellError as error:
        said: dict[str, object] = {
            "error": type(error).__name__,
            "problem": error.problem,
            "remedy": error.remedy,
        }
        _say(answers, said)
        return
    size = pixel_size(image)
    _say(answers, {"width": image.width, "height": image.height, "um_per_pixel": size})
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        answers.write(part.tobytes())
    answers.flush()


def _say(answers: BinaryIO, said: Mapping[str, object]) -> None:
    answers.write(json.dumps(said).encode() + b"\n")
    answers.flush()


def _limit() -> None:
    """Bound this process's memory where the system can; let it be the first that is ended."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415  (not on Windows)

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + HEADROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
