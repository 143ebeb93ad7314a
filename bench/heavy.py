"""What a heavy call costs, and what waits while four of them compute: `python -m bench.heavy`.

The first table calls `x + 1` on each executor, one call after the other, and many at once. The second starts a server
and asks it for a plain view while nothing else runs, and while four calls keep its processes busy.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench.servers import free_port
from demijohn.heavy.engines import Engine, make_engine

CALLS = 1_000
AT_ONCE = 5_000
SPIN_S = 3.0
APPS = Path(__file__).parent / "apps"

Submit = Callable[[int], "Future[int]"]


def add_one(x: int) -> int:
    return x + 1


def cost(name: str, submit: Submit) -> str:
    submit(0).result()
    times: list[float] = []
    cpu = time.process_time()
    for number in range(CALLS):
        begun = time.perf_counter()
        assert submit(number).result() == number + 1
        times.append(time.perf_counter() - begun)
    cpu_ms = (time.process_time() - cpu) / CALLS * 1e3
    times.sort()
    begun = time.perf_counter()
    for each in [submit(number) for number in range(AT_ONCE)]:
        each.result()
    at_once = AT_ONCE / (time.perf_counter() - begun)
    median, p99 = statistics.median(times) * 1e3, times[int(CALLS * 0.99)] * 1e3
    return f"| {name} | {median:.2f} | {p99:.2f} | {cpu_ms:.2f} | {at_once:,.0f} |"


def of_engine(engine: Engine) -> Submit:
    return lambda number: engine.submit(add_one, (number,), {})


def waits(port: int, seconds: float) -> list[float]:
    """Ask for a plain view, again and again, on one connection; return how long each answer took."""
    times = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        times.append(time.perf_counter() - begun)
    connection.close()
    return sorted(times)


def show_waits(executor: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "demijohn", "serve", "-b", f"127.0.0.1:{port}", "--executor", executor]
    server = subprocess.Popen([*command, "heavy:app"], cwd=APPS, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if "Worker ready" in line:
                break
        threading.Thread(target=server.stderr.read, daemon=True).start()
        for label, calls in (("nothing", 0), ("4 calls", 4)):
            spinning = [threading.Thread(target=ask, args=(port, f"/spin/{SPIN_S}")) for _ in range(calls)]
            for each in spinning:
                each.start()
            times = waits(port, SPIN_S * 0.9)
            for each in spinning:
                each.join()
            p99 = times[int(len(times) * 0.99)]
            figures = f"{statistics.median(times) * 1e3:.2f} | {p99 * 1e3:.2f} | {times[-1] * 1e3:.1f}"
            print(f"| {executor} | {label} | {figures} |", flush=True)
    finally:
        server.terminate()
        server.wait()


def ask(port: int, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", target)
    connection.getresponse().read()
    connection.close()


def main() -> None:
    print(f"{CALLS} calls of x + 1, 2 workers, {os.cpu_count()} processors, CPython {re.split(' ', sys.version)[0]}\n")
    print("| executor | median ms | p99 ms | CPU ms a call, of the caller | calls/s, many at once |")
    print("|---|---:|---:|---:|---:|")
    for url in ("threads:2", "processes:2"):
        engine = make_engine(url, queue_limit=AT_ONCE)
        print(cost(url, of_engine(engine)), flush=True)
        engine.shutdown()
    with ProcessPoolExecutor(2, get_context("forkserver")) as executor:
        print(cost("ProcessPoolExecutor", lambda number: executor.submit(add_one, number)), flush=True)
    print("\nhello, one request after the other, while the executor does\n")
    print("| executor | | p50 ms | p99 ms | longest ms |")
    print("|---|---|---:|---:|---:|")
    for url in ("processes:2", "threads:4"):
        show_waits(url)


if __name__ == "__main__":
    main()
