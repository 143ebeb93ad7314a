"""What systemd passes and wants to be told. The tests play systemd: they open sockets, and listen for what is said."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import clean_environment

from demijohn.server.systemd import Notifier, listen_addresses

APPS = Path(__file__).parents[1] / "apps"
PATIENCE_S = 30.0
# Becomes the server with descriptor 3 open, as systemd does it: LISTEN_PID is the process's own.
ACTIVATOR = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execv(sys.executable, [sys.executable, "-m", "demijohn", "serve", *sys.argv[2:]])
"""


class Manager:
    """The end of NOTIFY_SOCKET that systemd holds."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(PATIENCE_S)

    def wait_for(self, assignment: str) -> list[str]:
        """Return the assignments of the next message that has this one."""
        while True:
            said = self._socket.recv(4096).decode().split("\n")
            if assignment in said:
                return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify")
    manager = Manager(address if request.param == "path" else f"@{address}")
    yield manager
    manager.close()


def test_systemd_is_told_what_becomes_of_the_service(serve, manager: Manager) -> None:
    server = serve("plain:application", NOTIFY_SOCKET=manager.address)
    assert f"MAINPID={server.pid}" in manager.wait_for("READY=1")
    server.wait_until_ready()
    server.send_signal(signal.SIGHUP)
    (clock,) = manager.wait_for("RELOADING=1")[1:]
    assert clock.startswith("MONOTONIC_USEC=")
    manager.wait_for("READY=1")
    server.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert server.wait() == 0


def test_a_reload_that_is_given_up_is_over_for_systemd_too(serve, manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def app(environ, start_response): ...\n")
    server = serve("shop:app", cwd=tmp_path, NOTIFY_SOCKET=manager.address)
    server.wait_until_ready()
    (tmp_path / "shop.py").write_text("1 / 0\n")
    server.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    server.wait_for("Reload given up")
    manager.wait_for("READY=1")


def test_the_watchdog_gets_signs_of_life(serve, manager: Manager) -> None:
    serve("plain:application", NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="200000").wait_until_ready()
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")


def test_the_new_arbiter_of_an_upgrade_becomes_the_main_process(serve, manager: Manager) -> None:
    server = serve("plain:application", NOTIFY_SOCKET=manager.address)
    server.wait_until_ready()
    server.send_signal(signal.SIGUSR2)
    successor = int(server.wait_for(r"Started a new arbiter \(pid: (\d+)\)")[1])
    manager.wait_for(f"MAINPID={successor}")
    server.send_signal(signal.SIGTERM)
    server.wait_for("The arbiter before this one")
    os.kill(successor, signal.SIGTERM)


def test_without_a_manager_nothing_is_said_and_a_deaf_one_stops_nothing(serve, tmp_path: Path) -> None:
    server = serve("plain:application", NOTIFY_SOCKET=str(tmp_path / "nobody"))
    server.wait_until_ready()
    assert "The service manager cannot be told READY=1" in server.log
    assert server.get("/").status == 200
    Notifier({}).tell("READY=1")


def test_sockets_of_systemd_are_served_instead_of_the_settings(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", ACTIVATOR, str(listener.fileno())),
                *("-b", f"127.0.0.1:{free_port}", "plain:application"),
            ],
            cwd=APPS,
            env=clean_environment(),
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # Connections wait until there is a worker: that is what socket activation is for.
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
                client.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
                assert b"Hello, World!" in b"".join(iter(lambda: client.recv(4096), b""))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", free_port))
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        # It is systemd's, and there for the next start.
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()


def test_sockets_that_were_passed_to_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert listen_addresses(environ) == ()
    assert environ == {}
