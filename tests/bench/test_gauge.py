"""What a slowed core costs is not told as a server's."""

from __future__ import annotations

import os

from bench.gauge import Gauge, calm


def test_samples_beside_a_slowed_core_are_set_aside() -> None:
    with Gauge(min(os.sched_getaffinity(0))) as gauge:
        least = gauge.least_ms = 10.0
        samples = [least, 1.1 * least, 1.5 * least]
        assert calm(samples, float, gauge) == samples[:2]


def test_when_the_core_was_always_slowed_the_least_slowed_samples_stay() -> None:
    with Gauge(min(os.sched_getaffinity(0))) as gauge:
        gauge.least_ms = 10.0
        assert calm([15.0, 16.0, 20.0], float, gauge) == [15.0, 16.0]
        assert calm([], float, gauge) == []


def test_the_gauge_remembers_the_least_it_has_read() -> None:
    with Gauge(min(os.sched_getaffinity(0))) as gauge:
        readings = [gauge.read() for _ in range(3)]
        assert gauge.least_ms == min(readings) > 0
        assert gauge.is_calm(min(readings))
