"""Connections that an application takes over for WebSocket."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ASKS = (
    "GET {} HTTP/1.1\r\nHost: testserver\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PROOF = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"  # RFC 6455 §1.3


@pytest.fixture
def application() -> str:
    return "lending:app"


@pytest.fixture
def server(serve: Callable[..., Any], application: str) -> Any:
    server = serve(application, "--threads", "3")
    server.wait_until_ready()
    return server


@pytest.fixture
def ask(server: Any) -> Iterator[Callable[[str], Any]]:
    """Ask for a WebSocket and return the socket and what came until the end of the head."""
    socks = []

    def ask(path: str) -> tuple[Any, bytes]:
        sock = server.connect()
        socks.append(sock)
        sock.sendall(ASKS.format(path).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            assert byte, head
            head += byte
        return sock, head

    yield ask
    for sock in socks:
        sock.close()


def read_to_end(sock: Any) -> bytes:
    return b"".join(iter(lambda: sock.recv(1000), b""))


def test_a_view_speaks_on_the_connection_until_it_returns(server: Any, ask: Any) -> None:
    sock, head = ask("/echo")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert PROOF in head
    for word in (b"one", b"two"):
        sock.sendall(word)
        assert sock.recv(1000) == word.upper()
    assert server.get("/").text == "Hello, World!"  # meanwhile
    sock.sendall(b".")
    assert read_to_end(sock) == b""
    assert json.loads(server.get("/torn-down").text)[:2] == ["/", "/echo"]


def test_what_fails_after_the_handshake_ends_the_connection(server: Any, ask: Any) -> None:
    sock, head = ask("/fail")
    assert PROOF in head
    assert read_to_end(sock) == b""
    server.wait_for("in the middle of it")
    assert server.get("/").text == "Hello, World!"


def test_a_view_can_turn_a_websocket_down(ask: Any) -> None:
    sock, head = ask("/turned-down")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert sock.recv(1000) == b"not today"


def test_a_websocket_for_a_plain_view_is_a_bad_request_as_in_flask(ask: Any) -> None:
    for path in ("/", "/offered"):
        assert ask(path)[1].startswith(b"HTTP/1.1 400 ")


def test_plain_requests_are_offered_no_socket(server: Any) -> None:
    assert json.loads(server.get("/offered").text) == {"offered": False}
    assert server.get("/echo").status == 400


def test_a_peer_that_leaves_ends_its_view(server: Any, ask: Any) -> None:
    for _ in range(4):  # more than threads
        ask("/echo")[0].close()
    assert server.get("/").text == "Hello, World!"


def test_a_worker_that_drains_lets_its_websockets_end(server: Any, ask: Any) -> None:
    sock, _ = ask("/echo")
    sock.sendall(b"one")
    assert sock.recv(1000) == b"ONE"
    server.send_signal(signal.SIGTERM)
    assert read_to_end(sock) == b""
    assert server.wait() == 0
    assert "Gave up after the graceful timeout" not in server.log


@pytest.mark.parametrize("application", ["lending:leaving"])
def test_leaving_by_a_connection_error_is_no_failure(server: Any, ask: Any) -> None:
    sock, head = ask("/")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert read_to_end(sock) == b""
    assert "The application failed" not in server.log


def test_a_connection_that_was_taken_over_has_no_time_limit(serve: Callable[..., Any]) -> None:
    server = serve("lending:app", "-w", "1", "--threads", "3", "--request-timeout", "0.3")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(ASKS.format("/echo").encode())
        assert PROOF in sock.recv(1000)
        assert server.get("/sleep").status == 504  # begun later, and over its limit
        sock.sendall(b"one")
        assert sock.recv(1000) == b"ONE"
        sock.sendall(b".")
        assert read_to_end(sock) == b""
    assert "died" not in server.log


def test_a_connection_cannot_be_taken_over_after_it_was_answered(serve: Callable[..., Any]) -> None:
    server = serve("lending:app", "-w", "1", "--threads", "3", "--request-timeout", "0.3")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(ASKS.format("/late").encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 504 ")
    with server.connect():  # with the same descriptor
        server.wait_for("ConnectionAbortedError: The connection is not this request's any more")
