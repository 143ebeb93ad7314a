"""Parts of a stream that come right behind each other, sent together.

PEP 3333 ("Buffering and Streaming") wants what an application has given to be on its way before the next is awaited,
or that another thread sees to it meanwhile. So parts are kept back only while they come at once; the watch of the
worker, which then looks every few milliseconds, sends what there is when the application is not back by then. A part
that was waited for goes out at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from .framing import Framing
from .sending import FAILED, Answer, Truncated, checked, framed, taker

# Parts made in less than this are gathered, until they are so many bytes.
# bench/bodies.py: 64 parts of 1 KB in 30 us, sent one by one in 240.
_AT_ONCE_S = 0.0002
_MOST_BYTES = 1 << 16


class Receiver(Protocol):
    """A connection that takes an answer. `unsent` is what its socket did not take yet."""

    sock: socket.socket
    unsent: bytes | memoryview | None


class _Gathered:
    """What the thread of a stream has gathered, for whoever sends it first."""

    __slots__ = ("answer", "framing", "parts", "receiver")

    def __init__(self, receiver: Receiver, answer: Answer, framing: Framing) -> None:
        self.receiver = receiver
        self.answer = answer
        self.framing = framing
        self.parts: list[bytes] = []

    def release(self, is_last: bool = False) -> None:
        """Let it be what the socket is given next."""
        parts = self.parts[:]
        del self.parts[: len(parts)]  # the thread of the stream may have added to them meanwhile
        data = framed(self.answer, self.framing, parts, is_last)
        unsent = self.receiver.unsent
        if data:
            self.receiver.unsent = data if unsent is None else bytes(unsent) + data


class Gatherer:
    """Takes parts of streams from applications, in the threads of these."""

    def __init__(self, waiting: set[object], attend: Callable[[object], None]) -> None:
        """`attend` puts something into `waiting`; while it is there, `send_waiting` has to be called now and then."""
        self._waiting = waiting
        self._attend = attend
        # Whoever holds it may frame and send what was gathered, so that parts do not overtake each other, and so that
        # nothing is sent on a connection whose thread is through with it.
        self._lock = threading.Lock()

    def fill(self, receiver: Receiver, answer: Answer, framing: Framing) -> None:
        """Let what the application makes next be what is unsent, if it is not sent already.

        When there is no more, `parts` of the answer is None; `failure` says why the answer cannot be complete.
        """
        gathered = _Gathered(receiver, answer, framing)
        take = taker(answer)
        size, is_waiting, is_last = 0, False, False
        asked = monotonic()
        try:
            while size < _MOST_BYTES:
                part = take()
                if not isinstance(part, bytes) and checked(part) is None:
                    is_last = True
                    break
                gathered.parts.append(part)
                size += len(part)
                now = monotonic()
                if now - asked > _AT_ONCE_S:
                    break
                asked = now
                if not is_waiting:
                    is_waiting = True
                    self._attend(gathered)
        except BaseException as error:  # of the application, as in `handle`
            answer.failure = Truncated(FAILED)
            answer.failure.__cause__ = error
        with self._lock:
            self._waiting.discard(gathered)
            gathered.release(is_last)

    def send_waiting(self) -> None:
        """Send what has been gathered by threads that may be waiting for the next part. Raises nothing."""
        for gathered in list(self._waiting):
            assert isinstance(gathered, _Gathered)
            with self._lock:
                if gathered.parts:
                    self._send(gathered)

    def _send(self, gathered: _Gathered) -> None:
        receiver = gathered.receiver
        gathered.release()
        data = receiver.unsent
        if data is None:
            return
        try:
            sent = receiver.sock.send(data)
        except OSError:  # the thread of the stream will find out for itself
            return
        gathered.answer.taken_bytes += sent
        receiver.unsent = memoryview(data)[sent:] if sent < len(data) else None
