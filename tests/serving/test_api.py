"""The server: the command line's answers over HTTP, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import cytowell
from cytowell.errors import RecipeError
from cytowell.images import Encoded
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.imported import import_network
from cytowell.serving.app import Places, application
from cytowell.serving.desk import Answer, Busy, Desk
from cytowell.serving.received import base_name
from cytowell.serving.settings import Allowed, digest_of, read_keys, read_owners

KEY = "a-long-and-random-key"

ALONE = Places(pages=False)


def picture(seed: int = 0, side: int = 120) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def blood() -> Bundle:
    return cytowell.load("blood")


@pytest.fixture(scope="module")
def client(blood: Bundle) -> Iterator[TestClient]:
    allowed = Allowed(body=2 << 20, images=20)
    with TestClient(application({"blood": blood, "again": blood}, allowed, ALONE)) as found:
        yield found


def files(*images: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", image) for image in images]


def test_answers_are_the_command_lines(client: TestClient, cli: Any, tmp_path: Path) -> None:
    images = [(f"{i}.png", picture(i)) for i in range(6)] + [("text.jpg", b"hello")]
    for name, data in images:
        (tmp_path / name).write_bytes(data)
    said = cli("predict", *(tmp_path / n for n, _ in images), "--out", tmp_path / "c.csv")
    assert said.status == 0
    frame = pd.read_csv(tmp_path / "c.csv", keep_default_na=False)
    rows = frame.to_dict("records")
    by_file = client.post("/v1/predict", files=files(*images)).json()
    encoded = [{"name": n, "data": base64.b64encode(d).decode()} for n, d in images]
    assert client.post("/v1/predict", json={"images": encoded}).json() == by_file
    for row, told in zip(rows, by_file["results"], strict=True):
        assert told["path"] == Path(row["path"]).name
        assert told["label"] == row["label"]
        assert told["decided"] == row["decided"]
        assert told["error"] == str(row["error"]).replace(f"{tmp_path}/", "")
        if told["error"]:
            continue
        assert told["reason"] == row["reason"]
        assert told["probability"] == pytest.approx(float(row["probability"]), abs=2e-6)
        for c, p in told["probabilities"].items():
            assert p == pytest.approx(float(row[f"p_{c}"]), abs=2e-6)
    assert by_file["bundle"]["name"] == "blood"
    assert by_file["bundle"]["digest"] == cytowell.load("blood").digest


def test_bundles_by_name(client: TestClient) -> None:
    names = [m["name"] for m in client.get("/v1/models").json()["models"]]
    assert names == ["blood", "again"]
    found = client.post("/v1/predict?bundle=again", files=files(("a.png", picture())))
    assert found.json()["bundle"]["name"] == "again"
    missing = client.post("/v1/predict?bundle=agian", files=files(("a.png", picture())))
    assert missing.status_code == 404
    assert "Did you mean 'again'" in missing.json()["error"]


def test_wells_are_found_and_called(client: TestClient, tmp_path: Path) -> None:
    folder = cytowell.write_samples(tmp_path, "plates", per_class=1)["plates"]
    photo = next((folder / "images").glob("plate-24-*"))
    told = client.post("/v1/detect", files=files((photo.name, photo.read_bytes()))).json()
    objects = told["results"][0]["objects"]
    assert len(objects) == 24
    assert objects[0]["well"] == "A1"
    assert set(objects[0]) == {
        "path", "object", "plate", "well", "x", "y", "width", "height", "score", "label",
        "probability", "decided", "reason", "error", "probabilities",
    }  # fmt: skip
    none = client.post("/v1/detect", files=files(("noise.png", picture()))).json()["results"][0]
    assert none["objects"] == []
    assert none["reason"]
    bad = client.post("/v1/detect", files=files(("t.png", b"hello"))).json()["results"][0]
    assert "t.png is not an image" in bad["error"]
    assert "/tmp" not in json.dumps(bad)


def test_titres_and_counts(client: TestClient) -> None:
    asked = {"positives": [5, 3, 1, 0], "counts": "infected", "replicates": 5,
             "log10_dilutions": [-5, -6, -7, -8], "volume": 0.1}  # fmt: skip
    told = client.post("/v1/titre", json=asked).json()
    assert told["per_ml"] == pytest.approx(1.995e7, rel=1e-3)
    wells = [{"plate": "p", "well": "A1", "positive": 1}]
    run = client.post("/v1/titre", json={"layout": "favn", "wells": wells}).json()["runs"][0]
    assert not run["valid"]
    assert "cell control" in run["reasons"][0]
    calls = [{"label": "neutrophil", "decided": True}] * 3 + [{"label": "ig", "decided": False}]
    slide = client.post("/v1/count", json={"calls": calls}).json()["slides"][0]
    assert (slide["white"], slide["undecided"]) == (3, 1)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("titre", {"positives": [9], "counts": "infected", "replicates": 5,
                   "log10_dilutions": [-1]}, "9 of 5"),
        ("titre", {"positives": [1, 0], "replicates": 5, "log10_dilutions": [-1, -2]}, "--counts"),
        ("titre", {"layout": "../../etc/passwd"}, "no name of a layout"),
        ("titre", {"layout": "favm"}, "Did you mean 'favn'"),
        ("titre", {"wells": [{"well": "A1"}], "layout": "favn"}, "no calls"),
        ("titre", {"positivs": [1]}, "positivs"),
        ("titre", {"positives": "1,2"}, "positives"),
        ("count", {"calls": []}, "calls"),
        ("count", {"calls": [{"label": "x"}], "bundle": "blood"}, "classes"),
        ("count", {"calls": [{"label": "x"}], "by": "slide"}, "slide"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(client: TestClient, path: str, body: Any, words: str) -> None:
    said = client.post(f"/v1/{path}", json=body)
    of_another_shape = words in ("positivs", "positives", "calls")
    assert said.status_code == (400 if of_another_shape else 409)
    assert words in said.json()["error"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"images": [{"name": "a", "data": "%%%"}]}', "application/json", 400),
        (b'{"images": [{"name": "a"}]}', "application/json", 400),
        (b'{"images": []}', "application/json", 400),
        (b'{"images": [], "url": "http://x"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"x", "text/plain", 415),
        (b"x", "", 415),
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b", 400),
        (b"x", "multipart/form-data", 400),
        (b"x" * (3 << 20), "application/json", 413),
    ],
)
def test_bodies_that_are_none(client: TestClient, content: bytes, kind: str, status: int) -> None:
    said = client.post("/v1/predict", content=content, headers={"content-type": kind})
    assert said.status_code == status
    assert said.json()["error"]


def test_a_body_without_a_length_is_counted(client: TestClient) -> None:
    def much() -> Iterator[bytes]:
        for _ in range(5):
            yield b"x" * (1 << 20)

    said = client.post("/v1/predict", content=much(),
                       headers={"content-type": "application/json"})  # fmt: skip
    assert said.status_code == 413


def test_too_many_images_and_other_fields(client: TestClient) -> None:
    many = client.post("/v1/predict", files=files(*[("a.png", b"x")] * 21))
    assert many.status_code in (400, 413)
    other = client.post("/v1/predict", files=[("file", ("a.png", b"x"))])
    assert other.status_code == 400
    assert "send files" in other.json()["error"]
    address = client.post("/v1/predict", data={"files": "http://example.org/a.png"})
    assert address.status_code in (400, 415)


def header_bomb() -> bytes:
    """A PNG whose header announces 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_hostile_images_are_results_with_their_error(client: TestClient) -> None:
    hostile = [
        ("bomb.png", header_bomb()), ("empty.jpg", b""), ("cut.png", picture()[:200]),
        ("code.svg", b"<svg onload='x()'/>"), ("zip.png", b"PK\x03\x04" + b"\0" * 50),
        ("poly.gif", b"GIF89a" + b"\0" * 30), ("p.pdf", b"%PDF-1.4"),
    ]  # fmt: skip
    told = client.post("/v1/predict", files=files(*hostile, ("good.png", picture())))
    assert told.status_code == 200
    results = told.json()["results"]
    assert all(r["error"] and not r["decided"] and r["label"] == "" for r in results[:-1])
    assert results[-1]["label"]


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\slides\\a.jpg", "a.jpg"), ("", "image"),
        ("a\x00\n.jpg", "a.jpg"), ("/", "image"), ("\u00e9\u4e2d.png", "\u00e9\u4e2d.png"),
    ],
)  # fmt: skip
def test_names_lose_their_folders(name: str, base: str) -> None:
    assert base_name(name) == base


def test_keys_guard_every_path_but_health(blood: Bundle) -> None:
    app = application({"blood": blood}, Allowed(keys=frozenset([digest_of(KEY)])), ALONE)
    with TestClient(app) as guarded:
        for path in ("/v1/models", "/metrics", "/v1/openapi.json", "/", "/nope"):
            for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
                said = guarded.get(path, headers=headers)
                assert said.status_code == 401
                assert said.headers["www-authenticate"] == "Bearer"
        assert guarded.post("/v1/predict", files=files(("a", b""))).status_code == 401
        assert guarded.get("/healthz").status_code == 200
        assert guarded.get("/readyz").status_code == 200
        for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
            assert guarded.get("/v1/models", headers=headers).status_code == 200


def test_keys_are_read_as_hashes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{digest_of(KEY)}  # the lab's\n\n")
    assert read_keys(file) == {digest_of(KEY)}
    file.write_text(f"{digest_of(KEY)}  Dr A.  Martin # since May\n{'0' * 64}\n")
    assert read_owners(file) == {digest_of(KEY): "Dr A. Martin", "0" * 64: "key 00000000"}
    for text, words in ((KEY, "no SHA-256"), ("# none", "holds no key")):
        file.write_text(text)
        with pytest.raises(RecipeError, match=words):
            read_keys(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_keys(tmp_path / "missing")


def test_a_client_that_asks_too_often_waits(blood: Bundle) -> None:
    with TestClient(application({"blood": blood}, Allowed(rate=3), ALONE)) as limited:
        statuses = [limited.get("/v1/models").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert int(limited.get("/v1/models").headers["retry-after"]) >= 1
        assert limited.get("/healthz").status_code == 200


def test_a_full_desk_says_when_to_come_back(blood: Bundle) -> None:
    desk = Desk({"blood": blood}, waiting=2, workers=1)
    held = threading.Event()
    began = threading.Event()
    whole = desk._answer

    def slow(slips: Any) -> None:
        began.set()
        held.wait(10)
        whole(slips)

    desk._answer = slow  # type: ignore[method-assign]
    image = Encoded("a.png", picture())
    first: list[Future[Answer]] = desk.submit("", [image])
    assert began.wait(10)
    waiting = desk.submit("", [image, image])
    with pytest.raises(Busy, match="2 images are waiting"):
        desk.submit("", [image])
    held.set()
    assert [f.result(20)["label"] for f in [*first, *waiting]] == [first[0].result()["label"]] * 3
    desk.close()


def test_images_of_many_requests_come_back_to_their_own(blood: Bundle) -> None:
    desk = Desk({"blood": blood})
    images = [Encoded(f"{i}", picture(i, 64)) for i in range(24)]
    alone = [desk.submit("", [i])[0].result(30) for i in images]
    futures: list[Future[Answer]] = []
    lock = threading.Lock()

    def send(image: Encoded) -> None:
        found = desk.submit("", [image])
        with lock:
            futures.extend(found)

    threads = [threading.Thread(target=send, args=(i,)) for i in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = {f.result(30)["path"]: f.result() for f in futures}
    for answer in alone:
        mine = together[answer["path"]]
        assert mine["label"] == answer["label"]
        assert mine["probability"] == pytest.approx(answer["probability"], abs=2e-5)
    desk.close()


def test_a_request_that_takes_too_long(blood: Bundle) -> None:
    with TestClient(application({"blood": blood}, Allowed(seconds=0.0), ALONE)) as hurried:
        said = hurried.post("/v1/predict", files=files(("a.png", picture())))
        assert said.status_code == 504


def test_meters_and_ids_hold_no_names(client: TestClient, caplog: Any) -> None:
    caplog.set_level("INFO", logger="cytowell.serving")
    said = client.post("/v1/predict", files=files(("patient-77.png", picture())))
    line = json.loads(caplog.records[-1].message)
    assert line["request"] == said.headers["x-request-id"]
    assert line["status"] == 200
    assert "patient" not in caplog.text
    meters = client.get("/metrics").text
    assert 'cytowell_requests_total{path="/v1/predict",status="200"}' in meters
    assert "patient" not in meters
    client.get("/wp-admin/setup.php")
    assert "wp-admin" not in client.get("/metrics").text
    assert said.headers["x-content-type-options"] == "nosniff"


def test_cells_are_found_with_a_detector(
    client: TestClient, blood: Bundle, data: Path, tmp_path: Path
) -> None:
    smear = (data / "bccd" / "JPEGImages" / "BloodImage_00001.jpg").read_bytes()
    shipped = client.post("/v1/detect?find=cells", files=files(("a.jpg", smear)))
    assert shipped.status_code == 200
    found = [o["found"] for o in shipped.json()["results"][0]["objects"]]
    assert found.count("WBC") == 1
    assert found.count("RBC") > 10
    network = data.parent / "weights" / "yolox_nano.onnx"
    if not network.exists():
        pytest.skip(f"{network} is not there")
    import_network(network, [str(i) for i in range(80)], score=0.05).save(
        tmp_path / "d", "# Card\n"
    )
    places = Places(pages=False, detector=str(tmp_path / "d"))
    with TestClient(application({"blood": blood}, None, places)) as looking:
        said = looking.post("/v1/detect?find=cells", files=files(("a.jpg", smear)))
    objects = said.json()["results"][0]["objects"]
    assert 5 < len(objects) < 60
    assert {o["path"] for o in objects} == {"a.jpg"}
    assert all(0 < o["score"] <= 1 and o["label"] in blood.classes for o in objects)


def test_the_openapi_document_names_every_route(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/predict", "/v1/detect", "/v1/models", "/v1/titre", "/v1/count", "/v1/smear"
    }  # fmt: skip
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}


def test_no_pytorch_is_loaded_by_the_server() -> None:
    code = (
        "import sys, cytowell, cytowell.serving.app as a\n"
        "a.application({'blood': cytowell.load('blood')})\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_serve_and_its_mistakes(cli: Any, tmp_path: Path) -> None:
    made = cli("serve", "--new-key")
    key, digest = (line.split()[1] for line in made.out.splitlines())
    assert digest_of(key) == digest
    assert "none" in cli("serve", tmp_path / "none").err
    twice = cli("serve", "blood", "blood")
    assert "called 'blood'" in twice.err
    assert "cannot be read" in cli("serve", "--keys", tmp_path / "none").err


def test_an_application_for_a_server_of_ones_own(bundle: Path) -> None:
    code = (
        "import sys, cytowell\n"
        "from fastapi.testclient import TestClient\n"
        "with TestClient(cytowell.serve(sys.argv[1])) as ours:\n"
        "    assert len(ours.get('/v1/models').json()['models']) == 1\n"
        "    assert 'gradio' in ours.get('/').text\n"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle)], check=True)
    with pytest.raises(RecipeError, match="Two bundles"):
        cytowell.serve(bundle, bundle)


def test_a_client_that_sends_too_slowly_is_let_go(blood: Bundle) -> None:
    app = application({"blood": blood}, Allowed(arriving=0.2), ALONE)
    sent: list[Any] = []

    async def receive() -> Any:
        if sent:
            await anyio.sleep(30)
        sent.append(1)
        return {"type": "http.request", "body": b"{", "more_body": True}

    answered: list[Any] = []

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/predict", "raw_path": b"/v1/predict",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip
    begin = time.monotonic()

    async def talk() -> None:
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    anyio.run(talk)
    assert answered[0]["status"] == 408
    assert time.monotonic() - begin < 20
    assert b"too long" in answered[1]["body"]


def test_keys_cannot_be_guessed(blood: Bundle) -> None:
    app = application({"blood": blood}, Allowed(keys=frozenset([digest_of(KEY)])), ALONE)
    with TestClient(app) as guarded:
        wrong = {"authorization": "Bearer wrong"}
        statuses = [guarded.get("/v1/models", headers=wrong).status_code for _ in range(30)]
        assert statuses.count(401) == 20
        assert statuses[-1] == 429
        right = {"authorization": f"Bearer {KEY}"}
        assert guarded.get("/v1/models", headers=right).status_code == 200


def test_a_server_of_this_machine_answers_to_its_own_names(blood: Bundle) -> None:
    allowed = Allowed(hosts=frozenset({"localhost", "127.0.0.1", "[::1]"}))
    with TestClient(application({"blood": blood}, allowed, ALONE)) as client:
        for host, status in (
            ("localhost:7860", 200), ("127.0.0.1", 200), ("[::1]:7860", 200),
            ("evil.example", 421), ("", 421),
        ):  # fmt: skip
            assert client.get("/v1/models", headers={"host": host}).status_code == status


def test_a_login_that_never_ends_is_let_go(blood: Bundle) -> None:
    keys = frozenset([digest_of(KEY)])
    app = application({"blood": blood}, Allowed(keys=keys, arriving=0.2), ALONE)
    answered: list[Any] = []

    async def receive() -> Any:
        if answered or scope.get("asked"):
            await anyio.sleep(30)
        scope["asked"] = True
        return {"type": "http.request", "body": b"key=", "more_body": True}

    async def send(message: Any) -> None:
        answered.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/login", "raw_path": b"/login",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def talk() -> None:
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    anyio.run(talk)
    assert answered[0]["status"] == 408
