"""Context variables of a request hold until its answer is out, whichever thread sends the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

MEGABYTE = 1_000_000


def get_slowly(server: Any, path: str, meanwhile: Callable[[], None]) -> bytes:
    """Get an answer that does not fit the socket's buffers, and do something before reading it."""
    with server.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: testserver\r\nConnection: close\r\n\r\n".encode())
        answer = bytearray(sock.recv(1))
        meanwhile()
        while data := sock.recv(MEGABYTE):
            answer += data
    return bytes(answer)


@pytest.mark.parametrize("path", ["/plain", "/awaited"])
def test_what_is_called_when_an_answer_is_out_sees_the_requests_variables(serve: Callable[..., Any], path: str) -> None:
    server = serve("traced:app")
    server.wait_until_ready()
    for _ in range(3):
        server.get(path)
    assert json.loads(server.get("/ended").text) == [[path, path]] * 3


@pytest.mark.parametrize("application", ["traced:app", "traced:watched"])
def test_parts_sent_later_see_the_requests_variables(serve: Callable[..., Any], application: str) -> None:
    server = serve(application, "--threads", "2")
    server.wait_until_ready()

    def ask_others() -> None:
        for _ in range(4):
            server.get("/plain")

    for _ in range(2):
        answer = get_slowly(server, "/parts", ask_others)
        assert answer.count(b" /parts") == 100
    ended = json.loads(server.get("/ended").text)
    assert [what for path, what in ended if path == "/parts" and what != "put back"] == ["/parts"] * 2
    assert [what for path, what in ended if path == "/plain" and what != "put back"] == ["/plain"] * 8


def test_an_agent_can_put_its_variable_back_after_the_last_part(serve: Callable[..., Any]) -> None:
    server = serve("traced:watched", "--threads", "2")
    server.wait_until_ready()
    get_slowly(server, "/parts", lambda: server.get("/plain"))
    server.get("/awaited")
    ended = json.loads(server.get("/ended").text)
    assert sorted(path for path, what in ended if what == "put back") == ["/awaited", "/parts", "/plain"]
    assert "ValueError" not in server.log
