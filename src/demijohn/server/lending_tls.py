"""A connection with TLS that an application takes over: one object for the server and for the application's threads."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, TypeVar, cast

from .tls import TLSSocket

T = TypeVar("T")

# Another thread may have taken what this one waits for, or have closed the descriptor just before it was polled.
_LOOK_AGAIN_S = 1.0


class LentTLSSocket(TLSSocket):
    """A connection with TLS that an application has taken over: it blocks, and threads may use it at once.

    OpenSSL allows a connection one call at a time, and simple-websocket reads in a thread of its own. So the descriptor
    stays one that does not block, each call holds a lock, and a thread waits for the peer without it.
    """

    _calls: Lock
    _sends: Lock  # what OpenSSL has taken half of must come again before anything else (SSL_write(3))
    _patience_s: float | None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has arrived, b"" at the end. Raises TimeoutError as `settimeout` says."""
        return self._patiently(lambda: super(LentTLSSocket, self).recv(buflen), select.POLLIN)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        """Return how much was taken. Raises TimeoutError as `settimeout` says."""
        with self._sends:
            return self._patiently(lambda: super(LentTLSSocket, self).send(data), select.POLLOUT)

    def _patiently(self, call: Callable[[], T], event: int) -> T:
        deadline = None if self._patience_s is None else monotonic() + self._patience_s
        while True:
            with self._calls:
                if self.fileno() < 0:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                try:
                    return call()
                except BlockingIOError:
                    poll = select.poll()
                    poll.register(self, event)
            left_s = _LOOK_AGAIN_S if deadline is None else min(deadline - monotonic(), _LOOK_AGAIN_S)
            if left_s <= 0:
                if self._patience_s == 0:
                    raise BlockingIOError
                raise TimeoutError("timed out")
            poll.poll(left_s * 1000)

    def settimeout(self, value: float | None) -> None:
        self._patience_s = value

    def gettimeout(self) -> float | None:
        return self._patience_s

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def shutdown(self, how: int) -> None:
        with self._calls:
            super().shutdown(how)

    def close(self) -> None:
        """Say goodbye, and let threads that wait find the end."""
        with self._calls:
            self._say_goodbye()
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self, socket.SHUT_RDWR)
            super().close()


def lend_tls(sock: socket.socket) -> LentTLSSocket:
    """Return the same object, for its state cannot be had twice; it blocks, whatever it did until now."""
    sock.__class__ = LentTLSSocket
    lent = cast(LentTLSSocket, sock)
    lent._calls = Lock()
    lent._sends = Lock()
    lent._patience_s = None
    return lent
