"""Early hints: 103 before the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demijohn.message import BadResponse
from demijohn.server.hints import hint_bytes

WSGI = """
LINK = ("Link", "</style.css>; rel=preload; as=style")

def app(environ, start_response):
    hint = environ["wsgi.early_hints"]
    hint([LINK])
    if environ["PATH_INFO"] == "/split":
        try:
            hint([("Link", "x\\r\\nSet-Cookie: a=b")])
        except ValueError:
            hint([("Link", "refused")])
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/stream":
        return stream(hint)
    return [b"hello"]

def stream(hint):
    yield b"he"
    hint([("Link", "too late")])
    yield b"llo"
"""
NATIVE = """
from demijohn import Flask, request

app = Flask(__name__)

@app.get("/")
async def hello():
    request.environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload; as=style")])
    return "hello"
"""
ASGI = """
async def app(scope, receive, send):
    if "http.response.early_hint" in scope["extensions"]:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload; as=style"]})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("plain", WSGI), ("native", NATIVE), ("web", ASGI)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def ask(server: Any, line: str) -> bytes:
    """Return all that comes back to two requests; the second one ends the connection."""
    last = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(f"{line}\r\nHost: a\r\n\r\n".encode() + last)
        return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("target", ["plain:app", "native:app", "web:app"])
def test_early_hints_come_before_the_answer_and_not_to_http_1_0(
    serve: Callable[..., Any], folder: Path, target: str
) -> None:
    server = serve(target, cwd=folder)
    server.wait_until_ready()
    seen = ask(server, "GET / HTTP/1.1")
    assert seen.lower().startswith(HINT.lower() + b"http/1.1 200 ok\r\n")
    assert seen.count(b"HTTP/1.1 103") == 1
    assert seen.count(b"HTTP/1.1 200") == 2


def test_hints_that_would_break_the_message_are_not_sent(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("plain:app", cwd=folder)
    server.wait_until_ready()
    seen = ask(server, "GET /split HTTP/1.1")
    assert seen.startswith(HINT + b"HTTP/1.1 103 Early Hints\r\nLink: refused\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"Set-Cookie" not in seen


def test_hints_after_the_begin_of_the_answer_are_not_sent(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("plain:app", cwd=folder)
    server.wait_until_ready()
    seen = ask(server, "GET /stream HTTP/1.1")
    assert b"too late" not in seen
    assert b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" in seen


def test_hints_have_no_fields_of_the_connection() -> None:
    assert hint_bytes([(b"Link", b"</a>"), ("Content-Length", "5"), ("Connection", "close")]) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    )
    with pytest.raises(BadResponse):
        hint_bytes([("Link: x", "y")])
