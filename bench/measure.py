"""The campaign: every scenario on every server, in rounds, so that drift of the machine hits all alike.

A run is made of slices of a second. Those in which the machine was slow for everybody are taken again (`gauge.py`).
"""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from typing import Any

from bench import wrk
from bench.gauge import Gauge, calm
from bench.proc import memory_of, spent_by, spent_by_others
from bench.scenarios import Scenario
from bench.servers import Place, Server, ServerError, running

WARM_UP_S = 1
# wrk counts whole seconds.
SLICE_S = 1
# How many times as long as planned a run may take because slices were disturbed.
_PATIENCE = 3


@dataclass(slots=True)
class Sample:
    """A slice of a run of one scenario on one server.

    cpu_us: CPU time of the server's whole tree for one request.
    memory_mb: of the tree at the end; what processes share is counted once (PSS).
    others: what all other processes of the machine but wrk took meanwhile, as a part of one core.
    gauge_ms: what the gauge's program took on the server's core, before or after, whichever was longer.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    others: float
    memory_mb: float = 0.0
    gauge_ms: float = 0.0


@dataclass(slots=True)
class Cell:
    """The samples of one scenario on one server; `failure` is why there are no more.

    disturbed: how many more were set aside.
    """

    samples: list[Sample] = field(default_factory=list)
    failure: str = ""
    disturbed: int = 0

    def median(self) -> Sample:
        """Return the median of each figure. Raises statistics.StatisticsError when there is no sample."""
        return Sample(*(statistics.median(run) for run in zip(*map(astuple, self.samples), strict=True)))

    def spread(self) -> float:
        """Return half the distance between the least and the most CPU time, as a part of the median."""
        costs = [sample.cpu_us for sample in self.samples]
        return (max(costs) - min(costs)) / 2 / statistics.median(costs)


# By (scenario, server) name.
Cells = dict[tuple[str, str], Cell]


def campaign(
    scenarios: Sequence[Scenario],
    servers: Sequence[Server],
    place: Place,
    load_core: int,
    seconds: int,
    repeat: int,
    progress: Callable[[str], None],
) -> Cells:
    """Measure each scenario `repeat` times on each server that serves it, for `seconds` of a calm machine each time.

    Who goes first changes with the round. A cell that failed is not tried again.
    """
    cells = {(a.name, b.name): Cell() for a in scenarios for b in servers if b.serves(a)}
    turns = [
        (scenario, server, cells[scenario.name, server.name])
        for turn in range(repeat)
        for scenario in scenarios
        for server in rotated(servers, turn)
        if (scenario.name, server.name) in cells
    ]
    with Gauge(place.core) as gauge:
        for done, (scenario, server, cell) in enumerate(turns, 1):
            label = f"[{done}/{len(turns)}] {scenario.name:<10} {server.name:<16}"
            if cell.failure:
                progress(f"{label} left out, as it failed before")
                continue
            try:
                taken = measure(scenario, server, place, load_core, seconds, gauge)
            except (ServerError, wrk.LoadError) as error:
                cell.failure = str(error)
                progress(f"{label} FAILED: {error}")
            else:
                cell.samples += taken
                progress(f"{label} {summary(taken)}")
    for cell in cells.values():
        kept = calm(cell.samples, gauge_of, gauge)
        cell.disturbed = len(cell.samples) - len(kept)
        cell.samples = kept
    return cells


def gauge_of(sample: Sample) -> float:
    return sample.gauge_ms


def summary(samples: list[Sample]) -> str:
    found = Cell(samples).median()
    return (
        f"{found.requests_per_s:>9,.0f} requests/s  p50 {found.p50_ms:8.2f} ms"
        f"  p99 {found.p99_ms:8.2f} ms  {found.cpu_us:8.1f} us"
    )


def rotated(servers: Sequence[Server], turn: int) -> list[Server]:
    first = turn % len(servers)
    return [*servers[first:], *servers[:first]]


def measure(
    scenario: Scenario, server: Server, place: Place, load_core: int, seconds: int, gauge: Gauge
) -> list[Sample]:
    """Start the server, warm it up, and load it until `seconds` slices were calm, or for `_PATIENCE` times as long.

    Raises ServerError when it does not answer as it must, LoadError when wrk reports any error.
    """
    with running(server, scenario, place) as (pid, port):
        scheme = "https" if scenario.tls else "http"
        load = partial(wrk.start, port=port, core=load_core, directory=place.directory, scheme=scheme)
        background = scenario.background and load(scenario.background, seconds=wrk.LONG_S)
        samples: list[Sample] = []
        try:
            wrk.finish(load(scenario.load, seconds=WARM_UP_S))
            before_ms = gauge.read()
            while len(samples) < _PATIENCE * seconds and sum(gauge.is_calm(a.gauge_ms) for a in samples) < seconds:
                samples.append(slice_of(scenario, load, pid))
                after_ms = gauge.read()
                samples[-1].gauge_ms = max(before_ms, after_ms)
                before_ms = after_ms
        finally:
            if background:
                background.send_signal(signal.SIGINT)
                wrk.finish(background)
    return samples


def slice_of(scenario: Scenario, load: Callable[..., Any], pid: int) -> Sample:
    spent, others = spent_by(pid), spent_by_others(os.getpid())
    tally = wrk.finish(load(scenario.load, seconds=SLICE_S))
    spent, others = spent_by(pid) - spent, spent_by_others(os.getpid()) - others
    return Sample(
        requests_per_s=tally.requests / tally.seconds,
        p50_ms=tally.p50_ms,
        p99_ms=tally.p99_ms,
        cpu_us=spent / tally.requests * 1e6,
        others=others / tally.seconds,
        memory_mb=memory_of(pid) / 1e6,
    )
