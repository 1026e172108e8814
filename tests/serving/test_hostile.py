"""Hostile requests beside good ones, jobs and an inbox: a short run of the benchmark."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "hostile.py"


@pytest.mark.timeout(900)
def test_hostile_requests_change_no_answer_and_stop_nothing() -> None:
    command = [sys.executable, str(BENCHMARK), "--requests", "300", "--images", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"good ones answered right +285\n", done.stdout), done.stdout
