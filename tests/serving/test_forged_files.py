"""No event and no route gives out, or copies, a file that this browser has not uploaded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from cytowell.serving.settings import digest_of

pytestmark = [pytest.mark.timeout(300)]

KEY, OTHER = "a-long-and-random-key", "another-long-and-random-key"
SECRET = "the-content-that-nobody-may-see"
META = {"_type": "gradio.FileData"}

OPENED = re.compile(r'(/gradio_api/file=|"path":\s*")([^"\\]+)')


@dataclass
class Lab:
    """A server, and the files beside its data that it must keep for itself."""

    server: Any
    folder: Path
    key: str = ""
    given: list[bytes] = field(default_factory=list)
    browsers: list[Browser] = field(default_factory=list)

    @property
    def secrets(self) -> list[Path]:
        data = self.folder / "data"
        return [self.folder / "secret.txt", self.folder / "keys", data / "cytowell.db"]

    def browser(self, key: str = "") -> Browser:
        self.browsers.append(Browser(self, key or self.key))
        return self.browsers[-1]

    def check(self) -> None:
        """No secret was given out or copied under the pages' folder."""
        marks = [SECRET.encode(), digest_of(OTHER).encode(), b"SQLite format 3"]
        for body in self.given:
            assert not any(mark in body for mark in marks), body[:500]
        for file in (self.folder / "data" / "pages").rglob("*"):
            if file.is_file() and not file.is_symlink():
                content = file.read_bytes()
                assert not any(mark in content for mark in marks), file


class Browser:
    """What a browser keeps: cookies, a session, uploads."""

    def __init__(self, lab: Lab, key: str) -> None:
        self.lab = lab
        self.session = os.urandom(6).hex()
        self.client = httpx.Client(base_url=lab.server.address, timeout=30)
        if key:
            self.client.post("/login", data={"key": key})
        self.client.get("/")

    def upload(self, file: Path) -> str:
        with file.open("rb") as handle:
            answer = self.client.post("/gradio_api/upload", files={"files": (file.name, handle)})
        assert answer.status_code == 200, answer.text
        return str(answer.json()[0])

    def fetch(self, route: str) -> int:
        answer = self.client.get(route)
        self.lab.given.append(answer.content)
        return answer.status_code

    def post(self, event: dict[str, Any]) -> tuple[int, str]:
        """Send an event; give the status, and all that the pages say of it until it is done."""
        sent = {"session_hash": self.session, "trigger_id": None, "event_data": None, **event}
        answer = self.client.post("/gradio_api/queue/join", json=sent)
        self.lab.given.append(answer.content)
        if answer.status_code != 200:
            return answer.status_code, answer.text
        lines = []
        query = {"session_hash": str(sent["session_hash"])}
        with self.client.stream("GET", "/gradio_api/queue/data", params=query) as stream:
            for line in stream.iter_lines():
                lines.append(line)
                if '"process_completed"' in line or '"unexpected_error"' in line:
                    break
        said = "\n".join(lines)
        self.lab.given.append(said.encode())
        return 200, said

    def config(self) -> dict[str, Any]:
        return dict(self.client.get("/config").json())


@pytest.fixture(scope="module", params=["open", "keys"])
def lab(
    request: pytest.FixtureRequest,
    start: Callable[..., Any],
    bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "inbox").mkdir()
    (folder / "secret.txt").write_text(SECRET)
    (folder / "link.jpg").symlink_to(folder / "secret.txt")
    (folder / "keys").write_text(f"{digest_of(KEY)}\n{digest_of(OTHER)}\n")
    tiny = shutil.copytree(bundle, folder / "tiny")
    key = KEY if request.param == "keys" else ""
    options = ["--keys", folder / "keys"] if key else []
    server = start(tiny, "--data", folder / "data", "--inbox", folder / "inbox", *options)
    made = Lab(server, folder, key)
    yield made
    for one in made.browsers:
        one.client.close()


def forged(lab: Lab, own: str, strange: str) -> list[Any]:
    """Give values that name files which are not this browser's uploads, in every shape."""
    secret = str(lab.folder / "secret.txt")
    up = f"{Path(own).parent}/../../../secret.txt"
    paths = [
        *map(str, lab.secrets), up, str(lab.folder / "link.jpg"), strange, f"file://{secret}",
        secret.replace("/", "%2F"), f"/{secret}", f"{secret}\x00.jpg", "/etc/hostname",
        "/proc/self/environ", os.path.relpath(secret), f"/gradio_api/file={secret}",
        "http://127.0.0.1:1/a.jpg",
    ]  # fmt: skip
    plain = {"path": secret, "meta": META}
    return [
        *({"path": path, "meta": META} for path in paths),
        {"path": secret},
        {"path": secret, "meta": META, "is_stream": True},
        {"path": own, "meta": META, "url": f"/gradio_api/file={secret}", "x": plain},
        {"path": own, "meta": META, "orig_name": plain},
        {"url": f"file://{secret}", "meta": META},
        {"name": secret, "is_file": True, "data": None},
        {"path": [secret], "meta": META},
        [plain], [[[plain]]], {"a": {"b": [plain]}}, {"value": plain, "headers": [plain]},
        {"headers": ["a"], "data": [[plain]], "metadata": plain},
        secret, f"data:text/plain;base64,{SECRET[:4]}", {"photograph": secret, "boxes": [plain]},
    ]  # fmt: skip


def test_no_event_opens_a_file_that_was_not_uploaded(lab: Lab, cells: Path) -> None:
    at, another = lab.browser(), lab.browser()
    photograph, second = sorted(cells.rglob("*.jpg"))[:2]
    own, strange = at.upload(photograph), another.upload(second)
    values = forged(lab, own, strange)
    dependencies = at.config()["dependencies"]
    assert len(dependencies) > 20, "the events of every page"
    accepted = []
    for event in dependencies:
        for value in values:
            sent = {"fn_index": event["id"], "data": [value] * len(event["inputs"])}
            status, said = at.post(sent)
            if event["inputs"] and isinstance(value, (list, dict)) and status != 400:
                accepted.append((event["id"], value))
            for _, path in OPENED.findall(said):
                at.fetch(f"/gradio_api/file={path}")
        at.post({"fn_index": event["id"], "data": [], "event_data": {"value": values[0]}})
    lab.check()
    assert accepted == []


def test_own_uploads_are_called(lab: Lab, cells: Path) -> None:
    at = lab.browser()
    own = at.upload(sorted(cells.rglob("*.jpg"))[0])
    status, said = call(at, own)
    assert status == 200
    assert '"success":true' in said, said[-600:]
    assert at.fetch(f"/gradio_api/file={own}") == 200


def call(at: Browser, path: str) -> tuple[int, str]:
    """Press the Call page's button with one photograph."""
    config = at.config()
    button = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "call-go")
    event = next(d for d in config["dependencies"] if [button, "click"] in d["targets"])
    given = [{"path": path, "meta": META}]
    return at.post({"fn_index": event["id"], "data": [given, "tiny", "none"]})


def test_another_browser_has_neither_uploads_nor_session(lab: Lab, cells: Path) -> None:
    at = lab.browser()
    another = lab.browser(OTHER if lab.key else "")
    own = at.upload(sorted(cells.rglob("*.jpg"))[0])
    assert call(at, own)[0] == 200
    assert call(another, own)[0] == 400
    assert another.fetch(f"/gradio_api/file={own}") == 404
    another.session = at.session
    assert another.post({"fn_index": 0, "data": []})[0] == 403
    for route in (
        f"/gradio_api/queue/data?session_hash={at.session}",
        f"/gradio_api/heartbeat/{at.session}",
    ):
        assert another.fetch(route) == 403, route
    told = {"session_hash": at.session, "fn_index": 0, "event_id": "x"}
    assert another.client.post("/gradio_api/cancel", json=told).status_code == 403


def test_the_pages_hold_the_lengths_of_their_fields(lab: Lab) -> None:
    at = lab.browser()
    config = at.config()
    fields = {c["id"]: c["props"] for c in config["components"] if c["type"] == "textbox"}
    assert len(fields) >= 8
    assert all(props.get("max_length") for props in fields.values())
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    held = 0
    for event in config["dependencies"]:
        if not event["backend_fn"]:
            continue
        for place, line in enumerate(event["inputs"]):
            if line in fields:
                most = fields[line]["max_length"]
                data = [values.get(one) for one in event["inputs"]]
                data[place] = "x" * (most + 1)
                said = at.post({"fn_index": event["id"], "data": data})[1]
                assert f"Write {most} at most" in said, said[-500:]
                held += 1
    assert held >= 8


@pytest.fixture(scope="module")
def bare(
    bundle: Path, cells: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Give what the toolkit says and does with nothing of ours before it."""
    folder = tmp_path_factory.mktemp("bare")
    forged = folder / "secret.txt"
    forged.write_text(SECRET)
    program = str(Path(__file__).with_name("bare_pages.py"))
    told = subprocess.run(
        [sys.executable, program, bundle, folder / "data", forged],
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    return dict(json.loads(told.stdout))


def test_the_toolkit_refuses_by_itself_too(bare: dict[str, list[str]]) -> None:
    assert len(bare["said"]) > 10
    assert bare["copied"] == []
    for said in bare["said"]:
        assert SECRET not in said
        assert "gradio_api/file=" not in said


def test_a_disk_that_fills_while_a_page_uploads_is_a_507(bare: dict[str, list[str]]) -> None:
    status, text = bare["full"]
    assert status == "507"
    assert "disk is full" in text


def test_no_route_gives_a_file_out(lab: Lab, cells: Path, bare: dict[str, list[str]]) -> None:
    at = lab.browser()
    own = at.upload(sorted(cells.rglob("*.jpg"))[0])
    pages = lab.folder / "data" / "pages"
    (pages / "out-x").mkdir()
    for link in (pages / "link.jpg", pages / "out-x" / "link.jpg"):
        link.symlink_to(lab.folder / "secret.txt")
    paths = [
        *spellings(str(lab.folder / "secret.txt")), *map(str, lab.secrets[1:]),
        f"{pages}/link.jpg", f"{pages}/out-x/link.jpg", f"{pages}/../cytowell.db",
        f"{own}/../../../../secret.txt",
    ]  # fmt: skip
    routes = [route for route in bare["routes"] if "{" in route]
    assert len(routes) > 20
    for route in routes:
        for path in paths:
            filled = re.sub(r"{[^}]*}", lambda _, p=path: p, route)  # type: ignore[misc]
            at.fetch(filled)
    (pages / "link.jpg").unlink()
    shutil.rmtree(pages / "out-x")
    lab.check()


def spellings(path: str) -> list[str]:
    """Write a path in the ways that a server may read as the same."""
    once = path.replace("/", "%2F")
    return [
        path, path.lstrip("/"), once, once.replace("%", "%25"), path.replace("..", "%2e%2e"),
        path.replace("/", "\\"), f"/.{path}", f"../../../../../..{path}", f"{path}%00.jpg",
        f"file://{path}",
    ]  # fmt: skip
