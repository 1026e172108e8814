"""Listens on a port, until Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import sys
from collections.abc import Sequence
from typing import Any, cast

import uvicorn

from cytowell.errors import RecipeError
from cytowell.serving.connections import Connection, Connections

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

SPARE = 256
"""Files beside connections: bundles, database, uploads."""

LIVE = 30
"""Seconds for what is under way when the server is told to end."""


def bound(host: str, port: int) -> socket.socket:
    """Take an address before anything else is made; port 0 takes a free one.

    Raises
    ------
    RecipeError
        If the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends answers at once: half of one waits 40 ms else.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(512)
    except OSError as error:
        made.close()
        raise RecipeError(
            f"{host}:{port} cannot be listened on ({error.strerror}).",
            "Choose another --port or --host.",
        ) from error
    return made


def listen(app: Any, on: socket.socket, quiet: bool = False, proxies: Sequence[str] = ()) -> None:
    """Serve an application on a bound socket; one JSON line a request on standard error.

    Parameters
    ----------
    proxies
        Addresses of reverse proxies, whose ``X-Forwarded-For`` and ``-Proto`` are believed.
    """
    log = logging.getLogger("cytowell.serving")
    if not quiet and not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    held = Connections(proxies=frozenset(proxies))
    _require_files(held.total + SPARE)
    with on:
        server_of(app, held).run(sockets=[on])


def server_of(app: Any, held: Connections) -> uvicorn.Server:
    """Make a server over an application; `held` says how many it serves at once."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=cast(Any, functools.partial(Connection, held)),
            ws="none",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=bool(held.proxies),
            forwarded_allow_ips=sorted(held.proxies),
            timeout_keep_alive=15,
            timeout_graceful_shutdown=LIVE,
            h11_max_incomplete_event_size=64 << 10,
        )
    )


def _require_files(wanted: int) -> None:
    """Let this process have that many files open, as far as the system allows."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
