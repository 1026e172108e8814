from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


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
