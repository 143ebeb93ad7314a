"""What a server counts, in memory that its processes share, and the text that Prometheus reads.

Each worker counts in a row of its own, so that nobody waits for another process, and every process can read all
rows: whichever of them is asked, the answer is that of the whole server. When a worker is gone, the arbiter adds its
counts to those in its own row, so none is lost and no counter ever goes back.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from ..message import RequestHead, ResponseMessage
from .proxy import request_start
from .slots import Cell, Slot, SlotTable, State
from .sockets import Listener

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

_BUCKETS = len(BOUNDS_S) + 1
# A series: how many took how long, in buckets; the time they took in all, in ns; the bytes of content in all.
_SUM, _BYTES = _BUCKETS, _BUCKETS + 1
_SERIES_CELLS = _BUCKETS + 2
_METHOD_CELLS = _SERIES_CELLS * len(STATUS_CLASSES)
_QUEUE = _METHOD_CELLS * len(METHODS)  # a series too, without bytes
_COUNTERS = _QUEUE + _SERIES_CELLS
_USED_CELLS = _COUNTERS + 7
_ROW_CELLS = 1024  # pages of its own for each row
_CELL_BYTES = 8

_METHOD_AT = {method: number * _METHOD_CELLS for number, method in enumerate(METHODS)}
_OTHER_AT = _METHOD_AT["other"]
_CLASS_AT = {name[0]: number * _SERIES_CELLS for number, name in enumerate(STATUS_CLASSES)}

# No queue is as long as this: what says so has another clock, or another unit.
_LONGEST_QUEUE_S = 86400.0


class Row:
    """What one process has counted since it began."""

    __slots__ = ("_lock", "row")

    refused = Cell(_COUNTERS)
    cut_off = Cell(_COUNTERS + 1)
    timed_out = Cell(_COUNTERS + 2)
    worker_starts = Cell(_COUNTERS + 3)
    worker_crashes = Cell(_COUNTERS + 4)
    workers_hung = Cell(_COUNTERS + 5)
    shed = Cell(_COUNTERS + 6)
    version = Cell(_USED_CELLS)  # of the arbiter's row; odd while counts are being moved

    def __init__(self, row: memoryview) -> None:
        self.row = row
        self._lock = threading.Lock()

    def __call__(
        self, head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool
    ) -> None:
        """Count a request that was answered; see `loop.OnRequest`.

        bench/metrics.py: 0.9 us, and 0.7 us more for a request that says when it began to queue.
        """
        row = self.row
        at = _METHOD_AT.get(head.method, _OTHER_AT) + _CLASS_AT[message.status[0]]
        bucket = at + bisect_left(BOUNDS_S, wall_s)
        with self._lock:
            row[bucket] += 1
            row[at + _SUM] += int(wall_s * 1e9)
            row[at + _BYTES] += content_bytes
        if not is_complete:
            with self._lock:
                self.cut_off += 1
        if not head.method:
            with self._lock:
                self.refused += 1
        for name, value in head.fields:
            if name == b"x-request-start":
                self._count_queue(value, wall_s)
                break

    def _count_queue(self, value: bytes, wall_s: float) -> None:
        begun = request_start(value)
        if begun is None:
            return
        queue_s = max(0.0, time.time() - wall_s - begun)
        if queue_s < _LONGEST_QUEUE_S:
            with self._lock:
                self.row[_QUEUE + bisect_left(BOUNDS_S, queue_s)] += 1
                self.row[_QUEUE + _SUM] += int(queue_s * 1e9)


class Metrics:
    """The rows of all processes. The arbiter's is the first; a worker's goes by the number of its slot.

    listeners: where connections wait to be accepted.
    """

    def __init__(self, capacity: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, (capacity + 1) * _ROW_CELLS * _CELL_BYTES)).cast("q")
        self.arbiter = self._row(0)
        self.listeners: list[Listener] = []

    def worker(self, slot: Slot) -> Row:
        return self._row(slot.number + 1)

    def retire(self, slot: Slot) -> None:
        """Take over what a worker has counted that is gone. The arbiter calls it before it releases the slot."""
        gone, kept = self.worker(slot).row, self.arbiter.row
        self.arbiter.version += 1
        for index in range(_USED_CELLS):
            if gone[index]:
                kept[index] += gone[index]
                gone[index] = 0
        self.arbiter.version += 1

    def total(self, slots: SlotTable) -> Row:
        """Return the sum of what the workers there are, the arbiter and the workers of old have counted."""
        while True:
            version = self.arbiter.version
            rows = [self.arbiter, *(self.worker(slot) for slot in slots.workers())]
            sums = [sum(cells) for cells in zip(*(row.row[:_USED_CELLS] for row in rows), strict=True)]
            if version % 2 == 0 and version == self.arbiter.version:
                return Row(memoryview(array("q", sums)))
            time.sleep(0)  # a count is being moved; that takes microseconds

    def _row(self, number: int) -> Row:
        return Row(self._cells[number * _ROW_CELLS : (number + 1) * _ROW_CELLS])


# -- the text -------------------------------------------------------------------------------------


def render(metrics: Metrics, slots: SlotTable) -> bytes:
    """Return all that is known in Prometheus' text format, version 0.0.4."""
    total = metrics.total(slots)
    lines = [*_request_lines(total), *_worker_lines(list(slots.workers())), *_listener_lines(metrics.listeners)]
    for name, text, count in (
        (
            "requests_refused",
            "Messages answered that were no request, or broke a limit before they were one.",
            total.refused,
        ),
        (
            "answers_cut_off",
            "Answers that did not go out whole: the peer left, or the application failed.",
            total.cut_off,
        ),
        ("requests_timed_out", "Requests ended by the request limit.", total.timed_out),
        ("requests_shed", "Requests answered 503 because no thread was free in time.", total.shed),
        ("worker_starts", "Workers started.", total.worker_starts),
        ("worker_crashes", "Workers that died unasked.", total.worker_crashes),
        ("workers_hung", "Workers replaced because they gave no sign of life.", total.workers_hung),
    ):
        lines += [*_head(f"{name}_total", "counter", text), f"demijohn_{name}_total {count}"]
    return ("\n".join(lines) + "\n").encode()


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP demijohn_{name} {text}"
    yield f"# TYPE demijohn_{name} {kind}"


def _request_lines(total: Row) -> Iterator[str]:
    series = [
        (f'method="{method}",status="{status}"', total.row[at : at + _SERIES_CELLS])
        for method, method_at in _METHOD_AT.items()
        for status, class_at in zip(STATUS_CLASSES, _CLASS_AT.values(), strict=True)
        if any(total.row[(at := method_at + class_at) : at + _BUCKETS])
    ]
    yield from _head("request_duration_seconds", "histogram", "From the complete request to the answer.")
    for labels, cells in series:
        yield from _histogram_lines("request_duration_seconds", labels, cells)
    yield from _head("response_content_bytes_total", "counter", "Content sent.")
    for labels, cells in series:
        yield f"demijohn_response_content_bytes_total{{{labels}}} {cells[_BYTES]}"
    queue = total.row[_QUEUE : _QUEUE + _SERIES_CELLS]
    if any(queue):
        yield from _head("request_queue_seconds", "histogram", "From X-Request-Start to the complete request.")
        yield from _histogram_lines("request_queue_seconds", "", queue)


def _histogram_lines(name: str, labels: str, cells: memoryview) -> Iterator[str]:
    count = 0
    before = labels + "," if labels else ""
    for bound, number in zip((*BOUNDS_S, "+Inf"), cells, strict=False):
        count += number
        yield f'demijohn_{name}_bucket{{{before}le="{bound}"}} {count}'
    braced = f"{{{labels}}}" if labels else ""
    yield f"demijohn_{name}_sum{braced} {cells[_SUM] / 1e9:.9f}"
    yield f"demijohn_{name}_count{braced} {count}"


def _worker_lines(workers: list[Slot]) -> Iterator[str]:
    yield from _head("workers", "gauge", "Workers by how far they are.")
    for state in State:
        yield f'demijohn_workers{{state="{state.name.lower()}"}} {sum(worker.state == state for worker in workers)}'
    now_ns = time.monotonic_ns()
    for name, kind, text, value_of in (
        ("threads", "gauge", "Threads that views may run in.", lambda worker: worker.threads),
        ("threads_busy", "gauge", "Threads inside a view.", lambda worker: worker.busy),
        ("requests_in_flight", "gauge", "Requests being answered, awaiting ones too.", lambda worker: worker.in_flight),
        ("requests_waiting", "gauge", "Requests for which no thread is free.", lambda worker: worker.waiting),
        ("connections", "gauge", "Open connections.", lambda worker: worker.connections),
        ("heartbeat_age_seconds", "gauge", "Time since the last sign of life.", lambda worker: _age_s(worker, now_ns)),
        ("start_time_seconds", "gauge", "When it was started.", lambda worker: worker.started_ns / 1e9),
        ("resident_memory_bytes", "gauge", "Memory, shared pages included.", lambda worker: resident_bytes(worker.pid)),
        ("cpu_seconds_total", "counter", "Processor time.", lambda worker: cpu_s(worker.pid)),
    ):
        yield from _head(f"worker_{name}", kind, text)
        for worker in workers:
            yield f'demijohn_worker_{name}{{worker="{worker.number}"}} {value_of(worker)}'


def _listener_lines(listeners: list[Listener]) -> Iterator[str]:
    known = [(listener.address, waiting) for listener in listeners if (waiting := listener.waiting()) is not None]
    if known:
        yield from _head("listener_waiting_connections", "gauge", "Connections that wait to be accepted.")
        for address, waiting in known:
            yield f'demijohn_listener_waiting_connections{{address="{address}"}} {waiting}'


def _age_s(worker: Slot, now_ns: int) -> float:
    return max(0, now_ns - worker.heartbeat_ns) / 1e9 if worker.heartbeat_ns else 0.0


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds (RSS), with what it shares; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE  # proc(5)
    except (OSError, IndexError):
        return 0


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used, in seconds; 0.0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # its name may hold anything
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
