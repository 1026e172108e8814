"""Hostile requests for `hostile.py`: files, path tricks, forged values, origins, broken bodies."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EDGE = b"--edge"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=edge"}
FOREIGN = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
SECRETS = (b"root:x:", b"root:*:")
"""What of /etc/passwd must never be in an answer."""

Image = tuple[str, bytes]


@dataclass(frozen=True)
class Attack:
    """A hostile request.

    Attributes
    ----------
    kind
        What is tried, as the printed table names it.
    refused
        Whether nothing but a refusal is right; else an answer about the file is right too.
    good
        Names of good images that are in it: their answers have to be right.
    """

    kind: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    refused: bool = True
    good: tuple[str, ...] = ()


def form(images: Sequence[Image], name: str = "files") -> bytes:
    """Give images as the body of a form."""
    parts = []
    for file, data in images:
        head = f'content-disposition: form-data; name="{name}"; filename="{file}"'.encode()
        parts.append(EDGE + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(parts) + EDGE + b"--\r\n"


def hostile_files() -> list[Image]:
    """Give the hostile files of CYTOWELL_DATA, and some that need no data."""
    folder = Path(os.environ.get("CYTOWELL_DATA", "../shared/data")) / "hostile"
    known = [(f.name, f.read_bytes()) for f in sorted(folder.glob("*")) if f.is_file()]
    png = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAA//8AAP//CAIAAACQkWg2AAAAKklEQVR42mN8duIOAymAiYFEMAg1sKDxSxLmoIn0"
    )
    return [
        *known,
        ("huge.png", png),
        ("empty.jpg", b""),
        ("text.jpg", b"no image"),
        ("half.tif", b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 40),
        ("zeros.jpg", b"\xff\xd8\xff" + b"\0" * 5000),
    ]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes, take a piece out, double one, or cut the end off."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        if made:
            made[chance.randrange(min(len(made), 4096))] = chance.randrange(256)
    at = chance.randrange(len(made) + 1)
    piece = chance.randint(0, 64)
    how = chance.randrange(4)
    if how == 0:
        del made[at : at + piece]
    elif how == 1:
        made[at:at] = made[at : at + piece]
    elif how == 2:
        del made[at:]
    return bytes(made)


def files(images: Sequence[Image], chance: random.Random) -> Attack:
    """Send a hostile file, as it is or changed, beside a good one."""
    name, data = chance.choice([*hostile_files(), *images[:20]])
    if chance.random() < 0.7:
        data = mutated(data, chance)
    good = chance.choice(images)
    path = chance.choice(("/v1/predict", "/v1/predict", "/v1/detect"))
    if path == "/v1/detect":
        return Attack("hostile files", "POST", path, form([(name, data)]), FORM, refused=False)
    sent = [("hostile-" + name, data), good]
    return Attack("hostile files", "POST", path, form(sent), FORM, False, (good[0],))


def paths(images: Sequence[Image], chance: random.Random) -> Attack:
    """Ask for files outside of what is served, or name an upload like one."""
    outside = (
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//....//etc/passwd",
        "file:///etc/passwd",
    )
    where = ("/gradio_api/file=", "/file=", "/static/", "/assets/", "/v1/jobs/", "/v1/../", "/")
    if chance.random() < 0.3:
        name, data = chance.choice(images)
        body = form([(f"../../../tmp/{name}", data)])
        return Attack("path tricks", "POST", "/v1/predict", body, FORM, False, (name,))
    return Attack("path tricks", "GET", chance.choice(where) + chance.choice(outside))


def forged(images: Sequence[Image], chance: random.Random) -> Attack:
    """Post an event whose file is one of the server's."""
    value = {"path": chance.choice(("/etc/passwd", "/proc/self/environ", "http://127.0.0.1/x")),
             "meta": {"_type": "gradio.FileData"}}  # fmt: skip
    data = [chance.choice(([value], value, {"a": [value]}))] * chance.randint(1, 6)
    event = {"data": data, "fn_index": chance.randrange(40), "session_hash": f"{chance.random()}"}
    body = json.dumps(event).encode()
    return Attack("forged values", "POST", "/gradio_api/queue/join", body, JSON, refused=False)


def origins(images: Sequence[Image], chance: random.Random) -> Attack:
    """Post what a page of another site would."""
    path = chance.choice(("/v1/predict", "/v1/jobs", "/v1/detect"))
    return Attack("wrong origins", "POST", path, form([chance.choice(images)]), FORM | FOREIGN)


def bodies(images: Sequence[Image], chance: random.Random) -> Attack:
    """Post what is no JSON, no form, or numbers that nobody can compute with."""
    quick = {"positives": [5, 3, 1, 0], "counts": "infected", "replicates": 5,
             "log10_dilutions": [-5, -6, -7, -8]}  # fmt: skip
    wide = [{"label": "x", **{f"c{i}-{k}": 1 for k in range(50)}} for i in range(40)]
    path, body, kind = chance.choice(
        [
            ("/v1/predict", b"[" * 100_000, JSON),
            ("/v1/predict", b'{"images": [{"name": "a", "data": "***"}]}', JSON),
            ("/v1/predict", b'{"images": 1e999}', JSON),
            ("/v1/predict", b"\xff\xfe\0", JSON),
            ("/v1/predict", b"hello", {"content-type": "text/plain"}),
            ("/v1/predict", b"--edge\r\n", FORM),
            ("/v1/predict", form([("a.jpg", b"x")], "evil"), FORM),
            ("/v1/predict", form([("a.jpg", b"x")])[:-9], FORM),
            ("/v1/predict?bundle=none", form([("a.jpg", b"x")]), FORM),
            ("/v1/predict", b"x" * 100, {"content-type": "multipart/form-data"}),
            ("/v1/titre", json.dumps(quick | {"positives": [10**400] * 4}).encode(), JSON),
            ("/v1/titre", json.dumps(quick | {"volume": -1}).encode(), JSON),
            ("/v1/titre", b'{"positives": [1e999], "counts": "infected"}', JSON),
            ("/v1/titre", b'{"layout": "../../../etc/passwd", "wells": [{"well": "A1"}]}', JSON),
            ("/v1/count", json.dumps({"calls": wide}).encode(), JSON),
            ("/v1/count", b'{"calls": [{"label": 1}]}', JSON),
            ("/login", b"key=" + b"x" * 100_000, JSON),
        ]
    )
    return Attack("broken bodies", "POST", path, body, kind)


EVERY: tuple[Callable[[Sequence[Image], random.Random], Attack], ...] = (
    files, files, paths, forged, origins, bodies,
)  # fmt: skip
