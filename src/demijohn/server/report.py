"""What a server and its workers are doing, as `demijohn top` shows it."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from .. import __version__
from .metrics import Metrics, cpu_s, resident_bytes
from .slots import Slot, SlotTable, State


def report(metrics: Metrics, slots: SlotTable) -> dict[str, Any]:
    """Return it as what JSON can say. Times are in seconds."""
    total = metrics.total(slots)
    now_s, now_ns = time.time(), time.monotonic_ns()
    return {
        "pid": os.getpid(),
        "version": __version__,
        "ready": is_ready(slots),
        "worker_starts": total.worker_starts,
        "worker_crashes": total.worker_crashes,
        "workers_hung": total.workers_hung,
        "requests_timed_out": total.timed_out,
        "workers": [_worker(worker, now_s, now_ns) for worker in slots.workers()],
    }


def is_ready(slots: SlotTable) -> bool:
    """Whether the server is to be sent requests: it has not been asked to stop, and some worker serves."""
    return not slots.is_leaving and any(worker.state == State.READY for worker in slots.workers())


def _worker(worker: Slot, now_s: float, now_ns: int) -> dict[str, Any]:
    tasks: list[dict[str, Any]] = json.loads(worker.shown() or b"[]")
    for task in tasks:
        task["for_s"] = round(now_ns / 1e9 - task.pop("since_s"), 3)
    return {
        "number": worker.number,
        "pid": worker.pid,
        "state": State(worker.state).name.lower(),
        "up_s": round(now_s - worker.started_ns / 1e9, 1),
        "heartbeat_age_s": round((now_ns - worker.heartbeat_ns) / 1e9, 3) if worker.heartbeat_ns else None,
        "requests": worker.requests,
        "connections": worker.connections,
        "threads": worker.threads,
        "threads_busy": worker.busy,
        "requests_waiting": worker.waiting,
        "requests_in_flight": worker.in_flight,
        "resident_bytes": resident_bytes(worker.pid),
        "cpu_s": cpu_s(worker.pid),
        "doing": sorted(tasks, key=lambda task: -task["for_s"]),
    }
