"""Work in threads of its own: few at once, and each with a time for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Bounded:
    """Runs functions in a few threads; nobody waits for longer than a time.

    A function that takes longer goes on, for a thread cannot be ended, and keeps its place among
    the few until it is done: however many ask, no more than these are busy.

    Parameters
    ----------
    most
        How many run at once.
    seconds
        For waiting and running together.
    """

    def __init__(self, name: str, most: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)
        self._seconds = seconds

    async def __call__(self, work: Callable[[], T]) -> T:
        """Give what a function gives.

        Raises
        ------
        TimeoutError
            If it is not there in time; one that has not begun never does.
        """
        return await asyncio.wait_for(asyncio.wrap_future(self._pool.submit(work)), self._seconds)
