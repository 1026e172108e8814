"""Pages of other sites cannot use the server through a user's browser; programs and links can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers

from cytowell.errors import RecipeError
from cytowell.runtime.bundle import Bundle, load
from cytowell.serving.app import Places, application
from cytowell.serving.origins import is_foreign, origin_of, read_origins
from cytowell.serving.settings import Allowed, digest_of

pytestmark = [pytest.mark.timeout(300)]

KEY = "a-long-and-random-key"
ALONE = Places(pages=False)
EVIL = "http://evil.example"
FOREIGN: list[dict[str, str]] = [
    {"origin": EVIL},
    {"origin": EVIL, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    {"origin": EVIL, "sec-fetch-site": "same-origin"},
    {"origin": "null"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": ""},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver:81"},
    {"origin": "https://testserver"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
]
OWN: list[dict[str, str]] = [
    {},
    {"origin": "http://testserver"},
    {"origin": "HTTP://TestServer:80"},
    {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
    {"origin": "null", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
]


@pytest.fixture(scope="module")
def tiny(bundle: Path) -> Bundle:
    return load(bundle)


@pytest.mark.parametrize("key", ["", KEY])
def test_only_pages_of_this_server_change_anything(tiny: Bundle, tmp_path: Path, key: str) -> None:
    keys = frozenset({digest_of(key)} if key else ())
    app = application({"tiny": tiny}, Allowed(keys=keys), Places(data=tmp_path, pages=False))
    known = {"x-api-key": key} if key else {}
    image = {"files": ("a.png", b"none")}
    with TestClient(app) as client:
        for path in ("/v1/predict", "/v1/jobs", "/v1/detect"):
            for headers in FOREIGN:
                said = client.post(path, headers={**known, **headers}, files=image)
                assert said.status_code == 403, (path, headers)
                assert "--origin" in said.json()["error"]
            for headers in OWN:
                said = client.post(path, headers={**known, **headers}, files=image)
                assert said.status_code in (200, 202), (path, headers)
        for path in ("/v1/titre", "/v1/count"):
            assert client.post(path, headers={**known, "origin": EVIL}, json={}).status_code == 403
        if key:
            sent = {"key": key}
            for headers in FOREIGN:
                assert client.post("/login", headers=headers, data=sent).status_code == 403
            for headers in OWN:
                said = client.post("/login", headers=headers, data=sent, follow_redirects=False)
                assert said.status_code == 303, headers


def test_every_route_refuses_other_sites(tiny: Bundle, tmp_path: Path) -> None:
    app = application({"tiny": tiny}, Allowed(), Places(data=tmp_path, pages=False))
    with TestClient(app) as client:
        paths = [*app.openapi()["paths"], "/metrics", "/v1/openapi.json", "/anything"]
        assert len(paths) >= 9
        for path in paths:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                asked = {"origin": EVIL, "access-control-request-method": "POST"}
                said = client.request(method, path, headers=asked)
                assert said.status_code == 403, (method, path)
                assert "access-control-allow-origin" not in said.headers
        assert client.get("/healthz", headers={"origin": EVIL}).status_code == 200


@pytest.mark.parametrize("key", ["", KEY])
def test_the_pages_refuse_other_sites_too(
    start: Callable[..., Any], bundle: Path, tmp_path: Path, key: str
) -> None:
    (tmp_path / "keys").write_text(digest_of(KEY))
    server = start(bundle, *(["--keys", tmp_path / "keys"] if key else []))
    with httpx.Client(base_url=server.address, timeout=60) as client:
        if key:
            assert client.post("/login", data={"key": key}).status_code == 303
        assert client.get("/").status_code == 200
        event = {"fn_index": 0, "data": [], "session_hash": "s"}
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/gradio_api/upload", {"files": {"files": ("a.png", b"none")}}),
            ("POST", "/gradio_api/queue/join", {"json": event}),
            ("POST", "/gradio_api/cancel", {"json": {**event, "event_id": "x"}}),
            ("POST", "/gradio_api/reset", {"json": {"event_id": "x"}}),
            ("GET", "/gradio_api/heartbeat/x", {}),
            ("GET", "/gradio_api/queue/data?session_hash=x", {}),
            ("GET", "/gradio_api/startup-events", {}),
            ("GET", "/config", {}),
            ("OPTIONS", "/gradio_api/queue/join", {}),
        ]
        for method, path, sent in asked:
            for headers in ({"origin": EVIL}, {"sec-fetch-site": "cross-site"}):
                said = client.request(method, path, headers=headers, **sent)
                assert said.status_code == 403, (path, headers)
                assert "access-control-allow-origin" not in said.headers
        own = {"origin": server.address, "sec-fetch-site": "same-origin"}
        for _, path, sent in asked[:2]:
            assert client.post(path, headers=own, **sent).status_code == 200


def test_a_link_from_elsewhere_opens_the_page_and_no_event() -> None:
    headers = Headers({"host": "lab", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert not is_foreign("GET", "/", "http", headers)
    assert is_foreign("POST", "/", "http", headers)
    assert is_foreign("GET", "/gradio_api/heartbeat/x", "http", headers)


def test_a_reverse_proxy_with_another_name_is_told_to_the_server(tiny: Bundle) -> None:
    origins = read_origins({"https://Lab.example:443/"})
    assert origins == {"https://lab.example"}
    allowed = Allowed(origins=origins, hosts=frozenset({"127.0.0.1", "lab.example"}))
    with TestClient(application({"tiny": tiny}, allowed, ALONE)) as client:
        for origin, host, status in (
            ("https://lab.example", "127.0.0.1:7860", 400),
            ("https://lab.example", "lab.example", 400),
            ("http://lab.example", "127.0.0.1:7860", 403),
            (EVIL, "lab.example", 403),
            (EVIL, "evil.example", 421),
        ):
            headers = {"origin": origin, "host": host}
            assert client.post("/v1/predict", headers=headers, json={}).status_code == status
    for wrong in ("lab.example", "ftp://lab.example", "https://lab.example/pages", "https://a:b"):
        with pytest.raises(RecipeError, match="no address"):
            read_origins({wrong})
    assert origin_of("http://[::1]:7860/x") == "http://[::1]:7860"


def test_names_of_other_sites_are_not_answered_on_the_network(tiny: Bundle) -> None:
    from cytowell.cli.serve import _hosts

    allowed = Allowed(hosts=_hosts("0.0.0.0", frozenset({"https://lab.example"})))
    with TestClient(application({"tiny": tiny}, allowed, ALONE)) as client:
        for host, status in (
            ("192.168.1.5:7860", 200), ("[fe80::1]:7860", 200), ("lab.example", 200),
            ("localhost:7860", 200), ("evil.example:7860", 421), ("192.168.1.5.evil.example", 421),
        ):  # fmt: skip
            assert client.get("/v1/models", headers={"host": host}).status_code == status, host


def test_a_job_is_told_to_the_key_that_sent_it(tiny: Bundle, tmp_path: Path) -> None:
    mine, theirs = {"x-api-key": KEY}, {"x-api-key": "another-long-and-random-key"}
    image = {"files": ("a.png", b"none")}
    keys = frozenset(digest_of(k["x-api-key"]) for k in (mine, theirs))
    with TestClient(application({"tiny": tiny}, None, Places(tmp_path, pages=False))) as client:
        nobodys = client.post("/v1/jobs", files=image).json()["job"]
    guarded = application({"tiny": tiny}, Allowed(keys=keys), Places(tmp_path, pages=False))
    with TestClient(guarded) as client:
        job = client.post("/v1/jobs", headers=mine, files=image).json()["job"]
        assert client.get(f"/v1/jobs/{job}", headers=mine).status_code == 200
        for other in (f"/v1/jobs/{job}", f"/v1/jobs/{'0' * 32}"):
            refused = client.get(other, headers=theirs)
            assert (refused.status_code, refused.json()) == (
                404, {"error": "There is no such job."},
            )  # fmt: skip
        assert client.get(f"/v1/jobs/{nobodys}", headers=theirs).status_code == 200
    with TestClient(application({"tiny": tiny}, None, Places(tmp_path, pages=False))) as client:
        assert client.get(f"/v1/jobs/{job}").status_code == 404
