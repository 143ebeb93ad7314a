"""From the first to the millionth request: what a request costs and what the server holds. `python -m bench.endurance`.

One server, started once, answers a mixture of requests until it has answered a million; its memory is read in between.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import plots, wrk
from bench.boot import HELLO, settled
from bench.proc import memory_of, spent_by
from bench.report import circumstances, publish
from bench.scenarios import JSON, USERS, Load
from bench.servers import SERVERS, Place, free_port, started, stop, verify, wait_until_listening

REQUESTS = 1_000_000
SECONDS = 1
# Fewer than that, and caches of code and of memory are being filled.
WARM = 100_000
# What may come after that, in MB.
AT_MOST_MB = 1.0


@dataclass(slots=True)
class Step:
    """After so many requests: what each of the last ones cost, and what the tree of the server holds (PSS)."""

    requests: int
    cpu_us: float
    memory_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 when memory has grown by more than the target allows."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help="in all [%(default)s]")
    parser.add_argument("--markdown", action="store_true", help="write the table and the plot into docs/")
    options = parser.parse_args(arguments)
    steps = run(options.requests)
    print("\n".join(table(steps)))
    grown_mb = growth_mb(steps)
    verdict = f"from request {WARM:,} on memory grew by {grown_mb:+.2f} MB"
    print(verdict)
    if options.markdown:
        plots.endurance(steps)
        told = circumstances("python -m bench.endurance --markdown", 1, SECONDS)
        publish(
            "endurance",
            "\n".join([told, "", *table(steps), "", f"So {verdict} (at most {AT_MOST_MB:g} MB is the target)."]),
        )
    return 0 if grown_mb <= AT_MOST_MB else 1


def run(requests: int) -> list[Step]:
    """Return a step for each second of load. Raises what `verify` and `wrk.finish` raise."""
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {load_core})
    mixture = Load(HELLO.load.exchanges | JSON | USERS)
    demijohn = next(server for server in SERVERS if server.name == "demijohn")
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        place = Place(server_core, Path(sys.executable), Path(directory))
        port = free_port()
        process = started(demijohn, HELLO, place, port)
        try:
            wait_until_listening(process, port)
            verify(HELLO.load, port)
            settled(process)
            steps = [Step(1, 0.0, memory_of(process.pid) / 1e6)]
            verify(mixture, port)
            while steps[-1].requests < requests:
                before = spent_by(process.pid)
                tally = wrk.finish(wrk.start(mixture, port, SECONDS, load_core, place.directory))
                cpu_us = (spent_by(process.pid) - before) / tally.requests * 1e6
                steps.append(Step(steps[-1].requests + tally.requests, cpu_us, memory_of(process.pid) / 1e6))
        finally:
            stop(process)
    return steps


def growth_mb(steps: Sequence[Step]) -> float:
    """Return how much more the server holds in the end than when it was warm."""
    warm = next((step for step in steps if step.requests >= WARM), steps[-1])
    return steps[-1].memory_mb - warm.memory_mb


def table(steps: Sequence[Step]) -> list[str]:
    """Return the first step and those about each tenth of the way."""
    lines = ["| requests answered | CPU us for each of the last | MB |", "|---:|---:|---:|"]
    wanted = 0
    for step in steps:
        if step.requests >= wanted:
            cost = f"{step.cpu_us:.1f}" if step.cpu_us else ""
            lines.append(f"| {step.requests:,} | {cost} | {step.memory_mb:.2f} |")
            wanted = step.requests // 100_000 * 100_000 + 100_000
    return lines


if __name__ == "__main__":
    sys.exit(main())
