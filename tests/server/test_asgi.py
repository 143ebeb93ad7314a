"""ASGI applications under `demijohn serve`, over real sockets: HTTP, lifespan, WebSockets."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    server = serve("asgi_plain:application", "--graceful-timeout", "20")
    server.wait_until_ready()
    return server


def exchange(server: Any, request: bytes) -> bytes:
    """Return all that comes back until the server closes."""
    with server.connect() as sock:
        sock.sendall(request)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        part = sock.recv(65536)
        assert part, data
        data += part
    return data


# -- requests --------------------------------------------------------------------------------------


def test_a_request_is_told_as_asgi_has_it(server: Any) -> None:
    scope = json.loads(server.get("/scope/%C3%A9?a=%20b", X_Note="1").text)
    assert scope.pop("client")[0] == "127.0.0.1"
    assert [value for name, value in scope.pop("headers") if name == "x_note"] == []
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "server": list(server.address),
        "root_path": "",
        "path": "/scope/é",
        "raw_path": "/scope/%C3%A9",
        "query_string": "a=%20b",
        "state": {"started": "yes"},
        "variable": "set on import",
        "task": True,
    }


def test_in_absolute_form_the_target_names_the_host(server: Any) -> None:
    answer = exchange(server, b"GET http://named/scope/%C3%A9 HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")
    scope = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert scope["path"] == "/scope/é"
    assert [value for name, value in scope["headers"] if name == "host"] == ["named"]


def test_an_application_that_a_proxy_has_mounted_knows_where(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:without_lifespan", "--root-path", "/shop")
    server.wait_until_ready()
    scope = json.loads(server.get("/items").text)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/shop", "/scope/é", "/shop/items")


def test_context_variables_of_one_request_are_not_those_of_the_next(server: Any) -> None:
    for _ in range(2):
        assert json.loads(server.get("/scope/%C3%A9").text)["variable"] == "set on import"


def test_pipelined_requests_are_answered_in_order(server: Any, gate: Any) -> None:
    with server.connect() as sock:
        sock.sendall(
            b"GET /wait?%b HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"
            b"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12" % str(gate.path).encode()
        )
        gate.wait_for_view()
        gate.open()
        data = read_until(sock, b"Hello, World!")
        sock.sendall(b"345GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        data += read_all(sock)
    assert data.count(b"HTTP/1.1 200 OK") == 4
    places = [data.index(part) for part in (b"let through", b"Hello", b"\r\n\r\n5HTTP")]
    assert places == sorted(places)


def test_content_and_answer_stream_in_both_directions_at_once(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert b"transfer-encoding: chunked" in read_until(sock, b"\r\n\r\n3\r\none\r\n").lower()
        sock.sendall(b"3\r\ntwo\r\n")
        read_until(sock, b"3\r\ntwo\r\n")
        sock.sendall(b"0\r\n\r\n")
        read_until(sock, b"0\r\n\r\n")
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        read_until(sock, b"Hello, World!")


def test_a_sender_that_waits_to_be_asked_for_content_is_asked_when_the_application_reads(server: Any) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(head % b"/count")
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"12345")
        assert read_until(sock, b"\r\n\r\n5").startswith(b"HTTP/1.1 200 OK")
    answer = exchange(server, head % b"/ignore")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer


def test_content_that_the_application_does_not_read_ends_the_connection(server: Any) -> None:
    answer = exchange(server, b"POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nbegun")
    assert b"Connection: close" in answer
    assert answer.endswith(b"not interested")


def test_who_still_sends_content_that_the_application_does_not_read_gets_the_answer(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n")
        assert sock.recv(1)
        # It goes on sending, as clients do. Had the connection been closed at once, this would reset it.
        sock.sendall(bytes(5_000_000))
        assert read_all(sock).endswith(b"not interested")


def test_large_content_reaches_the_application_whole(server: Any) -> None:
    size = 5_000_000
    with server.connect() as sock:
        sock.sendall(b"POST /count HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        sock.sendall(bytes(size))
        assert read_all(sock).endswith(b"\r\n\r\n%d" % size)


def test_content_that_breaks_the_rules_disconnects_the_application(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /count?tell HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert server.get("/take").text == "3"
        sock.sendall(b"not a size\r\n")
        assert server.get("/take").text == "disconnected after 3"
        assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize("page", [b"/count", b"/ignore"])
def test_content_that_is_cut_short_is_answered_once(server: Any, page: bytes) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12" % page)
        sock.shutdown(socket.SHUT_WR)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request" if page == b"/count" else b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1 ") == 1


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["raise", "exit", "nothing", "status", "split", "twice"])
def test_a_failure_before_the_answer_is_a_500_and_a_line_in_the_log(server: Any, what: str) -> None:
    answer = server.get(f"/fail?{what}")
    assert answer.status == 500
    assert "Set-Cookie" not in answer.headers
    assert answer.text == "The server met an error and could not answer the request.\n"
    server.wait_for(r"application (failed on GET /fail|returned before its answer)")
    assert server.get("/").text == "Hello, World!"


def test_a_failure_in_the_middle_of_the_answer_breaks_the_connection_off(server: Any) -> None:
    answer = exchange(server, b"GET /fail?midway HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.endswith(b"5\r\nbegun\r\n")
    server.wait_for("ZeroDivisionError: in the middle")


def test_an_answer_shorter_than_declared_is_not_taken_for_complete(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /fail?short HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"Content-Length: 10" in read_until(sock, b"begun")
        assert sock.recv(1) == b""


def test_what_is_sent_after_the_answer_is_the_applications_fault_alone(server: Any) -> None:
    assert server.get("/fail?late").text == "complete"
    server.wait_for("was sent after the answer was complete")


def test_head_has_the_fields_of_the_answer_and_no_content(server: Any) -> None:
    answer = exchange(server, b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 13" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_file_is_sent_by_its_path(server: Any) -> None:
    assert server.get("/file").text.startswith('"""An ASGI application without a framework."""')


def test_an_application_that_goes_on_after_its_answer_holds_nobody_up(server: Any, gate: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /afterwards?%b HTTP/1.1\r\nHost: h\r\n\r\n" % str(gate.path).encode())
        read_until(sock, b"answered")
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        read_until(sock, b"Hello, World!")
        gate.wait_for_view()
        gate.open()
        assert server.get("/take").text == "done afterwards"


# -- peers that go, or do not read ---------------------------------------------------------------------


def test_an_application_that_listens_is_told_when_the_peer_goes(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /listen HTTP/1.1\r\nHost: h\r\n\r\n")
        assert server.get("/take").text == "listening"
    assert server.get("/take").text == "http.disconnect"


def test_a_peer_that_does_not_read_makes_the_application_wait(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        assert server.get("/take").text == "has to wait"
    while (event := server.get("/take").text) == "has to wait":
        pass
    assert event == "Disconnected"


def test_a_peer_that_never_reads_is_given_up(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--answer-timeout", "0.2")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        server.wait_for("did not read its answer in time")


def test_a_peer_that_reads_less_than_the_rate_is_given_up(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--answer-timeout", "0.5", "--min-body-rate", "1000000000")
    server.wait_until_ready()
    pause = threading.Event()  # never set
    with server.connect() as sock:
        sock.sendall(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(30_000):
                pause.wait(0.02)
    server.wait_for("did not read its answer in time")


def test_content_that_does_not_arrive_in_time_disconnects_the_application(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--body-timeout", "0.2")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12")
        assert server.get("/take").text == "disconnected after 2"
        assert read_all(sock).startswith(b"HTTP/1.1 408 Request Timeout")


# -- lifespan and the end ------------------------------------------------------------------------------


def test_the_lifespan_ends_after_the_last_answer(server: Any, gate: Any, in_background: Any) -> None:
    waiting = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    server.wait_for("Handling signal: term")
    gate.open()
    assert waiting.result().text == "let through"
    assert server.wait() == 0
    assert "shut down" in server.log


def test_an_application_that_cannot_start_up_is_not_served(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", FAILS="startup")
    assert server.wait() == 3
    assert "The application did not start up: the database is not there" in server.log


def test_an_application_without_lifespan_is_served_unless_one_is_asked_for(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:without_lifespan")
    server.wait_until_ready()
    assert "state" not in json.loads(server.get("/").text)
    server = serve("asgi_plain:without_lifespan", "--asgi-lifespan", "on")
    assert server.wait() == 3
    assert "did not start up: AssertionError" in server.log
    server = serve("asgi_plain:application", "--asgi-lifespan", "off", FAILS="startup")
    server.wait_until_ready()
    assert server.get("/").text == "Hello, World!"


def test_what_is_not_done_in_the_graceful_timeout_is_given_up_by_name(serve: Callable[..., Any], gate: Any) -> None:
    server = serve("asgi_plain:application", "--graceful-timeout", "0.2")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"GET /wait?%b HTTP/1.1\r\nHost: h\r\n\r\n" % str(gate.path).encode())
        gate.wait_for_view()
        server.send_signal(signal.SIGTERM)
        server.wait_for(r"Gave up after the graceful timeout: GET /wait\S+ has been running")
        assert server.wait() == 0
        assert "shut down" in server.log


@pytest.mark.parametrize("target", ["asgi_plain:instance", "asgi_plain:hello"])
def test_objects_and_functions_are_known_as_asgi(serve: Callable[..., Any], target: str) -> None:
    server = serve(target, "--asgi-lifespan", "off")
    server.wait_until_ready()
    assert server.get("/").text == "Hello, World!"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_event_loop_can_be_chosen(serve: Callable[..., Any], loop: str) -> None:
    server = serve("asgi_plain:application", "--asgi-loop", loop)
    server.wait_until_ready()
    assert server.get("/").text == "Hello, World!"
    with websocket(server, "/ws") as socket:
        socket.send("over there")
        assert socket.recv() == "over there"


# -- WebSockets -----------------------------------------------------------------------------------


def websocket(server: Any, path: str, **options: Any) -> ClientConnection:
    host, port = server.address
    return connect(f"ws://{host}:{port}{path}", proxy=None, **options)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_go_both_ways(server: Any, compression: Any) -> None:
    with websocket(server, "/ws", compression=compression, subprotocols=["chat", "other"], max_size=None) as socket:
        assert socket.subprotocol == "chat"
        for message in ("hello", "", "é" * 100_000, b"", bytes(3_000_000)):
            socket.send(message)
            assert socket.recv() == message
    assert server.get("/take").text == "websocket.disconnect 1000"


def test_a_websocket_that_is_not_accepted_is_answered_by_http(server: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        websocket(server, "/refuse")
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        websocket(server, "/deny")
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["WWW-Authenticate"] == "Basic"
    assert refused.value.response.body == b"who are you?"


def test_a_handshake_that_breaks_the_rules_is_refused(server: Any) -> None:
    answer = exchange(
        server,
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required")
    assert b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" in answer
    assert b"Sec-WebSocket-Version: 13" in answer


def test_another_protocol_than_websocket_is_not_changed_to(server: Any) -> None:
    answer = exchange(server, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_an_application_that_fails_closes_its_websocket(server: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        websocket(server, "/raise")
    assert refused.value.response.status_code == 500
    with websocket(server, "/raise?late") as socket:
        assert socket.response is not None
        assert socket.response.headers["x-note"] == "accepted"
        assert close_code(socket) == (1011, "")
    server.wait_for("ZeroDivisionError: nobody handles this")


def close_code(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_the_application_closes_with_a_code_and_a_reason(server: Any) -> None:
    with websocket(server, "/close") as socket:
        assert close_code(socket) == (3000, "enough")
    assert "was sent after websocket.close" in server.get("/take").text
    with websocket(server, "/return") as socket:
        assert close_code(socket) == (1000, "")


def test_a_peer_that_vanishes_disconnects_the_application(server: Any) -> None:
    socket = websocket(server, "/ws")
    socket.socket.shutdown(2)
    assert server.get("/take").text == "websocket.disconnect 1006"


def test_a_message_over_the_limit_closes_with_1009(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--websocket-max-message-size", "1K")
    server.wait_until_ready()
    with websocket(server, "/ws") as socket:
        socket.send("x" * 1024)
        assert socket.recv() == "x" * 1024
        socket.send("x" * 1025)
        assert close_code(socket)[0] == 1009


def test_a_peer_that_does_not_answer_pings_is_given_up(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--websocket-ping-interval", "0.1")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        frames = read_all(sock).partition(b"\r\n\r\n")[2]
    assert frames.startswith(b"\x89\x00\x88")
    assert server.get("/take").text.startswith("websocket.disconnect 1006")


def test_a_peer_that_asks_and_does_not_read_is_not_read_from(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--answer-timeout", "2")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        ping = b"\x89\xfd" + bytes(4) + b"x" * 125
        with pytest.raises(ConnectionError):  # more than what sockets hold stays with the peer, until that is given up
            sock.sendall(ping * 500_000)


def test_peers_that_answer_pings_stay(serve: Callable[..., Any]) -> None:
    server = serve("asgi_plain:application", "--websocket-ping-interval", "0.05")
    server.wait_until_ready()
    with websocket(server, "/ws", ping_interval=None) as socket, pytest.raises(TimeoutError):
        socket.recv(timeout=1)


def test_websockets_are_closed_for_a_restart_when_the_worker_drains(server: Any) -> None:
    with websocket(server, "/ws") as socket:
        server.send_signal(signal.SIGTERM)
        assert close_code(socket) == (1012, "")
    assert server.wait() == 0
    assert "shut down" in server.log


def test_more_messages_than_the_application_takes_make_the_peer_wait(server: Any) -> None:
    with websocket(server, "/ws", compression=None, max_queue=None) as socket:
        for number in range(1000):
            socket.send(f"message {number}")
        assert [socket.recv() for _ in range(1000)] == [f"message {number}" for number in range(1000)]
