"""The pages without anything before them, in a process of their own: what the toolkit itself does.

Called with a bundle, a folder and a file to be forged; prints the toolkit's routes, and what each
event says of that file.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio.routes
from fastapi import FastAPI
from fastapi.testclient import TestClient

import cytowell
from cytowell.serving.desk import Desk
from cytowell.serving.house import House
from cytowell.serving.pages import mounted
from cytowell.serving.signing import key_file, read_or_make
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Store, url_of


def main(bundle: str, folder: Path, forged: str) -> None:
    (folder / "pages").mkdir(parents=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "pages")
    store = Store(url_of(folder), read_or_make(key_file(folder, "")))
    desk = Desk({"tiny": cytowell.load(bundle)}, workers=1)
    house = House(desk, Sittings(store, folder / "sittings"), folder)
    app = mounted(FastAPI(), house, None, 1 << 20)
    inner = next(r.app for r in app.routes if getattr(r, "path", None) == "")
    with TestClient(app) as client:
        said = list(answers(client, {"path": forged, "meta": {"_type": "gradio.FileData"}}))
        copied = [str(f) for f in (folder / "pages").rglob(Path(forged).name)]
        gradio.routes.upload_fn = fills
        full = client.post("/gradio_api/upload", files={"files": ("a.jpg", b"x")})
    told = {
        "full": [str(full.status_code), full.text],
        "routes": sorted(set(walked(inner.routes))),
        "said": said,
        "copied": copied,
    }
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)  # the toolkit's threads would be waited for


async def fills(*_: Any, **__: Any) -> None:
    """What writing an upload does on a disk that is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def answers(client: TestClient, forged: dict[str, Any]) -> Iterator[str]:
    """Post a forged file to every event; give what is said of it."""
    for event in client.get("/config").json()["dependencies"]:
        session = f"s{event['id']}"
        sent = {"fn_index": event["id"], "data": [forged] * len(event["inputs"])}
        join = client.post("/gradio_api/queue/join", json={**sent, "session_hash": session})
        if join.status_code == 200 and event["inputs"]:
            yield client.get("/gradio_api/queue/data", params={"session_hash": session}).text


def walked(routes: list[Any]) -> Iterator[str]:
    for route in routes:
        if hasattr(route, "path"):
            yield route.path
        if hasattr(route, "original_router"):
            yield from walked(route.original_router.routes)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
