"""Jobs over HTTP: kept before they are acknowledged, done after a kill."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import cytowell
from cytowell.runtime.bundle import Bundle
from cytowell.serving.app import Places, application


def picture(seed: int, side: int = 80) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def body(count: int) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{i}.png", picture(i))) for i in range(count)]


@pytest.fixture(scope="module")
def blood() -> Bundle:
    return cytowell.load("blood")


def finished(client: Any, job: str) -> Any:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told = client.get(f"/v1/jobs/{job}").json()
        if told["done"] == told["total"]:
            return told
        time.sleep(0.1)
    raise AssertionError("the job did not end")


def test_a_job_answers_what_predict_answers(blood: Bundle, tmp_path: Path) -> None:
    images = [*body(7), ("files", ("bad.png", b"hello"))]
    with TestClient(application({"blood": blood}, None, Places(tmp_path, pages=False))) as client:
        said = client.post("/v1/jobs", files=images)
        assert said.status_code == 202
        told = finished(client, said.json()["job"])
        direct = client.post("/v1/predict", files=images).json()["results"]
        assert client.get("/v1/jobs/none").status_code == 404
        assert client.get("/readyz").status_code == 200
    assert [r["path"] for r in told["results"]] == [name for _, (name, _) in images]
    for one, other in zip(told["results"], direct, strict=True):
        assert one["label"] == other["label"]
        assert one["error"] == other["error"]
        if one["probability"] is not None:
            assert one["probability"] == pytest.approx(other["probability"], abs=2e-6)


def test_a_job_of_a_bundle_that_is_gone_ends(blood: Bundle, tmp_path: Path) -> None:
    app = application({"blood": blood}, None, Places(tmp_path, pages=False))
    app.state.house.desk.bundles["old"] = blood
    with TestClient(app) as client:
        job = client.post("/v1/jobs?bundle=old", files=body(1)).json()["job"]
        finished(client, job)
        assert client.post("/v1/jobs?bundle=none", files=body(1)).status_code == 404


def test_no_jobs_without_a_folder(blood: Bundle) -> None:
    with TestClient(application({"blood": blood}, None, Places(pages=False))) as client:
        assert client.post("/v1/jobs", files=body(1)).status_code == 404


def test_a_database_that_goes_is_a_503_and_comes_back(
    blood: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.orm import Session

    with TestClient(application({"blood": blood}, None, Places(tmp_path, pages=False))) as client:
        whole = Session.execute

        def fail(*_: Any, **__: Any) -> Any:
            raise OperationalError("select", {}, Exception("gone"))

        monkeypatch.setattr(Session, "get", fail)
        monkeypatch.setattr(Session, "execute", fail)
        said = client.get("/v1/jobs/x")
        assert said.status_code == 503
        assert said.headers["retry-after"]
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        kept = client.post("/v1/jobs", files=body(1))
        assert kept.status_code == 503
        assert not list((tmp_path / "uploads").iterdir()), "what was not acknowledged is not kept"
        monkeypatch.undo()
        assert Session.execute is whole
        assert client.get("/readyz").status_code == 200


@pytest.mark.timeout(240)
def test_a_kill_loses_nothing_that_was_acknowledged(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    server = start("--no-pages", "--data", tmp_path / "data")
    images = [{"name": f"{i}.png", "data": base64.b64encode(picture(i)).decode()}
              for i in range(150)]  # fmt: skip
    job = server.ask("/v1/jobs", json.dumps({"images": images}).encode())["job"]
    while not 0 < server.ask(f"/v1/jobs/{job}")["done"] < 150:
        time.sleep(0.02)
    server.end(signal.SIGKILL)
    again = start("--no-pages", "--data", tmp_path / "data")
    end = time.monotonic() + 120
    told = again.ask(f"/v1/jobs/{job}")
    assert told["done"] > 0, "answers that were there are there"
    while told["done"] < 150 and time.monotonic() < end:
        time.sleep(0.2)
        told = again.ask(f"/v1/jobs/{job}")
    assert [r["path"] for r in told["results"]] == [i["name"] for i in images]
    assert all(r["label"] for r in told["results"])
    assert again.end(signal.SIGINT) in (0, -signal.SIGINT, 130)


@pytest.mark.timeout(120)
def test_a_port_that_is_taken_is_said(cli: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = cli("serve", "--port", taken.getsockname()[1])
    assert said.status != 0
    assert "cannot be listened on" in said.err
