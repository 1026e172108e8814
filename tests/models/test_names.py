"""Names are known without importing PyTorch, and the hub is asked once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from cytowell.models.names import timm_names

timm = pytest.importorskip("timm")


def test_timm_s_names_are_those_in_its_files() -> None:
    assert timm_names() == set(timm.list_models())


def test_names_are_told_without_pytorch() -> None:
    code = (
        "import sys; from cytowell.models.names import require_backbone;"
        "require_backbone('resnet18'); print([m for m in ('torch', 'timm') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("proxy", ["", "http://proxy.invalid:3128"])
def test_a_hub_out_of_reach_is_asked_once(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    from huggingface_hub import constants

    from cytowell.models import hub

    asked: list[Any] = []

    def refuse(address: Any, timeout: float) -> Any:
        asked.append(address)
        raise socket.gaierror("no such host")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": proxy} if proxy else {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with hub.no_retries():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    assert len(asked) == 1
    assert asked[0][0] == ("proxy.invalid" if proxy else "huggingface.co")
    assert time.monotonic() - start < 3
