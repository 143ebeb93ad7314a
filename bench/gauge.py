"""How fast a core is just now.

A virtual machine shares its cores with others: the same server answers the same request for 27 us and, a second
later, for 50 us of CPU time, and nothing inside the machine tells. So a fixed program is run on the core before and
after each measurement; those beside which it took much longer than it did at best are set aside (`calm`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
# By how much the program may take longer than at best.
LIMIT = 1.12
PROGRAM = """
import sys, time

def work():
    seen = {}
    for number in range(60000):
        seen[number % 1000] = str(number)

for _ in range(3):
    work()
for _ in sys.stdin:
    begun = time.thread_time()
    work()
    print((time.thread_time() - begun) * 1e3, flush=True)
"""


class Gauge:
    """The fixed program, on one core. `least_ms` is the least CPU time it has taken so far."""

    def __init__(self, core: int) -> None:
        self.least_ms = float("inf")
        command = ["taskset", "-c", str(core), sys.executable, "-c", PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __enter__(self) -> Gauge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def read(self) -> float:
        """Run the program once; return the milliseconds of CPU time that it took."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("again\n")
        took = float(self._process.stdout.readline())
        self.least_ms = min(self.least_ms, took)
        return took

    def is_calm(self, gauge_ms: float) -> bool:
        return gauge_ms <= LIMIT * self.least_ms


def calm(samples: Sequence[T], gauge_ms: Callable[[T], float], gauge: Gauge) -> list[T]:
    """Return the samples beside which the core was fast; when it never was, those beside which it was the fastest."""
    kept = [sample for sample in samples if gauge.is_calm(gauge_ms(sample))]
    if kept or not samples:
        return kept
    least = min(map(gauge_ms, samples))
    return [sample for sample in samples if gauge_ms(sample) <= LIMIT * least]
