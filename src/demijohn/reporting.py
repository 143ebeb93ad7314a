"""How far work is: said by the function that does it, heard by whoever follows it.

A job's record is written, a caller on a WebSocket is told; the function says the same in both cases, and where nobody
follows it, nothing happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

# How often those who follow are told, at most.
_REPORT_S = 0.1


class Follower:
    """Whoever follows a call.

    done, total: how far it is, in steps of its own; total is None when it did not say. message: its last words.
    """

    def __init__(self) -> None:
        self.done: float = 0
        self.total: float | None = None
        self.message = ""
        self._told_at = 0.0
        self._interrupt: Callable[[], object] | None = None

    def report(self, done: float, total: float | None, message: str | None) -> None:
        """Note how far the call is; see `report`."""
        self.done = done
        if total is not None:
            self.total = total
        if message is not None:
            self.message = message
        now = time.monotonic()
        if now - self._told_at >= _REPORT_S or done == self.total:
            self._told_at = now
            self.hear(done, self.total, self.message)

    def hear(self, done: float, total: float | None, message: str) -> None:
        """Be told, not too often. Raises CallCancelled when the call is to end."""
        raise NotImplementedError

    def is_cancelled(self) -> bool:
        """Whether the call is to end."""
        return False

    def on_cancel(self, interrupt: Callable[[], object]) -> None:
        """Have a function called, in any thread, when the call is to end; at once, if it is to already."""
        self._interrupt = interrupt
        if self.is_cancelled():
            interrupt()

    def interrupt(self) -> None:
        """End what the call waits for, after it has become one that is to end. May be called in any thread."""
        if self._interrupt is not None:
            self._interrupt()


current: ContextVar[Follower | None] = ContextVar("demijohn.follower", default=None)


def report(done: float, total: float | None = None, message: str | None = None) -> None:
    """Say how far the work is, in the function that does it: to a job's record, or to a caller on a WebSocket.

    done, total: in steps of any kind. Told ten times a second at most.
    Raises CallCancelled when the work is to end, so that the function can clean up on its way out.
    """
    follower = current.get()
    if follower is not None:
        follower.report(done, total, message)


def progress(steps: Iterable[T], total: float | None = None, message: str | None = None) -> Iterator[T]:
    """Go through `steps` and report each that is done: `for epoch in progress(range(30)): ...`."""
    if total is None and isinstance(steps, Sized):
        total = len(steps)
    report(0, total, message)
    for number, step in enumerate(steps, 1):
        yield step
        report(number, total)


def followed(follower: Follower, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function with somebody who follows it."""
    token = current.set(follower)
    try:
        return function(*args, **kwargs)
    finally:
        current.reset(token)
