"""The hub asked once: where it cannot be reached, what is in the cache is used, or nothing."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from huggingface_hub import constants

SECONDS = 3.0
"""How long the hub is waited for before it counts as out of reach."""


def is_reachable() -> bool:
    """Tell whether the hub, or the proxy on the way to it, answers at all."""
    hub = urlsplit(constants.ENDPOINT)
    proxies = urllib.request.getproxies()
    way = proxies.get(hub.scheme) or proxies.get("all")
    if way and not urllib.request.proxy_bypass(hub.hostname or ""):
        hub = urlsplit(way if "//" in way else f"//{way}")
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        with socket.create_connection((hub.hostname or "", port), timeout=SECONDS):
            return True
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def no_retries() -> Iterator[None]:
    """Let the hub's library look into its cache alone where the hub is out of reach.

    Asked over and over, as it does by itself, it would say so after a minute.
    """
    if constants.HF_HUB_OFFLINE or is_reachable():
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False
