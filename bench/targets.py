"""What demijohn promises of its speed, and whether a campaign bears it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.boot import Boot, Boots
from bench.measure import Cells, Sample
from bench.scenarios import BATCH

OURS, FLOOR, PEER, ASYNC_PEER = "demijohn", "nginx", "gunicorn+Flask", "aiohttp+pjrpc"


@dataclass(slots=True)
class Verdict:
    """`met` is None when what the target compares was not measured."""

    sentence: str
    found: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Target:
    """A figure computed from named cells, and its limit; `figure` gets their medians in the order of `cells`."""

    sentence: str
    cells: tuple[tuple[str, str], ...]
    figure: Callable[..., float]
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    def verdict(self, results: Cells) -> Verdict:
        found = [results.get(cell) for cell in self.cells]
        medians = [cell.median() for cell in found if cell and cell.samples and not cell.failure]
        if len(medians) < len(self.cells):
            return Verdict(self.sentence, "not measured", None)
        figure = self.figure(*medians)
        met = (self.at_most is None or figure <= self.at_most) and (self.at_least is None or figure >= self.at_least)
        return Verdict(self.sentence, f"{figure:.2f} {self.unit}", met)


def cost_ratio(one: Sample, other: Sample) -> float:
    return one.cpu_us / other.cpu_us


# How many times less than a peer a scenario has to cost.
LESS_THAN = (
    ("hello", "fastpysgi+Falcon", 1.0),
    ("hello", "granian+BlackSheep", 2.0),
    ("headers", "fastpysgi+Falcon", 1.0),
    ("json", "fastpysgi+Falcon", 1.5),
    ("user", "fastpysgi+Falcon", 1.5),
    ("echo", "fastpysgi+Falcon", 2.0),
    ("session", PEER, 6.0),
    ("upload", PEER, 4.0),
    ("stream", PEER, 4.0),
    ("async", "granian+BlackSheep", 1.5),
    ("await", "granian+BlackSheep", 1.5),
    ("wsgi", "granian+Flask", 1.0),
    ("django", "granian+Flask", 1.0),
)
AT_MOST_TIMES_NGINX = (("static10k", 2.5), ("static1m", 1.3), ("headers", 2.8), ("tls", 2.5))

TARGETS = (
    Target("hello costs at most 2.5 x nginx's CPU", (("hello", OURS), ("hello", FLOOR)), cost_ratio, "x", at_most=2.5),
    Target(
        "hello costs at least 15 x less CPU than gunicorn+Flask",
        (("hello", PEER), ("hello", OURS)),
        cost_ratio,
        "x",
        at_least=15,
    ),
    Target(
        "500 routes cost at most 1.2 x what 5 routes do",
        (("routes500", OURS), ("routes5", OURS)),
        cost_ratio,
        "x",
        at_most=1.2,
    ),
    Target(
        "a view that sleeps 10 ms costs at least 4 x less CPU than on gunicorn+Flask with the same 64 threads",
        (("sleep", PEER), ("sleep", OURS)),
        cost_ratio,
        "x",
        at_least=4,
    ),
    Target(
        "a view that sleeps 10 ms is answered in less than 16 ms (p50)",
        (("sleep", OURS),),
        lambda sample: sample.p50_ms,
        "ms",
        at_most=16,
    ),
    Target(
        "while 8 connections wait 1 s each, hello on others is answered in less than 20 ms (p99)",
        (("mixed", OURS),),
        lambda sample: sample.p99_ms,
        "ms",
        at_most=20,
    ),
    Target(
        "a JSON-RPC call costs at least 12 x less CPU than with Flask-JSONRPC on gunicorn",
        (("jsonrpc", PEER), ("jsonrpc", OURS)),
        cost_ratio,
        "x",
        at_least=12,
    ),
    Target(
        "a JSON-RPC call costs at least 4 x less CPU than with pjrpc on aiohttp",
        (("jsonrpc", ASYNC_PEER), ("jsonrpc", OURS)),
        cost_ratio,
        "x",
        at_least=4,
    ),
    Target(
        f"a JSON-RPC call in a batch of {BATCH} costs at most 8 us of CPU",
        (("jsonrpc-batch", OURS),),
        lambda sample: sample.cpu_us / BATCH,
        "us",
        at_most=8,
    ),
    *(
        Target(
            f"{scenario} costs at least {factor:g} x less CPU than on {peer}",
            ((scenario, peer), (scenario, OURS)),
            cost_ratio,
            "x",
            at_least=factor,
        )
        for scenario, peer, factor in LESS_THAN
    ),
    *(
        Target(
            f"{scenario} costs at most {factor:g} x nginx's CPU",
            ((scenario, OURS), (scenario, FLOOR)),
            cost_ratio,
            "x",
            at_most=factor,
        )
        for scenario, factor in AT_MOST_TIMES_NGINX
    ),
    Target(
        "hello with 9 hooks costs at most 4 us more than hello",
        (("hooks", OURS), ("hello", OURS)),
        lambda hooks, hello: hooks.cpu_us - hello.cpu_us,
        "us",
        at_most=4,
    ),
    Target(
        "5,000 routes cost at most 1.2 x what 5 routes do",
        (("routes5000", OURS), ("routes5", OURS)),
        cost_ratio,
        "x",
        at_most=1.2,
    ),
)


# At most so much of what the peer takes.
BOOT_TARGETS: tuple[tuple[str, Callable[[Boot], float], float], ...] = (
    ("the time from start to first answer", lambda boot: boot.wall_ms, 0.6),
    ("the CPU time from start to first answer", lambda boot: boot.cpu_ms, 0.6),
    ("the memory of arbiter and one idle worker", lambda boot: boot.idle_mb, 0.7),
)


def verdicts(results: Cells, boots: Sequence[Boots] = ()) -> list[Verdict]:
    return [*(target.verdict(results) for target in TARGETS), *boot_verdicts(boots)]


def boot_verdicts(boots: Sequence[Boots]) -> list[Verdict]:
    medians = {entry.server: entry.median() for entry in boots if entry.samples and not entry.failure}
    found = []
    for name, figure, at_most in BOOT_TARGETS:
        sentence = f"{name} is at most {at_most:g} x that of {PEER}"
        if OURS in medians and PEER in medians:
            ratio = figure(medians[OURS]) / figure(medians[PEER])
            found.append(Verdict(sentence, f"{ratio:.2f} x", ratio <= at_most))
        else:
            found.append(Verdict(sentence, "not measured", None))
    return found
