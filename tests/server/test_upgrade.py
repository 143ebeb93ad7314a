"""SIGUSR2: a new arbiter on the same listeners, and SIGWINCH, by which the old one hands over."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.server.customers import all_leave, queue_of

SHOP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"{answer}"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP.replace("{answer}", "old"))
    return tmp_path


def upgrade(server: Any, folder: Path) -> int:
    """Put new code in place, start a new arbiter, and return its process id when it serves."""
    (folder / "shop.py").write_text(SHOP.replace("{answer}", "new"))
    server.send_signal(signal.SIGUSR2)
    successor = int(server.wait_for(r"Started a new arbiter \(pid: (\d+)\)")[1])
    server.wait_for(rf"\[{successor}\] \[INFO\] Worker ready")
    return successor


@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["plain", "preload"])
@pytest.mark.parametrize("is_unix", [False, True], ids=["tcp", "unix"])
def test_the_new_arbiter_takes_over_and_no_request_is_lost(
    serve, folder: Path, process_is_gone, flags: tuple[str, ...], is_unix: bool
) -> None:
    pid_file = folder / "pid"
    bind = f"unix:{folder}/socket" if is_unix else "127.0.0.1:0"
    server = serve("shop:app", "-w", "2", "--pid", str(pid_file), *flags, bind=bind, cwd=folder)
    server.wait_until_ready(workers=2)
    customers = queue_of(server)
    successor = upgrade(server, folder)
    assert int((folder / "pid.2").read_text()) == successor
    server.send_signal(signal.SIGTERM)
    server.wait_for(r"The arbiter before this one \(pid: \d+\) has ended")
    for customer in customers:
        customer.wait_for_text("new")
    all_leave(customers)
    assert server.get("/").text == "new"
    os.kill(successor, signal.SIGTERM)
    process_is_gone(successor)
    assert not pid_file.exists()
    assert not (folder / "pid.2").exists()
    if is_unix:
        assert not (folder / "socket").exists()


def test_the_pid_file_gets_its_name_when_the_old_arbiter_has_ended(serve, folder: Path) -> None:
    pid_file = folder / "pid"
    server = serve("shop:app", "--pid", str(pid_file), cwd=folder)
    server.wait_until_ready()
    successor = upgrade(server, folder)
    assert int(pid_file.read_text()) == server.pid
    server.send_signal(signal.SIGTERM)
    server.wait_for("The arbiter before this one")
    assert int(pid_file.read_text()) == successor
    os.kill(successor, signal.SIGTERM)


def test_sigwinch_hands_over_and_sighup_takes_back(serve, folder: Path, process_is_gone) -> None:
    server = serve("shop:app", cwd=folder)
    (worker,) = server.wait_until_ready()
    customers = queue_of(server)
    successor = upgrade(server, folder)
    server.send_signal(signal.SIGWINCH)
    process_is_gone(worker)
    for customer in customers:
        customer.wait_for_text("new")
    (folder / "shop.py").write_text(SHOP.replace("{answer}", "back"))
    server.send_signal(signal.SIGHUP)
    server.wait_for(rf"\[{server.pid}\] \[INFO\] Worker ready")
    os.kill(successor, signal.SIGTERM)
    process_is_gone(successor)
    for customer in customers:
        customer.wait_for_text("back")
    all_leave(customers)


def test_a_new_arbiter_that_cannot_start_leaves_the_old_one_serving(serve, folder: Path) -> None:
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    (folder / "shop.py").write_text("raise RuntimeError('half written')\n")
    server.send_signal(signal.SIGUSR2)
    server.wait_for(r"The new arbiter \(pid:\d+\) has ended: it exited with status 3. This one goes on")
    assert server.get("/").text == "old"
    upgrade(server, folder)  # it can be tried again


def test_there_are_no_more_than_two_arbiters(serve, folder: Path) -> None:
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    successor = upgrade(server, folder)
    server.send_signal(signal.SIGUSR2)
    server.wait_for("There are two arbiters already")
    os.kill(successor, signal.SIGUSR2)
    server.wait_for(rf"\[{successor}\] \[WARNING\] There are two arbiters already")


def test_pre_exec_is_called_in_the_process_that_becomes_the_new_arbiter(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "import os\ndef pre_exec(server):\n    server.log.info('pre_exec in %d', os.getpid())\n"
    )
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    server.send_signal(signal.SIGUSR2)
    server.wait_for(r"Started a new arbiter")
    server.wait_for("Listening at")
    (started,) = re.findall(r"Started a new arbiter \(pid: (\d+)\)", server.log)
    assert f"pre_exec in {started}" in server.log
