"""One process at a time in a run's folder; a lock that a killed process left counts for nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cytowell.errors import RunError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the file that says who works in a folder; it is gone when nobody does."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; it is made if it is not there.

    Raises
    ------
    RunError
        If another process, or another thread of this one, works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    handle = _taken(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(handle)


def _taken(file: Path) -> int:
    """Give the open lock, locked by this process and named after it."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _is_mine(handle, file):
                os.close(handle)
                continue
            me = {
                "process": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
            }
            _write(handle, file, json.dumps(me).encode())
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise
        return handle


def _write(handle: int, file: Path, text: bytes) -> None:
    """Name this process in its lock; a disk that has no room for that is left as it was."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _is_mine(handle: int, file: Path) -> bool:
    """Lock an open file; False if it has been replaced meanwhile, and has to be opened anew."""
    whose = _read(handle)
    here = whose.get("host") == socket.gethostname()
    alive = _is_alive(whose.get("process")) if here else True
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if whose and not alive:
                # A child that outlived its killed parent holds what it inherited.
                file.unlink(missing_ok=True)
                return False
            raise _in_use(file, whose) from error
        except OSError:
            # A disk without locks: only the name in the file speaks.
            if whose and alive:
                raise _in_use(file, whose) from None
    elif whose and alive:
        raise _in_use(file, whose)
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _in_use(file: Path, whose: dict[str, Any]) -> RunError:
    who = f"process {whose['process']}" if "process" in whose else "another process"
    if "host" in whose and whose["host"] != socket.gethostname():
        who += f" on {whose['host']}"
    since = f" since {whose['since']}" if "since" in whose else ""
    return RunError(
        f"{file.parent} is in use by {who}{since}.",
        "Wait until it has ended, or choose another --out.",
    )


def _read(handle: int) -> dict[str, Any]:
    try:
        record = json.loads(os.pread(handle, 4096, 0))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_alive(process: object) -> bool:
    if not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
