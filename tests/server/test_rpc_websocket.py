"""JSON-RPC over WebSocket, with the package `websockets` at the other end."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.certificates import Authority
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 30.0
ASKS = (
    b"GET /api HTTP/1.1\r\nHost: testserver\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: %b\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def call(method: str, call_id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params} | ({} if call_id is None else {"id": call_id})


def notification(method: str, **params: Any) -> dict[str, Any]:
    return call(method, None, **params)


class Peer:
    """The client's end of a WebSocket."""

    def __init__(self, server: Any, path: str = "/api", **options: Any) -> None:
        self._connecting = connect(f"ws://testserver{path}", sock=server.connect(), **options)
        self.socket: ClientConnection = self._connecting.__enter__()

    def send(self, *contents: Any) -> None:
        for content in contents:
            self.socket.send(content if isinstance(content, str | bytes) else json.dumps(content))

    def receive(self) -> Any:
        return json.loads(self.socket.recv(PATIENCE_S))

    def ask(self, content: Any) -> Any:
        self.send(content)
        return self.receive()

    def answer_to(self, call_id: Any) -> Any:
        """Return the Response object of a call, after what else comes before it."""
        while (answer := self.receive()).get("id") != call_id:
            assert "method" in answer, answer
        return answer

    def code_of_end(self) -> int | None:
        """Return the code with which the server closes, after whatever it still says."""
        with contextlib.suppress(ConnectionClosedError):  # any code but 1000 and 1001
            for _ in self.socket:
                pass
        return self.socket.close_code


@pytest.fixture
def options() -> tuple[str, ...]:
    return ("--threads", "4", "--graceful-timeout", "20", "--workers", "1")


@pytest.fixture
def application() -> str:
    return "app"


@pytest.fixture
def server(serve: Callable[..., Any], application: str, options: tuple[str, ...]) -> Any:
    server = serve(f"conversing:{application}", *options)
    server.wait_until_ready()
    return server


@pytest.fixture
def peer(server: Any) -> Any:
    peer = Peer(server)
    yield peer
    peer.socket.close()


def post(server: Any, content: str) -> Any:
    """Return what is answered to a POST, None for nothing."""
    connection = HTTPConnection("testserver")
    connection.sock = server.connect()
    connection.request("POST", "/api", content.encode(), {"Content-Type": "application/json"})
    answer = connection.getresponse().read()
    connection.close()
    return json.loads(answer) if answer else None


# -- calls ----------------------------------------------------------------------------------------

CONTENTS = {
    "result": call("add", a=1, b=2),
    "error": call("fail", "x", how="error"),
    "abort": call("fail", 1.5, how="abort"),
    "exception": call("fail", None, how="exception") | {"id": None},
    "wrong result": call("fail", how="result"),
    "wrong params": call("add", a=1, b="x"),
    "no such method": call("nope"),
    "refused by its auth": call("secret"),
    "notification": notification("add", a=1, b=2),
    "failing notification": notification("fail", how="exception"),
    "notification that is refused": notification("answered"),
    "method that is no string": {"jsonrpc": "2.0", "id": 1, "method": []},
    "wrong version": {"jsonrpc": "1.0", "id": 1, "method": "add"},
    "id that is none": {"jsonrpc": "2.0", "id": [1], "method": "add"},
    "no object": "1",
    "no JSON": "{",
    "nested deeply": "[" * 60000,
    "no UTF-16 either": '"\\ud800',
    "empty batch": [],
    "batch": [call("add", a=1, b=2), 1, call("fail", 2, how="error"), notification("fail", how="abort")],
    "batch of notifications": [notification("add", a=1, b=2), notification("fail", how="error")],
    "cancel in a batch": [call("rpc.cancel", id=7)],
    "cancel with an id that is none": call("rpc.cancel", [1], id=1),
    "cancel of another version": {"jsonrpc": "1.0", "id": 1, "method": "rpc.cancel", "params": {"id": 1}},
    "unknown method of the specification": call("rpc.nothing"),
    "discovery": call("rpc.discover"),
    "member named twice": '{"jsonrpc":"2.0","id":1,"id":2,"method":"add"}',
    "awaited": call("times_out"),
}


@pytest.mark.parametrize("application", ["app", "wrapped"])
def test_a_message_is_answered_as_a_post_of_it_is(server: Any, peer: Peer) -> None:
    for name, content in CONTENTS.items():
        text = content if isinstance(content, str) else json.dumps(content)
        expected = post(server, text)
        peer.send(text)
        if expected is not None:
            assert peer.receive() == expected, name
        assert peer.ask(call("add", "next", a=1, b=1)) == {"jsonrpc": "2.0", "id": "next", "result": 2}, name


MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "2.0", "1.0", 2]),
        "method": st.sampled_from(["add", "add", "answered", "rpc.describe", "", 1]),
        "id": st.none() | st.integers(-5, 5) | st.text(max_size=3) | st.booleans() | st.lists(st.none(), max_size=1),
        "params": st.lists(st.integers(-9, 9) | st.text(max_size=2), max_size=3)
        | st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9))
        | st.integers(),
    },
)
CONTENT = (MEMBERS | st.lists(MEMBERS | st.integers(), max_size=3)).map(json.dumps) | st.text() | st.binary()


@pytest.mark.parametrize("options", [("--access-logfile", "-", "--workers", "1")])
def test_the_access_log_has_a_line_for_a_connection_when_it_ends(server: Any, peer: Peer) -> None:
    assert peer.ask(call("add", a=1, b=1))["result"] == 2
    peer.socket.close()
    line = server.wait_for(r'"GET /api HTTP/1.1" 101 (\d+)')
    assert int(line[1]) > 30
    assert "POST" not in server.log


def test_whatever_is_sent_is_answered_as_a_post_of_it_is(server: Any, peer: Peer) -> None:
    connection = HTTPConnection("testserver")
    connection.sock = server.connect()

    @settings(deadline=None, max_examples=100)
    @given(CONTENT)
    def holds(content: str | bytes) -> None:
        body = content.encode() if isinstance(content, str) else content
        connection.request("POST", "/api", body, {"Content-Type": "application/json"})
        expected = connection.getresponse().read()
        peer.send(content)
        if expected:
            assert peer.receive() == json.loads(expected)
        assert peer.ask(call("add", "next", a=1, b=1)) == {"jsonrpc": "2.0", "id": "next", "result": 2}

    holds()
    connection.close()


@pytest.mark.parametrize("application", ["app", "wrapped"])
def test_a_method_sees_the_request_of_the_handshake(server: Any) -> None:
    peer = Peer(server, "/api?q=1", additional_headers={"X-Key": "sesame"})
    about = peer.ask(call("about"))["result"]
    assert about == {
        "method": "POST", "url": "http://testserver/api?q=1", "key": "sesame", "query": "1", "length": True,
    }  # fmt: skip
    assert peer.ask(call("secret"))["result"] == "treasure"
    peer.send(json.dumps(call("add", a=20, b=1)).encode())  # as a binary message
    assert peer.receive()["result"] == 21
    assert Peer(server, "/api/cellar").ask(call("count"))["result"] == 12


def test_answers_come_in_the_order_in_which_calls_are_done(peer: Peer, gate: Any) -> None:
    path = str(gate.path)
    peer.send(call("awaits", 1, path=path), call("wait", 2, path=path), call("awaits", 3, path=path))
    for _ in range(3):
        gate.wait_for_view()
    assert peer.ask(call("add", 4, a=1, b=1))["id"] == 4
    gate.open()
    assert sorted(peer.receive()["id"] for _ in range(3)) == [1, 2, 3]


@pytest.mark.parametrize("options", [("--threads", "3", "--workers", "1")])
def test_calls_that_await_hold_no_thread_and_slow_ones_no_other_connection(server: Any, peer: Peer, gate: Any) -> None:
    path = str(gate.path)
    peer.send(*(call("awaits", number, path=path) for number in range(100)))
    for _ in range(100):
        gate.wait_for_view()
    peer.send(call("wait", "a", path=path), call("wait", "b", path=path))
    gate.wait_for_view()
    gate.wait_for_view()
    assert Peer(server).ask(call("add", a=1, b=1))["result"] == 2
    assert len(json.loads(server.get("/threads").text)) < 20
    peer.send(call("rpc.cancel", "over", id=99))
    assert sorted(str(peer.receive()["id"]) for _ in range(2)) == ["99", "over"]
    gate.open()
    assert len({peer.receive()["id"] for _ in range(101)}) == 101


def test_hundreds_of_idle_connections_take_no_thread(server: Any) -> None:
    socks = []
    for _ in range(300):
        sock = server.connect()
        sock.sendall(ASKS % b"13")
        socks.append(sock)
    for sock in socks:
        assert sock.recv(1000).startswith(b"HTTP/1.1 101 ")
    assert len(json.loads(server.get("/threads").text)) < 20  # all that the team may have, and not one for each
    for sock in socks:
        sock.close()


# -- hooks, limits, who may come --------------------------------------------------------------------


@pytest.mark.parametrize("application", ["guarded"])
def test_the_hooks_of_the_application_guard_the_handshake_and_each_call(server: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Peer(server)
    assert refused.value.response.status_code == 401

    peer = Peer(server, additional_headers={"X-Key": "sesame"})
    error = peer.ask(call("repeat", 5, text="forbidden", times=1))
    assert error["id"] == 5
    assert error["error"] == {
        "name": "ServerError", "code": -32000, "message": "Unauthorized", "data": {"status": 401},
    }  # fmt: skip
    peer.send(notification("repeat", text="forbidden", times=1))
    assert peer.ask([call("repeat", text="forbidden", times=1)])["id"] is None
    assert peer.ask(call("add", 6, a=1, b=1)) == {"jsonrpc": "2.0", "id": 6, "result": 2}


def test_the_view_of_a_post_guards_each_call_with_its_decorators_too(server: Any) -> None:
    keyed = Peer(server, "/api/keyed", additional_headers={"X-Key": "sesame"})
    assert [keyed.ask(call("answered"))["result"] for _ in range(2)] == [1, 1]  # by an instance of its own
    assert Peer(server, "/api/keyed").ask(call("answered"))["error"]["data"] == {"status": 401}


@pytest.mark.parametrize("application", ["strict"])
def test_limits_are_those_of_a_post(server: Any) -> None:
    peer = Peer(server)
    assert peer.ask([call("add", a=1, b=1)] * 3)["error"]["code"] == -32600
    assert peer.ask(call("repeat", 3, text="x" * 1000, times=1))["error"]["data"]["status"] == 413
    assert peer.ask(call("add", a=1, b=1))["result"] == 2


@pytest.mark.parametrize("options", [("--websocket-max-message-size", "1000")])
def test_a_message_over_the_limit_of_the_server_ends_the_connection(peer: Peer) -> None:
    peer.send(call("repeat", text="x" * 1000, times=1))
    assert peer.code_of_end() == 1009


@pytest.mark.parametrize("options", [("--request-timeout", "1", "--threads", "3", "--workers", "1")])
def test_a_call_over_the_limit_of_requests_is_answered_so(peer: Peer, gate: Any) -> None:
    path = str(gate.path)
    peer.send(call("wait", 1, path=path), call("forever", 2, path=path))
    gate.wait_for_view()
    gate.wait_for_view()
    answers = [peer.receive(), peer.receive()]
    assert sorted(answer["id"] for answer in answers) == [1, 2]
    assert [answer["error"]["data"]["status"] for answer in answers] == [504, 504]
    gate.open()
    assert peer.ask(call("add", 3, a=1, b=1))["result"] == 2


ORIGINS = {
    None: True,
    "http://testserver": True,
    "https://shop.example": True,
    "https://evil.example": False,
    "http://testserver:81": False,
    "http://testserver.evil.example": False,
    "null": False,
    "http://testserver:x": False,
    "http://[testserver": False,
}


@pytest.mark.parametrize("application", ["strict"])
def test_only_pages_of_the_server_and_of_named_origins_may_connect(server: Any) -> None:
    for origin, may in ORIGINS.items():
        if may:
            assert Peer(server, origin=origin).ask(call("add", a=1, b=1))["result"] == 2
            continue
        with pytest.raises(InvalidStatus) as refused:
            Peer(server, origin=origin)
        assert refused.value.response.status_code == 403
        server.wait_for(re.escape(f"refused a WebSocket of a page at {origin} to testserver"))


def test_a_malformed_handshake_is_refused(server: Any) -> None:
    for request, answer in (
        (ASKS % b"12", b"HTTP/1.1 426 "),
        (ASKS.replace(b"GET", b"POST") % b"13", b"HTTP/1.1 400 "),
        (ASKS.replace(b"Key: d", b"Key: ") % b"13", b"HTTP/1.1 400 "),
        (ASKS % b"13" + ASKS % b"13", b"HTTP/1.1 400 "),
    ):
        with server.connect() as sock:
            sock.sendall(request)
            assert sock.recv(1000).startswith(answer), request
    assert server.get("/api").status == 405
    assert server.get("/").text == "Hello, World!"


SERVERS = {
    "waitress": (("waitress", "--listen=127.0.0.1:{}", "conversing:app"), "Serving on"),
    "gunicorn": (("gunicorn", "--bind=127.0.0.1:{}", "conversing:app"), "Booting worker"),
    "development": (("demijohn", "--app=conversing:app", "run", "--port={}"), "Running on"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_another_server_says_that_it_speaks_no_websocket(start: Callable[..., Any], free_port: int, name: str) -> None:
    apps = Path(__file__).parents[1] / "apps"
    command, ready = SERVERS[name]
    server = start("-m", *(word.format(free_port) for word in command), cwd=apps)
    server.wait_for(ready)
    with socket.create_connection(("127.0.0.1", free_port), PATIENCE_S) as sock:
        sock.sendall(ASKS % b"13")
        answer = b""
        while b"demijohn serve" not in answer:
            part = sock.recv(1000)
            assert part, answer
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"speaks no WebSocket" in answer
    server.stop()


# -- progress and cancelling ------------------------------------------------------------------------


@pytest.mark.parametrize("application", ["app", "wrapped"])
def test_a_call_tells_its_caller_how_far_it_is(peer: Peer) -> None:
    peer.send(call("counts", "c", n=500))
    told = []
    while "method" in (message := peer.receive()):
        told.append(message)
    assert message == {"jsonrpc": "2.0", "id": "c", "result": 500}
    assert {message["method"] for message in told} == {"rpc.progress"}
    assert told[0]["params"] == {"id": "c", "done": 0, "total": 500, "message": "counting"}
    assert told[-1]["params"] == {"id": "c", "done": 500, "total": 500, "message": "counting"}
    steps = [message["params"]["done"] for message in told]
    assert steps == sorted(steps)
    peer.send([call("counts", 1, n=2), notification("counts", n=2), call("counts", 2, n=3)])
    ids = []
    while isinstance(message := peer.receive(), dict):
        ids.append(message["params"]["id"])
    assert set(ids) == {1, 2}
    assert [each["result"] for each in message] == [2, 3]


def test_a_heavy_call_reports_from_its_process(peer: Peer) -> None:
    peer.send(call("heavy_work", 1, n=30))
    first = peer.receive()
    assert first["params"] == {"id": 1, "done": 0, "total": 30}
    assert peer.answer_to(1)["result"] == 30


def test_a_heavy_notification_reports_to_nobody(peer: Peer) -> None:
    peer.send(notification("heavy_work", n=30))
    assert peer.ask(call("heavy_work", 1, n=1))["params"] == {"id": 1, "done": 0, "total": 1}


def ended_job(peer: Peer, call_id: Any) -> tuple[list[Any], Any]:
    """Return what was told of a job that is followed, and its end."""
    told = []
    while "method" in (message := peer.receive()):
        assert message["params"].pop("id") == call_id
        told.append(message["params"])
    assert message["id"] == call_id
    return told, message


def test_a_job_is_followed_on_the_connection_until_it_has_ended(peer: Peer) -> None:
    job = peer.ask(call("work", 1, n=3))["result"]
    assert (job["state"], job["name"]) == ("queued", "heavy_work")
    peer.send(call("rpc.follow", "f", id=job["id"]))
    told, answer = ended_job(peer, "f")
    assert told[-1] == {"done": 3, "total": 3, "message": "done"}
    assert (answer["result"]["state"], answer["result"]["result"]) == ("done", 3)
    peer.send(call("rpc.follow", 2, id=job["id"]))  # it can be asked for later too
    assert ended_job(peer, 2)[1]["result"] == answer["result"]
    assert peer.ask(call("rpc.follow", 3, id="nope"))["error"]["data"]["status"] == 404


def test_who_follows_no_more_leaves_the_job_as_it_is(server: Any, peer: Peer, gate: Any) -> None:
    job = peer.ask(call("wait_at_work", 1, path=str(gate.path)))["result"]
    peer.send(call("rpc.follow", 2, id=job["id"]))
    gate.wait_for_view()
    peer.send(notification("rpc.cancel", id=2))
    assert ended_job(peer, 2)[1]["error"] == CANCELLED
    assert json.loads(server.get(job["url"]).text)["state"] == "running"


CANCELLED = {"name": "RequestCancelled", "code": -32800, "message": "Request cancelled", "data": None}


@pytest.mark.parametrize("method", ["reports", "heavy_wait"])
def test_a_call_that_reports_ends_when_it_is_cancelled(server: Any, peer: Peer, gate: Any, method: str) -> None:
    peer.send(call(method, "c", path=str(gate.path)))
    assert peer.receive()["params"] == {"id": "c", "done": 0, "total": 2, "message": "waiting"}
    gate.wait_for_view()
    assert peer.ask(call("rpc.cancel", 2, id="c")) == {"jsonrpc": "2.0", "id": 2, "result": True}
    gate.open()
    assert peer.answer_to("c")["error"] == CANCELLED
    if method == "reports":
        server.wait_for("it has cleaned up")
    assert peer.ask(call("rpc.cancel", 3, id="c"))["result"] is False


def test_a_call_that_awaits_ends_at_once_and_the_rest_of_its_batch_is_run(peer: Peer, gate: Any) -> None:
    path = str(gate.path)
    peer.send(call("forever", 1, path=path))
    gate.wait_for_view()
    peer.send(notification("rpc.cancel", id=1))
    assert peer.receive() == {"jsonrpc": "2.0", "id": 1, "error": CANCELLED}

    peer.send([call("add", 1, a=1, b=1), call("forever", 2, path=path), call("forever", 3, path=path), call("add", 4)])
    gate.wait_for_view()
    gate.wait_for_view()
    peer.send(notification("rpc.cancel", id=3), {"jsonrpc": "2.0", "method": "rpc.cancel", "params": [2]})
    answers = peer.receive()
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4]
    assert answers[1]["error"] == answers[2]["error"] == CANCELLED
    assert answers[0]["result"] == 2
    assert answers[3]["error"]["code"] == -32602


def test_a_call_of_a_batch_that_was_not_begun_is_not_run(server: Any, peer: Peer, gate: Any) -> None:
    peer.send([call("wait", 1, path=str(gate.path)), call("fail", 2, how="exception"), call("add", 3, a=1, b=1)])
    gate.wait_for_view()
    assert peer.ask(call("rpc.cancel", 4, id=2))["result"] is True
    gate.open()
    assert [answer.get("error") for answer in peer.receive()] == [None, CANCELLED, None]
    assert "the cellar is flooded" not in server.log


@pytest.mark.parametrize("options", [("--threads", "1", "--workers", "1")])
def test_a_call_that_has_no_thread_yet_is_cancelled_at_once(peer: Peer, gate: Any) -> None:
    path = str(gate.path)
    peer.send(*(call("wait", number, path=path) for number in range(3)))
    gate.wait_for_view()
    peer.send(call("rpc.cancel", "x", id=2))
    assert sorted((str(message["id"]), "error" in message) for message in (peer.receive(), peer.receive())) == [
        ("2", True),
        ("x", False),
    ]
    gate.open()
    gate.wait_for_view()
    gate.open()
    assert [peer.receive()["id"], peer.receive()["id"]] == [0, 1]
    assert peer.ask(call("add", a=1, b=1))["result"] == 2


def test_what_cannot_be_cancelled_is_left_alone(peer: Peer) -> None:
    assert peer.ask(call("rpc.cancel", 1, id=[1]))["error"]["code"] == -32602
    assert peer.ask({"jsonrpc": "2.0", "id": 2, "method": "rpc.cancel"})["error"]["code"] == -32602
    assert peer.ask(call("rpc.cancel", 3, id=3))["result"] is False
    peer.send(notification("rpc.cancel"))
    assert peer.ask(call("add", 4, a=1, b=1))["id"] == 4
    for params in (b'"\xff"', b"[" * 60000 + b"]" * 60000, b'{"id": "\\ud800"}'):
        asked = b'{"jsonrpc": "2.0", "id": 5, "method": "rpc.cancel", "params": %b}' % params
        assert peer.ask(asked)["error"]["code"] in (-32602, -32700), params[:20]
    assert peer.ask(call("add", 6, a=1, b=1))["id"] == 6


def test_a_call_is_answered_whatever_its_status(peer: Peer) -> None:
    assert peer.ask(call("nothing")) == {"jsonrpc": "2.0", "id": 1, "result": None}
    assert peer.ask([call("nothing", 2)]) == [{"jsonrpc": "2.0", "id": 2, "result": None}]
    peer.send(notification("nothing"))
    assert peer.ask(call("add", 3, a=1, b=1))["id"] == 3


# -- the end ----------------------------------------------------------------------------------------


def test_a_server_that_stops_answers_what_it_has_and_closes_with_1001(server: Any, peer: Peer, gate: Any) -> None:
    idle = Peer(server)
    peer.send(call("wait", 1, path=str(gate.path)), call("awaits", 2, path=str(gate.path)))
    gate.wait_for_view()
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    assert idle.code_of_end() == 1001
    peer.send(call("add", "late", a=1, b=1))
    gate.open()
    assert sorted(peer.receive()["id"] for _ in range(2)) == [1, 2]
    assert peer.code_of_end() == 1001
    assert server.wait() == 0


@pytest.mark.parametrize("application", ["guarded"])
def test_a_handshake_that_ends_while_the_server_stops_is_followed_by_the_close(
    server: Any, gate: Any, in_background: Callable[..., Any]
) -> None:
    idle = Peer(server, additional_headers={"X-Key": "sesame"})
    slow = in_background(
        lambda: Peer(server, additional_headers={"X-Key": "sesame", "X-Gate": str(gate.path)}).code_of_end()
    )
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    assert idle.code_of_end() == 1001  # so that is where it is
    gate.open()
    assert slow.result() == 1001
    assert server.wait() == 0


def test_calls_of_a_caller_that_is_gone_come_to_their_end(server: Any, peer: Peer, gate: Any) -> None:
    peer.send(call("waits_and_logs", path=str(gate.path)))
    gate.wait_for_view()
    peer.socket.socket.shutdown(socket.SHUT_RDWR)
    server.send_signal(signal.SIGTERM)
    server.wait_for("Handling signal: term")
    gate.open()
    server.wait_for("it came to its end")
    assert server.wait() == 0


def test_a_call_that_reports_ends_when_its_caller_is_gone(server: Any, peer: Peer, gate: Any) -> None:
    peer.send(call("reports", path=str(gate.path)))
    gate.wait_for_view()
    peer.socket.close()
    gate.open()
    server.wait_for("it has cleaned up")


def test_a_heavy_call_that_reports_ends_when_its_caller_is_gone(peer: Peer, gate: Any) -> None:
    peer.send(call("heavy_tidy", path=str(gate.path)))
    gate.wait_for_view()
    peer.socket.close()
    gate.open()
    gate.wait_for_view()  # it cleans up


@pytest.mark.parametrize("options", [("--websocket-ping-interval", "0.2", "--workers", "1")])
def test_a_peer_that_does_not_answer_to_pings_is_given_up(server: Any) -> None:
    live = Peer(server)
    with server.connect() as silent:
        silent.sendall(ASKS % b"13")
        silent.recv(1000)
        said = b"".join(iter(lambda: silent.recv(1000), b""))
    assert said.startswith(b"\x89\x00")  # a ping
    assert b"no answer to a ping" in said
    assert live.ask(call("add", a=1, b=1))["result"] == 2


def test_a_peer_that_does_not_read_is_read_no_more_and_loses_nothing(server: Any) -> None:
    slow = Peer(server, compression=None, max_queue=1, max_size=None)
    calls = 400
    sent = threading.Event()

    def send_all() -> None:
        for number in range(calls):
            slow.send(call("repeat", number, text="x" * 1000, times=100))
        sent.set()

    sender = threading.Thread(target=send_all, daemon=True)
    sender.start()
    assert Peer(server).ask(call("add", a=1, b=1))["result"] == 2
    answers = [slow.receive() for _ in range(calls)]
    assert sorted(answer["id"] for answer in answers) == list(range(calls))
    assert {len(answer["result"]) for answer in answers} == {100_000}
    assert sent.wait(PATIENCE_S)


def test_answers_that_nobody_reads_do_not_fill_the_memory(server: Any) -> None:
    pid = int(re.search(r"Worker ready \(pid: (\d+)\)", server.log)[1])  # type: ignore[index]
    slow = Peer(server, compression=None, max_queue=1, max_size=None)
    calls = 300
    slow.send(*(call("repeat", number, text="x", times=1_000_000) for number in range(calls)))
    assert Peer(server).ask(call("add", a=1, b=1))["result"] == 2
    assert sorted(slow.receive()["id"] for _ in range(calls)) == list(range(calls))
    highest_kb = int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
    assert highest_kb < 150_000


def test_messages_that_were_put_off_are_run_when_their_caller_is_gone(server: Any, gate: Any) -> None:
    slow = Peer(server, compression=None, max_queue=1, max_size=None)
    sock = slow.socket.socket
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # the server reads all of them before it answers one
    slow.send(*(call("repeat", number, text="x", times=10_000_000) for number in range(5)))
    slow.send(notification("waits_and_logs", path=str(gate.path)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    sock.shutdown(socket.SHUT_RDWR)
    gate.wait_for_view()
    gate.open()
    server.wait_for("it came to its end")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_calls_over_tls(serve: Callable[..., Any], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    certificate, key = authority.certificate("testserver")
    server = serve("conversing:app", "--certfile", str(certificate), "--keyfile", str(key), "--workers", "1")
    server.wait_until_ready()
    context = ssl.create_default_context(cafile=str(authority.file))
    with connect("wss://testserver/api", sock=server.connect(), ssl=context, server_hostname="testserver") as sock:
        for number in range(20):
            sock.send(json.dumps(call("repeat", number, text="x" * 1000, times=100)))
        answers = [json.loads(sock.recv(PATIENCE_S)) for _ in range(20)]
    assert sorted(answer["id"] for answer in answers) == list(range(20))
