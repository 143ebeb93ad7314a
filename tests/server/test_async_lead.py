"""The event loop as leader: it polls while one `async def` view after the other is asked for, and is watched."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import PATIENCE_S

LOOP = ["demijohn-async"]


def ask_until(server: Any, target: str, is_it: Callable[[list[str]], bool]) -> list[str]:
    """Ask who polls until it is as wanted."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_it(pollers := json.loads(server.get(target).text)):
        assert time.monotonic() < deadline, f"{pollers} still"
    return pollers


@pytest.fixture
def led(serve: Callable[..., Any]) -> Callable[..., Any]:
    """Start a server whose event loop leads."""

    def start(*flags: str) -> Any:
        server = serve("awaiting:polled", "-w", "1", *flags)
        server.wait_until_ready()
        ask_until(server, "/pollers", lambda pollers: pollers == LOOP)
        return server

    return start


def test_the_lead_goes_to_who_has_more_to_do(led: Callable[..., Any]) -> None:
    server = led()
    assert "async" not in server.get("/thread").text  # one plain view between
    assert json.loads(server.get("/pollers").text) == LOOP

    ask_until(server, "/plain/pollers", lambda pollers: not set(LOOP) & set(pollers))
    ask_until(server, "/pollers", lambda pollers: pollers == LOOP)


def test_plain_views_never_run_in_the_thread_of_a_loop_that_leads(led: Callable[..., Any]) -> None:
    server = led()
    with server.connect() as sock:
        sock.sendall(
            b"GET /sleep/0.001 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /thread HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /thread HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answers.count(b"\r\n\r\ndemijohn-") == 2
    assert b"async" not in answers


def test_many_wait_for_a_loop_that_leads(led: Callable[..., Any], gate: Any, in_background: Any) -> None:
    server = led("--threads", "2")
    waiting = [in_background(server.get, f"/gate?path={gate.path}&n={n}") for n in range(64)]
    for _ in waiting:
        gate.wait_for_view()

    assert "async" not in server.get("/thread").text
    gate.open()
    assert [each.result().text for each in waiting] == [f"let through {n}" for n in range(64)]


def test_a_view_that_blocks_costs_the_loop_the_lead_and_stops_no_plain_view(
    led: Callable[..., Any], gate: Any, in_background: Any
) -> None:
    server = led("--threads", "1")
    with server.connect() as idle:  # a connection that the loop has polled goes on too
        blocked = in_background(server.get, f"/block?path={gate.path}")
        gate.wait_for_view()
        idle.sendall(b"GET /thread HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"demijohn-" in b"".join(iter(lambda: idle.recv(65536), b""))
    assert set(json.loads(server.get("/plain/pollers").text)) - set(LOOP)
    server.wait_for(r"event loop has been blocked for \d\.\d s")
    awaited = in_background(server.get, "/sleep/0.001")

    gate.open()
    assert blocked.result().text == "blocked"
    assert awaited.result().text == "slept"
    ask_until(server, "/pollers", lambda pollers: pollers == LOOP)  # which takes a second: so long it is not trusted


def test_a_coroutine_that_blocks_after_it_has_waited_costs_the_loop_the_lead(
    led: Callable[..., Any], in_background: Any, tmp_path: Path
) -> None:
    server = led("--threads", "1")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    blocked = in_background(server.get, f"/later?path={fifo}")
    server.wait_for("about to block")

    assert "async" not in server.get("/thread").text
    fifo.write_text("on")
    assert blocked.result().text == "on"


def test_what_holds_the_loop_up_each_time_is_run_all_the_same(led: Callable[..., Any], in_background: Any) -> None:
    server = led()
    burning = [in_background(server.get, "/burn") for _ in range(20)]
    assert "async" not in server.get("/thread").text
    assert {each.result().text for each in burning} == {"burnt"}
    assert server.get("/sleep/0.0").text == "slept"


def test_quick_views_are_answered_while_plain_views_hold_every_thread(
    led: Callable[..., Any], gate: Any, in_background: Any
) -> None:
    server = led("--threads", "1")
    server.get("/thread")  # it is known to be quick then
    blocked = [in_background(server.get, f"/wait?path={gate.path}") for _ in range(2)]
    for _ in blocked:
        gate.wait_for_view()

    assert server.get("/sleep/0.0").text == "slept"
    gate.open()
    assert [each.result().text for each in blocked] == ["let through"] * 2
    assert "async" not in server.get("/thread").text


def test_what_awaits_too_long_is_cancelled_by_a_loop_that_leads(led: Callable[..., Any]) -> None:
    server = led("--request-timeout-for", "/sleep=0.2")
    assert server.get("/sleep/600.0").status == 504
    server.wait_for(r"Request timed out: GET /sleep/600.0 has been awaiting for \d\.\d s")
    assert server.get("/sleep/0.0").text == "slept"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("current", "mine"),
        ("timeout", "timed out"),
        ("group", "nobody one two"),
        ("scope", "cancelled: True"),
        ("cancelled", "cancelled"),
    ],
)
def test_a_view_of_a_loop_that_leads_has_a_task_of_its_own(led: Callable[..., Any], kind: str, text: str) -> None:
    server = led()
    assert {server.get(f"/task/{kind}").text for _ in range(3)} == {text}


def test_the_end_of_a_task_is_told_to_who_asked_for_it(led: Callable[..., Any]) -> None:
    server = led()
    names = [server.get("/task/told").text for _ in range(3)]
    assert len(set(names)) == 3
    assert [server.get("/task/event").text for _ in names] == names


def test_large_answers_of_a_loop_that_leads_arrive_whole(led: Callable[..., Any]) -> None:
    assert len(led().get("/large").text) == 8_000_000


def test_a_stream_is_made_and_closed_by_other_threads_than_a_loop_that_leads(
    led: Callable[..., Any], tmp_path: Path
) -> None:
    server = led()
    note = tmp_path / "note"
    os.mkfifo(note)
    with server.connect() as sock:
        sock.sendall(f"GET /parts?note={note} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = 0
        while received < 4_000_000:
            received += len(sock.recv(65536))
    with server.connect() as sock:  # keeps the loop in the lead meanwhile
        closed_in = note.read_text()
    assert closed_in.startswith("demijohn-")
    assert closed_in != "demijohn-async"


def test_a_drain_of_a_loop_that_leads_waits_for_what_is_awaited(
    led: Callable[..., Any], gate: Any, in_background: Any
) -> None:
    server = led("--graceful-timeout", "20")
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


def test_a_drain_ends_with_the_graceful_timeout_while_the_loop_is_blocked(led: Callable[..., Any], gate: Any) -> None:
    server = led("--graceful-timeout", "0.2")
    with server.connect() as sock:
        sock.sendall(f"GET /block?path={gate.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gate.wait_for_view()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "Gave up after the graceful timeout: GET /block" in server.log


def test_uvloop_is_not_made_leader(serve: Callable[..., Any]) -> None:
    pytest.importorskip("uvloop")
    server = serve("awaiting:polled", "-w", "1", "--asgi-loop", "uvloop")
    server.wait_until_ready()
    for _ in range(20):
        assert not set(LOOP) & set(json.loads(server.get("/pollers").text))


def test_hooks_of_requests_never_run_in_the_thread_of_the_loop(serve: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "hooked.conf.py"
    config.write_text(
        "import threading\n"
        "def pre_request(worker, req):\n"
        "    worker.log.info('in %s', threading.current_thread().name)\n"
    )
    server = serve("awaiting:polled", "-w", "1", "-c", str(config))
    server.wait_until_ready()
    for _ in range(20):
        server.get("/pollers")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("in demijohn-") == 20
    assert "in demijohn-async" not in server.log
