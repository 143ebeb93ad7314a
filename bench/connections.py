"""What a request costs while thousands of other connections are open: `python -m bench.connections`.

A client of one process opens connections, has each answered once, and keeps them. Then wrk loads the server over others
of its own. In the end each of the idle connections must still be there, and is answered once more.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from bench import plots, wrk
from bench.boot import HELLO, settled
from bench.proc import memory_of, spent_by
from bench.report import circumstances, publish
from bench.scenarios import Load
from bench.servers import SERVERS, Place, free_port, started, stop, tail, wait_until_listening

IDLE = (0, 100, 1_000, 5_000, 10_000)
CONNECTIONS = 64  # of wrk
SECONDS = 3
_LIMIT_S = 30.0
_AT_ONCE = 200  # fewer than the backlog
_REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
_ANSWER_ENDS = b"Hello, World!"
# Descriptors beside those of connections.
_OTHERS = 200
# A request may cost so much more at the most connections than at the fewest.
AT_MOST = 1.1


class LostConnection(Exception):
    """An idle connection ended, or was not answered."""


@dataclass(slots=True)
class Cost:
    """What wrk and /proc told of one run with `idle` other connections; see `measure.Sample`."""

    idle: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 when a request costs more with many connections than the target allows."""
    parser = argparse.ArgumentParser(prog="python -m bench.connections", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--repeat", type=int, default=3, help="rounds [%(default)s]")
    parser.add_argument("--markdown", action="store_true", help="write the table and the plot into docs/")
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < max(IDLE) + _OTHERS:
        raise SystemExit(f"{max(IDLE):,} connections need as many descriptors; the limit is {hard:,}: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    costs = campaign(options.repeat)
    print("\n".join(table(costs)))
    flat = costs[-1].cpu_us / costs[0].cpu_us
    verdict = f"with {costs[-1].idle:,.0f} idle connections a request costs {flat:.2f} x what it costs with none"
    print(verdict)
    if options.markdown:
        plots.connections(costs)
        told = circumstances("python -m bench.connections --markdown", options.repeat, SECONDS)
        publish(
            "connections",
            "\n".join([told, "", *table(costs), "", f"So {verdict} (at most {AT_MOST:g} x is the target)."]),
        )
    return 0 if flat <= AT_MOST else 1


def campaign(repeat: int) -> list[Cost]:
    """Return the medians for each number of idle connections; rounds go through all of them."""
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {load_core})
    found: dict[int, list[Cost]] = {idle: [] for idle in IDLE}
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        place = Place(server_core, Path(sys.executable), Path(directory))
        for turn in range(repeat):
            for idle in IDLE if turn % 2 == 0 else reversed(IDLE):
                cost = measure(place, load_core, idle)
                found[idle].append(cost)
                print(
                    f"{idle:>6} idle  {cost.cpu_us:6.1f} us  p99 {cost.p99_ms:.2f} ms  {cost.memory_mb:.1f} MB",
                    flush=True,
                )
    return [median(costs) for costs in found.values()]


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(run) for run in zip(*map(astuple, costs), strict=True)))


def measure(place: Place, load_core: int, idle: int) -> Cost:
    """Raises LostConnection, or what `wrk.finish` and `wait_until_listening` raise."""
    demijohn = next(server for server in SERVERS if server.name == "demijohn")
    patient = replace(demijohn, command=(*demijohn.command, "--keep-alive", "600"))
    port = free_port()
    process = started(patient, HELLO, place, port)
    try:
        wait_until_listening(process, port)
        with kept(port, idle) as connections:
            load = Load(HELLO.load.exchanges, connections=CONNECTIONS)
            wrk.finish(wrk.start(load, port, 1, load_core, place.directory))
            settled(process)
            before = spent_by(process.pid)
            tally = wrk.finish(wrk.start(load, port, SECONDS, load_core, place.directory))
            spent = spent_by(process.pid) - before
            memory_mb = memory_of(process.pid) / 1e6
            answered(connections)
    except LostConnection as error:
        raise LostConnection(f"{error}{tail(place.log)}") from None
    finally:
        stop(process)
    rate = tally.requests / tally.seconds
    return Cost(idle, rate, tally.p50_ms, tally.p99_ms, spent / tally.requests * 1e6, memory_mb)


@contextmanager
def kept(port: int, count: int) -> Iterator[dict[int, socket.socket]]:
    """Give `count` open connections, by descriptor, each of which was answered once."""
    connections: dict[int, socket.socket] = {}
    try:
        while len(connections) < count:
            some = [
                socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S)
                for _ in range(min(_AT_ONCE, count - len(connections)))
            ]
            opened = {sock.fileno(): sock for sock in some}
            connections |= opened
            answered(opened)
        yield connections
    finally:
        for sock in connections.values():
            sock.close()


def answered(connections: dict[int, socket.socket]) -> None:
    """Have one request answered on each connection. Raises LostConnection when one has ended, or is not answered."""
    with select.epoll() as epoll:
        for fd, sock in connections.items():
            try:
                sock.sendall(_REQUEST)
            except OSError as error:
                raise LostConnection(f"a connection has ended: {error}") from None
            epoll.register(fd, select.EPOLLIN)
        waiting = dict.fromkeys(connections, b"")
        while waiting:
            events = epoll.poll(_LIMIT_S)
            if not events:
                raise LostConnection(f"{len(waiting)} of {len(connections)} connections were not answered")
            for fd, _ in events:
                received = connections[fd].recv(4096)
                if not received:
                    raise LostConnection(
                        f"a connection has ended, {len(waiting)} of {len(connections)} are not answered"
                    )
                waiting[fd] += received
                if waiting[fd].endswith(_ANSWER_ENDS):
                    del waiting[fd]
                    epoll.unregister(fd)


def table(costs: Sequence[Cost]) -> list[str]:
    lines = [
        "| idle connections | requests/s | p50 ms | p99 ms | CPU us/request | MB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {cost.idle:,.0f} | {cost.requests_per_s:,.0f} | {cost.p50_ms:.2f} | {cost.p99_ms:.2f} | {cost.cpu_us:.1f}"
        f" | {cost.memory_mb:.1f} |"
        for cost in costs
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
