"""What several test files need: real processes, and an environment without this machine's settings."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
