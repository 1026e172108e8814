"""The page's own way to show a key: a form once, then a cookie that only this server can make."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator
from urllib.parse import parse_qs

from starlette.datastructures import Headers

COOKIE = "cytowell"
LASTS = 12 * 3600
"""Seconds that a cookie holds: a working day."""

LARGEST = 4096
"""Bytes of the form."""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Cytowell</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;
margin:15vh auto;padding:0 1rem}}input,button{{font:inherit;width:100%;padding:.5rem;
margin:.3rem 0;box-sizing:border-box}}</style></head><body><main><h1>Cytowell</h1>
<form method="post" action="/login"><label for="key">Key / Clé</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Open / Ouvrir</button></form><p role="alert">{said}</p></main></body></html>"""

WRONG = "This key is not known. / Cette clé est inconnue."


class Cookies:
    """Makes and knows the cookies of one process; after a restart everybody shows a key again."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def make(self, digest: str) -> str:
        """Give a cookie for the key of this hash."""
        told = f"{int(time.time()) + LASTS}.{digest}"
        return f"{told}.{self._sign(told)}"

    def digest_in(self, headers: Headers) -> str:
        """Give the hash of the key that a cookie was made for, "" where none holds."""
        for value in cookies_in(headers, COOKIE):
            told, _, sign = value.rpartition(".")
            if not hmac.compare_digest(sign.encode(), self._sign(told).encode()):
                continue
            until, _, digest = told.partition(".")
            if until.isdigit() and int(until) > time.time():
                return digest
        return ""

    def _sign(self, told: str) -> str:
        return hmac.new(self._secret, told.encode(), hashlib.sha256).hexdigest()


def cookies_in(headers: Headers, wanted: str) -> Iterator[str]:
    """Give the values of all cookies of this name."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            yield value


def key_in(body: bytes) -> str:
    """Give the key that the form sent, "" where there is none."""
    found = parse_qs(body.decode("utf-8", "replace")).get("key", [""])
    return found[0].strip()


def set_cookie(value: str, secure: bool) -> str:
    """Give the header that leaves the cookie with the browser, out of reach of scripts."""
    safe = "; Secure" if secure else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={LASTS}; HttpOnly; SameSite=Strict{safe}"
