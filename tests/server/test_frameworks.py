"""Applications of other frameworks under `demijohn serve`: the frameworks themselves, nothing in their place."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.client import connect

FORM = (
    b"--edge\r\nContent-Disposition: form-data; name=file; filename=notes.txt\r\n\r\n"
    + b"x" * 200_000
    + b"\r\n--edge--\r\n"
)


def ask(server: Any, method: str, target: str, content: bytes = b"", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("testserver")
    connection.sock = server.connect()
    try:
        connection.request(method, target, content, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def upload(server: Any) -> Any:
    status, text = ask(server, "POST", "/upload", FORM, Content_Type="multipart/form-data; boundary=edge")
    assert status == 200, text
    return json.loads(text)


@pytest.fixture
def running(serve: Callable[..., Any]) -> Callable[..., Any]:
    def start(target: str) -> Any:
        server = serve(target)
        server.wait_until_ready()
        return server

    return start


def test_starlette(running: Callable[..., Any]) -> None:
    server = running("frameworks_starlette:starlette")
    answer = server.get("/?name=Ada")
    assert (answer.text, answer.headers["X-Stamp"]) == ("Hello, Ada!", "seen")
    assert json.loads(server.get("/state").text) == {"pool": "open", "events": ["up"]}
    assert ask(server, "POST", "/length", b"x" * 300_000) == (200, "300000")
    assert server.get("/count").text == "0\n1\n2\n"
    assert server.get("/source").text.startswith('"""Applications of Starlette')
    assert server.get("/nowhere").status == 404
    host, port = server.address
    with connect(f"ws://{host}:{port}/chat", subprotocols=["chat"], proxy=None) as socket:
        socket.send("hello")
        assert json.loads(socket.recv()) == {"said": "hello"}
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "the pool is closed" in server.log


def test_fastapi(running: Callable[..., Any]) -> None:
    server = running("frameworks_starlette:fastapi")
    assert json.loads(server.get("/items/3?detail=1").text) == {"number": 3, "detail": True, "pool": "open"}
    assert server.get("/items/three").status == 422
    assert json.loads(server.get("/blocking").text) == {"from": "a thread"}
    assert upload(server) == {"name": "notes.txt", "size": 200_000}
    assert ask(server, "POST", "/later")[0] == 200
    assert server.get("/finished").text == "true"
    assert "/items/{number}" in json.loads(server.get("/openapi.json").text)["paths"]
    host, port = server.address
    with connect(f"ws://{host}:{port}/add/3", proxy=None) as socket:
        socket.send("4")
        assert socket.recv() == "7"


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_django(running: Callable[..., Any], interface: str) -> None:
    server = running(f"frameworks_django:{interface}")
    assert json.loads(server.get("/items/3?name=%C3%A9").text) == {"number": 3, "name": "é", "secure": False}
    assert upload(server) == {"name": "notes.txt", "size": 200_000}
    assert server.get("/count").text == "0\n1\n2\n"
    assert server.get("/waiting").text == "awaited"
    assert server.get("/nowhere").status == 404


@pytest.mark.parametrize("target", ["falcon_wsgi", "falcon_asgi", "make_pyramid()"])
def test_falcon_and_pyramid(running: Callable[..., Any], target: str) -> None:
    server = running(f"frameworks_wsgi:{target}")
    assert json.loads(server.get("/items/3?name=%C3%A9").text) == {"number": 3, "name": "é"}
    assert json.loads(ask(server, "POST", "/items/3", b"x" * 200_000)[1]) == {"size": 200_000}
    assert server.get("/nowhere").status == 404


def test_what_a_framework_lets_out_is_a_500(running: Callable[..., Any]) -> None:
    server = running("frameworks_wsgi:make_pyramid()")
    assert server.get("/fail").status == 500
    server.wait_for("ZeroDivisionError: nobody handles this")
