"""`python -m bench.calls`: the Python functions that a server calls for one request, from socket to socket.

Unlike CPU time this does not depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.__main__ import BENCH, one_of, peers_python, require_tools
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import SERVERS, Place, Server, ServerError, running
from bench.wrk import Load

WARM_UP_REQUESTS = 20
COUNTED_REQUESTS = 20
# What belongs to a request is what is called from its sending until this has passed.
WINDOW_S = 0.05


@dataclass(slots=True)
class Call:
    """One event of bench/counting: `event` is "call" or "return", `where` is "file:line", or "C"."""

    at_ns: int
    thread: int
    event: str
    function: str
    where: str


def main(arguments: list[str]) -> None:
    options = parsed(arguments)
    require_tools()
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        place = Place(min(os.sched_getaffinity(0)), peers_python(options.peers_venv), Path(directory))
        for scenario in SCENARIOS:
            for server in SERVERS:
                if scenario.name in options.only and server.name in options.servers and server.serves(scenario):
                    idle, *requests = record(server, scenario, place, options.c_calls)
                    print(f"{server.name}, {scenario.name}: {summary(idle, requests)}")
                    print("\n".join(tree(requests[-1]) if options.tree else functions(requests)))


def parsed(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    servers = [server.name for server in SERVERS if server.environment]
    parser.add_argument("--only", type=one_of(names), default=["hello"], metavar="A,B", help="of " + ", ".join(names))
    parser.add_argument(
        "--servers", type=one_of(servers), default=["demijohn"], metavar="A,B", help="of " + ", ".join(servers)
    )
    parser.add_argument("--c-calls", action="store_true", help="count calls of built-in functions too")
    parser.add_argument("--tree", action="store_true", help="show the last request's calls in their order")
    parser.add_argument("--peers-venv", type=Path, help="as for `python -m bench`")
    return parser.parse_args(arguments)


def record(server: Server, scenario: Scenario, place: Place, c_calls: bool) -> list[list[Call]]:
    """Return what the worker called in an idle window, and then in the window of each request.

    Raises ServerError when it does not start.
    """
    environment = {
        **server.environment,
        "PYTHONPATH": str(BENCH / "counting"),
        "BENCH_COUNTED": server.applications[scenario.application],
        "BENCH_C_CALLS": "1" if c_calls else "0",
    }
    counted = replace(server, environment=environment, applications={scenario.application: "counted:app"})
    with (
        running(counted, scenario, place) as (_, port),
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        request = request_bytes(scenario.load)
        for _ in range(WARM_UP_REQUESTS):
            exchange(client, request)
        exchange(client, b"GET /calls HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(WINDOW_S)
        starts = [time.monotonic_ns()]
        time.sleep(WINDOW_S)
        for _ in range(COUNTED_REQUESTS):
            starts.append(time.monotonic_ns())
            exchange(client, request)
            time.sleep(WINDOW_S)
        starts.append(time.monotonic_ns())
        answer = exchange(client, b"GET /calls HTTP/1.1\r\nHost: localhost\r\n\r\n")
    calls = [Call(*event) for event in json.loads(answer)]
    return [[call for call in calls if start <= call.at_ns < end] for start, end in pairwise(starts)]


def request_bytes(load: Load) -> bytes:
    target = next(iter(load.exchanges))
    fields = {"Host": "localhost", **load.fields}
    if load.content:
        fields["Content-Length"] = str(len(load.content.encode()))
    lines = [f"{load.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", load.content]).encode()


def exchange(client: socket.socket, request: bytes) -> bytes:
    client.sendall(request)
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.read()


def summary(idle: list[Call], requests: list[list[Call]]) -> str:
    counts = [sum(call.event == "call" for call in calls) for calls in requests]
    return (
        f"{statistics.median(counts):.0f} calls for one request ({min(counts)} to {max(counts)}),"
        f" {sum(call.event == 'call' for call in idle)} in {WINDOW_S * 1e3:.0f} ms of idling"
    )


def functions(requests: list[list[Call]]) -> list[str]:
    """Return a line for each function, the most called first."""
    counts = Counter((call.function, short(call.where)) for calls in requests for call in calls if call.event == "call")
    return [f"{count / len(requests):7.2f}  {name}  {where}" for (name, where), count in counts.most_common()]


def tree(calls: list[Call]) -> list[str]:
    """Return a line for each call, in order, indented under its caller, with the microseconds since the first."""
    depths: Counter[int] = Counter()
    lowest: Counter[int] = Counter()
    placed = []
    for call in calls:
        if call.event == "return":
            depths[call.thread] -= 1
            lowest[call.thread] = min(lowest[call.thread], depths[call.thread])
        else:
            placed.append((depths[call.thread], call))
            depths[call.thread] += 1
    threads = sorted({call.thread for call in calls}, key=[call.thread for call in calls].index)
    return [
        f"{(call.at_ns - calls[0].at_ns) / 1e3:8.0f} us  thread {threads.index(call.thread)}"
        f"  {'  ' * (depth - lowest[call.thread])}{call.function}  {short(call.where)}"
        for depth, call in placed
    ]


def short(where: str) -> str:
    for mark in ("/site-packages/", "/src/", "/lib/python"):
        where = where.rpartition(mark)[2]
    return where


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ServerError as error:
        sys.exit(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
