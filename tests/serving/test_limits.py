"""What is too large, too slow or has no room is refused with a status that says so."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import cytowell
from cytowell.errors import StorageError
from cytowell.runtime.bundle import Bundle
from cytowell.serving import api
from cytowell.serving.app import Places, application
from cytowell.serving.bounded import Bounded
from cytowell.serving.conflicts import ReviewConflict
from cytowell.serving.jobs import Jobs
from cytowell.serving.settings import Allowed
from cytowell.serving.store import Gone

QUICK = {
    "positives": [5, 3, 1, 0],
    "counts": "infected",
    "replicates": 5,
    "log10_dilutions": [-5, -6, -7, -8],
    "volume": 0.1,
}
HUGE = 10**400


@pytest.fixture(scope="module")
def blood() -> Bundle:
    return cytowell.load("blood")


def client_of(blood: Bundle, allowed: Allowed | None = None, data: Path | None = None) -> Any:
    app = application({"blood": blood}, allowed, Places(data, pages=False))
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("positives", [HUGE, 3, 1, 0]),
        ("positives", [-HUGE, 3, 1, 0]),
        ("replicates", HUGE),
        ("replicates", [HUGE, 5, 5, 5]),
        ("log10_dilutions", [-HUGE, -6, -7, -8]),
        ("volume", HUGE),
        ("volume", 5e-324),
        ("volume", 1e308),
        ("reference_iu", HUGE),
    ],
)
def test_numbers_of_four_hundred_digits_are_a_clients_mistake(
    blood: Bundle, field: str, value: Any
) -> None:
    with client_of(blood) as client:
        said = client.post("/v1/titre", content=json.dumps({**QUICK, field: value}))
        assert 400 <= said.status_code < 500 or said.status_code == 200
        assert said.json()
        if value != 5e-324:
            assert said.status_code >= 400, said.text


@pytest.mark.parametrize(
    "cell", [HUGE, -HUGE, 1e308, "1e999", "nan", True, None, "\u0000", "9" * 5000]
)
@pytest.mark.parametrize("column", ["log10_dilution", "positive", "replicates"])
def test_cells_of_a_table_that_are_no_numbers_are_a_clients_mistake(
    blood: Bundle, column: str, cell: Any
) -> None:
    rows: list[dict[str, Any]] = [
        {"sample": "s", "role": "test", "log10_dilution": -d, "positive": 4 - d, "replicates": 4}
        for d in range(4)
    ]
    rows[1][column] = cell
    sent = {"layout": "favn", "wells": rows, "counts": "protected"}
    with client_of(blood) as client:
        said = client.post("/v1/titre", content=json.dumps(sent))
        assert said.status_code < 500, said.text


def test_rows_with_a_column_each_are_refused(blood: Bundle) -> None:
    rows = [{"label": "x", f"c{i}": 1} for i in range(400)]
    with client_of(blood) as client:
        said = client.post("/v1/count", json={"calls": rows})
        assert said.status_code == 409
        assert "401 columns" in said.json()["error"]
        wells = [{"well": "A1", f"c{i}": 1} for i in range(400)]
        assert client.post("/v1/titre", json={"layout": "favn", "wells": wells}).status_code == 409


def test_more_slides_than_a_request_holds_are_refused(
    blood: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SLIDES", 3)
    rows = [{"label": "x", "slide": str(i)} for i in range(4)]
    with client_of(blood) as client:
        said = client.post("/v1/count", json={"calls": rows, "by": "slide"})
        assert said.status_code == 409
        assert "4 slides" in said.json()["error"]
        assert client.post("/v1/count", json={"calls": rows[:3], "by": "slide"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "name", "sent"),
    [
        ("/v1/count", "count_of", {"calls": [{"label": "x"}]}),
        ("/v1/titre", "_quick", QUICK),
    ],
)
def test_a_count_or_titre_that_takes_too_long_is_answered_in_time(
    blood: Bundle, monkeypatch: pytest.MonkeyPatch, path: str, name: str, sent: Any
) -> None:
    monkeypatch.setattr(api, name, lambda *_, **__: time.sleep(3))
    with client_of(blood, Allowed(seconds=0.3)) as client:
        begun = time.monotonic()
        assert client.post(path, json=sent).status_code == 504
        assert time.monotonic() - begun < 2.5
        assert client.get("/healthz").status_code == 200


@pytest.mark.anyio
async def test_no_more_threads_are_busy_than_was_said() -> None:
    bounded = Bounded("test", 1, 0.2)
    begun = []

    def work() -> None:
        begun.append(1)
        time.sleep(1.0)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await bounded(work)
    assert len(begun) == 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_a_507_and_leaves_nothing(
    blood: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(blood, data=tmp_path / "data") as client:
        sent = {"files": ("a.jpg", b"x" * 100)}
        monkeypatch.setattr("cytowell.serving.jobs.os.fsync", full)
        said = client.post("/v1/jobs", files=sent)
        assert said.status_code == 507
        assert "full" in said.json()["error"]
        assert [*(tmp_path / "data" / "uploads").iterdir()] == []
        monkeypatch.undo()
        assert client.post("/v1/jobs", files=sent).status_code == 202


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Gone("gone"), 503),
        (StorageError("full"), 507),
        (ReviewConflict("Dr A decided x"), 409),
        (OSError(errno.EDQUOT, "quota"), 507),
        (OSError(errno.EIO, "broken"), 500),
        (RuntimeError("a fault of ours"), 500),
    ],
)
def test_each_refusal_of_a_store_has_its_status(
    blood: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with client_of(blood, data=tmp_path / "data") as client:
        monkeypatch.setattr(Jobs, "add", fail)
        assert client.post("/v1/jobs", files={"files": ("a.jpg", b"x")}).status_code == status
