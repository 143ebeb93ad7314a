"""Which descriptors are ready: epoll, or poll where there is no epoll."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from typing import Protocol

# The same numbers for epoll and poll.
READ = 0x001
WRITE = 0x004

_MOST_EVENTS = 256


class Poller(Protocol):
    """A set of descriptors that any thread may change while one waits for it. Level-triggered."""

    def register(self, fd: int, events: int) -> None: ...

    def modify(self, fd: int, events: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return what is ready as (descriptor, events), waiting up to `timeout_s` for something to be."""

    def close(self) -> None: ...


class EpollPoller:
    """epoll itself; its own methods are the interface, so that nothing stands between."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.fileno = self._epoll.fileno
        self.close = self._epoll.close

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout_s, _MOST_EVENTS)


class PollPoller:
    """POSIX poll(). A wait that is under way does not see changes, so every change ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[int, int] = {}
        self._woken, self._wake = os.pipe()
        for fd in (self._woken, self._wake):
            os.set_blocking(fd, False)

    def register(self, fd: int, events: int) -> None:
        with self._lock:
            if fd in self._events:
                raise FileExistsError(f"descriptor {fd} is registered already")
            self._events[fd] = events
        self._end_wait()

    def modify(self, fd: int, events: int) -> None:
        with self._lock:
            if fd not in self._events:
                raise FileNotFoundError(f"descriptor {fd} is not registered")
            self._events[fd] = events
        self._end_wait()

    def unregister(self, fd: int) -> None:
        with self._lock:
            if self._events.pop(fd, None) is None:
                raise FileNotFoundError(f"descriptor {fd} is not registered")
        self._end_wait()

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        waiting = select.poll()
        waiting.register(self._woken, READ)
        with self._lock:
            for fd, events in self._events.items():
                waiting.register(fd, events)
        ready = waiting.poll(timeout_s * 1000)
        if any(fd == self._woken for fd, _ in ready):
            with contextlib.suppress(BlockingIOError):  # another thread that waits has read it
                os.read(self._woken, 65536)
        with self._lock:
            # What was unregistered during the wait is nobody's any more.
            return [(fd, events) for fd, events in ready if fd in self._events]

    def close(self) -> None:
        os.close(self._woken)
        os.close(self._wake)

    def _end_wait(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: the wait is ended already
            os.write(self._wake, b"\0")


def is_readable(fd: int) -> bool:
    """Whether there is something to read at once: bytes, or the end."""
    once = select.poll()
    once.register(fd, READ)
    return bool(once.poll(0))


def new_poller() -> Poller:
    """Return the best poller of this system."""
    return EpollPoller() if sys.platform == "linux" else PollPoller()
