from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from cytowell.serving.signing import read_or_make
from cytowell.serving.store import Store, url_of


class Server:
    """`cytowell serve` as a process, on a free port; its words are kept."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "cytowell.cli", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)], stderr=subprocess.PIPE, start_new_session=True,
            text=True,
        )  # fmt: skip
        self.said: list[str] = []
        self.address = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.05)

    def ask(self, path: str, sent: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.address}{path}", data=sent)
        if sent is not None:
            request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.returncode

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if not self.address and line.startswith("http://"):
                self.address = line.split("/  ")[0]

    def _answers(self) -> bool:
        if not self.address:
            return False
        try:
            self.ask("/readyz")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Server]]:
    """Give what starts servers; they end with the module's tests."""
    begun: list[Server] = []

    def begin(*arguments: object) -> Server:
        begun.append(Server(*arguments))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def _chromium() -> str | None:
    """Find Debian's Chromium; install it where that is allowed, one process at a time."""
    found = shutil.which("chromium")
    if found or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return found
    with Path(tempfile.gettempdir(), "cytowell-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shutil.which("chromium") is None:
            quiet: dict[str, Any] = {"capture_output": True, "check": False, "timeout": 400}
            subprocess.run(["apt-get", "update", "-qq"], **quiet)
            subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], **quiet)
    return shutil.which("chromium")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start headless Chromium, or skip and say why."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = _chromium()
    if program is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=flags)
        yield started
        started.close()


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start PostgreSQL of this machine in a folder of its own; give its address."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    folder = tmp_path_factory.mktemp("postgres")
    as_user: list[str] = []
    if os.geteuid() == 0:
        # It refuses to run as root; Debian's package makes this user.
        if shutil.which("runuser") is None or not _there("postgres"):
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
        for place in (folder, *folder.parents):
            if place.stat().st_uid == 0 and str(place).startswith("/tmp/"):
                place.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd="/")

    cluster = str(folder / "cluster")
    run(str(programs / "initdb"), "-D", cluster, "-U", "lab", "-A", "trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run(str(programs / "pg_ctl"), "-D", cluster, "-o", options, "-l", str(folder / "log"),
        "-w", "start")  # fmt: skip
    yield f"postgresql://lab@127.0.0.1:{port}/postgres"
    run(str(programs / "pg_ctl"), "-D", cluster, "-m", "immediate", "-w", "stop")


def _there(user: str) -> bool:
    return subprocess.run(["id", user], capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        url = url_of(tmp_path)
    else:
        address = str(request.getfixturevalue("postgres"))
        name = f"t{uuid.uuid4().hex}"
        engine = create_engine(url_of(tmp_path, address), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = url_of(tmp_path, address).replace("/postgres", f"/{name}")
    found = Store(url, read_or_make(tmp_path / "audit.key"))
    yield found
    found.close()
