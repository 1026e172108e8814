"""Requests that schemathesis makes up from the OpenAPI document: none may break its promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("schemathesis")


@pytest.mark.timeout(600)
def test_no_request_breaks_a_promise(
    start: Callable[..., Any], bundle: Path, tmp_path: Path
) -> None:
    server = start(bundle, "--no-pages", "--data", tmp_path / "data")
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", f"{server.address}/v1/openapi.json", "--no-color"]
    settings = ["--max-examples", "25", "--seed", "1", "--request-timeout", "120"]
    done = subprocess.run(
        [*command, *settings], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert not [line for line in server.said if '"status": 5' in line]
