"""What a browser may ask of the pages' toolkit: its files and the pages' own events, no more.

The toolkit can fetch an address for a client, hand on other servers and describe itself; none of
that has a use here. A photograph comes as an upload, never as an address.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVENTS = 16 << 20
"""Bytes of an event: boxes of a photograph with its picture, a table that was typed in."""

DEEP = 40
"""Levels of an event's value."""

_ASSETS = ("/assets/", "/static/", "/svelte/", "/custom_component/")
_OPEN = frozenset(
    {
        "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt",
        "/gradio_api/upload", "/gradio_api/queue/data", "/gradio_api/queue/join",
        "/gradio_api/reset", "/gradio_api/cancel", "/gradio_api/app_id",
        "/gradio_api/startup-events", "/gradio_api/component_server",
    }
)  # fmt: skip
_STARTS = ("/gradio_api/heartbeat/", "/gradio_api/upload_progress")

UPLOAD = "/gradio_api/upload"
FILE = "/gradio_api/file="
_EVENT = frozenset({"/gradio_api/queue/join"})


class Porter:
    """Lets a browser through to the pages.

    Parameters
    ----------
    folder
        Where pages take files in and hand them out; no other file is given.
    full
        Tells whether uploads have no room at the moment.
    """

    def __init__(self, app: ASGIApp, folder: Path, full: Callable[[], bool]) -> None:
        self._app = app
        self._folder = folder.resolve()
        self._full = full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope["path"]
        known = path in _OPEN or path.startswith((*_ASSETS, *_STARTS)) or self._is_ours(path)
        if scope["type"] != "http" or not known:
            raise HTTPException(404, "There is nothing here.")
        if path == UPLOAD and await anyio.to_thread.run_sync(self._full):
            raise HTTPException(507, "There is no room for more uploads.")
        if path in _EVENT:
            receive = await _looked_at(receive)
        await self._app(scope, receive, send)

    def _is_ours(self, path: str) -> bool:
        """Whether a file that is asked for lies where pages keep theirs; an address never does."""
        if not path.startswith(FILE):
            return False
        try:
            return Path(path[len(FILE) :]).resolve().is_relative_to(self._folder)
        except (OSError, ValueError):
            return False


async def _looked_at(receive: Receive) -> Receive:
    """Read an event whole, refuse addresses in it, and give it on."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > EVENTS:
            raise HTTPException(413, f"An event holds {EVENTS} bytes at most.")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "This is no event.") from error
    if not isinstance(told, dict) or _names_address(told, DEEP):
        raise HTTPException(400, "Photographs come as uploads, never as addresses.")
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _names_address(value: Any, deep: int) -> bool:
    """Whether a file in an event is named by an address of another place."""
    if deep < 0:
        return True
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and "://" in path:
            return True
        return any(_names_address(v, deep - 1) for v in value.values())
    if isinstance(value, list):
        return any(_names_address(v, deep - 1) for v in value)
    return False
