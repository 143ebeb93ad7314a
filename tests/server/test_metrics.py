"""Metrics: right for all workers whichever answers, in the format Prometheus reads."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.server.metrics import Metrics, Row, render
from demijohn.server.proxy import request_start
from demijohn.server.slots import Slot, SlotTable, State

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """Parse what Prometheus would read."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value_of(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"demijohn_{name}", frozenset(labels.items())]


class Server:
    """The tables of a server, and its workers' rows."""

    def __init__(self, workers: int) -> None:
        self.slots, self.metrics = SlotTable(8), Metrics(8)
        self.workers: list[Slot] = []
        for _ in range(workers):
            slot = self.slots.take()
            assert slot is not None
            slot.pid, slot.state = os.getpid(), State.READY
            self.workers.append(slot)

    def count(
        self, worker: int, method: str = "GET", status: str = "200 OK", wall_s: float = 0.0, size: int = 0, **more
    ):
        head = RequestHead(method, b"/", (1, 1), more.get("fields", []), Origin())
        row = self.metrics.worker(self.workers[worker])
        row(head, ResponseMessage(status, b"", b""), size, wall_s, more.get("is_complete", True))

    @property
    def samples(self) -> Samples:
        return samples_of(render(self.metrics, self.slots).decode())


def test_requests_of_all_workers_are_summed_by_method_and_class_of_status() -> None:
    server = Server(2)
    server.count(0, wall_s=0.003, size=10)
    server.count(1, wall_s=0.2, size=5)
    server.count(1, "POST", "404 Not Found", wall_s=20)
    samples = server.samples
    get = {"method": "GET", "status": "2xx"}
    buckets = [value_of(samples, "request_duration_seconds_bucket", le=le, **get) for le in ("0.001", "0.005", "0.25")]
    assert buckets == [0, 1, 2]
    assert value_of(samples, "request_duration_seconds_count", **get) == 2
    assert value_of(samples, "request_duration_seconds_sum", **get) == pytest.approx(0.203)
    assert value_of(samples, "response_content_bytes_total", **get) == 15
    post = {"method": "POST", "status": "4xx"}
    assert value_of(samples, "request_duration_seconds_bucket", le="10.0", **post) == 0
    assert value_of(samples, "request_duration_seconds_bucket", le="+Inf", **post) == 1
    assert ("demijohn_request_duration_seconds_count", frozenset({("method", "PUT"), ("status", "2xx")})) not in samples


def test_methods_that_peers_invent_are_one_series() -> None:
    server = Server(1)
    for method in ("PROPFIND", "MKCOL", "PURGE"):
        server.count(0, method)
    assert value_of(server.samples, "request_duration_seconds_count", method="other", status="2xx") == 3


def test_the_counts_of_a_worker_that_is_gone_stay() -> None:
    server = Server(2)
    server.count(0)
    server.count(1)
    server.metrics.retire(server.workers[0])
    server.slots.release(server.workers[0])
    again = server.slots.take()
    assert again is not None
    again.pid = os.getpid()
    assert value_of(server.samples, "request_duration_seconds_count", method="GET", status="2xx") == 2
    assert server.samples["demijohn_workers", frozenset({("state", "ready")})] == 1


@given(
    counted=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["GET", "POST", "BREW"]),
            st.sampled_from(["101 A", "200 B", "301 C", "418 D", "599 E"]),
            st.floats(0, 1e6),
            st.integers(0, 2**40),
        )
    ),
    gone=st.sets(st.integers(0, 2)),
)
def test_whatever_is_counted_nothing_is_lost_and_buckets_grow(counted: list[Any], gone: set[int]) -> None:
    server = Server(3)
    for worker, method, status, wall_s, size in counted:
        server.count(worker, method, status, wall_s, size)
    for worker in gone:
        server.metrics.retire(server.workers[worker])
        server.slots.release(server.workers[worker])
    samples = server.samples
    assert sum(v for (name, _), v in samples.items() if name.endswith("duration_seconds_count")) == len(counted)
    content = sum(v for (name, _), v in samples.items() if name.endswith("content_bytes_total"))
    assert content == sum(size for *_, size in counted)
    buckets: dict[frozenset[tuple[str, str]], list[float]] = {}
    for (name, labels), value in samples.items():
        if name.endswith("duration_seconds_bucket"):
            buckets.setdefault(frozenset(pair for pair in labels if pair[0] != "le"), []).append(value)
    assert all(values == sorted(values) for values in buckets.values())


def test_threads_that_count_at_once_lose_nothing() -> None:
    server = Server(1)
    threads = [threading.Thread(target=lambda: [server.count(0) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value_of(server.samples, "request_duration_seconds_count", method="GET", status="2xx") == 8000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"t=1764000000.123", 1764000000.123),
        (b"1764000000123", 1764000000.123),
        (b"t=1764000000123456", 1764000000.123456),
        (b"1764000000123456789", 1764000000.123456789),
        (b"", None),
        (b"t=", None),
        (b"yesterday", None),
        (b"12", None),
        (b"nan", None),
        (b"inf", None),
        (b"-1764000000", None),
    ],
)
def test_the_beginning_of_the_queue_is_read_in_every_unit(value: bytes, seconds: float | None) -> None:
    assert request_start(value) == (None if seconds is None else pytest.approx(seconds))


def test_the_time_in_the_queue_is_from_the_proxy_to_the_complete_request() -> None:
    server = Server(1)
    server.count(0, wall_s=1.0, fields=[(b"x-request-start", b"t=%f" % (time.time() - 1.2))])
    server.count(0, fields=[(b"x-request-start", b"t=%f" % (time.time() + 60))])  # its clock is ahead
    server.count(0, fields=[(b"x-request-start", b"t=1000000000")])  # its clock is years behind
    samples = server.samples
    assert value_of(samples, "request_queue_seconds_count") == 2
    assert value_of(samples, "request_queue_seconds_bucket", le="0.1") == 1
    assert value_of(samples, "request_queue_seconds_sum") == pytest.approx(0.2, abs=0.1)


def test_what_was_no_request_or_was_cut_off_is_counted() -> None:
    server = Server(1)
    server.count(0, "", "400 Bad Request")
    server.count(0, is_complete=False)
    assert value_of(server.samples, "requests_refused_total") == 1
    assert value_of(server.samples, "answers_cut_off_total") == 1


# -- of a running server --------------------------------------------------------------------------


def wait_until(server: Any, holds: Callable[[Samples], bool]) -> Samples:
    """Scrape until the metrics are as they have to become: an answer arrives before it is counted."""
    deadline = time.monotonic() + 30
    while True:
        samples = samples_of(server.get("/metrics").text)
        if holds(samples):
            return samples
        assert time.monotonic() < deadline, samples


def test_any_worker_tells_what_all_have_counted_and_death_costs_nothing(serve) -> None:
    server = serve("plain:application", "-w", "2", "--metrics-path", "/metrics")
    workers = server.wait_until_ready(workers=2)
    served = set()
    asked = 0
    while served != set(workers):
        served.add(int(server.get("/pid").text))
        asked += 1
    assert server.get("/missing").status == 500
    get = ("demijohn_request_duration_seconds_count", frozenset({("method", "GET"), ("status", "2xx")}))
    failed = ("demijohn_request_duration_seconds_count", frozenset({("method", "GET"), ("status", "5xx")}))
    wait_until(server, lambda samples: samples.get(get) == asked and samples.get(failed) == 1)
    os.kill(workers[0], signal.SIGKILL)
    server.wait_for_worker()
    samples = wait_until(server, lambda samples: value_of(samples, "worker_crashes_total") == 1)
    assert (samples[get], samples[failed]) == (asked, 1)
    assert value_of(samples, "worker_starts_total") == 3
    assert value_of(samples, "workers", state="ready") == 2
    for number in ("0", "1"):
        assert value_of(samples, "worker_resident_memory_bytes", worker=number) > 1_000_000
        assert value_of(samples, "worker_cpu_seconds_total", worker=number) >= 0
        assert value_of(samples, "worker_start_time_seconds", worker=number) > 1_700_000_000


def test_connections_that_wait_to_be_accepted_can_be_seen(serve, free_port: int) -> None:
    address = f"127.0.0.1:{free_port}"
    server = serve("plain:application", "--status-bind", address)
    (worker,) = server.wait_until_ready()

    def waiting() -> float:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            samples = samples_of(answer.read().decode())
        return value_of(samples, "listener_waiting_connections", address="127.0.0.1:0")

    assert waiting() == 0
    os.kill(worker, signal.SIGSTOP)
    while not all(
        task.read_text().rpartition(")")[2].split()[0] == "T" for task in Path(f"/proc/{worker}/task").glob("*/stat")
    ):
        pass
    clients = [server.connect() for _ in range(3)]
    try:
        assert waiting() == 3
    finally:
        os.kill(worker, signal.SIGCONT)
        for client in clients:
            client.close()


def test_busy_threads_can_be_seen_and_do_not_delay_the_servers_own_pages(serve, gate, in_background) -> None:
    flags = ("--threads", "1", "--metrics-path", "/metrics", "--livez-path", "/livez", "--readyz-path", "/readyz")
    server = serve("plain:application", *flags)
    server.wait_until_ready()
    request = in_background(server.get, f"/wait?{gate.path}")
    gate.wait_for_view()
    waiting = in_background(server.get, f"/wait?{gate.path}")  # there is no thread left for it
    samples = wait_until(server, lambda samples: value_of(samples, "worker_connections", worker="0") >= 2)
    assert value_of(samples, "worker_threads_busy", worker="0") == 1
    assert value_of(samples, "worker_threads", worker="0") == 1
    assert value_of(samples, "worker_requests_in_flight", worker="0") == 1
    assert (server.get("/livez").status, server.get("/livez").text) == (200, "ok\n")
    assert (server.get("/readyz").status, server.get("/readyz").text) == (200, "ready\n")
    gate.open()
    gate.wait_for_view()
    gate.open()
    assert [request.result().status, waiting.result().status] == [200, 200]


def test_a_worker_that_drains_says_that_it_is_not_ready(serve, gate) -> None:
    server = serve("plain:application", "--readyz-path", "/readyz")
    server.wait_until_ready()
    with server.connect() as sock:
        waiting = f"GET /wait?{gate.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        sock.sendall(waiting + b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        gate.wait_for_view()
        server.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionRefusedError):
            server.connect_until_refused()
        gate.open()
        answers = b""
        while part := sock.recv(1000):
            answers += part
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answers) == [b"200", b"503"]
    assert server.wait() == 0


def test_own_pages_are_off_unless_asked_for_and_leave_other_methods_to_the_application(serve) -> None:
    server = serve("plain:application", "--livez-path", "/livez", "--access-logfile", "-")
    server.wait_until_ready()
    assert server.get("/metrics").status == 500  # of the application, which has no such view
    assert server.get("/livez?verbose").status == 200
    with server.connect() as sock:
        sock.sendall(b"POST /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 500 ")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert '"POST /livez' in server.log
    assert '"GET /livez' not in server.log  # it would drown the others


def test_rows_are_of_the_same_size_for_all() -> None:
    metrics = Metrics(2)
    assert isinstance(metrics.arbiter, Row)
    assert len(metrics.arbiter.row) * 8 % 4096 == 0
