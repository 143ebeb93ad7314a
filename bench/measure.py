"""The campaign: every scenario on every server, in rounds, so that drift of the machine hits all alike."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial

from bench import wrk
from bench.proc import memory_of, spent_by, spent_by_others
from bench.scenarios import Scenario
from bench.servers import Place, Server, ServerError, running

WARM_UP_S = 1


@dataclass(slots=True)
class Sample:
    """One run of one scenario on one server.

    cpu_us: CPU time of the server's whole tree for one request.
    memory_mb: of the tree at the end; what processes share is counted once (PSS).
    others: what all other processes of the machine but wrk took meanwhile, as a part of one core.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    others: float
    memory_mb: float = 0.0


@dataclass(slots=True)
class Cell:
    """All samples of one scenario on one server; `failure` is why there are no more."""

    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

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
    """Measure each scenario `repeat` times on each server that serves it, for `seconds` each time.

    Who goes first changes with the round. A cell that failed is not tried again.
    """
    cells = {(a.name, b.name): Cell() for a in scenarios for b in servers if b.serves(a)}
    total = len(cells) * repeat
    done = 0
    for turn in range(repeat):
        for scenario in scenarios:
            for server in rotated(servers, turn):
                cell = cells.get((scenario.name, server.name))
                if cell is None:
                    continue
                done += 1
                label = f"[{done}/{total}] {scenario.name:<10} {server.name:<16}"
                if cell.failure:
                    progress(f"{label} left out, as it failed before")
                    continue
                try:
                    sample = measure(scenario, server, place, load_core, seconds)
                except (ServerError, wrk.LoadError) as error:
                    cell.failure = str(error)
                    progress(f"{label} FAILED: {error}")
                else:
                    cell.samples.append(sample)
                    progress(
                        f"{label} {sample.requests_per_s:>9,.0f} requests/s  p50 {sample.p50_ms:8.2f} ms"
                        f"  p99 {sample.p99_ms:8.2f} ms  {sample.cpu_us:8.1f} us"
                    )
    return cells


def rotated(servers: Sequence[Server], turn: int) -> list[Server]:
    first = turn % len(servers)
    return [*servers[first:], *servers[:first]]


def measure(scenario: Scenario, server: Server, place: Place, load_core: int, seconds: int) -> Sample:
    """Start the server, warm it up, and load it for `seconds`.

    Raises ServerError when it does not answer as it must, LoadError when wrk reports any error.
    """

    with running(server, scenario, place) as (pid, port):
        scheme = "https" if scenario.tls else "http"
        load = partial(wrk.start, port=port, core=load_core, directory=place.directory, scheme=scheme)
        background = scenario.background and load(scenario.background, seconds=WARM_UP_S + seconds + 1)
        try:
            wrk.finish(load(scenario.load, seconds=WARM_UP_S))
            spent, others = spent_by(pid), spent_by_others(os.getpid())
            tally = wrk.finish(load(scenario.load, seconds=seconds))
            spent, others = spent_by(pid) - spent, spent_by_others(os.getpid()) - others
            memory_mb = memory_of(pid) / 1e6
        finally:
            if background:
                wrk.finish(background)
    return Sample(
        requests_per_s=tally.requests / tally.seconds,
        p50_ms=tally.p50_ms,
        p99_ms=tally.p99_ms,
        cpu_us=spent / tally.requests * 1e6,
        others=others / tally.seconds,
        memory_mb=memory_mb,
    )
