"""Metrics for a statsd."""

from __future__ import annotations

import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from demijohn.server.settings import SettingError, from_values


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    """Somebody who listens for datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


def test_requests_are_told_to_statsd_as_gunicorn_tells_them(serve, daemon: socket.socket) -> None:
    address = f"127.0.0.1:{daemon.getsockname()[1]}"
    flags = ("--statsd-host", address, "--statsd-prefix", "shop", "--dogstatsd-tags", "env:test,team:a")
    server = serve("plain:application", "-w", "1", *flags)
    server.wait_until_ready()
    for target in ("/", "/", "/missing"):
        server.get(target)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    counts: Counter[str] = Counter()
    durations = []
    daemon.setblocking(False)
    while True:
        try:
            lines = daemon.recv(65536).decode().split("\n")
        except BlockingIOError:
            break
        for line in lines:
            name, value, kind = re.split(r"[:|]", line)[:3]
            assert line.endswith("|#env:test,team:a")
            if kind == "c":
                counts[name] += int(value)
            elif kind == "ms":
                durations.append((name, float(value)))
            else:
                assert (name, value, kind) == ("shop.gunicorn.workers", "1", "g")
    assert counts == {
        "shop.gunicorn.requests": 3,
        "shop.gunicorn.request.status.200": 2,
        "shop.gunicorn.request.status.500": 1,
        "shop.gunicorn.log.error": 1,
        "shop.gunicorn.log.exception": 1,
    }
    assert len(durations) == 3
    assert all(name == "shop.gunicorn.request.duration" and ms >= 0 for name, ms in durations)


def test_statsd_is_told_how_many_wait_to_be_accepted_when_that_is_wanted(serve, daemon: socket.socket) -> None:
    address = f"127.0.0.1:{daemon.getsockname()[1]}"
    server = serve("plain:application", "-w", "1", "--statsd-host", address, "--enable-backlog-metric")
    server.wait_until_ready()
    lines: list[str] = []
    while "gunicorn.backlog:0|h" not in lines:
        lines = daemon.recv(65536).decode().split("\n")


def test_nobody_waits_for_a_statsd_that_is_not_there(serve, free_port: int) -> None:
    server = serve("plain:application", "--statsd-host", f"127.0.0.1:{free_port}")
    server.wait_until_ready()
    for _ in range(5):
        assert server.get("/").status == 200


@pytest.mark.parametrize("address", ["statsd", "udp://a:1", ":8125", "a:b"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingError, match="--statsd-host must be HOST:PORT or unix://PATH"):
        from_values({"statsd_host": address}, {})


def test_a_statsd_may_listen_at_a_path(serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "statsd"))
        daemon.settimeout(30)
        server = serve("plain:application", "-w", "1", "--statsd-host", f"unix://{tmp_path}/statsd")
        server.wait_until_ready()
        server.get("/")
        while b"gunicorn.requests:1|c|@1.0" not in daemon.recv(65536):
            pass


def test_a_statsd_that_cannot_be_found_is_told_once_and_nobody_waits_for_it(serve) -> None:
    address = "no..name:8125"
    server = serve("plain:application", "--statsd-host", address)
    server.wait_until_ready()
    assert re.search(rf"\[WARNING\] Nothing is told to the statsd at {re.escape(address)}: ", server.log)
    assert server.get("/").status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("Nothing is told to the statsd") == 1
