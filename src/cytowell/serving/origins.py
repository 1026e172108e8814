"""Whether another website speaks through a user's browser.

A browser says whose page sends a request (`Origin`, `Sec-Fetch-Site`), and no page can change that.
Programs that are no browsers say neither, and carry nobody's cookie or address with them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Set
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from cytowell.errors import RecipeError

_PORTS = {"http": 80, "https": 443}
_OWN = ("", "none", "same-origin")
"""What `Sec-Fetch-Site` says of a request that no other site has caused; "" of older browsers."""

_SAFE = ("GET", "HEAD")
_EVENTS = "/gradio_api/"


def is_foreign(
    method: str, path: str, scheme: str, headers: Headers, trusted: Set[str] = frozenset()
) -> bool:
    """Whether a request comes from a page of another site.

    A link that is followed to a page from elsewhere is none: it reads and changes nothing there.

    Parameters
    ----------
    scheme
        By which the request came, as the server knows it.
    trusted
        Origins (`https://lab.example`) that are this server's too: a reverse proxy's.
    """
    origins = headers.getlist("origin")
    site = headers.get("sec-fetch-site", "").strip().lower()
    if origins == ["null"]:  # a page without an origin, or one whose browser keeps it back
        return site != "same-origin"
    if origins:
        own = origin_of(f"{scheme}://{headers.get('host', '')}")
        told = origin_of(origins[0])
        return len(origins) > 1 or not told or (told != own and told not in trusted)
    if site in _OWN:
        return False
    followed = headers.get("sec-fetch-mode", "") == "navigate"
    shown = headers.get("sec-fetch-dest", "document") == "document"
    return not (method in _SAFE and followed and shown and not path.startswith(_EVENTS))


def origin_of(address: str) -> str:
    """Give scheme, name and port of an address, the port only where it is unusual; "" of none."""
    try:
        parts = urlsplit(address.strip().lower())
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not parts.hostname:
        return ""
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = port in (None, _PORTS[parts.scheme])
    return f"{parts.scheme}://{name}" + ("" if usual else f":{port}")


def read_origins(addresses: Set[str]) -> frozenset[str]:
    """Read the addresses by which browsers reach the server.

    Raises
    ------
    RecipeError
        If one is no address.
    """
    for address in addresses:
        if not origin_of(address) or urlsplit(address).path not in ("", "/"):
            raise RecipeError(
                f"{address!r} is no address of a server.", "Write it as in https://lab.example."
            )
    return frozenset(map(origin_of, addresses))


def host_of(headers: Headers) -> str:
    """Give the name that a client knows the server by, without its port."""
    host = headers.get("host", "").strip().lower()
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.split(":")[0]


def is_address(host: str) -> bool:
    """Whether a name is an IP address: no other site can have it point here."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
