"""Fast views beside slow ones, by simulation and for real: `python -m bench.queueing`.

A part of all requests waits for a second (a database, another service), the others are quick. With a fixed pool of
threads a quick request waits in line behind slow ones as soon as all threads are inside them. Where one thread leads
and never enters a slow view without a successor, it waits for the processor only. The simulation tells both apart over
a range of loads; with `--real`, servers are measured at some of them, with requests that arrive when they arrive,
however late the answers are (an open loop).
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.__main__ import peers_python
from bench.servers import APPS, free_port, wait_until_listening

THREADS = 16
SLOW_S = 1.0
FAST_PER_S = 100.0
SIMULATED_S = 600.0
REAL_S = 15.0


@dataclass(frozen=True, slots=True)
class Model:
    """A server as the simulation sees it.

    leads: whether quick requests pass by the slow ones. quick_s: processor time of a quick request.
    """

    name: str
    leads: bool
    quick_s: float


MODELS = (Model("fixed pool", False, 0.0004), Model("leader and followers", True, 0.00002))


def simulate(model: Model, slow_per_s: float, seconds: float = SIMULATED_S, seed: int = 1) -> list[float]:
    """Return how long each quick request took, in seconds, sorted; in order of arrival, one processor."""
    chance = random.Random(seed)
    arrivals = sorted(poisson(chance, FAST_PER_S, seconds, False) + poisson(chance, slow_per_s, seconds, True))
    free_at = [0.0] * THREADS  # a heap: when each thread is free again
    processor_at = 0.0
    waits = []
    for at, is_slow in arrivals:
        if is_slow:
            heapq.heappushpop(free_at, max(at, free_at[0]) + SLOW_S)
            continue
        begin = at if model.leads else max(at, free_at[0])
        processor_at = max(begin, processor_at) + model.quick_s
        if not model.leads:
            heapq.heappushpop(free_at, processor_at)
        waits.append(processor_at - at)
    return sorted(waits)


def poisson(chance: random.Random, per_s: float, seconds: float, is_slow: bool) -> list[tuple[float, bool]]:
    found, at = [], 0.0
    while per_s and (at := at + chance.expovariate(per_s)) < seconds:
        found.append((at, is_slow))
    return found


def percentile(times: list[float], part: float) -> float:
    return times[min(len(times) - 1, int(len(times) * part))]


# -- for real ---------------------------------------------------------------------------------------


async def ask(port: int, target: str) -> float:
    """Return how long one request on a connection of its own takes, in seconds."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    if b" 200 " not in answer[:20]:
        raise RuntimeError(f"{target} was answered {answer[:100]!r}")
    return time.perf_counter() - begun


async def load(port: int, slow_per_s: float) -> list[float]:
    chance = random.Random(2)
    arrivals = sorted(poisson(chance, FAST_PER_S, REAL_S, False) + poisson(chance, slow_per_s, REAL_S, True))
    begun = asyncio.get_running_loop().time()
    quick, slow = [], []
    for at, is_slow in arrivals:
        await asyncio.sleep(begun + at - asyncio.get_running_loop().time())
        target, tasks = (f"/sleep/{SLOW_S * 1000:.0f}", slow) if is_slow else ("/", quick)
        tasks.append(asyncio.create_task(ask(port, target)))
    times = sorted(await asyncio.gather(*quick))
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    return times


def measure(command: Callable[[int], list[str]], framework: str, slow_per_s: float) -> list[float]:
    port = free_port()
    server = subprocess.Popen(
        command(port), cwd=APPS, env={**os.environ, "BENCH_FRAMEWORK": framework}, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_listening(server, port)
        return asyncio.run(load(port, slow_per_s))
    finally:
        server.terminate()
        server.wait()


def servers(peers: Path) -> dict[str, tuple[str, Callable[[int], list[str]]]]:
    return {
        "fixed pool": (
            "flask",
            lambda port: [
                *(str(peers.parent / "gunicorn"), "-b", f"127.0.0.1:{port}", "-k", "gthread"),
                *("--threads", str(THREADS), "--log-level", "warning", "pages:app"),
            ],
        ),
        "leader and followers": (
            "demijohn",
            lambda port: [
                *(sys.executable, "-m", "demijohn", "serve", "-b", f"127.0.0.1:{port}", "-w", "1"),
                *("--threads", str(THREADS), "pages:app"),
            ],
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", action="store_true", help="measure servers too (two minutes)")
    parser.add_argument("--peers-venv", type=Path, help="as for `python -m bench`")
    options = parser.parse_args()
    print(
        f"{FAST_PER_S:g} quick requests a second; {THREADS} threads; slow ones wait {SLOW_S:g} s. Quick ones, in ms:\n"
    )
    print("| slow a second | threads they hold | server | p50 | p99 | real p50 | real p99 |")
    print("|---:|---:|---|---:|---:|---:|---:|")
    real = servers(peers_python(options.peers_venv)) if options.real else {}
    for slow_per_s in (0, 4, 8, 12, 14, 15.5, 20):
        for model in MODELS:
            # Over what the threads can hold, a line of slow ones grows without end: the time looked at decides.
            times = simulate(model, slow_per_s, REAL_S if slow_per_s >= THREADS else SIMULATED_S)
            row = f"| {slow_per_s:g} | {slow_per_s * SLOW_S / THREADS:.0%} | {model.name} "
            row += f"| {percentile(times, 0.5) * 1e3:.2f} | {percentile(times, 0.99) * 1e3:.1f} "
            if model.name in real and slow_per_s in (4, 12, 20):
                framework, command = real[model.name]
                measured = measure(command, framework, slow_per_s)
                row += f"| {percentile(measured, 0.5) * 1e3:.2f} | {percentile(measured, 0.99) * 1e3:.1f} |"
            else:
                row += "| | |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
