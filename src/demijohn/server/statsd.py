"""Metrics for a statsd, under the names that gunicorn gives them.

What is counted goes out with the signs of life, a few times in a second, in as few datagrams as it fits; so a request
costs no system call. Nobody waits for the daemon, and when there is none, nothing is lost but the metrics.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections import Counter
from typing import Any

from ..message import RequestHead, ResponseMessage
from .log import log
from .settings import Settings
from .slots import Slot, SlotTable
from .sockets import Listener

# Under the least MTU of IPv6 (RFC 8200 §5), with the headers.
_DATAGRAM_BYTES = 1200


class Statsd(logging.Handler):
    """Counts requests and log entries of one worker. As a handler it is told of the log."""

    def __init__(self, settings: Settings, slot: Slot, slots: SlotTable, listeners: list[Listener]) -> None:
        super().__init__(logging.WARNING)
        self._prefix = f"{settings.statsd_prefix.rstrip('.')}." if settings.statsd_prefix else ""
        self._tags = f"|#{settings.dogstatsd_tags}" if settings.dogstatsd_tags else ""
        self._slot = slot
        self._slots = slots
        self._listeners = listeners if settings.enable_backlog_metric else []
        self._counting = threading.RLock()  # a signal handler that logs comes in the middle of `send`
        self._counts: Counter[str] = Counter()
        self._durations: list[float] = []
        self._socket: socket.socket | None = None
        try:
            family, self._address = _address_of(settings.statsd_host or "")
        except OSError as error:
            log.warning("Nothing is told to the statsd at %s: %s", settings.statsd_host, error.strerror)
        else:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def __call__(
        self, head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool
    ) -> None:
        """Count a request that was answered; see `loop.OnRequest`."""
        with self._counting:
            self._counts["requests"] += 1
            self._counts[f"request.status.{message.status[:3]}"] += 1
            self._durations.append(wall_s)

    def emit(self, record: logging.LogRecord) -> None:
        """Count an entry of the log."""
        with self._counting:
            self._counts[f"log.{record.levelname.lower()}"] += 1
            if record.exc_info:
                self._counts["log.exception"] += 1

    def send(self) -> None:
        """Send what has been counted since the last time."""
        with self._counting:
            counts, self._counts = self._counts, Counter()
            durations, self._durations = self._durations, []
        lines = [self._line(name, f"{count}|c|@1.0") for name, count in counts.items()]
        lines += [self._line("request.duration", f"{wall_s * 1000:.3f}|ms") for wall_s in durations]
        workers = list(self._slots.workers())
        if workers and workers[0].number == self._slot.number:  # one of them speaks for all
            lines.append(self._line("workers", f"{len(workers)}|g"))
            if self._listeners:
                waiting = sum(listener.waiting() or 0 for listener in self._listeners)
                lines.append(self._line("backlog", f"{waiting}|h"))
        datagram = b""
        for line in lines:
            if len(datagram) + len(line) > _DATAGRAM_BYTES:
                self._send(datagram)
                datagram = b""
            datagram += line
        self._send(datagram)

    def _line(self, name: str, value: str) -> bytes:
        return f"{self._prefix}gunicorn.{name}:{value}{self._tags}\n".encode("ascii", "backslashreplace")

    def _send(self, datagram: bytes) -> None:
        if datagram and self._socket is not None:
            with contextlib.suppress(OSError):  # it is not there, or cannot keep up: metrics must not matter
                self._socket.sendto(datagram.rstrip(b"\n"), self._address)


def _address_of(written: str) -> tuple[socket.AddressFamily, Any]:
    """Return where a statsd listens, as its socket has it: whoever sends keeps watch, and cannot wait for a name.

    Raises OSError for a name that is not known.
    """
    if written.startswith("unix://"):
        return socket.AF_UNIX, written.removeprefix("unix://")
    host, _, port = written.rpartition(":")
    host = host.strip("[]")
    found = socket.getaddrinfo(host.encode() if host.isascii() else host, port, type=socket.SOCK_DGRAM)
    return found[0][0], found[0][4]
