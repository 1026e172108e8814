"""Which browser holds which uploads, and which session of the pages' toolkit.

The toolkit lets a session be named by whoever knows its name, and a file by whoever knows its path.
A cookie that the page sets, and the key where there are keys, say whose both are.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable

from starlette.datastructures import Headers

from cytowell.serving.login import cookies_in

COOKIE = "cytowell-browser"

BROWSERS = 10_000
"""Browsers that are remembered; who comes after them opens the page again."""

SESSIONS = 100_000
"""Sessions that are remembered: a page is one as long as it is open."""

UPLOADS = 20_000
"""Uploads of one browser that are remembered."""

_COOKIE = re.compile(r"^[0-9a-f]{32}$")
_SESSION = re.compile(r"^[0-9A-Za-z_-]{1,64}$")


class Browsers:
    """Remembers uploads and sessions of browsers, until the process ends."""

    def __init__(self) -> None:
        self._uploads: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._sessions: OrderedDict[str, str] = OrderedDict()

    @staticmethod
    def name_in(headers: Headers, key: str = "") -> str:
        """Give the browser's name, "" where it has shown no cookie.

        Parameters
        ----------
        key
            Hash of the key that was shown; a cookie of another key's is another browser.
        """
        found = next(cookies_in(headers, COOKIE), "")
        return f"{key}.{found}" if _COOKIE.match(found) else ""

    @staticmethod
    def new_cookie(secure: bool) -> str:
        """Give the header that names a browser; a link from elsewhere does not change its name."""
        safe = "; Secure" if secure else ""
        return f"{COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; SameSite=Lax{safe}"

    def add_uploads(self, browser: str, paths: Iterable[str]) -> None:
        """Remember what a browser has uploaded."""
        held = self._uploads.setdefault(browser, OrderedDict())
        self._uploads.move_to_end(browser)
        for path in paths:
            held[path] = None
            held.move_to_end(path)
        while len(held) > UPLOADS:
            held.popitem(last=False)
        while len(self._uploads) > BROWSERS:
            self._uploads.popitem(last=False)

    def has_uploaded(self, browser: str, path: str) -> bool:
        """Whether a browser was told this very path when it uploaded a file."""
        return bool(browser) and path in self._uploads.get(browser, ())

    def owns(self, browser: str, session: object) -> bool:
        """Whether a session is this browser's; one that nobody has used becomes it."""
        if not browser or not isinstance(session, str) or not _SESSION.match(session):
            return False
        owner = self._sessions.setdefault(session, browser)
        self._sessions.move_to_end(session)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return owner == browser
