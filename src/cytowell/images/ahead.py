"""Work on several threads whose answers come in order, a bounded number ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def worker_count() -> int:
    """Give the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def ahead(
    work: Callable[[A], B], items: Iterable[A], workers: int | None = None, waiting: int = 3
) -> Iterator[B]:
    """Give what `work` makes of each item, in the items' order.

    Items are taken in this thread, one after another, when there is room for them.

    Parameters
    ----------
    workers
        Threads; one for each processor without it.
    waiting
        Items under way for each thread, at most.
    """
    count = workers or worker_count()
    source = iter(items)
    pending: deque[Future[B]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="ahead") as pool:
        try:
            while True:
                for item in islice(source, waiting * count - len(pending)):
                    pending.append(pool.submit(work, item))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
