from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import io
import re
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from cytowell.errors import FetchError, StorageError, UnknownName
from cytowell.sources import fetch as module
from cytowell.sources.fetch import CATALOGUE, Download, fetch

PAYLOAD = np.random.default_rng(5).bytes(700_000)


@dataclass
class Site:
    """A little server that can be told to misbehave."""

    url: str = ""
    payload: bytes = PAYLOAD
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(wanted)
            status = state.statuses.pop(0) if state.statuses else 200
            if status != 200 or self.path != "/files/tiny.npz":
                self.send_response(status if status != 200 else 404)
                for name, value in state.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.answer(wanted if state.ranges else "")

        def answer(self, wanted: str) -> None:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            total = len(state.payload)
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.payload[start:]
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[: state.cut_after.pop(0)] if state.cut_after else body)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/files"
    entry = Download(
        "tiny.npz", "https://example.invalid", hashlib.md5(PAYLOAD).hexdigest(), "", "", ""
    )
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    monkeypatch.setattr(module, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def test_whole(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(
        "tiny", tmp_path / "new", base_url=site.url, progress=lambda n, of: seen.append((n, of))
    )
    assert path == tmp_path / "new" / "tiny.npz"
    assert path.read_bytes() == PAYLOAD
    assert [p.name for p in path.parent.iterdir()] == ["tiny.npz"]
    assert seen[0] == (0, len(PAYLOAD))
    assert seen[-1] == (len(PAYLOAD), len(PAYLOAD))
    assert seen == sorted(seen)


def test_a_finished_file_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch("tiny", tmp_path, base_url=site.url)
    fetch("tiny", tmp_path, base_url=site.url)
    assert len(site.asked) == 1


def test_a_finished_file_that_was_changed_is_fetched_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "tiny.npz").write_bytes(b"something else")
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD


def test_goes_on_after_a_cut(site: Site, tmp_path: Path) -> None:
    site.cut_after = [300_000, 200_000]
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD
    assert site.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_goes_on_from_an_earlier_run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    site.cut_after = [123_456]
    with pytest.raises(FetchError, match="goes on where it broke off"):
        fetch("tiny", tmp_path, base_url=site.url)
    part = tmp_path / "tiny.npz.part"
    assert part.read_bytes() == PAYLOAD[:123_456]
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD
    assert site.asked == ["", "bytes=123456-"]
    assert not part.exists()


def test_ctrl_c_keeps_what_is_there(site: Site, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done >= 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", tmp_path, base_url=site.url, progress=stop)
    kept = (tmp_path / "tiny.npz.part").read_bytes()
    assert kept
    assert PAYLOAD.startswith(kept)
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD


def test_a_server_that_ignores_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.cut_after = [300_000]
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD
    assert site.asked == ["", "bytes=300000-"]


def test_a_server_that_always_cuts_is_given_up(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.cut_after = [1000] * 50
    with pytest.raises(FetchError, match="was cut"):
        fetch("tiny", tmp_path, base_url=site.url)
    assert len(site.asked) == module.ATTEMPTS


def test_a_part_that_is_complete_needs_no_more(site: Site, tmp_path: Path) -> None:
    (tmp_path / "tiny.npz.part").write_bytes(PAYLOAD)
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD


def test_a_part_that_is_too_long_starts_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "tiny.npz.part").write_bytes(PAYLOAD + b"more")
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD


def test_a_wrong_sum_deletes_the_file(site: Site, tmp_path: Path) -> None:
    site.payload = PAYLOAD[:-1] + b"?"
    with pytest.raises(FetchError, match=r"MD5 sum .* deleted.*again"):
        fetch("tiny", tmp_path, base_url=site.url)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_not_asked_for_twice(site: Site, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"404.*address of the mirror"):
        fetch("tiny", tmp_path, base_url=site.url + "/elsewhere")
    assert len(site.asked) == 1


def test_a_busy_server_is_asked_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("cytowell.sources.fetch.time.sleep", waits.append)
    site.statuses, site.headers = [503, 429], {"Retry-After": "7"}
    assert fetch("tiny", tmp_path, base_url=site.url).read_bytes() == PAYLOAD
    assert waits == [7.0, 7.0]


def test_a_server_that_is_down(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("cytowell.sources.fetch.time.sleep", waits.append)
    with pytest.raises(FetchError, match="Check the network"):
        fetch("tiny", tmp_path, base_url="http://127.0.0.1:9/files")
    assert len(waits) == module.ATTEMPTS - 1
    assert waits == sorted(waits)


def test_a_full_disk_before_and_during(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr("cytowell.sources.fetch.shutil.disk_usage", lambda _: little)
        with pytest.raises(StorageError, match="MB free"):
            fetch("tiny", tmp_path, base_url=site.url)

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **more: Any) -> IO[Any]:
        if path.suffix == ".part" and mode in ("wb", "ab"):
            return Full()
        return real(path, mode, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(StorageError, match="disk is full"):
            fetch("tiny", tmp_path, base_url=site.url)
    assert len(site.asked) == 2


def test_only_https_unless_a_mirror_is_given(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Download("tiny.npz", "http://example.invalid", "0", "", "", "")
    monkeypatch.setitem(CATALOGUE, "plain", entry)
    with pytest.raises(FetchError, match="https"):
        fetch("plain", tmp_path)
    for address in ("ftp://127.0.0.1", "file:///tmp", "elsewhere"):
        with pytest.raises(FetchError, match="https"):
            fetch("tiny", tmp_path, base_url=address)
    assert not site.asked


def test_https_is_never_left_by_redirection() -> None:
    handler = module._StaySecure()
    request = urllib.request.Request("https://example.invalid/a")
    head = http.client.HTTPMessage()
    with pytest.raises(FetchError, match="without https"):
        handler.redirect_request(request, io.BytesIO(), 302, "", head, "http://example.invalid/b")
    other = "https://example.invalid/b"
    assert handler.redirect_request(request, io.BytesIO(), 302, "", head, other) is not None


def test_a_file_in_the_place_of_the_folder(site: Site, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(StorageError, match="not a folder"):
        fetch("tiny", tmp_path / "out", base_url=site.url)


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'bloodmnist"):
        fetch("bloodminst", tmp_path)


def test_the_catalogue_is_whole() -> None:
    assert set(CATALOGUE) == {"bloodmnist"} | {f"bloodmnist-{s}" for s in (64, 128, 224)}
    for entry in CATALOGUE.values():
        assert entry.folder.startswith("https://")
        assert re.fullmatch("[0-9a-f]{32}", entry.md5)
        assert entry.licence == "CC BY 4.0"
        assert "doi" in entry.cite
    assert len({e.md5 for e in CATALOGUE.values()}) == len(CATALOGUE)
