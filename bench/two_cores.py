"""Whether two workers on two cores do twice what one does on one: `python -m bench.two_cores`.

The clients compute too, so each core carries a worker and a wrk, in all three ways that take turns:

* one core: one worker, one wrk;
* two cores: one server with two workers, two wrks;
* apart: two servers with one worker each, and nothing in common but the machine. What is lost there, the machine loses
  (memory, the kernel, the host), so it is the most that any server could reach.

Apart, each wrk has its server on its own core. With two workers half of the requests come from the other core, which
every server pays for; so nginx goes the first two ways beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path

from bench import wrk
from bench.boot import HELLO
from bench.proc import read_processes, spent_by
from bench.report import circumstances, publish
from bench.servers import SERVERS, Place, free_port, started, stop, verify, wait_until_listening

SECONDS = 3
AT_LEAST = 1.9


@dataclass(slots=True)
class Rate:
    """Of all servers of one way together.

    most_sockets: the part of all workers' sockets that one of them has, the one with the most.
    """

    requests_per_s: float
    cpu_us: float
    most_sockets: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 when two workers do not do what the target asks of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.two_cores", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--repeat", type=int, default=5, help="rounds [%(default)s]")
    parser.add_argument("--markdown", action="store_true", help="write the table into docs/performance.md")
    options = parser.parse_args(arguments)
    one, two, apart, nginx_one, nginx_two = campaign(options.repeat)
    lines = [
        "| | requests/s | CPU us/request | times one core |",
        "|---|---:|---:|---:|",
        line("one worker and one wrk, on one core", one, one),
        line("one server with two workers, and two wrks, on two cores", two, one),
        line("two servers with one worker each, and two wrks, on two cores", apart, one),
        line("nginx with one worker, on one core", nginx_one, nginx_one),
        line("nginx with two workers, on two cores", nginx_two, nginx_one),
    ]
    factor = two.requests_per_s / one.requests_per_s
    lost = 1 - two.requests_per_s / apart.requests_per_s
    verdict = (
        f"two workers on two cores do {factor:.2f} x what one does on one (at least {AT_LEAST:g} x is the target); of"
        f" what two servers that share nothing do there, {lost:.1%} is missing. Of the sockets of two workers one has"
        f" {two.most_sockets:.0%}. nginx does {nginx_two.requests_per_s / nginx_one.requests_per_s:.2f} x, where one of"
        f" its workers has {nginx_two.most_sockets:.0%}"
    )
    print("\n".join([*lines, verdict]))
    if options.markdown:
        told = circumstances("python -m bench.two_cores --markdown", options.repeat, SECONDS)
        publish("two cores", "\n".join([told, "", *lines, "", f"So {verdict}."]))
    return 0 if factor >= AT_LEAST else 1


def line(name: str, rate: Rate, one: Rate) -> str:
    times = rate.requests_per_s / one.requests_per_s
    return f"| {name} | {rate.requests_per_s:,.0f} | {rate.cpu_us:.1f} | {times:.2f} |"


def campaign(repeat: int) -> list[Rate]:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two cores are needed")
    both = f"{cores[0]},{cores[1]}"
    # The cores of each server with its workers, and the load for each: its core, and the server it asks.
    one = [(str(cores[0]), 1)], [(cores[0], 0)]
    two = [(both, 2)], [(cores[0], 0), (cores[1], 0)]
    apart = [(str(cores[0]), 1), (str(cores[1]), 1)], [(cores[0], 0), (cores[1], 1)]
    ways = (("demijohn", one), ("demijohn", two), ("demijohn", apart), ("nginx", one), ("nginx", two))
    found: list[list[Rate]] = [[] for _ in ways]
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        place = Place(cores[0], Path(sys.executable), Path(directory))
        for _ in range(repeat):
            for rates, (name, (servers, loads)) in zip(found, ways, strict=True):
                rates.append(measure(place, name, servers, loads))
                print(f"{name}, {len(servers)} servers, {len(loads)} wrks: {rates[-1]}", file=sys.stderr, flush=True)
    return [Rate(*(statistics.median(run) for run in zip(*map(astuple, rates), strict=True))) for rates in found]


def measure(place: Place, name: str, servers: Sequence[tuple[str, int]], loads: Sequence[tuple[int, int]]) -> Rate:
    """Return what all loads together got, and what it cost all servers."""
    kind = next(server for server in SERVERS if server.name == name)
    with ExitStack() as undo:
        ports, pids = [], []
        for cores, workers in servers:
            port = free_port()
            process = started(kind, HELLO, place, port, workers, cores)
            undo.callback(stop, process)
            wait_until_listening(process, port)
            verify(HELLO.load, port)
            ports.append(port)
            pids.append(process.pid)
        for client in started_loads(place, ports, loads, 2):
            wrk.finish(client)
        before = sum(map(spent_by, pids))
        clients = started_loads(place, ports, loads, SECONDS)
        time.sleep(SECONDS / 2)
        most_sockets = most_sockets_of(pids)
        tallies = [wrk.finish(client) for client in clients]
        spent = sum(map(spent_by, pids)) - before
    requests = sum(tally.requests for tally in tallies)
    return Rate(sum(tally.requests / tally.seconds for tally in tallies), spent / requests * 1e6, most_sockets)


def started_loads(
    place: Place, ports: Sequence[int], loads: Sequence[tuple[int, int]], seconds: int
) -> list[subprocess.Popen[str]]:
    return [wrk.start(HELLO.load, ports[index], seconds, core, place.directory) for core, index in loads]


def most_sockets_of(servers: Sequence[int]) -> float:
    """Return the part of the sockets of all workers that the one with the most has."""
    workers = [process.pid for process in read_processes() if process.parent in servers]
    counts = [sum(link.readlink().name.startswith("socket:") for link in descriptors(pid)) for pid in workers]
    return max(counts) / sum(counts)


def descriptors(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


if __name__ == "__main__":
    sys.exit(main())
