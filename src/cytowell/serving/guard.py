"""One middleware over every path: keys, sizes, rates, request ids, logs without image content."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cytowell.serving.settings import Allowed, digest_of

LOG = logging.getLogger("cytowell.serving")

OPEN = ("/healthz", "/readyz")
"""Paths that need no key: whoever restarts the server asks them."""

CLIENTS = 10_000
"""Clients whose rate is remembered."""

CSP = "default-src 'none'; frame-ancestors 'none'"
"""Of what is no page: nothing may be loaded by it."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Meters:
    """What ``/metrics`` tells; of one application, so that two in a process do not mix."""

    def __init__(self, registry: Any) -> None:
        self.requests = Counter(
            "cytowell_requests", "Requests answered", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "cytowell_request_seconds", "Time to the answer", ["path"], registry=registry
        )
        self.images = Counter(
            "cytowell_images", "Images called", ["bundle", "outcome"], registry=registry
        )
        self.waiting = Gauge("cytowell_waiting", "Images that wait", registry=registry)


class Guard:
    """Lets requests through that may, and writes one line about each.

    Parameters
    ----------
    paths
        Known paths: others are counted together, so that a scanner makes no meters.
    """

    def __init__(self, app: ASGIApp, allowed: Allowed, meters: Meters, paths: frozenset[str]):
        self._app = app
        self._allowed = allowed
        self._meters = meters
        self._paths = paths
        self._large = f"A request holds {allowed.body} bytes at most."
        self._rates: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket" and self._allowed.keys:
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        mark = uuid.uuid4().hex
        scope.setdefault("state", {})["request"] = mark
        headers = Headers(scope=scope)
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add(message, {**HEADERS, "x-request-id": mark})
            await send(message)

        refused = self._refused(scope, headers)
        try:
            if refused is not None:
                await _say(noted, *refused)
            else:
                await self._app(scope, self._counted(headers, receive), noted)
        finally:
            took = time.perf_counter() - start
            path = self._meter(scope["path"])
            self._meters.requests.labels(path, str(status)).inc()
            self._meters.seconds.labels(path).observe(took)
            line = {
                "request": mark,
                "method": scope["method"],
                "path": path,
                "status": status,
                "milliseconds": round(1000 * took, 1),
            }
            LOG.info(json.dumps(line))

    def _meter(self, path: str) -> str:
        """Give the name under which a path is counted: a job's own is none."""
        if path.startswith("/v1/jobs/"):
            return "/v1/jobs"
        return path if path in self._paths else "other"

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Give status, words and headers of a refusal, None for none."""
        client = (scope.get("client") or ("unknown", 0))[0]
        if scope["path"] in OPEN:
            return None
        if self._allowed.keys:
            found = _key_of(headers)
            if not found or not _known(digest_of(found), self._allowed.keys):
                challenge = {"www-authenticate": "Bearer"}
                return 401, "A key is needed: Authorization: Bearer KEY.", challenge
            client = digest_of(found)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._allowed.body:
            return 413, self._large, {}
        wait = self._wait(client)
        if wait > 0:
            return 429, "Too many requests.", {"retry-after": str(int(wait) + 1)}
        return None

    def _wait(self, client: str) -> float:
        """Give the seconds that a client has to wait; a bucket that refills evenly."""
        if not self._allowed.rate:
            return 0.0
        now, most = time.monotonic(), float(self._allowed.rate)
        left, since = self._rates.pop(client, (most, now))
        left = min(most, left + (now - since) * most / 60)
        self._rates[client] = (left - 1 if left >= 1 else left, now)
        while len(self._rates) > CLIENTS:
            self._rates.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) * 60 / most

    def _counted(self, headers: Headers, receive: Receive) -> Receive:
        """Count a body that does not say its length, and how long it takes to arrive."""
        seen = 0
        end = time.monotonic() + self._allowed.arriving
        done = False

        async def counted() -> Message:
            nonlocal seen, done
            if done:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.01, end - time.monotonic()))
            except TimeoutError:
                raise HTTPException(408, "The request took too long to arrive.") from None
            seen += len(message.get("body", b""))
            done = not message.get("more_body", False)
            if seen > self._allowed.body:
                raise HTTPException(413, self._large)
            return message

        return counted


def _key_of(headers: Headers) -> str:
    given = headers.get("authorization", "")
    scheme, _, key = given.partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers.get("x-api-key", "").strip()


def _known(digest: str, keys: frozenset[str]) -> bool:
    """Compare with every key in the same time, whichever it is."""
    return sum(hmac.compare_digest(digest, key) for key in keys) > 0


def _add(message: MutableMapping[str, Any], headers: dict[str, str]) -> None:
    present = {name.lower() for name, _ in message.get("headers", [])}
    extra = [(k.encode(), v.encode()) for k, v in headers.items() if k.encode() not in present]
    message["headers"] = [*message.get("headers", []), *extra]


async def _say(send: Send, status: int, words: str, headers: dict[str, str]) -> None:
    body = json.dumps({"error": words}).encode()
    given = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
