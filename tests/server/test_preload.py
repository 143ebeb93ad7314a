"""`--preload`: the application is loaded once, for all workers, and SIGHUP still loads new code."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from tests.server.customers import all_leave, queue_of

SHOP = """
import os
os.write(1, f"imported by {os.getpid()}\\n".encode())

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"{answer}"]
"""


def write(folder: Path, answer: str) -> None:
    (folder / "shop.new").write_text(SHOP.replace("{answer}", answer))
    os.replace(folder / "shop.new", folder / "shop.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "old")
    return tmp_path


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_preloaded_application_is_loaded_once_and_not_by_the_arbiter(serve, folder: Path) -> None:
    server = serve("shop:app", "--preload", "-w", "3", cwd=folder)
    workers = server.wait_until_ready(workers=3)
    assert server.get("/").text == "old"
    (loader,) = re.findall(r"imported by (\d+)", server.log)
    assert int(loader) not in (server.pid, *workers)
    assert [parent_of(pid) for pid in workers] == [server.pid] * 3


def test_sighup_loads_new_code_and_loses_no_request(serve, folder: Path) -> None:
    server = serve("shop:app", "--preload", "-w", "2", cwd=folder)
    server.wait_until_ready(workers=2)
    customers = queue_of(server)
    write(folder, "new")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded: all workers run the new code")
    for customer in customers:
        customer.wait_for_text("new")
    all_leave(customers)
    assert server.log.count("imported by") == 2


def test_new_code_that_does_not_load_leaves_the_old_serving_and_says_why(serve, folder: Path) -> None:
    server = serve("shop:app", "--preload", cwd=folder)
    (pid,) = server.wait_until_ready()
    (folder / "shop.py").write_text("raise RuntimeError('half written')\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Importing shop failed: RuntimeError: half written")
    server.wait_for("Reload given up: .* it exited with status 3. The old code stays, with 1 worker")
    assert server.get("/").text == "old"
    os.kill(pid, signal.SIGKILL)  # also its successor comes from what was loaded before
    server.wait_for_worker()
    assert server.get("/").text == "old"
    write(folder, "repaired")
    server.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded")
    assert server.get("/").text == "repaired"


def test_an_application_that_does_not_load_stops_the_start(serve, folder: Path) -> None:
    (folder / "shop.py").write_text("raise RuntimeError('half written')\n")
    server = serve("shop:app", "--preload", cwd=folder)
    assert server.wait() == 3
    assert "RuntimeError: half written" in server.log


def test_the_loss_of_the_process_with_the_application_costs_no_worker(serve, folder: Path) -> None:
    server = serve("shop:app", "--preload", cwd=folder)
    (pid,) = server.wait_until_ready()
    (loader,) = re.findall(r"imported by (\d+)", server.log)
    os.kill(int(loader), signal.SIGKILL)
    server.wait_for(rf"The process that loads the application \(pid:{loader}\) could not boot|Application loaded")
    server.wait_for("Application loaded")
    assert server.get("/").text == "old"
    os.kill(pid, signal.SIGKILL)
    assert server.wait_for_worker() != pid


def test_nothing_is_left_when_the_arbiter_is_killed(serve, folder: Path, process_is_gone) -> None:
    server = serve("shop:app", "--preload", cwd=folder)
    server.wait_until_ready()
    write(folder, "new")
    server.send_signal(signal.SIGHUP)  # so that there has been a second one that could hold something open
    server.wait_for("Reloaded")
    (worker, *_) = re.findall(r"Worker ready \(pid: (\d+)\)", server.log)[::-1]
    loaders = re.findall(r"imported by (\d+)", server.log)
    server.send_signal(signal.SIGKILL)
    for pid in (worker, *loaders):
        process_is_gone(int(pid))


def test_a_loader_that_does_not_answer_is_ended_and_another_one_loads(serve, folder: Path, process_is_gone) -> None:
    server = serve("shop:app", "--preload", cwd=folder)
    (worker,) = server.wait_until_ready()
    (loader,) = map(int, re.findall(r"imported by (\d+)", server.log))
    os.kill(loader, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    server.wait_for(rf"the process with the application \(pid:{loader}\) did not answer")
    server.wait_for("imported by")
    assert server.wait_for_worker() != worker
    assert server.get("/").text == "old"
    process_is_gone(loader)


def test_sigterm_ends_all_processes(serve, folder: Path, process_is_gone) -> None:
    server = serve("shop:app", "--preload", "-w", "2", cwd=folder)
    workers = server.wait_until_ready(workers=2)
    (loader,) = re.findall(r"imported by (\d+)", server.log)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    for pid in (*workers, int(loader)):
        process_is_gone(pid)


def test_workers_that_are_worn_out_are_replaced_from_what_was_loaded(serve, folder: Path) -> None:
    server = serve("shop:app", "--preload", "--max-requests", "5", cwd=folder)
    server.wait_until_ready()
    customers = queue_of(server)
    for _ in range(2):
        server.wait_for("has answered")
        server.wait_for_worker()
    all_leave(customers)
    assert server.log.count("imported by") == 1
