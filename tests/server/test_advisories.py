"""The security advisories of other servers, tried on this one over a socket.

Each is followed by a request that must not be served: not as part of the same bytes, and not later.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LATER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(fields: bytes, content: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + content


def chunks(content: bytes) -> bytes:
    return post(CHUNKED, content)


REFUSED = {
    "CVE-2024-1135 gunicorn: conflicting codings": (
        post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        501,
    ),
    "CVE-2024-1135 gunicorn: chunked is not last": (
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        400,
    ),
    "CVE-2024-6827 gunicorn: an unknown coding falls back to a length": (
        post(b"Transfer-Encoding: cHuNkEd,x\r\nContent-Length: 0\r\n"),
        400,
    ),
    "gunicorn 25.3: a control byte in a value": (post(b"X: a\x01b\r\n"), 400),
    "gunicorn 25.3: a list of lengths": (post(b"Content-Length: 0, 0\r\n"), 400),
    "gunicorn 25.3: two Hosts": (post(b"Host: b\r\n"), 400),
    "gunicorn 25.3: a raw byte in the path": (b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "gunicorn 25.3: a blank before the colon": (post(b"Content-Length : 0\r\n"), 400),
    "CVE-2019-16785 waitress: a bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "CVE-2019-16786 waitress: a coding behind a vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n"), 400),
    "CVE-2019-16789 waitress: a length beside a coding": (
        post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"),
        400,
    ),
    "CVE-2019-16792 waitress: two lengths": (post(b"Content-Length: 0\r\nContent-Length: 35\r\n"), 400),
    "CVE-2022-24761 waitress: a length with a sign": (post(b"Content-Length: +0\r\n"), 400),
    "CVE-2022-24761 waitress: a size in 0x": (chunks(b"0x0\r\n\r\n"), 400),
    "CVE-2022-24761 waitress: a size with an underscore": (chunks(b"0_0\r\n\r\n"), 400),
    "CVE-2022-24761 waitress: a control byte in an extension": (chunks(b"0;a\x01\r\n\r\n"), 400),
    "CVE-2024-49768 waitress: a request behind a malformed one": (b"GET / HTTP/1.1\r\nX\r\n\r\n", 400),
    "CVE-2025-43859 h11: two bytes behind a chunk that are no line end": (chunks(b"1\r\nxXX0\r\n\r\n"), 400),
    "CVE-2026-48710 starlette: a path in Host": (b"GET / HTTP/1.1\r\nHost: a/b?\r\n\r\n", 400),
    "CVE-2026-34525 aiohttp: several Hosts": (b"GET / HTTP/1.1\r\n" + HOST * 3 + b"\r\n", 400),
    "CVE-2026-22815 aiohttp: trailers without end": (chunks(b"0\r\n" + b"X: y\r\n" * 200), 431),
    "CVE-2024-52304 aiohttp: LF in an extension": (chunks(b"0;a\nb\r\n\r\n"), 400),
    "CVE-2021-32714 hyper: a size beyond 64 bits": (chunks(b"f" * 17 + b"\r\n"), 400),
    "CVE-2021-32715 hyper: a length with a sign": (post(b"Content-Length: +35\r\n"), 400),
    "CVE-2021-41136 puma: LF ends a line": (post(b"X: a\nContent-Length: 35\r\n"), 400),
    "CVE-2022-24790 puma: a coding that only ends in chunked": (post(b"Transfer-Encoding: xchunked\r\n"), 501),
    "CVE-2023-40175 puma: an empty length": (post(b"Content-Length: \r\n"), 400),
    "CVE-2024-21647 puma: extensions without end": (chunks(b"1;" + b"a" * 100_000), 400),
    "CVE-2023-38697 falcon: a size with a sign": (chunks(b"+0\r\n\r\n"), 400),
    "CVE-2025-55315 Kestrel: LF in an extension hides a request": (chunks(b"0;\n\r\n\r\n"), 400),
    "CVE-2022-32213 Node: a list of codings": (post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), 400),
    "CVE-2022-32214 Node: LF alone between fields": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "CVE-2022-32215 Node: a coding over two lines": (post(b"Transfer-Encoding: chunked\r\n , identity\r\n"), 400),
    "CVE-2022-35256 Node: a field that does not end in CRLF": (post(b"X: a\rTransfer-Encoding: chunked\r\n"), 400),
    "CVE-2023-30589 Node: CR alone between fields": (b"POST / HTTP/1.1\r\nHost: a\rContent-Length: 35\r\n\r\n", 400),
    "CVE-2024-27982 Node: a blank before a length": (b"POST / HTTP/1.1\r\n Content-Length: 35\r\nHost: a\r\n\r\n", 400),
    "CVE-2025-23167 Node: a head that ends in CR LF CR X": (b"GET / HTTP/1.1\r\nHost: a\r\n\rXGET /", 400),
    "CVE-2023-41419 gevent: a length among the trailers": (chunks(b"0\r\nContent-Length: 35\r\n\r\n"), 400),
    "CVE-2025-58068 eventlet: a coding among the trailers": (chunks(b"0\r\n" + CHUNKED + b"\r\n"), 400),
}


@dataclass
class Seen:
    """What came back: the statuses, and whether the connection was closed."""

    statuses: list[int]
    text: bytes


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    running = serve("tells:application", "--access-logfile", "-")
    running.wait_until_ready()
    return running


@contextmanager
def connection(server: Any) -> Iterator[socket.socket]:
    with server.connect() as sock:
        yield sock


def ask(server: Any, data: bytes) -> Seen:
    """Send, and read until the server closes."""
    received = bytearray()
    with connection(server) as sock:
        sock.sendall(data)
        while piece := sock.recv(65536):
            received += piece
    statuses = [int(part[:3]) for part in bytes(received).split(b"HTTP/1.1 ")[1:]]
    return Seen(statuses, bytes(received))


def test_each_is_refused_and_nothing_is_served_after_it(server: Any) -> None:
    wrong = {}
    for name, (data, status) in REFUSED.items():
        seen = ask(server, data + LATER)
        if seen.statuses != [status] or b"\r\nConnection: close\r\n" not in seen.text:
            wrong[name] = seen
    assert not wrong
    assert ask(server, b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").statuses == [200]
    server.wait_for(r'"GET /last HTTP/1.1" 200')
    assert '"GET /smuggled' not in server.log


def test_a_field_with_an_underscore_does_not_pass_for_another(server: Any) -> None:
    """CVE-2024-45614 (puma): X_Forwarded_For overrode X-Forwarded-For."""
    fields = b"X-Forwarded-For: 192.0.2.1\r\nX_Forwarded_For: 203.0.113.1\r\nConnection: close\r\n"
    seen = ask(server, b"GET /environ HTTP/1.1\r\n" + HOST + fields + b"\r\n")
    assert b'"HTTP_X_FORWARDED_FOR": "192.0.2.1"' in seen.text


def test_many_small_chunks_cost_what_one_large_does(server: Any) -> None:
    """CVE-2025-69229 (aiohttp): a second of CPU each. Here they are one content, and refused by no limit."""
    seen = ask(server, post(CHUNKED + b"Connection: close\r\n", b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"))
    assert seen.statuses == [200]


def test_a_client_that_is_gone_at_once_leaves_nothing_behind(server: Any) -> None:
    """CVE-2024-49769 (waitress): a busy loop, and sockets that were never closed."""
    for _ in range(200):
        server.connect().close()
    assert ask(server, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").statuses == [200]


@pytest.mark.parametrize("value", ["a\r\nX-Injected: yes", "a\nX-Injected: yes", "a\rX-Injected: yes", "a\0b"])
def test_an_application_cannot_split_its_answer(server: Any, value: str) -> None:
    """CVE-2018-1000164 (gunicorn), CVE-2020-7695 (uvicorn): CR LF in a header became another header."""
    query = value.encode().hex()
    seen = ask(server, f"GET /header?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert seen.statuses == [500]
    assert b"X-Injected" not in seen.text
    server.wait_for("a header holds CR, LF, NUL")


def test_a_request_cannot_forge_a_line_of_the_log(server: Any) -> None:
    """CVE-2020-7694 (uvicorn): %0a and escape codes went to the log as they were."""
    ask(server, b'GET /%0aforged"%1b[31m HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b\r\nConnection: close\r\n\r\n')
    ask(server, b'GET /%0aforged HTTP/1.1\r\nHost: a\r\nUser-Agent: "x\x80\r\nConnection: close\r\n\r\n')
    server.wait_for(r'"GET /%0aforged HTTP/1.1" 200 \d+ "-" "\\"x\\x80"')
    assert "\x1b" not in server.log
