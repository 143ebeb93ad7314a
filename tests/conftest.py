"""What several test files need: real processes, and an environment without this machine's settings."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# On a busy machine the first example of a property may take any time.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Long enough for a busy machine; only a test that fails waits this long.
PATIENCE_S = 30.0


class Running:
    """A process a test has started; what it prints, on both streams, can be waited for."""

    def __init__(self, arguments: list[str], cwd: Path, env: dict[str, str]) -> None:
        # In a session of its own: what it forks is ended with it.
        self.process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match of `pattern` in a line that was not waited for yet."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                pytest.fail(f"{pattern!r} was not printed, but this was:\n{self.output}")
            self.output += line
            if match := re.search(pattern, line):
                return match

    def read_to_the_end(self) -> str:
        """Return all output, once every process that could add to it has ended."""
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            self.output += line
        return self.output

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Kill it and what it forked, if it still runs."""
        # Also when it has ended by itself: what it forked may still be there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self._reader.join()
        self.process.stdout.close()


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what would change how an application is found and served."""
    ours = ("FLASK_", "DEMIJOHN_", "WERKZEUG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for name in ("PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        kept.pop(name, None)
    # The tests may themselves run in a container.
    return {**kept, "container": "", "PYTHONUNBUFFERED": "1", **more}


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Start `python ARGUMENTS...` in a folder; it is ended after the test."""
    running: list[Running] = []

    def start_python(*arguments: str, cwd: Path, **environment: str) -> Running:
        running.append(Running([sys.executable, *arguments], cwd, clean_environment(**environment)))
        return running[-1]

    yield start_python
    for process in running:
        process.end()


@pytest.fixture
def demijohn() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `demijohn ARGUMENTS...` in a folder to its end."""

    def run(*arguments: str, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "demijohn", *arguments],
            cwd=cwd,
            env=clean_environment(**environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    return run


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Program:
    """A program that listens at a port of this machine, and can be stopped and started again."""

    def __init__(self, port: int, arguments: list[str], cwd: Path) -> None:
        self.port = port
        self._arguments = arguments
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._cwd / f"{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, cwd=self._cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                said = (self._cwd / f"{self.port}.log").read_text()
                assert self._process.poll() is None, f"{self._arguments} ended: {said}"
                assert time.monotonic() < deadline, f"{self._arguments} does not listen: {said}"
                threading.Event().wait(0.02)  # there is nothing to wait for but its port

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal_number)
            process.wait(PATIENCE_S)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program that listens: `program("redis-server", "--port", "{port}")`. It is stopped after the test.

    port: where it listens, by default one that is free.
    """
    started: list[Program] = []

    def start_program(name: str, *arguments: str, port: int = 0, path: str | None = None) -> Program:
        found = shutil.which(name, path=path)
        if found is None:
            pytest.skip(f"{name} is not installed, so this is NOT TESTED here")
        if not port:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = int(probe.getsockname()[1])
        started.append(Program(port, [found, *(argument.format(port=port) for argument in arguments)], tmp_path))
        started[-1].start()
        return started[-1]

    yield start_program
    for each in reversed(started):
        each.stop(signal.SIGKILL)


@pytest.fixture
def redis_server(program: Callable[..., Program]) -> Program:
    """Debian's Redis. What it has is still there when it is started again."""
    return program("redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--appendonly", "yes")
