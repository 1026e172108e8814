"""What a browser may ask of the pages' toolkit: its files and the pages' own events, no more.

The toolkit can fetch an address for a client, hand on other servers and describe itself; none of
that has a use here. A photograph comes as an upload, never as a path or an address: a file in an
event is one that this very browser has uploaded, or the event is refused.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cytowell.serving.browsers import Browsers

EVENTS = 16 << 20
"""Bytes of an event: boxes of a photograph with its picture, a table that was typed in."""

DEEP = 40
"""Levels of an event's value."""

OUT = "out-"
"""How folders begin whose files a page has handed out, under a name that nobody can guess."""

PAGE = "/"
UPLOAD = "/gradio_api/upload"
FILE = "/gradio_api/file="
JOIN, CANCEL, DATA = (f"/gradio_api/{name}" for name in ("queue/join", "cancel", "queue/data"))
HEARTBEAT = "/gradio_api/heartbeat/"

_ASSETS = ("/assets/", "/static/", "/svelte/")
_OPEN = frozenset(
    {
        PAGE, "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", UPLOAD,
        DATA, JOIN, CANCEL, "/gradio_api/reset", "/gradio_api/app_id", "/gradio_api/startup-events",
        "/gradio_api/upload_progress",
    }
)  # fmt: skip

_FIELDS: Mapping[str, tuple[str, ...]] = {
    JOIN: ("data", "event_data", "fn_index", "session_hash", "trigger_id"),
    CANCEL: ("session_hash", "fn_index", "event_id"),
}
"""What a browser sends of an event; the toolkit knows more that would change how it is read."""

_NAMES_FILE = frozenset({"path", "url", "is_file"})
"""Fields by which the toolkit, and its earlier versions, know a value for a file."""

_TOLD = ("orig_name", "size", "mime_type")
_META = {"_type": "gradio.FileData"}


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
        self._browsers = Browsers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope["path"]
        browser = Browsers.name_in(Headers(scope=scope), scope.get("state", {}).get("key", ""))
        open_path = path in _OPEN or path.startswith((*_ASSETS, HEARTBEAT))
        known = open_path or await anyio.to_thread.run_sync(self._may_fetch, path, browser)
        if scope["type"] != "http" or not known:
            raise HTTPException(404, "There is nothing here.")
        if path in _FIELDS:
            body = self._event(await _whole(receive), _FIELDS[path], browser)
            scope, receive = _with_body(scope, receive, body)
        elif path.startswith((DATA, HEARTBEAT)):
            self._require_session(browser, _session_of(scope))
        elif path == UPLOAD:
            await self._require_room(browser)
            send = self._noting(browser, send)
        elif path == PAGE and not browser:
            send = _naming(send, scope.get("scheme") == "https")
        await self._app(scope, receive, send)

    async def _require_room(self, browser: str) -> None:
        if not browser:
            raise HTTPException(403, "Open the page first, and let it set its cookie.")
        if await anyio.to_thread.run_sync(self._full):
            raise HTTPException(507, "There is no room for more uploads.")

    def _require_session(self, browser: str, session: object) -> None:
        if not self._browsers.owns(browser, session):
            raise HTTPException(403, "This session is another browser's: reload the page.")

    def _noting(self, browser: str, send: Send) -> Send:
        """Remember the paths that the toolkit gives for what was uploaded."""
        body = bytearray()
        good = False

        async def noted(message: Message) -> None:
            nonlocal good
            if message["type"] == "http.response.start":
                good = message["status"] == 200
            elif good:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):  # before the browser can know them
                    self._browsers.add_uploads(browser, json.loads(body))
            await send(message)

        return noted

    def _event(self, body: bytes, fields: tuple[str, ...], browser: str) -> bytes:
        """Give an event as the toolkit may read it, written anew from what was looked at."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "This is no event.") from error
        if not isinstance(told, dict):
            raise HTTPException(400, "This is no event.")
        checked = self._checked({name: told[name] for name in fields if name in told}, browser)
        self._require_session(browser, checked.get("session_hash"))
        return json.dumps(checked).encode()

    def _checked(self, value: Any, browser: str, deep: int = DEEP) -> Any:
        """Give a value with its files reduced to what says which upload is meant.

        Raises
        ------
        HTTPException
            If it names a file that this browser has not uploaded, or is too deep.
        """
        if deep < 0:
            raise HTTPException(400, "This event is too deep.")
        into = functools.partial(self._checked, browser=browser, deep=deep - 1)
        if isinstance(value, list):
            return [into(one) for one in value]
        if not isinstance(value, dict):
            return value
        if _NAMES_FILE.isdisjoint(value) and value.get("meta") != _META:
            return {name: into(one) for name, one in value.items()}
        path = value.get("path")
        if not isinstance(path, str) or not self._is_upload(path, browser):
            raise HTTPException(400, "Photographs come as uploads, never as paths or addresses.")
        if any(isinstance(one, (dict, list)) for name, one in value.items() if name != "meta"):
            raise HTTPException(400, "This is no event.")
        return {"path": path, **{name: value.get(name) for name in _TOLD}, "meta": _META}

    def _is_upload(self, path: str, browser: str) -> bool:
        return self._browsers.has_uploaded(browser, path) and self._inside(path) is not None

    def _may_fetch(self, path: str, browser: str) -> bool:
        """Whether a file that is asked for was uploaded by this browser, or handed out."""
        if not path.startswith(FILE):
            return False
        wanted = path[len(FILE) :]
        inside = self._inside(wanted)
        if inside is None:
            return False
        handed_out = len(inside.parts) > 1 and inside.parts[0].startswith(OUT)
        return handed_out or self._browsers.has_uploaded(browser, wanted)

    def _inside(self, path: str) -> Path | None:
        """Give where a file lies in the pages' folder; None elsewhere, and for any link."""
        given = Path(path)
        if not given.is_absolute() or ".." in given.parts or "://" in path:
            return None
        try:
            real = given.resolve(strict=True)
            linked = given.is_symlink() or not real.is_file()
        except (OSError, ValueError, RuntimeError):
            return None
        if linked or not real.is_relative_to(self._folder):
            return None
        return real.relative_to(self._folder)


async def _whole(receive: Receive) -> bytes:
    """Read an event whole."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body.extend(message.get("body", b""))
        more = message.get("more_body", False)
        if len(body) > EVENTS:
            raise HTTPException(413, f"An event holds {EVENTS} bytes at most.")
    return bytes(body)


def _with_body(scope: Scope, receive: Receive, body: bytes) -> tuple[Scope, Receive]:
    """Give a request with another body: what was looked at is what is read."""
    kept = [(k, v) for k, v in scope["headers"] if k not in (b"content-length", b"content-type")]
    added = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return {**scope, "headers": [*kept, *added]}, again


def _session_of(scope: Scope) -> str:
    """Give the session whose messages, or whose heartbeat, are asked for."""
    if scope["path"].startswith(HEARTBEAT):
        return str(scope["path"][len(HEARTBEAT) :])
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
    return asked[0] if len(asked) == 1 else ""


def _naming(send: Send, secure: bool) -> Send:
    """Give a browser its name with the page."""

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            cookie = (b"set-cookie", Browsers.new_cookie(secure).encode())
            message = {**message, "headers": [*message.get("headers", []), cookie]}
        await send(message)

    return named
