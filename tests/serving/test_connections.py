"""Connections that say nothing, or too slowly, stop nobody else."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cytowell.serving.connections import Connections
from cytowell.serving.listen import bound, server_of

Serve = Callable[..., int]


async def alive(_: Request) -> Response:
    return PlainTextResponse("alive")


async def slow(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("slow")


async def large(_: Request) -> Response:
    return PlainTextResponse("x" * (64 << 20))


async def who(request: Request) -> Response:
    assert request.client is not None
    return PlainTextResponse(request.client.host)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give what starts a server with limits and says its port; all end with the test."""
    routes = [Route(f"/{f.__name__}", f, methods=["GET", "POST"]) for f in (slow, large, who)]
    app = Starlette(routes=[Route("/healthz", alive), *routes])
    running = []

    def start(**limits: Any) -> int:
        on = bound("127.0.0.1", 0)
        server = server_of(app, Connections(**limits))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [on]})
        thread.start()
        running.append((server, thread, on))
        return int(on.getsockname()[1])

    yield start
    for server, thread, on in running:
        server.should_exit = server.force_exit = True
        thread.join(timeout=20)
        on.close()


def ask(port: int, path: str, source: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    at = http.client.HTTPConnection("127.0.0.1", port, timeout=15, source_address=(source, 0))
    with contextlib.closing(at):
        at.request("GET", path, headers=headers)
        answer = at.getresponse()
        return answer.status, answer.read().decode()


def ended(connection: socket.socket, within: float) -> bool:
    """Tell whether the server closes a connection in time."""
    connection.settimeout(within)
    try:
        while connection.recv(1000):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@contextlib.contextmanager
def connected(port: int, many: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    made = []
    try:
        for _ in range(many):
            made.append(socket.create_connection(("127.0.0.1", port), timeout=10))
            if sent:
                made[-1].sendall(sent)
        yield made
    finally:
        for one in made:
            one.close()


def test_more_than_five_hundred_idle_connections_silence_nobody(serve: Serve) -> None:
    port = serve()
    with connected(port, 515):
        for path in ("/healthz", "/who"):
            start = time.monotonic()
            assert ask(port, path)[0] == 200
            assert time.monotonic() - start < 5


def test_one_address_does_not_take_the_connections_of_another(serve: Serve) -> None:
    port = serve(total=30, address=20)
    with connected(port, 60), socket.create_connection(
        ("127.0.0.1", port), source_address=("127.0.0.2", 0)
    ) as other, connected(port, 60):  # fmt: skip
        other.sendall(b"GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        other.settimeout(10)
        assert other.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\n", b"GET"])
def test_headers_have_to_come_in_time(serve: Serve, sent: bytes) -> None:
    port = serve(headers=0.5)
    with connected(port, 1, sent) as (one,):
        assert ended(one, 10)


def test_headers_that_trickle_do_not_live_longer(serve: Serve) -> None:
    port = serve(headers=1.0)
    with connected(port, 1, b"GET /healthz HTTP/1.1\r\n") as (one,):
        end = time.monotonic() + 15
        while time.monotonic() < end:
            try:
                one.sendall(b"x-a: b\r\n")
            except ConnectionError:
                break
            time.sleep(0.2)
        assert time.monotonic() < end, "it was let live"


def test_headers_that_trickle_after_a_first_request_do_not_live_longer(serve: Serve) -> None:
    port = serve(headers=0.5)
    with connected(port, 1, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n") as (one,):
        one.settimeout(10)
        assert one.recv(1000).startswith(b"HTTP/1.1 200")
        one.sendall(b"GET /")
        assert ended(one, 10)


def test_requests_under_way_are_limited_and_health_is_not(serve: Serve) -> None:
    port = serve(active_address=3)
    request = b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"
    with connected(port, 3, request) as held:
        end = time.monotonic() + 10
        while ask(port, "/who")[0] != 503 and time.monotonic() < end:
            time.sleep(0.05)
        assert ask(port, "/who")[0] == 503
        assert ask(port, "/healthz")[0] == 200
        assert ask(port, "/who", source="127.0.0.2")[0] == 200
        held[0].sendall(b"abcde")
        held[0].settimeout(10)
        assert held[0].recv(1000).startswith(b"HTTP/1.1 200"), "what was under way goes on"
    end = time.monotonic() + 10
    while ask(port, "/who")[0] != 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert ask(port, "/who")[0] == 200


def test_who_takes_nothing_of_an_answer_is_let_go(serve: Serve) -> None:
    port = serve(reading=0.5, active_address=1)
    with connected(port, 1, b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n"):
        end = time.monotonic() + 10
        while ask(port, "/who")[0] != 200 and time.monotonic() < end:
            time.sleep(0.1)
        assert time.monotonic() < end


def test_only_a_known_proxy_says_for_whom_it_asks(serve: Serve) -> None:
    forwarded = {"x-forwarded-for": "192.0.2.7"}
    assert ask(serve(), "/who", **forwarded) == (200, "127.0.0.1")
    proxied = serve(proxies=frozenset({"127.0.0.1"}), address=2)
    assert ask(proxied, "/who", **forwarded) == (200, "192.0.2.7")
    assert ask(proxied, "/who", source="127.0.0.2", **forwarded) == (200, "127.0.0.2")
