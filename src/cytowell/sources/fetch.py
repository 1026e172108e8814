"""Downloads public data: resumed where it broke off, and checked before it is used.

The catalogue is a literal table. MD5 guards against broken downloads, not against forgery; that
the file comes from its publisher is what https is for.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from cytowell.errors import FetchError, StorageError, UnknownName
from cytowell.registry import did_you_mean
from cytowell.storage import explaining

TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as lost."""

ATTEMPTS = 5
"""Tries in a row that may bring nothing new before the download is given up."""

PAUSE = 1.0
"""Seconds before the second try; each further try waits twice as long."""

_BLOCK = 1 << 18

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, and of how many (None where the server does not say)."""


@dataclass(frozen=True)
class Download:
    """A public file: where it lies, its MD5 sum, its licence and whom to cite."""

    file: str
    folder: str
    md5: str
    about: str
    licence: str
    cite: str


_ZENODO = "https://zenodo.org/records/10519652/files"
_BLOOD = (
    "CC BY 4.0",
    "Yang et al. 2023, doi 10.1038/s41597-022-01721-8; Acevedo et al. 2020, "
    "doi 10.1016/j.dib.2020.105474",
)


def _bloodmnist(size: int, file: str, md5: str) -> Download:
    return Download(file, _ZENODO, md5, f"17,092 blood cells, 8 classes, {size} px", *_BLOOD)


CATALOGUE: dict[str, Download] = {
    "bloodmnist": _bloodmnist(28, "bloodmnist.npz", "7053d0359d879ad8a5505303e11de1dc"),
    "bloodmnist-64": _bloodmnist(64, "bloodmnist_64.npz", "2b94928a2ae4916078ca51e05b6b800b"),
    "bloodmnist-128": _bloodmnist(128, "bloodmnist_128.npz", "adace1e0ed228fccda1f39692059dd4c"),
    "bloodmnist-224": _bloodmnist(224, "bloodmnist_224.npz", "b718ff6835fcbdb22ba9eacccd7b2601"),
}
"""What can be fetched; addresses and sums as the package medmnist 3.0.2 lists them."""


class _LostError(Exception):
    """The connection broke, or the server asked to come back later."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class _StaySecure(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to anything else."""

    def redirect_request(
        self,
        req: Any,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise FetchError(
                f"{req.full_url} redirects to an address without https.", "Do not use that mirror."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    name: str,
    out: Path | str,
    *,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a public data set, or go on where an earlier download broke off.

    Parameters
    ----------
    name
        A name of `CATALOGUE`.
    out
        The folder to write to. What is not finished lies there as ``<file>.part``.
    base_url
        A mirror's folder in place of the publisher's; plain http is taken only here.
    progress
        Called with the bytes that are there and the bytes in all.

    Returns
    -------
    pathlib.Path
        The file. If it is there with the right sum, nothing is downloaded.

    Raises
    ------
    UnknownName
        If the catalogue has no such name.
    FetchError
        If the server cannot be reached, has no such file, or sent something else.
    StorageError
        If the disk is full or `out` may not be written.

    Examples
    --------
    >>> import cytowell
    >>> from cytowell.sources.fetch import CATALOGUE
    >>> "bloodmnist-64" in CATALOGUE
    True
    >>> cytowell.fetch("bloodmnist-65", "data")
    Traceback (most recent call last):
        ...
    cytowell.errors.UnknownName: There is no download 'bloodmnist-65'. Did you mean ...
    """
    wanted = CATALOGUE.get(name.lower().replace("_", "-"))
    if wanted is None:
        raise UnknownName(f"There is no download {name!r}.", did_you_mean(name, list(CATALOGUE)))
    url = _address(wanted, base_url)
    target = Path(out) / wanted.file
    part = target.with_name(target.name + ".part")
    _make_folder(target.parent)
    with explaining(target):
        if target.is_file() and _md5(target) == wanted.md5:
            return target
    _download(url, part, progress)
    with explaining(target):
        _verify(url, part, wanted.md5)
        part.replace(target)
    return target


def _make_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise StorageError(f"{out} is a file, not a folder.", "Choose another folder.")
    with explaining(out):
        out.mkdir(parents=True, exist_ok=True)


def _verify(url: str, part: Path, md5: str) -> None:
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise FetchError(
            f"{url} sent a file with the MD5 sum {found}, not {md5}; it was deleted.",
            "Run the same command again; if it stays wrong, the mirror or a proxy changes it.",
        )


def _address(wanted: Download, base_url: str | None) -> str:
    url = f"{(base_url or wanted.folder).rstrip('/')}/{wanted.file}"
    scheme = urlsplit(url).scheme
    if scheme != "https" and not (base_url and scheme == "http"):
        raise FetchError(
            f"{url} is no https address.", "Give the address of a mirror's folder, with https://."
        )
    return url


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full length, trying again while there is hope."""
    most, tries = _length(part), 0
    while True:
        try:
            _pull(url, part, progress)
            return
        except _LostError as lost:
            there = _length(part)
            tries = 1 if there > most else tries + 1
            most = max(most, there)
            if tries >= ATTEMPTS:
                raise FetchError(
                    f"{url} cannot be downloaded ({lost}).",
                    "Check the network and run the same command again: it goes on where it broke "
                    f"off ({there:,} bytes are there).",
                ) from lost
            time.sleep(max(lost.wait, PAUSE * 2 ** (tries - 1)))


def _pull(url: str, part: Path, progress: Progress | None) -> None:
    """Ask once for what is missing and append it."""
    offset = _length(part)
    headers = {"User-Agent": "cytowell", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)
    response = _open(request, part)
    if response is None:
        return
    with response:
        resumed = response.status == 206 and _starts_at(response, offset)
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise _LostError("the server sent another part than was asked for")
        done = offset if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        _check_room(part, total, done)
        with explaining(part), part.open("ab" if resumed else "wb") as handle:
            while True:
                if progress is not None:
                    progress(done, total)
                with _network():
                    block = response.read(_BLOCK)
                if not block:
                    break
                handle.write(block)
                done += len(block)
        if total is not None and done < total:
            raise _LostError(f"the connection was cut after {done:,} of {total:,} bytes")


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Tell the network's failures, which pass, from the disk's, which do not."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except http.client.HTTPException as error:
        raise _LostError(f"{type(error).__name__}: {error}") from error
    except OSError as error:
        raise _LostError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _open(request: urllib.request.Request, part: Path) -> Any:
    """Open an address; give the response, or None where `part` is complete already."""
    opener = urllib.request.build_opener(_StaySecure)
    try:
        with _network():
            return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            _refused(error, request, part)
    return None


def _refused(error: urllib.error.HTTPError, request: urllib.request.Request, part: Path) -> None:
    """Decide what a status other than success means; come back only if `part` is complete."""
    if error.code == 416 and request.has_header("Range"):
        # "bytes */N": there is nothing after what is here. If N is its length, it is complete.
        total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if total == str(_length(part)):
            return
        part.unlink(missing_ok=True)
        raise _LostError("what was there did not fit the file; starting anew")
    if error.code in (408, 425, 429) or error.code >= 500:
        after = error.headers.get("Retry-After") or ""
        wait = min(float(after), 60.0) if after.isdigit() else 0.0
        raise _LostError(f"the server answered {error.code} {error.reason}", wait)
    remedy = "Check the address of the mirror." if error.code == 404 else "Ask whoever runs it."
    raise FetchError(
        f"{request.full_url} cannot be downloaded (the server answered {error.code} "
        f"{error.reason}).",
        f"{remedy} A file fetched by hand can be read from where it lies.",
    )


def _starts_at(response: Any, offset: int) -> bool:
    given: str = response.headers.get("Content-Range") or ""
    return given.removeprefix("bytes ").partition("-")[0].strip() == str(offset)


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _check_room(part: Path, total: int | None, done: int) -> None:
    free = shutil.disk_usage(part.parent).free + (_length(part) - done)
    if total is not None and total - done > free:
        raise StorageError(
            f"{part.parent} has {free / 1e6:,.0f} MB free; the rest of the download needs "
            f"{(total - done) / 1e6:,.0f} MB.",
            "Free some space or choose another folder; what is there is kept.",
        )
