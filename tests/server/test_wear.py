"""Workers that are replaced for what they have answered or hold, one at a time, and without a loss."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.server.customers import all_leave, queue_of

HOARDER = """
hoard = []

def app(environ, start_response):
    if environ["PATH_INFO"] == "/hoard":
        hoard.append(bytearray(b"x") * (64 * 1024 * 1024))
    start_response("200 OK", [])
    return [b"kept"]
"""


@pytest.fixture
def hoarder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(HOARDER)
    return tmp_path


def test_a_worker_that_has_answered_enough_is_replaced_and_no_request_is_lost(serve, process_is_gone) -> None:
    server = serve("plain:application", "-w", "2", "--max-requests", "30", "--max-requests-jitter", "10")
    workers = server.wait_until_ready(workers=2)
    customers = queue_of(server)
    for _ in workers:
        found = server.wait_for(r"\[INFO\] Worker \(pid:(\d+)\) has answered (\d+) requests and is replaced")
        assert int(found[2]) >= 30
        process_is_gone(int(found[1]))
    for customer in customers:
        customer.wait_for(20)
    all_leave(customers)


def test_no_two_workers_are_replaced_at_once(serve) -> None:
    server = serve("plain:application", "-w", "3", "--max-requests", "1")
    server.wait_until_ready(workers=3)
    customers = queue_of(server, kept_alive=0)
    for _ in range(4):
        replaced = int(server.wait_for(r"Worker \(pid:(\d+)\) has answered")[1])
        server.wait_for(r"Worker ready")
        server.wait_for(rf"Worker exiting \(pid: {replaced}\)")
    all_leave(customers)
    events = re.findall(r"Worker (?:\(pid:\d+\) has (answered)|(ready))", server.log)
    kinds = ["".join(event) for event in events][3:]
    assert kinds == ["answered", "ready"] * (len(kinds) // 2) + ["answered"] * (len(kinds) % 2)


def test_a_worker_that_holds_too_much_memory_is_replaced_when_its_successor_is_ready(serve, hoarder: Path) -> None:
    server = serve("shop:app", "--max-memory", "96M", cwd=hoarder)
    (first,) = server.wait_until_ready()
    assert server.get("/hoard").status == server.get("/hoard").status == 200
    server.wait_for(rf"Worker \(pid:{first}\) holds \d+ MB, more than --max-memory, and is replaced")
    server.wait_for_worker()
    server.wait_for(rf"Worker exiting \(pid: {first}\)")
    assert server.get("/").text == "kept"


def test_a_worker_over_the_hard_limit_of_memory_is_ended_with_its_stacks_in_the_log(serve, hoarder: Path) -> None:
    server = serve("shop:app", "--max-memory-hard", "96M", cwd=hoarder)
    (first,) = server.wait_until_ready()
    assert server.get("/hoard").status == server.get("/hoard").status == 200
    server.wait_for(rf"Worker \(pid:{first}\) holds \d+ MB, more than --max-memory-hard. It is ended")
    server.wait_for("most recent call first")
    assert server.wait_for_worker() != first


def test_a_worker_that_is_not_ready_in_time_is_ended_and_the_reload_given_up(serve, hoarder: Path, gate) -> None:
    server = serve("shop:app", "--boot-timeout", "0.5", cwd=hoarder)
    (old,) = server.wait_until_ready()
    (hoarder / "shop.py").write_text(
        f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({str(gate.path)!r})\ns.recv(1)\n"
    )
    os.kill(server.pid, 1)
    gate.wait_for_view()
    server.wait_for(r"Worker \(pid:\d+\) was not ready within 0.5 s \(--boot-timeout\) and is ended")
    server.wait_for(r"shop\.py.*, line 4 in <module>")
    server.wait_for("Reload given up: .* The old code stays, with 1 worker")
    assert server.get("/").text == "kept"
    os.kill(old, 0)  # it is the same process


LEFTOVERS = """
import gc

def app(environ, start_response):
    start_response("200 OK", [])
    gc.collect()
    if environ["PATH_INFO"] == "/keep":
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
    return [",".join(sorted({type(each).__qualname__ for each in gc.garbage})).encode()]
"""


def test_a_connection_that_has_ended_leaves_nothing_for_the_garbage_collector(serve, tmp_path: Path) -> None:
    (tmp_path / "leftovers.py").write_text(LEFTOVERS)
    server = serve("leftovers:app", cwd=tmp_path)
    server.wait_until_ready()
    assert server.get("/keep").text == ""
    for _ in range(10):
        assert server.get("/").text == ""
