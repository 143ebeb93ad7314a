"""Servers as their users start them, and what tests of them need."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parents[1] / "apps"
PATIENCE_S = 30.0  # only what has gone wrong takes that long


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str


class Server:
    """A running `demijohn serve`. `log` is what it has printed; see `Running` in tests/conftest.py."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self.pid: int = running.process.pid
        self.wait_for = running.wait_for
        self.address: tuple[str, int] | str = ""

    @property
    def log(self) -> str:
        return str(self._running.output)

    def wait_until_ready(self, workers: int = 1) -> list[int]:
        """Return the process ids of the workers once all of them serve."""
        listening = self.wait_for(r"Listening at: (?:https?://([\d.]+):(\d+)|unix:(\S+))")
        self.address = listening[3] or (listening[1], int(listening[2]))
        return [self.wait_for_worker() for _ in range(workers)]

    def wait_for_worker(self) -> int:
        """Return the process id of the next worker that becomes ready."""
        return int(self.wait_for(r"Worker ready \(pid: (\d+)\)")[1])

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        try:
            sock.settimeout(PATIENCE_S)
            sock.connect(self.address)
        except OSError:
            sock.close()
            raise
        return sock

    def connect_until_refused(self) -> None:
        """Connect again and again. Raises ConnectionRefusedError."""
        while True:
            with contextlib.suppress(ConnectionResetError):  # in the moment of closing
                self.connect().close()

    def get(self, target: str = "/", **headers: str) -> Answer:
        """Return the answer to a GET on a connection of its own."""
        connection = http.client.HTTPConnection("testserver")
        connection.sock = self.connect()
        try:
            connection.request("GET", target, headers={"Connection": "close", **headers})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def send_signal(self, signum: signal.Signals) -> None:
        self._running.process.send_signal(signum)

    def wait(self) -> int:
        """Return the exit status, once it has ended; `log` then has all its lines."""
        status: int = self._running.process.wait(PATIENCE_S)
        self._running.read_to_the_end()
        return status


class Gate:
    """A place where a view waits until a test lets it go on; `tests/apps/plain.py` has the view."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(PATIENCE_S)
        self._inside: list[socket.socket] = []

    def wait_for_view(self) -> None:
        """Return when one more view has come to the gate."""
        self._inside.append(self._listener.accept()[0])

    def open(self) -> None:
        """Let all views that wait go on."""
        while self._inside:
            self._inside.pop().close()

    def close(self) -> None:
        self.open()
        self._listener.close()


@pytest.fixture
def serve(start: Callable[..., Any]) -> Callable[..., Server]:
    """Start a server: `serve("plain:application", "-w", "2")`, in tests/apps unless `cwd` is given."""

    def start_server(target: str, *flags: str, bind: str = "127.0.0.1:0", cwd: Path = APPS, **environ: str) -> Server:
        # A module that a test writes anew within a second must not come from its old bytecode.
        environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
        address = ("-b", bind) if bind else ()
        return Server(start("-m", "demijohn", "serve", *address, *flags, target, cwd=cwd, **environ))

    return start_server


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


class Background:
    """A call that runs in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        function, arguments = self._call
        try:
            self._value = function(*arguments)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the call has not come back"
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture
def in_background() -> Callable[..., Background]:
    """Call a function in a thread: `in_background(server.get, "/wait")`."""
    return Background


@pytest.fixture
def process_is_gone() -> Callable[[int], None]:
    """Wait until a process that is not this one's child has ended."""

    def wait(pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            assert poll.poll(PATIENCE_S * 1000), f"process {pid} still runs"
        finally:
            os.close(fd)

    return wait
