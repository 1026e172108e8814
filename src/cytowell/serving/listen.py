"""Listens on a port, until Ctrl-C."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import uvicorn

from cytowell.errors import RecipeError

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


def listen(app: Any, on: socket.socket, quiet: bool = False) -> None:
    """Serve an application on a bound socket; one JSON line a request on standard error."""
    log = logging.getLogger("cytowell.serving")
    if not quiet and not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=LIVE,
        limit_concurrency=512,
        h11_max_incomplete_event_size=64 << 10,
    )
    with on:
        uvicorn.Server(config).run(sockets=[on])
