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

from cytowell.runtime.drift import Drift
from cytowell.serving import login
from cytowell.serving.login import Cookies
from cytowell.serving.origins import host_of, is_address, is_foreign
from cytowell.serving.porter import UPLOAD
from cytowell.serving.settings import Allowed, digest_of

LOG = logging.getLogger("cytowell.serving")

OPEN = ("/healthz", "/readyz")
"""Paths that need no key: whoever restarts the server asks them."""

LOGIN = "/login"

ORIGIN = "Behind a reverse proxy start it with --origin and the address that browsers use."

TRIES = 20
"""Keys that an address may try in a minute."""

CLIENTS = 10_000
"""Clients whose rate is remembered."""

CSP = "default-src 'none'; frame-ancestors 'none'"
"""Of what is no page: nothing may be loaded by it."""

PAGE_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Of the pages: as strict as Gradio allows, which starts with inline scripts and makes functions of
templates. Nothing comes from, or goes to, another host."""

ASSETS = ("/assets/", "/static/", "/svelte/", "/theme.css")
"""What a browser may keep: the pages' own code, no photograph."""

HEADERS = {
    "x-content-type-options": "nosniff",
    # With none at all, a form of ours would say that it has no origin, like one of anybody's.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
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
        self.differs = Gauge(
            "cytowell_drift_differs",
            "1 where the latest images differ from the training images by more than chance",
            ["bundle"],
            registry=registry,
        )
        self.drift = Gauge(
            "cytowell_drift_effect",
            "Difference of the latest images from the training images: of a logarithm, or a share",
            ["bundle", "measure"],
            registry=registry,
        )
        self.waiting = Gauge("cytowell_waiting", "Images that wait", registry=registry)

    def compared(self, bundle: str, found: Drift | None) -> str:
        """Show how the latest images compare with the training images, and say it."""
        if found is None:
            return ""
        self.differs.labels(bundle).set(float(found.differs))
        for c in found.comparisons:
            self.drift.labels(bundle, c.measure).set(c.effect)
        return found.sentence


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
        self._cookies = Cookies()
        self._rates: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":  # nothing here speaks it
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
                csp = CSP if self._is_service(scope["path"]) else PAGE_CSP
                own = {**HEADERS, "x-request-id": mark, "content-security-policy": csp}
                if scope["path"].startswith(ASSETS):
                    own.pop("cache-control")
                _add(message, own)
            await send(message)

        refused = self._stranger(scope, headers) or self._refused(scope, headers)
        try:
            if self._allowed.keys and scope["path"] == LOGIN and (not refused or refused[0] == 401):
                await self._login(scope, headers, receive, noted)
            elif refused is not None and self._asks_for_page(scope, refused[0], headers):
                await _send(noted, 303, b"", {"location": LOGIN})
            elif refused is not None:
                await _say(noted, *refused)
            else:
                await self._app(scope, self._counted(scope["path"], receive), noted)
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

    @staticmethod
    def _is_service(path: str) -> bool:
        return path.startswith("/v1/") or path in (*OPEN, "/metrics")

    def _asks_for_page(self, scope: Scope, status: int, headers: Headers) -> bool:
        """Whether a browser asks for a page without a key: it is shown the form."""
        page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        return status == 401 and page and not self._is_service(scope["path"])

    async def _login(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Show the form, or take a key from it."""
        shown = {"content-type": "text/html; charset=utf-8"}
        client = (scope.get("client") or ("unknown", 0))[0]
        if scope["method"] != "POST":
            await _send(send, 200, login.PAGE.format(said="").encode(), shown)
            return
        if self._wait(f"keys {client}", TRIES) > 0:
            await _say(send, 429, "Too many keys were tried.", {"retry-after": "60"})
            return
        body, more = b"", True
        counted = self._counted(scope["path"], receive)
        try:
            while more and len(body) <= login.LARGEST:
                message = await counted()
                body += message.get("body", b"")
                more = message.get("more_body", False)
        except HTTPException as error:
            await _say(send, error.status_code, str(error.detail), {})
            return
        digest = digest_of(login.key_in(body[: login.LARGEST]))
        if not _known(digest, self._allowed.keys):
            await _send(send, 401, login.PAGE.format(said=login.WRONG).encode(), shown)
            return
        cookie = login.set_cookie(self._cookies.make(digest), scope.get("scheme") == "https")
        await _send(send, 303, b"", {"location": "/", "set-cookie": cookie})

    def _meter(self, path: str) -> str:
        """Give the name under which a path is counted: a job's own is none."""
        if path.startswith("/v1/jobs/"):
            return "/v1/jobs"
        return path if path in self._paths else "other"

    def _stranger(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Refuse names that are not this server's, and pages of other sites."""
        allowed, path, host = self._allowed, scope["path"], host_of(headers)
        if allowed.hosts and host not in allowed.hosts and not is_address(host):
            return 421, f"This server does not answer to that name. {ORIGIN}", {}
        foreign = is_foreign(scope["method"], path, scope["scheme"], headers, allowed.origins)
        if foreign and path not in OPEN:
            return 403, f"Pages of other sites may not use this server. {ORIGIN}", {}
        return None

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Give status, words and headers of a refusal, None for none."""
        client = (scope.get("client") or ("unknown", 0))[0]
        if scope["path"] in OPEN:
            return None
        if self._allowed.keys:
            found = _key_of(headers)
            digest = digest_of(found) if found else self._cookies.digest_in(headers)
            if not digest or not _known(digest, self._allowed.keys):
                if found and self._wait(f"keys {client}", TRIES) > 0:
                    return 429, "Too many keys were tried.", {"retry-after": "60"}
                challenge = {"www-authenticate": "Bearer"}
                return 401, "A key is needed: Authorization: Bearer KEY.", challenge
            scope["state"]["key"] = client = digest
        most, _ = self._limits(scope["path"])
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            return 413, f"A request holds {most} bytes at most.", {}
        if not self._is_service(scope["path"]):
            return None  # a page asks a hundred times for its parts
        wait = self._wait(client, self._allowed.rate)
        if wait > 0:
            return 429, "Too many requests.", {"retry-after": str(int(wait) + 1)}
        return None

    def _limits(self, path: str) -> tuple[int, float]:
        """Give the bytes of a request, and the seconds that it may take to arrive."""
        if path == UPLOAD:
            return self._allowed.upload, self._allowed.uploading
        return self._allowed.body, self._allowed.arriving

    def _wait(self, client: str, rate: int) -> float:
        """Give the seconds that a client has to wait; a bucket that refills evenly."""
        if not rate:
            return 0.0
        now, most = time.monotonic(), float(rate)
        left, since = self._rates.pop(client, (most, now))
        left = min(most, left + (now - since) * most / 60)
        self._rates[client] = (left - 1 if left >= 1 else left, now)
        while len(self._rates) > CLIENTS:
            self._rates.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) * 60 / most

    def _counted(self, path: str, receive: Receive) -> Receive:
        """Count a body that does not say its length, and how long it takes to arrive."""
        seen = 0
        most, seconds = self._limits(path)
        end = time.monotonic() + seconds
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
            if seen > most:
                raise HTTPException(413, f"A request holds {most} bytes at most.")
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
    await _send(send, status, body, {"content-type": "application/json", **headers})


async def _send(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    given = {"content-length": str(len(body)), **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
