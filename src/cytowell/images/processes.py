"""Pictures of strangers are decoded in processes of their own, with limits of memory and time.

Decoders are written in C; what a hostile picture makes of one is not known beforehand. The process
that dies of it is started again, and the picture has an error.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from cytowell import errors
from cytowell.errors import CytowellError, ImageError, ImageTooLarge
from cytowell.images.ahead import worker_count
from cytowell.images.limits import BAND, SMALLER, cap
from cytowell.images.record import Preprocessing

LOG = logging.getLogger("cytowell.images")

SECONDS = 30.0
"""Seconds that one picture may take; the largest that are decoded take a few."""

STARTING = 120.0
"""Seconds that a process may take to start: a busy machine loads its libraries slowly."""

PACKAGE = Path(errors.__file__).parent.parent

Opened = tuple[Image.Image, float | None]


class DecodingProcesses:
    """Decodes in a few processes, which start when they are first needed.

    `trouble` says why nothing is decoded; it is "" while processes start.

    Parameters
    ----------
    count
        Processes at most; one per processor without it. Each takes `worker.HEADROOM` at most.
    seconds
        After which a picture is given up.
    """

    def __init__(self, count: int | None = None, seconds: float = SECONDS) -> None:
        self.trouble = ""
        self._seconds = seconds
        self._free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        self.count = count or worker_count()
        for _ in range(self.count):
            self._free.put(None)

    def __call__(self, source: str | Path | bytes, record: Preprocessing, shown: str) -> Opened:
        """Decode one picture as `decode.open_upright` does.

        Raises
        ------
        ImageError
            As decoding does; or if the process died of it or took too long.
        """
        process, in_step = self._free.get(), False
        try:
            if process is not None and not process.lives:
                process.end()
                process = None
            if process is None:
                process = self._started()
            answer = process.ask(source, record, shown, self._seconds)
            in_step = True
        except (EOFError, OSError, ValueError) as error:
            late = process is not None and process.late
            LOG.warning("the process that decoded a picture ended (%s)", type(error).__name__)
            if late:
                raise ImageError(
                    f"{shown} took more than {self._seconds:g} seconds to decode.",
                    "Save it as JPEG, PNG or TIFF, smaller.",
                ) from error
            raise ImageTooLarge(f"{shown} ended the process that decoded it.", SMALLER) from error
        finally:
            # Whatever has come between, what it still has to say is not the next picture's answer.
            if process is not None and not in_step:
                process.end()
            self._free.put(process if in_step else None)
        if isinstance(answer, CytowellError):
            raise answer
        return answer

    def _started(self) -> _Process:
        self.trouble = "Pictures cannot be decoded: the process that does it does not start."
        process = _Process()
        self.trouble = ""
        return process

    def close(self) -> None:
        """End the processes that are idle; those that decode end when they have answered."""
        for _ in range(self.count):
            try:
                process = self._free.get_nowait()
            except queue.Empty:
                return
            if process is not None:
                process.end()


class _Process:
    """One process; asked by one thread at a time."""

    def __init__(self) -> None:
        self.late = False
        # Libraries that start a thread per processor take address space for each.
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # This very package, wherever this process has found it.
        places = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
        one["PYTHONPATH"] = os.pathsep.join(places)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cytowell.images.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries' lines about broken files would fill the log
            env={**os.environ, **one},
        )
        try:
            self._within(STARTING, self._said)
        except BaseException:
            self.end()
            raise

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, source: str | Path | bytes, record: Preprocessing, shown: str, seconds: float
    ) -> Opened | CytowellError:
        answer: Opened | CytowellError = self._within(seconds, self._asked, source, record, shown)
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent any more
                    pipe.close()

    def _within(self, seconds: float, work: Any, *given: Any) -> Any:
        watch = threading.Timer(seconds, self._stop)
        watch.daemon = True
        watch.start()
        try:
            return work(*given)
        finally:
            watch.cancel()

    def _stop(self) -> None:
        self.late = True
        self._process.kill()

    def _asked(
        self, source: str | Path | bytes, record: Preprocessing, shown: str
    ) -> Opened | CytowellError:
        pipe = self._process.stdin
        assert pipe is not None
        data = source if isinstance(source, bytes) else b""
        path = None if isinstance(source, bytes) else os.path.abspath(source)  # noqa: PTH100
        told = {"path": path, "name": shown, "bytes": len(data), "record": record.to_json()}
        pipe.write(json.dumps(told).encode() + b"\n")
        pipe.write(data)
        pipe.flush()
        said = self._said()
        if "error" in said:
            return _error(said)
        width, height = int(said["width"]), int(said["height"])
        cap((width, height), shown)
        return self._pixels(width, height), said["um_per_pixel"]

    def _pixels(self, width: int, height: int) -> Image.Image:
        image = Image.new("RGB", (width, height))
        rows = max(1, BAND // width)
        for top in range(0, height, rows):
            size = (width, min(rows, height - top))
            image.paste(Image.frombytes("RGB", size, self._read(3 * size[0] * size[1])), (0, top))
        return image

    def _read(self, count: int) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        data = pipe.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _said(self) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        line = pipe.readline(1 << 20)
        if not line.endswith(b"\n"):
            raise EOFError
        said: dict[str, Any] = json.loads(line)
        return said


def _error(said: dict[str, Any]) -> CytowellError:
    kind = getattr(errors, str(said["error"]), ImageError)
    if not (isinstance(kind, type) and issubclass(kind, CytowellError)):
        kind = ImageError
    return kind(str(said["problem"]), str(said["remedy"]))


@functools.cache
def shared() -> DecodingProcesses:
    """Give the processes that all applications of this process share; they end with it."""
    made = DecodingProcesses()
    atexit.register(made.close)
    return made
