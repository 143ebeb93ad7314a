"""What the arbiter answers itself, and `demijohn top`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import select
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demijohn.cli_top import _lines, _table
from demijohn.server.control import open_control
from demijohn.server.metrics import Metrics
from demijohn.server.settings import Settings
from demijohn.server.slots import SlotTable


@pytest.fixture
def status_address(free_port: int) -> str:
    return f"127.0.0.1:{free_port}"


def ask(address: str, target: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def until(holds: Callable[[], Any]) -> Any:
    """Ask again until the answer is what it has to become."""
    deadline = time.monotonic() + 30
    while not (found := holds()):
        assert time.monotonic() < deadline
    return found


def test_the_arbiter_answers_while_every_worker_is_stuck(serve, status_address, in_background) -> None:
    server = serve("plain:application", "-w", "1", "--status-bind", status_address, "--timeout", "600")
    server.wait_until_ready()
    assert ask(status_address, "/readyz") == (200, "ready\n")
    request = in_background(server.get, "/hold")  # the interpreter of the only worker
    # Its signs of life end; the arbiter goes on telling.
    until(
        lambda: any(
            float(line.rpartition(" ")[2]) > 1.5
            for line in ask(status_address, "/metrics")[1].splitlines()
            if line.startswith("demijohn_worker_heartbeat_age_seconds{")
        )
    )
    assert ask(status_address, "/livez?verbose") == (200, "ok\n")
    server.send_signal(signal.SIGINT)
    assert server.wait() == 0
    with pytest.raises((ConnectionError, OSError)):
        request.result()


def test_it_is_ready_when_a_worker_is_and_until_it_is_to_stop(serve, gate, in_background, status_address) -> None:
    server = serve("plain:application", "--status-bind", status_address)
    server.wait_until_ready()
    request = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    server.wait_for("Handling signal: term")
    assert until(lambda: ask(status_address, "/readyz")[0] == 503)
    assert ask(status_address, "/livez")[0] == 200
    gate.open()
    assert request.result().status == 200
    assert server.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        ask(status_address, "/livez")


def test_nothing_is_ready_while_the_application_loads(serve, gate, tmp_path: Path, status_address) -> None:
    (tmp_path / "shop.py").write_text(
        f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({str(gate.path)!r})\ns.recv(1)\n"
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    )
    server = serve("shop:app", "--status-bind", status_address, cwd=tmp_path)
    gate.wait_for_view()
    assert ask(status_address, "/readyz") == (503, "not ready: no worker serves yet\n")
    assert ask(status_address, "/livez")[0] == 200
    gate.open()
    server.wait_until_ready()
    assert ask(status_address, "/readyz")[0] == 200


def test_other_paths_and_methods_are_refused_and_what_is_done_is_not_told_there(serve, status_address) -> None:
    server = serve("plain:application", "--status-bind", status_address)
    server.wait_until_ready()
    assert ask(status_address, "/") == (404, "There are /livez, /readyz, /metrics.\n")
    assert ask(status_address, "/status.json")[0] == 404
    assert ask(status_address, "/livez", "POST")[0] == 405
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{status_address}/livez", b"content", timeout=30)
    assert refused.value.headers["Allow"] == "GET, HEAD"
    refused.value.close()
    assert ask(status_address, "/livez", "HEAD") == (200, "")
    with socket.create_connection(tuple(status_address.split(":")), timeout=30) as sock:  # type: ignore[arg-type]
        sock.sendall(b"hello\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_peers_that_say_nothing_do_not_keep_others_out_for_long(serve, status_address) -> None:
    server = serve("plain:application", "--status-bind", status_address)
    server.wait_until_ready()
    host, port = status_address.split(":")
    silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(100)]
    try:

        def answers() -> bool:
            try:
                return ask(status_address, "/livez")[0] == 200
            except (ConnectionError, http.client.HTTPException):
                return False

        assert until(answers)
        assert server.get("/").status == 200
    finally:
        for sock in silent:
            sock.close()


def test_requests_are_counted_when_only_the_arbiter_tells(serve, status_address) -> None:
    server = serve("plain:application", "--status-bind", status_address)
    server.wait_until_ready()
    assert server.get("/").status == 200
    count = 'demijohn_request_duration_seconds_count{method="GET",status="2xx"} 1'
    assert until(lambda: count in ask(status_address, "/metrics")[1])


def test_an_address_that_cannot_be_had_stops_the_start(serve) -> None:
    server = serve("plain:application", "--status-bind", "192.0.2.1:1")
    assert server.wait() == 1
    assert server.log.startswith("Error: Cannot listen on 192.0.2.1:1: ")


def test_without_descriptors_newcomers_wait_and_nobody_is_told_of_them_all_the_time(tmp_path: Path) -> None:
    control = open_control(Settings(status_bind=(f"unix:{tmp_path}/status",)))
    control.show(Metrics(1), SlotTable(1), to_users=False)
    spare: list[int] = []
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/status")
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    spare.append(os.dup(client.fileno()))
            control.serve()
            is_told = bool(select.select([control.fileno()], [], [], 0)[0])
        finally:
            for fd in spare:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not is_told
        client.setblocking(False)

        def answer() -> bytes:
            control.serve()
            with contextlib.suppress(BlockingIOError):
                return client.recv(1000)
            return b""

        assert until(answer).startswith(b"HTTP/1.1 200 OK")
    control.close()


# -- demijohn top ---------------------------------------------------------------------------------


def test_top_shows_what_each_thread_is_doing(serve, gate, in_background, demijohn, tmp_path: Path) -> None:
    server = serve("limited:app", "-w", "2")
    workers = server.wait_until_ready(workers=2)
    request = in_background(server.get, f"/wait?path={gate.path}")
    waiting = in_background(server.get, f"/await?path={gate.path}")
    for _ in range(2):
        gate.wait_for_view()

    def report() -> Any:
        found = json.loads(demijohn("top", str(server.pid), "--json", cwd=tmp_path).stdout)
        return found if sum(len(worker["doing"]) for worker in found["workers"]) == 2 else None

    found = until(report)
    assert (found["pid"], found["ready"], found["worker_starts"]) == (server.pid, True, 2)
    assert sorted(worker["pid"] for worker in found["workers"]) == sorted(workers)
    tasks = {task["path"]: task for worker in found["workers"] for task in worker["doing"]}
    assert tasks["/wait"]["at"].startswith("limited.py:")
    assert tasks["/wait"]["at"].endswith(" in wait_at_gate")
    assert tasks["/wait"]["thread"].startswith("demijohn-")
    assert tasks["/wait"]["for_s"] > 0
    assert tasks["/await"]["thread"] is None
    shown = demijohn("top", str(server.pid), cwd=tmp_path).stdout
    assert re.match(rf"arbiter {server.pid} of demijohn [\d.]+, ready; 2 workers started", shown)
    assert "GET /wait" in shown
    assert "in wait_at_gate" in shown
    assert str(gate.path) not in shown  # a query may be nobody's business
    gate.open()
    assert [request.result().status, waiting.result().status] == [200, 200]


def test_top_has_workers_write_down_their_stacks(serve, gate, in_background, demijohn, tmp_path: Path) -> None:
    server = serve("limited:app")
    (worker,) = server.wait_until_ready()
    request = in_background(server.get, f"/wait?path={gate.path}")
    gate.wait_for_view()
    done = demijohn("top", str(server.pid), "--stacks", cwd=tmp_path)
    assert done.stdout == f"The stacks of {worker} are in the error log of the server {server.pid}.\n"
    server.wait_for(r'limited\.py", line \d+ in wait_at_gate')
    gate.open()
    assert request.result().status == 200


def test_top_says_when_there_is_nobody_to_ask(demijohn, tmp_path: Path) -> None:
    done = demijohn("top", "1234567", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: No server has the process id 1234567.\n"


def test_a_server_can_do_without_the_control_socket(serve, demijohn, tmp_path: Path) -> None:
    server = serve("plain:application", "--no-control-socket")
    server.wait_until_ready()
    done = demijohn("top", str(server.pid), cwd=tmp_path)
    assert done.stderr == f"Error: No server has the process id {server.pid}.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as somebody else")
def test_top_tells_others_nothing(serve, tmp_path: Path) -> None:
    server = serve("plain:application")
    server.wait_until_ready()
    lines = Path("/proc/net/unix").read_text().splitlines()
    name = next(line.split()[-1] for line in lines if f"@demijohn/{server.pid}-" in line)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect("\0" + name[1:])
                sock.sendall(b"GET /status.json HTTP/1.1\r\nHost: a\r\n\r\n")
                os._exit(1 if sock.recv(1000) else 0)
        except OSError:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_is_shown_cannot_steer_the_terminal() -> None:
    task = {"method": "GET", "path": "/\x1b[2J\n", "for_s": 1.0, "thread": "t", "at": None}
    worker = {
        "pid": 2, "state": "ready", "up_s": 3700, "requests": 1, "threads_busy": 1, "threads": 16, "connections": 1,
        "requests_in_flight": 1, "cpu_s": 1.0, "resident_bytes": 2**20, "heartbeat_age_s": None, "doing": [task],
    }  # fmt: skip
    now = {"version": "1", "pid": 1, "ready": True, "worker_starts": 1, "worker_crashes": 0, "workers_hung": 0}
    lines = _lines({**now, "requests_timed_out": 0, "workers": [worker]}, None, 1.0, 200)
    assert all(line.isprintable() for line in lines)
    assert any("GET /?[2J?" in line and "1.0 s" in line for line in lines)
    assert any("1 h 1 min" in line and "1/16" in line for line in lines)


def test_columns_of_a_table_are_aligned() -> None:
    assert _table([["A", "B"], ["long", "7"], ["b", "10"]], left=(0,)) == ["A      B", "long   7", "b     10"]


def test_peers_that_hang_up_before_they_are_answered_harm_nobody(serve, tmp_path: Path) -> None:
    path = tmp_path / "status"
    server = serve("plain:application", "--status-bind", f"unix:{path}")
    server.wait_until_ready()
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
