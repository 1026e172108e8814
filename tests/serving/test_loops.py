"""No picture stops the rest: requests, jobs and inbox go on, and readiness tells the truth."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import cytowell
from cytowell import images
from cytowell.images import Encoded
from cytowell.runtime import pipeline
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.finding import objects
from cytowell.serving.app import Places, application
from cytowell.serving.desk import Desk
from cytowell.serving.house import House
from cytowell.serving.inbox import Inbox
from cytowell.serving.settings import Allowed
from cytowell.serving.signing import read_or_make
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Store, url_of
from cytowell.types import Sample

HOSTILE = Path(__file__).parent.parent / "hostile"
HERE = Allowed(decoders=False)


@pytest.fixture(scope="module")
def tiny(bundle: Path) -> Bundle:
    return cytowell.load(bundle)


@pytest.fixture(scope="module")
def good(cells: Path) -> list[Path]:
    return sorted(cells.rglob("*.png"))[:9] or sorted(cells.rglob("*.jpg"))[:9]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what is called after `breaks.jpg` fail in a way that nobody has foreseen."""
    whole = images.see

    def see(image: Any, *further: Any, **named: Any) -> Any:
        if image.size == (37, 23):
            raise ZeroDivisionError("division by zero")
        return whole(image, *further, **named)

    monkeypatch.setattr(pipeline, "see", see)
    monkeypatch.setattr("cytowell.images.see", see)


def breaking(folder: Path) -> Path:
    from PIL import Image

    file = folder / "breaks.jpg"
    Image.new("RGB", (37, 23), "gray").save(file)
    return file


def form(*files: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f.name, f.read_bytes())) for f in files]


def answered(client: Any, job: str) -> Any:
    def told() -> Any:
        return client.get(f"/v1/jobs/{job}").json()

    until(lambda: told()["done"] == told()["total"])
    return told()["results"]


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.usefixtures("broken")
def test_whatever_one_picture_raises_is_its_error(
    tiny: Bundle, good: list[Path], tmp_path: Path
) -> None:
    calls = tiny.predict([good[0], breaking(tmp_path), HOSTILE / "no-strips.tif", good[1]])
    assert [bool(e) for e in calls.errors] == [False, True, True, False]
    assert "breaks.jpg" in calls.errors[1]
    assert "division by zero" in calls.errors[1]
    assert calls.labels[0]
    assert calls.labels[3]


def test_a_network_that_fails_on_one_picture_calls_the_others(
    tiny: Bundle, good: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.session.features
    dark = cytowell.images.load(Sample(str(good[1])), tiny.facts.preprocessing)

    def features(pixels: Any, threads: int = 1) -> Any:
        if any(np.array_equal(p, dark) for p in pixels):
            raise RuntimeError("no such kernel")
        return whole(pixels, threads)

    before = tiny.predict(good[:4])
    monkeypatch.setattr(tiny.session, "features", features)
    calls = tiny.predict(good[:4])
    assert [bool(e) for e in calls.errors] == [False, True, False, False]
    assert good[1].name in calls.errors[1]
    assert "no such kernel" in calls.errors[1]
    kept = [0, 2, 3]
    np.testing.assert_allclose(calls.probabilities[kept], before.probabilities[kept], atol=1e-6)


def test_a_finder_that_fails_is_an_error_and_no_call_of_the_whole(
    tiny: Bundle, good: list[Path]
) -> None:
    def find(path: str, record: Any) -> list[Sample]:
        if path == str(good[0]):
            raise IndexError("index 3 is out of bounds")
        return [Sample(path, box=cytowell.types.Box(0, 0, 20, 20))]

    samples = list(objects([Sample(str(f)) for f in good[:2]], find))
    calls = tiny.predict(samples)
    assert "cannot be searched (index 3" in calls.errors[0]
    assert calls.labels[0] == ""
    assert not calls.errors[1]


@pytest.mark.usefixtures("broken")
def test_good_pictures_of_a_request_and_of_later_jobs_are_answered(
    tiny: Bundle, good: list[Path], tmp_path: Path
) -> None:
    bad = [breaking(tmp_path), HOSTILE / "no-strips.tif"]
    app = application({"tiny": tiny}, HERE, Places(tmp_path / "data", pages=False))
    with TestClient(app) as client:
        said = client.post("/v1/predict", files=form(good[0], *bad, good[1]))
        assert said.status_code == 200
        assert [bool(r["error"]) for r in said.json()["results"]] == [False, True, True, False]
        for files in ((*bad, good[0]), (good[1],)):
            job = client.post("/v1/jobs", files=form(*files)).json()["job"]
            told = answered(client, job)
            assert [bool(r["error"]) for r in told] == [f in bad for f in files]
        assert client.get("/readyz").status_code == 200


def test_calls_that_fail_are_answered_one_by_one(tiny: Bundle, good: list[Path]) -> None:
    desk = Desk({"tiny": tiny}, workers=1)
    whole = tiny.call

    def call(batch: pipeline.Batch) -> Any:
        if any(s.path == "bad" for s in batch.samples):
            raise ValueError("nobody has foreseen this")
        return whole(batch)

    object.__setattr__(tiny, "call", call)
    try:
        data = good[0].read_bytes()
        waiting = desk.submit("tiny", [Encoded(n, data) for n in ("a", "bad", "b", "c")])
        told = [w.result(timeout=60) for w in waiting]
    finally:
        object.__delattr__(tiny, "call")
        desk.close()
    assert [bool(t["error"]) for t in told] == [False, True, False, False]
    assert told[0]["label"]


def test_a_job_thread_survives_what_nobody_has_foreseen_and_says_so(
    tiny: Bundle, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cytowell.serving.jobs.PAUSE", 0.05)
    app = application({"tiny": tiny}, HERE, Places(tmp_path / "data", pages=False))
    whole = Store.waiting

    def waiting(self: Store, most: int) -> Any:
        raise KeyError("nobody has foreseen this")

    with TestClient(app) as client:
        monkeypatch.setattr(Store, "waiting", waiting)
        job = client.post("/v1/jobs", files=form(good[0])).json()["job"]
        until(lambda: client.get("/readyz").status_code == 503)
        assert "Jobs" in client.get("/readyz").json()["error"]
        assert client.get("/healthz").status_code == 200
        monkeypatch.setattr(Store, "waiting", whole)
        until(lambda: client.get(f"/v1/jobs/{job}").json()["done"] == 1)
        until(lambda: client.get("/readyz").status_code == 200)


def test_jobs_left_unanswered_are_taken_up_after_a_restart(
    tiny: Bundle, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path / "data", pages=False)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "waiting", lambda *_: [])
        with TestClient(application({"tiny": tiny}, HERE, places)) as client:
            job = client.post("/v1/jobs", files=form(*good[:3])).json()["job"]
            assert client.get(f"/v1/jobs/{job}").json()["done"] == 0
    with TestClient(application({"tiny": tiny}, HERE, places)) as client:
        until(lambda: client.get(f"/v1/jobs/{job}").json()["done"] == 3)


def test_a_loop_that_has_ended_is_not_ready(tiny: Bundle, tmp_path: Path) -> None:
    app = application({"tiny": tiny}, HERE, Places(tmp_path / "data", pages=False))
    with TestClient(app) as client:
        desk = app.state.house.desk
        assert desk.trouble == ""
        desk.close()
        assert client.get("/readyz").status_code == 503


@pytest.fixture
def house(tiny: Bundle, tmp_path: Path) -> Iterator[House]:
    store = Store(url_of(tmp_path), read_or_make(tmp_path / "audit.key"))
    desk = Desk({"tiny": tiny}, workers=1)
    yield House(desk, Sittings(store, tmp_path / "sittings"), tmp_path, {})
    desk.close()
    store.close()


@pytest.mark.usefixtures("broken")
def test_an_inbox_calls_the_good_ones_beside_the_broken(
    house: House, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "_watch", lambda self: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    breaking(folder)
    shutil.copy(HOSTILE / "no-strips.tif", folder)
    for file in good:
        shutil.copy(file, folder)
    monkeypatch.setattr("cytowell.serving.inbox.PATIENCE", -1.0)
    inbox = Inbox(house, folder)
    assert [inbox.look(), inbox.look()] == [0, 11]
    rows = {k.name: k.row for k in house.sittings.calls(inbox.sitting)}
    assert {n for n, row in rows.items() if row["error"]} == {"breaks.jpg", "no-strips.tif"}


def test_an_inbox_goes_on_beside_what_nobody_has_foreseen(
    house: House, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "_watch", lambda self: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    for file in good[:3]:
        shutil.copy(file, folder)
    inbox = Inbox(house, folder)
    served = house.desk.bundles["tiny"]
    whole = served.predict

    def predict(images: Any, workers: int | None = None) -> Any:
        if any(isinstance(i, Encoded) and i.name.endswith(good[0].name) for i in images):
            raise ValueError("nobody has foreseen this")
        return whole(images, workers)

    monkeypatch.setattr(served, "predict", predict)
    assert [inbox.look(), inbox.look(), inbox.look()] == [0, 3, 0]
    rows = {k.name: k.row for k in house.sittings.calls(inbox.sitting)}
    assert {n for n, row in rows.items() if row["error"]} == {good[0].name}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_an_inbox_takes_files_inside_of_it_and_nothing_else(
    house: House, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(Inbox, "_watch", lambda self: None)
    folder, outside = tmp_path / "inbox", tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    outside.mkdir()
    shutil.copy(good[1], outside / "secret.png")
    shutil.copy(good[0], folder / "deep" / "own.png")
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "linked").symlink_to(outside)
    os.mkfifo(folder / "pipe.png")
    inbox = Inbox(house, folder)
    assert [inbox.look(), inbox.look(), inbox.look()] == [0, 1, 0]
    assert [k.name for k in house.sittings.calls(inbox.sitting)] == ["own.png"]
    for name in ("link.png", "linked", "pipe.png"):
        assert sum(f'"{name}"' in r.getMessage() for r in caplog.records) == 1, name


def test_a_file_that_becomes_a_link_is_not_followed(
    house: House, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "_watch", lambda self: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    shutil.copy(good[0], folder / "a.png")
    inbox = Inbox(house, folder)
    called = inbox._called

    def swapped(names: list[str]) -> Any:
        (folder / "a.png").unlink()
        (folder / "a.png").symlink_to(good[1])
        return called(names)

    monkeypatch.setattr(inbox, "_called", swapped)
    assert [inbox.look(), inbox.look()] == [0, 1]
    row = house.sittings.calls(inbox.sitting)[0].row
    assert "cannot be read" in row["error"]
    assert not row["label"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_keep_an_inbox_from_ending(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    inbox = Inbox(house, folder)
    time.sleep(0.2)
    begin = time.monotonic()
    inbox.close()
    assert time.monotonic() - begin < 10


def test_an_inbox_that_is_gone_is_said(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    inbox = Inbox(house, folder)
    folder.rmdir()
    until(lambda: inbox.trouble != "")
    folder.mkdir()
    until(lambda: inbox.trouble == "")
    inbox.close()
    assert "not watched" in inbox.trouble
