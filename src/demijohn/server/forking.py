"""Processes that the application forks from a worker, by os.fork or multiprocessing: they are no workers.

Such a copy has one thread, the one that forked, and shares what is open with the worker: what it takes out of the
worker's epoll is out of it for both, a listener that it holds keeps the address when the server is gone, and a signal
that is to end it would have the worker's row in shared memory say that the worker drains. So it lets go of all that as
soon as it is there, and ends should it ever come out of the view it was forked in.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import NoReturn, Protocol
from weakref import WeakSet

log = logging.getLogger("demijohn.server")

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Disowning(Protocol):
    """What has to do with the worker alone."""

    def disown(self) -> None:
        """Be told, in a copy of the process, that it is one."""


_owned: WeakSet[Disowning] = WeakSet()


def disown_in_copies(owner: Disowning) -> None:
    """Have `owner` told in each process that is forked from this one."""
    _owned.add(owner)


_before = threading.local()  # which signals were blocked before a fork in this thread


def _hold_signals() -> None:
    """Have no signal come to a copy before it has disowned what is the worker's."""
    _before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS) if _owned else None


def _release_signals() -> None:
    if _before.mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _before.mask)


def _in_copy() -> None:
    for owner in list(_owned):
        owner.disown()
    _owned.clear()
    _release_signals()


os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_in_copy)


def end_copy() -> NoReturn:
    """End a copy that has come out of its view; the worker answers the request."""
    log.warning(
        "A process (pid: %d) that a view has forked has returned from it, and ends here. End such processes with "
        "os._exit, or start them by multiprocessing or subprocess",
        os.getpid(),
    )
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


class NoPoller:
    """What a copy polls: it has no connections, so there is nothing left for it to do."""

    def register(self, fd: int, events: int) -> None: ...

    def modify(self, fd: int, events: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        end_copy()

    def close(self) -> None: ...
