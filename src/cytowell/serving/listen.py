"""Listens on a port, until Ctrl-C."""

from __future__ import annotations

import logging
import sys
from typing import Any

import uvicorn

from cytowell.errors import RecipeError

LIVE = 30
"""Seconds for what is under way when the server is told to end."""


def listen(app: Any, host: str, port: int, quiet: bool = False) -> None:
    """Serve an application; one JSON line a request on standard error.

    Raises
    ------
    RecipeError
        If the address cannot be listened on.
    """
    log = logging.getLogger("cytowell.serving")
    if not quiet and not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=LIVE,
        limit_concurrency=512,
        h11_max_incomplete_event_size=64 << 10,
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit as error:
        raise RecipeError(
            f"{host}:{port} cannot be listened on.", "Choose another --port or --host."
        ) from error
