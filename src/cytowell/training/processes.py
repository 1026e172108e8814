"""What a training asks of the operating system: memory that stays, and processes that speak."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from cytowell.learners.contract import Said, Ticked


def keep_memory() -> None:
    """Let the C library keep freed memory: half as fast again on two cores with glibc.

    A step frees and asks for the same hundreds of megabytes; handed back each time, the kernel
    clears every page anew. (mallopt: M_MMAP_MAX = -4, M_TRIM_THRESHOLD = -1.)
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)
        libc.mallopt(-1, 2**31 - 1)
    except (OSError, AttributeError):
        return


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Let Ctrl-C wait until this piece is done: no checkpoint of half a step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def relayed(said: Said, ticked: Ticked) -> Iterator[tuple[Said, Ticked]]:
    """Give what other processes can take along: what they say and tick is heard in this one."""
    queue: Any = torch.multiprocessing.get_context("spawn").SimpleQueue()

    def listen() -> None:
        while (message := queue.get()) is not None:
            name, given = message
            (said if name == "said" else ticked)(*given)

    thread = threading.Thread(target=listen, name="relay", daemon=True)
    thread.start()
    try:
        yield Mouth(queue, "said"), Mouth(queue, "ticked")
    finally:
        queue.put(None)
        thread.join()


@dataclass(frozen=True)
class Mouth:
    """Speaks into another process's ear."""

    queue: Any
    name: str

    def __call__(self, *given: Any) -> None:
        self.queue.put((self.name, given))
