"""`async def` views under `demijohn serve`: one event loop, no thread held, and all else as for other views."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    server = serve("awaiting:app", "--threads", "2", "--graceful-timeout", "20")
    server.wait_until_ready()
    return server


def read_answers(sock: Any, count: int) -> list[bytes]:
    """Read answers with a Content-Length off a connection; return their contents."""
    contents = []
    with sock.makefile("rb") as file:
        while len(contents) < count:
            length = None
            while (line := file.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert length is not None
            contents.append(file.read(length))
    return contents


# -- what waits holds no thread -------------------------------------------------------------------


def test_fifty_waiting_views_hold_no_thread(server: Any, gate: Any, in_background: Any) -> None:
    waiting = [in_background(server.get, f"/gate?path={gate.path}&n={n}") for n in range(50)]
    for _ in waiting:
        gate.wait_for_view()

    assert server.get("/").text == "Hello, World!"
    threads = json.loads(server.get("/threads").text)
    assert len(threads) <= 5  # the watch, the loop, and a leader with two followers
    gate.open()
    assert [each.result().text for each in waiting] == [f"let through {n}" for n in range(50)]


@pytest.mark.parametrize("kind", ["class", "dispatching", "shared", "handled"])
def test_waiting_class_based_views_and_error_handlers_hold_no_thread(
    server: Any, gate: Any, in_background: Any, kind: str
) -> None:
    waiting = [in_background(server.get, f"/gate/{kind}/front?path={gate.path}&n={n}") for n in range(10)]
    for _ in waiting:
        gate.wait_for_view()

    assert server.get("/").text == "Hello, World!"
    gate.open()
    assert [each.result().text for each in waiting] == [f"let through {n} by the front door" for n in range(10)]


def test_no_event_loop_is_started_for_plain_views(serve: Callable[..., Any]) -> None:
    server = serve("awaiting:bare")
    server.wait_until_ready()
    server.get("/")
    assert "demijohn-async" not in json.loads(server.get("/threads").text)
    server.get("/where")
    assert "demijohn-async" in json.loads(server.get("/threads").text)


def test_a_view_that_blocks_the_loop_is_reported_and_stops_no_plain_view(
    serve: Callable[..., Any], gate: Any, in_background: Any
) -> None:
    server = serve("awaiting:bare")
    server.wait_until_ready()
    blocked = in_background(server.get, f"/block?path={gate.path}")
    gate.wait_for_view()

    assert server.get("/").text == "Hello, World!"
    server.wait_for(r"event loop has been blocked for \d\.\d s")
    server.wait_for(r"in block$")
    gate.open()
    assert blocked.result().text == "blocked"
    assert json.loads(server.get("/where").text)["thread"] == "demijohn-async"


def test_an_awaited_answer_goes_out_while_all_threads_are_in_plain_views(
    serve: Callable[..., Any], gate: Any, in_background: Any
) -> None:
    server = serve("awaiting:app", "--threads", "1")
    server.wait_until_ready()
    blocked = in_background(server.get, f"/wait?path={gate.path}")
    gate.wait_for_view()

    assert [server.get(f"/contexts/{n}?tenant=t").status for n in range(3)] == [200, 200, 200]
    gate.open()
    assert blocked.result().text == "let through"


# -- one loop for all -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/where", "/decorated", "/methods", "/fail/teapot"])
def test_everything_runs_on_one_loop(server: Any, target: str) -> None:
    expected = json.loads(server.get("/where").text)

    seen = json.loads(server.get(target).text)

    assert {key: seen[key] for key in expected} == expected
    assert seen["thread"] == "demijohn-async"


def test_what_one_request_waits_for_another_may_bring(server: Any, in_background: Any) -> None:
    taken = in_background(server.get, "/take")
    assert server.get("/put/parcel").text == "put"
    assert taken.result().text == "parcel"


def test_an_application_that_replaces_a_stage_does_as_flask_does(serve: Callable[..., Any]) -> None:
    server = serve("awaiting:changed")
    server.wait_until_ready()
    assert json.loads(server.get("/where").text)["thread"] != "demijohn-async"


# -- contexts --------------------------------------------------------------------------------------


def test_each_request_keeps_its_contexts_across_await(server: Any, gate: Any, in_background: Any) -> None:
    waiting = [in_background(server.get, f"/contexts/{n}?tenant=t{n}&path={gate.path}&note={n}") for n in range(10)]
    for _ in waiting:
        gate.wait_for_view()
    gate.open()

    for n, each in enumerate(waiting):
        seen = json.loads(each.result().text)
        assert seen.pop("hook thread") != "demijohn-async"  # a plain hook may block
        assert seen == {"number": n, "g": n, "session": n, "tenant": f"t{n}", "app": "awaiting"}
    notes = {server.get("/take").text for _ in waiting}
    assert notes == {f"{n} t{n}, left None" for n in range(10)}


def test_a_session_is_saved(server: Any) -> None:
    assert "session=" in server.get("/contexts/1?tenant=t").headers["Set-Cookie"]


def test_context_variables_do_not_leak_into_the_next_request(server: Any) -> None:
    for _ in range(3):
        server.get("/contexts/1?tenant=first")
        assert server.get("/put/x?note=second").text == "put"
        assert server.get("/take").text == "x"
        assert server.get("/take").text == "second nobody None"


# -- errors and hooks --------------------------------------------------------------------------------


def test_errors_find_their_handlers(server: Any) -> None:
    answer = server.get("/fail/teapot")
    assert (answer.status, json.loads(answer.text)["error"]) == (418, "short and stout")
    assert json.loads(answer.text)["path"] == "/fail/teapot"
    assert server.get("/fail/abort").status == 403


@pytest.mark.parametrize(
    ("kind", "logged"),
    [("bug", "ZeroDivisionError"), ("exit", "SystemExit: 3"), ("cancelled", "CancelledError")],
)
def test_an_error_nobody_handles_is_answered_500_and_logged(server: Any, kind: str, logged: str) -> None:
    assert server.get(f"/fail/{kind}").status == 500
    server.wait_for(logged)
    assert server.get("/where").status == 200


def test_a_coroutine_function_called_as_a_plain_one_in_the_loop_is_explained(server: Any) -> None:
    assert server.get("/fail/plain%20call").status == 500
    server.wait_for(r"'where_it_runs' was called as a plain function .* await it")


def test_teardown_is_told_of_the_error(server: Any) -> None:
    server.get("/fail/bug?note=torn")
    assert server.get("/take").text == "torn nobody ZeroDivisionError('nobody handles this')"


@pytest.mark.parametrize(
    ("target", "content", "between"),
    [("/", "late", " view"), ("/?early=1", "early", ""), ("/plain", "plain", " view")],
)
def test_hooks_run_in_order(serve: Callable[..., Any], target: str, content: str, between: str) -> None:
    server = serve("awaiting:hooked")
    server.wait_until_ready()
    for _ in range(2):  # the first request of a route finds out what it needs
        answer = server.get(target)
        assert answer.text == content
        assert answer.headers["X-Steps"] == f"first second{between} before last on demijohn-async last"


# -- connections -----------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(server: Any, gate: Any) -> None:
    with server.connect() as sock:
        sock.sendall(
            f"GET /gate?path={gate.path}&n=1 HTTP/1.1\r\nHost: x\r\n\r\n"
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            f"GET /gate?path={gate.path}&n=2 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        gate.wait_for_view()
        gate.open()
        gate.wait_for_view()
        gate.open()
        assert read_answers(sock, 3) == [b"let through 1", b"Hello, World!", b"let through 2"]


def test_a_plain_view_never_runs_in_the_thread_of_the_loop(serve: Callable[..., Any], gate: Any) -> None:
    server = serve("awaiting:bare")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(
            f"GET /gate?path={gate.path}&n=1 HTTP/1.1\r\nHost: x\r\n\r\n"
            "GET /thread HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        gate.wait_for_view()
        gate.open()
        assert b"async" not in read_answers(sock, 2)[1]


def test_a_request_that_comes_while_one_waits_is_answered_after_it(server: Any, gate: Any) -> None:
    with server.connect() as sock:
        sock.sendall(f"GET /gate?path={gate.path}&n=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gate.wait_for_view()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.get("/").text == "Hello, World!"  # the leader has been past the other's data
        gate.open()
        assert read_answers(sock, 2) == [b"let through 1", b"Hello, World!"]


def test_a_view_goes_on_to_its_end_when_its_client_has_gone(server: Any, gate: Any) -> None:
    with server.connect() as sock:
        sock.sendall(f"GET /gate?path={gate.path}&note=done HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gate.wait_for_view()
    assert server.get("/").text == "Hello, World!"
    gate.open()
    assert server.get("/take").text == "done nobody None"


def test_an_answer_may_be_streamed(server: Any) -> None:
    assert server.get("/stream").text == "0 of /stream\n1 of /stream\n2 of /stream\n"


def test_an_answer_larger_than_the_socket_takes_arrives_whole(server: Any) -> None:
    assert len(server.get("/large").text) == 8_000_000


def test_head_has_the_fields_and_no_content(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(b"HEAD /where HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b"Content-Type: application/json" in received
    assert received.endswith(b"\r\n\r\n")


# -- the end -----------------------------------------------------------------------------------------


def test_a_drain_waits_for_what_is_awaited(server: Any, gate: Any, in_background: Any) -> None:
    waiting = in_background(server.get, f"/gate?path={gate.path}&n=1")
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    with pytest.raises(ConnectionRefusedError):
        server.connect_until_refused()
    gate.open()

    assert waiting.result().text == "let through 1"
    assert server.wait() == 0
    assert "Traceback" not in server.log
    assert "Task was destroyed" not in server.log


def test_a_drain_ends_with_the_graceful_timeout(serve: Callable[..., Any], gate: Any) -> None:
    server = serve("awaiting:app", "--graceful-timeout", "0.2")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(f"GET /gate?path={gate.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gate.wait_for_view()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "Gave up after the graceful timeout: GET /gate" in server.log
    assert "awaiting for" in server.log
    assert "Traceback" not in server.log
