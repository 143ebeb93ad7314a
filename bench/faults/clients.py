"""Clients that ask all the time and keep count of what they did not get."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

PATIENCE_S = 20.0


class Lost(Exception):
    """A request that was sent and not answered as it should have been; the message says what came instead."""


class Connection:
    """One connection of a client."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._received = b""
        self.is_open = True

    def ask(self, target: str = "/", fields: str = "") -> bytes:
        """Return the content of the answer. Raises Lost when it is none, or not with 200."""
        self.send(f"GET {target} HTTP/1.1\r\nHost: faults\r\n{fields}\r\n".encode())
        return self.answer()

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Lost(f"while sending: {error}") from None

    def answer(self) -> bytes:
        """Read one answer with a Content-Length."""
        while b"\r\n\r\n" not in self._received:
            self._receive("its head")
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        if not lines[0].startswith(b"http/1.1 200 "):
            raise Lost(lines[0].decode())
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        while len(self._received) < length:
            self._receive("its content")
        content, self._received = self._received[:length], self._received[length:]
        if b"connection: close" in lines:
            self.close()
        return content

    def _receive(self, what: str) -> None:
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Lost(f"{error}, before {what} was there") from None
        if not data:
            raise Lost(f"the connection ended before {what} was there")
        self._received += data

    def close(self) -> None:
        self.is_open = False
        self.sock.close()


def ask(port: int, target: str = "/") -> bytes:
    connection = Connection(port)
    try:
        return connection.ask(target, "Connection: close\r\n")
    finally:
        connection.close()


class Load:
    """Threads that ask without a pause, half of them on connections of their own for each request.

    refused: connections that were not accepted, with no request sent; a server that stops does that.
    """

    def __init__(self, port: int, clients: int = 8) -> None:
        self._port = port
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self.answered = 0
        self.refused = 0
        self.lost: list[str] = []
        self.waited_s: list[float] = []
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 0,)) for n in range(clients)]

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._ends.set()
            for thread in self._threads:
                thread.join(PATIENCE_S)

    def wait_for(self, more: int) -> None:
        """Return when so many more requests have been answered."""
        goal = self.answered + more
        until = time.monotonic() + PATIENCE_S
        while self.answered < goal and time.monotonic() < until:
            self._ends.wait(0.01)

    def _ask(self, keeps: bool) -> None:
        connection: Connection | None = None
        while not self._ends.is_set():
            if connection is None or not connection.is_open:
                try:
                    connection = Connection(self._port)
                except OSError:
                    self.refused += 1
                    self._ends.wait(0.05)
                    continue
            begun = time.monotonic()
            try:
                connection.ask("/", "" if keeps else "Connection: close\r\n")
            except Lost as error:
                connection.close()
                with self._lock:
                    self.lost.append(str(error))
            else:
                with self._lock:
                    self.answered += 1
                    self.waited_s.append(time.monotonic() - begun)
        if connection is not None:
            connection.close()


def p99_ms(waited_s: list[float]) -> float:
    return sorted(waited_s)[int(len(waited_s) * 0.99)] * 1000 if waited_s else 0.0
