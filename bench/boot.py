"""How long a server takes to its first answer, and what it holds when nobody asks for anything."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from itertools import product

from bench.gauge import Gauge, calm
from bench.proc import cpu_ms_of, memory_of
from bench.scenarios import SCENARIOS
from bench.servers import (
    START_LIMIT_S,
    Place,
    Server,
    ServerError,
    free_port,
    started,
    stop,
    tail,
    verify,
    wait_until_listening,
)

HELLO = next(scenario for scenario in SCENARIOS if scenario.name == "hello")
# So long nothing must have been computed before a server is called idle.
_QUIET_S = 0.5


@dataclass(slots=True)
class Boot:
    """One start.

    wall_ms: from the command to the first answer. cpu_ms: of the whole tree until it was idle.
    idle_mb: of the tree after that one answer; what processes share is counted once (PSS).
    gauge_ms: what the gauge's program took on the server's core, before or after, whichever was longer.
    """

    wall_ms: float
    cpu_ms: float
    idle_mb: float
    gauge_ms: float = 0.0


@dataclass(slots=True)
class Boots:
    """All starts of one server; `failure` is why there are no more."""

    server: str
    samples: list[Boot] = field(default_factory=list)
    failure: str = ""

    def median(self) -> Boot:
        """Return the median of each figure. Raises statistics.StatisticsError when there is no sample."""
        return Boot(*(statistics.median(run) for run in zip(*map(astuple, self.samples), strict=True)))


def boots(servers: Sequence[Server], place: Place, repeat: int, progress: Callable[[str], None]) -> list[Boots]:
    """Start each server that has the hello application `repeat` times, in turns, after once that fills caches.

    Starts on a core that was slowed just then are set aside.
    """
    found = {server.name: Boots(server.name) for server in servers if server.serves(HELLO)}
    with Gauge(place.core) as gauge:
        for turn, server in product(range(repeat + 1), servers):
            entry = found.get(server.name)
            if entry is None or entry.failure:
                continue
            before_ms = gauge.read()
            try:
                boot = first_answer(server, place)
            except ServerError as error:
                entry.failure = str(error)
                progress(f"boot {server.name:<16} FAILED: {error}")
                continue
            boot.gauge_ms = max(before_ms, gauge.read())
            progress(
                f"boot {server.name:<16} {boot.wall_ms:6.0f} ms  {boot.cpu_ms:6.0f} ms of CPU  {boot.idle_mb:5.1f} MB"
            )
            if turn:
                entry.samples.append(boot)
    for entry in found.values():
        entry.samples = calm(entry.samples, lambda boot: boot.gauge_ms, gauge)
    return list(found.values())


def first_answer(server: Server, place: Place) -> Boot:
    """Start `server`, ask until it answers, and wait until it is idle. Raises ServerError when it does not answer."""
    port = free_port()
    begun = time.perf_counter()
    process = started(server, HELLO, place, port)
    try:
        wait_until_listening(process, port, look_s=0.001)
        verify(HELLO.load, port)
        wall_ms = (time.perf_counter() - begun) * 1e3
        cpu_ms = settled(process)
        return Boot(wall_ms, cpu_ms, memory_of(process.pid) / 1e6)
    except ServerError as error:
        raise ServerError(f"{error}{tail(place.log)}") from None
    finally:
        stop(process)


def settled(process: subprocess.Popen[bytes]) -> float:
    """Wait until the tree of `process` has next to nothing to do; return its CPU milliseconds by then."""
    deadline = time.monotonic() + START_LIMIT_S
    before = cpu_ms_of(process.pid)
    while time.monotonic() < deadline:
        time.sleep(_QUIET_S)
        now = cpu_ms_of(process.pid)
        if now - before < 0.02 * _QUIET_S * 1e3:
            return now
        before = now
    raise ServerError("it does not come to rest")
