"""What the server allows, in one value."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cytowell.errors import RecipeError

OWNER = 100
"""Letters of a key owner's name, at most."""

_HASH = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Allowed:
    """Limits of the server.

    Attributes
    ----------
    body
        Bytes of one request.
    images, job
        Images of one request, which is answered at once, and of one job.
    waiting
        Images that wait before more are refused with 429.
    seconds
        How long one request may take; 504 after it.
    arriving
        How long a body may take to arrive; 408 after it.
    upload, uploading
        The same two for photographs that a page uploads.
    rate
        Requests a minute of one client (key, else address); 0 for no limit.
    decoders
        Whether pictures are decoded in processes of their own, with limits of memory and time.
    keys
        SHA-256 of the keys that are let in; none lets everybody in.
    owners
        Whose each key is, by its SHA-256; under this name a person's words are kept.
    hosts
        Names by which clients may call the server; none for any. A page of another site that has
        its own name point here is not answered. An IP address is nobody's name.
    origins
        Addresses, as in ``https://lab.example``, by which browsers reach the server beside the one
        that it knows: those of a reverse proxy. Pages of all others may not use it.
    """

    body: int = 64 << 20
    images: int = 128
    job: int = 1000
    waiting: int = 256
    seconds: float = 60.0
    arriving: float = 60.0
    upload: int = 2 << 30
    uploading: float = 900.0
    rate: int = 0
    decoders: bool = True
    keys: frozenset[str] = frozenset()
    owners: Mapping[str, str] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()


def digest_of(key: str) -> str:
    """Give the hash under which a key is kept. Keys are long and random, so one hash is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_owners(path: str | Path) -> dict[str, str]:
    """Read hashes of keys and whose they are: ``HASH NAME`` a line; ``#`` begins a comment.

    A key without a name has that of its first digits.

    Raises
    ------
    RecipeError
        If the file cannot be read, holds none, or a line has no SHA-256: a key itself, perhaps.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read ({error}).", "Check --keys.") from error
    found: dict[str, str] = {}
    for n, line in enumerate(lines, 1):
        digest, _, owner = line.split("#")[0].strip().partition(" ")
        if digest and not _HASH.match(digest):
            raise RecipeError(
                f"{path} line {n} is no SHA-256.",
                "Keep hashes, not keys: cytowell serve --new-key prints both.",
            )
        if digest:
            found[digest] = " ".join(owner.split())[:OWNER] or f"key {digest[:8]}"
    if not found:
        raise RecipeError(
            f"{path} holds no key.", "cytowell serve --new-key makes one and prints its hash."
        )
    return found


def read_keys(path: str | Path) -> frozenset[str]:
    """Read hashes of keys alone; see `read_owners`."""
    return frozenset(read_owners(path))
