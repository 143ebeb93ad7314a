"""A server to do harm to."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

APPS = Path(__file__).parents[1] / "apps"
PATIENCE_S = 20.0


class Server:
    """A running `demijohn serve`.

    successor: process id of the arbiter that has taken over, if there is one.
    """

    successor: int | None = None

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.port = 0

    def wait_until_ready(self, workers: int) -> None:
        self.wait_for(r"Worker ready", workers)
        self.port = int(self.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Return the match of a pattern in the log, once it is there so many times."""
        until = time.monotonic() + PATIENCE_S
        while True:
            found = list(re.finditer(pattern, self.log))
            if len(found) >= times:
                return found[times - 1]
            if time.monotonic() > until:
                raise TimeoutError(f"{pattern!r} is not in the log {times} times:\n{self.log[-3000:]}")
            time.sleep(0.01)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def send(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)


@contextlib.contextmanager
def serving(*flags: str, workers: int = 2, descriptors: int | None = None) -> Iterator[Server]:
    """Run the faulty application until the end of the block."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    command = [sys.executable, "-m", "demijohn", "serve", "-b", "127.0.0.1:0", "-w", str(workers), *flags]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, "faulty:application"], cwd=APPS, stdout=file, stderr=file, preexec_fn=limit
            )
        server = Server(process, log)
        try:
            server.wait_until_ready(workers)
            yield server
        finally:
            process.terminate()
            if server.successor is not None:
                os.kill(server.successor, signal.SIGTERM)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Memory:
    """How much more a process has needed, at its peak, since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak counts from now on
        self._before_kib = self._peak_kib()

    @property
    def more_mib(self) -> float:
        return (self._peak_kib() - self._before_kib) / 1024

    def _peak_kib(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self._pid}/status").read_text())
        assert found is not None
        return int(found[1])
