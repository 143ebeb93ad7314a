"""What an application, or whoever starts the server, may do to its processes, and the server goes on."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .conftest import APPS, PATIENCE_S

# -- processes that views fork --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "status"),
    [
        ("forking:app", "/fork/returns", "0"),
        ("forking:app", "/fork/exits", "0"),
        ("forking:app", "/async-fork", "0"),
        ("forking:asgi", "/fork/returns", "0"),
    ],
)
def test_a_process_that_a_view_forked_ends_when_it_returns(serve, target: str, path: str, status: str) -> None:
    server = serve(target, "--threads", "2")
    server.wait_until_ready()
    with server.connect() as neighbour:
        neighbour.sendall(b"GET / HTTP/1.1\r\nHost: testserver\r\n\r\n")
        assert neighbour.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(3):
            answer = server.get(path)
            assert (answer.status, answer.text) == (200, status)
        neighbour.sendall(b"GET / HTTP/1.1\r\nHost: testserver\r\n\r\n")
        assert neighbour.recv(65536).startswith(b"HTTP/1.1 200 ")
    server.wait_for(r"\[WARNING\] A process \(pid: \d+\) that a view has forked has returned from it, and ends here")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_process_of_multiprocessing_can_be_terminated_and_the_worker_stays(serve) -> None:
    server = serve("forking:app", "--status-bind", "127.0.0.1:0")
    server.wait_until_ready()
    assert server.get("/terminate").text == str(-signal.SIGTERM)
    assert server.get("/").status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("Booting worker") == 1


def test_a_process_that_a_view_leaves_behind_holds_neither_connections_nor_the_address(serve) -> None:
    server = serve("forking:app")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"GET /daemon HTTP/1.1\r\nHost: testserver\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))  # it ends, although the process goes on
    left_behind = int(answer.rpartition(b"\r\n")[2])
    try:
        server.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionRefusedError):
            server.connect_until_refused()
    finally:
        os.kill(left_behind, signal.SIGKILL)


# -- what is taken away from under the server --------------------------------------------------------------


@pytest.mark.parametrize("target", ["forking:app", "forking:asgi"])
def test_a_worker_whose_descriptors_the_application_has_closed_is_replaced(serve, target: str) -> None:
    server = serve(target)
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"GET /close-all HTTP/1.1\r\nHost: testserver\r\n\r\n")
        server.wait_for("This worker cannot wait for events any more, so it ends, with the requests in it")
        server.wait_for("exited with status 1. It is replaced")
    server.wait_for_worker()
    assert server.get("/").status == 200


def test_a_worker_whose_directory_is_gone_shows_what_it_does(serve, tmp_path: Path, gate, in_background) -> None:
    folder = tmp_path / "release-1"
    folder.mkdir()
    server = serve("limited:app", "--metrics-path", "/metrics", cwd=folder, PYTHONPATH=str(APPS))
    server.wait_until_ready()
    folder.rmdir()
    waiting = in_background(server.get, f"/unlimited?path={gate.path}")
    gate.wait_for_view()
    wait_for_busy_threads(server, 1)
    gate.open()
    assert waiting.result().status == 200
    wait_for_busy_threads(server, 0)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.log


def wait_for_busy_threads(server: Any, number: int) -> None:
    while f'demijohn_worker_threads_busy{{worker="0"}} {number}\n' not in server.get("/metrics").text:
        pass


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_without_standard_streams_serves(tmp_path: Path, free_port: int, closed: str) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    command = (
        f"exec {sys.executable} -m demijohn serve -b 127.0.0.1:{free_port} --error-logfile {log} --access-logfile - "
        f"forking:app {closed}"
    )
    process = subprocess.Popen(["sh", "-c", command], cwd=APPS, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with log.open() as lines:
            assert any("Worker ready" in line for line in lines)
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", free_port), timeout=PATIENCE_S) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: testserver\r\nConnection: close\r\n\r\n")
                    assert b"".join(iter(partial(sock.recv, 65536), b"")).endswith(b"Hello, World!")
            process.terminate()
            assert any("Stopped" in line for line in lines)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


# -- peers that are gone --------------------------------------------------------------------------------------


def test_an_application_is_told_of_a_peer_that_is_gone_before_it_could_be_asked_for_content(serve) -> None:
    server = serve("asgi_plain:application")
    server.wait_until_ready()
    sock = server.connect()
    sock.sendall(b"POST /count HTTP/1.1\r\nHost: testserver\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()  # with a reset
    assert server.get("/").status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Gave up" not in server.log


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 10\r\n\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_half_a_message_is_never_answered_as_a_whole_one(serve, sent: bytes) -> None:
    server = serve("forking:asgi")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: testserver\r\n" + sent)
        sock.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: sock.recv(65536), b"")).startswith(b"HTTP/1.1 400 ")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.log
