"""Connections of the server: none waits for ever, and no address takes them all."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

OPEN = ("/healthz", "/readyz")
"""Paths that are answered however many requests are under way."""


@dataclass
class Connections:
    """All connections of one server.

    Where there are too many, the one that has waited longest without a request is closed: whoever
    comes with a request is always heard.

    Attributes
    ----------
    total, address
        Connections at once: all, and those of one address.
    active, active_address
        Requests at once: all, and those of one address; more are refused with 503.
    headers
        Seconds for the headers of a request to arrive.
    reading
        Seconds in which a client has to take something of its answer.
    proxies
        Addresses of reverse proxies: they limit their own clients.
    """

    total: int = 1000
    address: int = 256
    active: int = 512
    active_address: int = 128
    headers: float = 10.0
    reading: float = 60.0
    proxies: frozenset[str] = frozenset()
    _idle: OrderedDict[Connection, None] = field(default_factory=OrderedDict)
    _of: dict[str, int] = field(default_factory=dict)
    _active: dict[str, int] = field(default_factory=dict)

    def add(self, made: Connection) -> None:
        """Take a connection, in the place of an idle one if there are too many."""
        self._of[made.address] = self._of.get(made.address, 0) + 1
        self._idle[made] = None
        if made.address not in self.proxies and self._of[made.address] > self.address:
            self._close_one(made.address)
        elif sum(self._of.values()) > self.total:
            self._close_one(max(self._of, key=self._of.__getitem__))

    def _close_one(self, address: str) -> None:
        for one in self._idle:
            if one.address == address:
                one.let_go()
                return

    def discard(self, gone: Connection) -> None:
        """Forget a connection that ended."""
        self._idle.pop(gone, None)
        left = self._of.get(gone.address, 0) - 1
        if left > 0:
            self._of[gone.address] = left
        else:
            self._of.pop(gone.address, None)

    def waits(self, one: Connection) -> None:
        """Know that a connection is without a request from now on."""
        if one not in self._idle:
            self._idle[one] = None

    def works(self, one: Connection) -> None:
        """Know that a connection has a request."""
        self._idle.pop(one, None)

    def admitting(self, app: ASGIApp, address: str) -> ASGIApp:
        """Wrap the application for one connection: it counts what is under way."""
        most = self.active if address in self.proxies else self.active_address

        async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
            mine = self._active.get(address, 0)
            full = mine >= most or sum(self._active.values()) >= self.active
            if full and scope.get("path") not in OPEN:
                await _refuse(send)
                return
            self._active[address] = mine + 1
            try:
                await app(scope, receive, send)
            finally:
                left = self._active[address] - 1
                if left:
                    self._active[address] = left
                else:
                    del self._active[address]

        return admitted


class Connection(H11Protocol):
    """A connection with a time for its headers and for taking its answer."""

    def __init__(self, held: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._held = held
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self.address = "unknown"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if self.client:
            self.address = self.client[0]
        self.app = self._held.admitting(self.app, self.address)
        self._wait()
        self._held.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop(self._late)
        self._stop(self._stuck)
        self._held.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes; what is no whole request does not make it live longer."""
        super().data_received(data)
        if self._has_request():
            self._stop(self._late)
            self._late = None
            self._held.works(self)
        elif self._late is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn closes it if nothing comes."""
        super().on_response_complete()
        if not self._has_request():
            self._held.waits(self)

    def pause_writing(self) -> None:
        """Give a client that takes nothing of its answer some time, once."""
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(self._held.reading, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it has taken something."""
        self._stop(self._stuck)
        self._stuck = None
        super().resume_writing()

    def let_go(self) -> None:
        """Close it, unless it has a request by now."""
        if not self._has_request():
            self.transport.abort()

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._late = self.loop.call_later(self._held.headers, self.let_go)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


async def _refuse(send: Send) -> None:
    body = json.dumps({"error": "Too many requests at once."}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"2"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
