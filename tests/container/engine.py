"""docker for tests: the engine that answers here, or one that is started for them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


class NoEngine(Exception):
    """There is none, and none can be started; the message says why."""


@dataclass
class Engine:
    """An engine that answers; `environ` is what a program needs to find it."""

    program: str
    environ: dict[str, str]

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run `docker ARGUMENTS...`; return what it prints, with both streams mixed."""
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S * 5,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout.strip()

    def inspect(self, what: str, template: str) -> Any:
        return json.loads(self.run("inspect", "-f", f"{{{{json {template}}}}}", what))


@contextlib.contextmanager
def running_engine() -> Iterator[Engine]:
    """Give an engine that answers. As root one is started, where none does; it is stopped at the end, with its traces.

    Raises NoEngine.
    """
    # Debian's own first: a newer docker command needs a plugin to build.
    program = next(filter(None, (shutil.which("docker", path="/usr/bin"), shutil.which("docker"))), None)
    if program is None:
        raise NoEngine("docker is not installed")
    environ = {**os.environ, "PATH": f"{os.path.dirname(program)}:{os.environ['PATH']}"}
    if _answers(program, environ):
        yield Engine(program, environ)
        return
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngine("no docker engine answers, and only root can start one")
    with tempfile.TemporaryDirectory(prefix="demijohn-engine-") as folder:
        yield from _started(program, environ, Path(folder))


def _answers(program: str, environ: dict[str, str]) -> bool:
    return subprocess.run([program, "info"], env=environ, capture_output=True, timeout=PATIENCE_S).returncode == 0


def _started(program: str, environ: dict[str, str], folder: Path) -> Iterator[Engine]:
    (folder / "config").mkdir()
    (folder / "config/config.json").write_text("{}")
    host = f"unix://{folder}/socket"
    environ = {**environ, "DOCKER_HOST": host, "DOCKER_CONFIG": str(folder / "config")}
    forwarding = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True).stdout
    had_bridge = Path("/sys/class/net/docker0").exists()
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "-H", host, "--pidfile", str(folder / "pid")),
                *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(program, environ):
            if process.poll() is not None or time.monotonic() > deadline:
                lines = (folder / "log").read_text().splitlines()
                raise NoEngine(f"dockerd does not start: {lines[-1] if lines else 'it says nothing'}")
            time.sleep(0.1)
        engine = Engine(program, environ)
        yield engine
        if containers := engine.run("ps", "-aq").split():
            engine.run("rm", "-f", *containers)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.wait()
        if "-P FORWARD ACCEPT" in forwarding:
            subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=False)
        if not had_bridge:
            subprocess.run(["ip", "link", "del", "docker0"], check=False, capture_output=True)
        # What is still mounted would be in the way of removing the folder.
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if str(folder) in line.split()[1]:
                subprocess.run(["umount", "-l", line.split()[1]], check=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
