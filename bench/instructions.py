"""`python -m bench.instructions`: the instructions of a worker's own, outside the kernel, for one request.

valgrind counts them, so that they do not depend on how busy the machine is: two runs of the same source differ by less
than a tenth of a percent. The sockets are real, but one thread is client and server: what the client does is in the
figure too, the same for all.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from itertools import cycle, repeat
from pathlib import Path

from bench.__main__ import BENCH, one_of
from bench.scenarios import SCENARIOS, Scenario

CONNECTIONS = 16
ROUNDS = 50
# What runs once and only once is over by then.
WARM_UP_ROUNDS = 20


def main(arguments: Sequence[str]) -> None:
    options = parsed(arguments)
    if options.drive:
        drive(next(scenario for scenario in SCENARIOS if scenario.name == options.only[0]), options.drive)
        return
    for name in options.only:
        once, twice = (counted(name, rounds, options.source) for rounds in (ROUNDS, 2 * ROUNDS))
        print(f"{name}: {(twice - once) / (ROUNDS * CONNECTIONS):,.0f} instructions for one request", flush=True)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS if scenario.application.partition(":")[0] in ("pages", "work")]
    parser.add_argument("--only", type=one_of(names), default=["hello"], metavar="A,B", help="of " + ", ".join(names))
    parser.add_argument("--source", type=Path, default=BENCH.parent / "src", help="where demijohn is, to compare")
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def counted(name: str, rounds: int, source: Path) -> int:
    """Return how many instructions a process takes that answers so many rounds of requests."""
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        paths = (str(source), str(BENCH.parent), str(BENCH / "apps"))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONHASHSEED": "0",
            "BENCH_FRAMEWORK": "demijohn",
            "BENCH_STATIC": directory,
        }
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out"]
        command += [sys.executable, "-m", "bench.instructions", "--drive", str(rounds), "--only", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        match = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode or match is None:
            sys.exit(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
        return int(match[1])


def drive(scenario: Scenario, rounds: int) -> None:
    """Answer rounds of requests, one on each connection, in this thread."""
    from demijohn.server import loop
    from demijohn.server.conversing import ConversingEngine
    from demijohn.server.leadership import Member
    from demijohn.server.native import NativeGateway
    from demijohn.server.settings import Settings

    # Under valgrind a quick view takes as long as a slow one. The time stands still, so it cannot be told.
    loop.monotonic = repeat(1.0).__next__  # type: ignore[attr-defined]
    module, _, name = scenario.application.partition(":")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # unix(7): a name that the kernel chooses
    listener.listen(CONNECTIONS)
    listener.setblocking(False)
    readiness = Readiness()
    gateway = NativeGateway(getattr(import_module(module), name))
    engine = ConversingEngine([listener], gateway, Settings(), loop._ALONE)
    engine._poller = readiness
    engine._team.leader = member = Member()
    clients = []
    for _ in range(CONNECTIONS):
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.getsockname())
        clients.append(client)
    readiness.descriptors.clear()
    engine._accept(listener)
    requests = cycle(requests_of(scenario))
    for number in range(WARM_UP_ROUNDS + rounds):
        if number == WARM_UP_ROUNDS:
            gc.freeze()  # a collection of all there is would fall into one run and not into the other
        for client in clients:
            client.send(next(requests))
        engine.step(member, 0.0)
        for client in clients:
            if not client.recv(1 << 16).startswith(b"HTTP/1.1 200 "):
                sys.exit("an answer without success")
    os._exit(0)  # what the end costs is no request's


def requests_of(scenario: Scenario) -> list[bytes]:
    load = scenario.load
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1:8000", **load.fields}.items())
    content = load.content.encode()
    if content:
        fields += f"Content-Length: {len(content)}\r\n"
    return [f"{load.method} {target} HTTP/1.1\r\n{fields}\r\n".encode() + content for target in load.exchanges]


class Readiness:
    """A poller for which all that is known is ready."""

    def __init__(self) -> None:
        self.descriptors: dict[int, int] = {}

    def register(self, fd: int, events: int) -> None:
        self.descriptors[fd] = events

    modify = register

    def unregister(self, fd: int) -> None:
        del self.descriptors[fd]

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        return list(self.descriptors.items())

    def close(self) -> None:
        self.descriptors.clear()


if __name__ == "__main__":
    main(sys.argv[1:])
