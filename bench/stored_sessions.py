"""What a session kept in Redis costs a request: `python -m bench.stored_sessions`, beside Flask-Session on gunicorn.

CPU microseconds a request, of the server's process tree and of Redis, asked by one client on one connection. Needs
redis-server, and the peers' environment: bench/.venv, which `python -m bench` makes, or BENCH_PEERS.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.proc import spent_by
from bench.servers import free_port

BENCH = Path(__file__).parent
REQUESTS = 1_000
ROUNDS = 5
START_LIMIT_S = 20.0
VIEWS = ("/plain", "/read", "/write")


def servers(port: int) -> dict[str, tuple[list[str], str]]:
    """Return the command of each server and the framework on it."""
    peers = Path(os.environ.get("BENCH_PEERS", BENCH / ".venv")) / "bin" / "python"
    gunicorn = [
        "-m",
        "gunicorn",
        "-b",
        f"127.0.0.1:{port}",
        "-k",
        "gthread",
        "--threads",
        "4",
        "--log-level",
        "warning",
    ]
    own = [sys.executable, "-m", "demijohn", "serve", "-b", f"127.0.0.1:{port}", "-w", "1", "--threads", "4"]
    return {
        "gunicorn + Flask + Flask-Session": ([str(peers), *gunicorn, "stored_sessions:app"], "flask"),
        "demijohn, `StoredSessions`": ([*own, "stored_sessions:app"], "demijohn"),
    }


@contextmanager
def running(command: list[str], port: int, directory: Path, **environment: str) -> Iterator[int]:
    """Start a server, and yield its process ID once it listens. Raises RuntimeError when it does not."""
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not is_listening(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def is_listening(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


class Client:
    """One connection and one session."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._fields: dict[str, str] = {}

    def get(self, target: str) -> bytes:
        self._connection.request("GET", target, headers=self._fields)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{target} was answered {response.status}")
        if cookie := response.headers["Set-Cookie"]:
            self._fields["Cookie"] = cookie.partition(";")[0]
        return content


def cost_us(client: Client, target: str, pids: list[int]) -> list[float]:
    """Return the CPU time a request takes of each of the process trees."""
    before = [spent_by(pid) for pid in pids]
    for _ in range(REQUESTS):
        client.get(target)
    return [(spent_by(pid) - earlier) / REQUESTS * 1e6 for pid, earlier in zip(pids, before, strict=True)]


def main() -> None:
    print(f"| CPU us a request | {' | '.join(VIEWS)} | Redis: {' | '.join(VIEWS)} |")
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as name:
        redis_port = free_port()
        redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        with running(redis, redis_port, Path(name)) as redis_pid:
            port = free_port()
            for title, (command, framework) in servers(port).items():
                environment = {
                    "BENCH_FRAMEWORK": framework,
                    "BENCH_REDIS": f"redis://127.0.0.1:{redis_port}/0",
                    "PYTHONPATH": str(BENCH / "apps"),
                }
                directory = Path(name) / framework
                directory.mkdir()
                with running(command, port, directory, **environment) as pid:
                    print(row(title, Client(port), [pid, redis_pid]), flush=True)


def row(title: str, client: Client, pids: list[int]) -> str:
    """Return the least of several rounds for each view: what others take of the machine only adds."""
    first = int(client.get("/write"))
    if (client.get("/read"), int(client.get("/write"))) != (b"Ann", first + 1):
        raise RuntimeError(f"{title} does not keep the session")
    rounds = [[cost_us(client, view, pids) for view in VIEWS] for _ in range(ROUNDS)]
    best = [[min(costs[view][tree] for costs in rounds) for view in range(len(VIEWS))] for tree in range(len(pids))]
    return f"| {title} | {' | '.join(f'{us:.0f}' for tree in best for us in tree)} |"


if __name__ == "__main__":
    main()
