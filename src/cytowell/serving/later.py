"""Pages that are made while the service already answers: their toolkit takes seconds to load."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

LOG = logging.getLogger("cytowell.serving")


class Later:
    """An application that is made in a thread of its own; who asks for it earlier waits.

    Parameters
    ----------
    make
        Gives a FastAPI application; may take seconds.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._ending = asyncio.Event()

    @contextlib.asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Make it now, and let it go at the end."""
        self._start()
        try:
            yield
        finally:
            self._ending.set()
            if self._task is not None:
                await asyncio.gather(self._task, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        self._start()
        await self._ready.wait()
        if self._made is None:
            raise HTTPException(503, "The pages could not be made; the server's log says why.")
        await self._made(scope, receive, send)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        """Keep it alive in one task: what it opens has to be closed where it was opened."""
        try:
            made = await anyio.to_thread.run_sync(self._make)
            async with made.router.lifespan_context(made):
                self._made = made
                self._ready.set()
                await self._ending.wait()
        except Exception:
            LOG.exception("the pages could not be made")
        finally:
            self._made = None
            self._ready.set()
