"""`--preload`: a process that loads the application once, and forks the workers from what it has loaded.

The arbiter itself loads nothing, so SIGHUP can load new code: in a new process of this kind, while the old one stays. A
worker is forked twice over, so that it becomes a child of the arbiter, which takes orphans (prctl(2),
PR_SET_CHILD_SUBREAPER), and not of this process.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from .log import log

_FORK = struct.Struct("=qq")  # the number of a slot, and the age of its worker
_PID = struct.Struct("=q")
_READY = b"ready"
_ANSWER_S = 5.0  # forking takes milliseconds; a process that is stopped does not answer at all
_PR_SET_CHILD_SUBREAPER = 36

ForkProcess = Callable[[Callable[[], NoReturn]], int]


class Zygote:
    """The process, as the arbiter sees it.

    boot_by_s: when it is ended unless it is ready, by `time.monotonic()`.
    """

    def __init__(self, pid: int, channel: socket.socket, boot_by_s: float) -> None:
        self.pid = pid
        self.channel = channel
        self.boot_by_s = boot_by_s
        self.was_ready = False

    def is_ready(self) -> bool:
        """Whether it has loaded the application."""
        if not self.was_ready:
            self.channel.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):  # not yet; it has ended
                self.was_ready = self.channel.recv(len(_READY)) == _READY
        return self.was_ready

    def fork(self, slot_number: int, age: int) -> int:
        """Have a worker forked; return its process id. Raises OSError when that cannot be."""
        self.channel.settimeout(_ANSWER_S)
        try:
            self.channel.send(_FORK.pack(slot_number, age))
            answer = self.channel.recv(_PID.size)
        except TimeoutError:
            self.kill(signal.SIGKILL)  # a late answer would be taken for that to the next request
            raise TimeoutError(f"the process with the application (pid:{self.pid}) did not answer") from None
        if len(answer) != _PID.size:
            raise ChildProcessError("the process with the application has ended")
        pid: int = _PID.unpack(answer)[0]
        return pid

    def forget_late(self) -> None:
        """End workers that were forked after nobody waited for them any more."""
        self.channel.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while len(answer := self.channel.recv(_PID.size)) == _PID.size:
                os.kill(_PID.unpack(answer)[0], signal.SIGKILL)  # its parent is this process, which has not waited

    def kill(self, signum: signal.Signals) -> None:
        os.kill(self.pid, signum)  # as with workers, it is there until waited for


class Nursery:
    """The process that workers are forked from, and while the application is loaded anew, the one that is to follow."""

    def __init__(self, run: Callable[[ZygoteEnd], NoReturn]) -> None:
        """`run` is called in each new process."""
        self._run = run
        self._current: Zygote | None = None
        self._next: Zygote | None = None

    @property
    def zygotes(self) -> list[Zygote]:
        return [zygote for zygote in (self._current, self._next) if zygote is not None]

    @property
    def is_empty(self) -> bool:
        return not self.zygotes

    @property
    def is_loading(self) -> bool:
        """Whether the application is being loaded."""
        return self._next is not None

    @property
    def can_fork(self) -> bool:
        return self._current is not None

    def fork(self, slot_number: int, age: int) -> int:
        """Have a worker forked; return its process id. Raises OSError when that cannot be."""
        if self._current is None:
            raise ChildProcessError("no process has the application")
        return self._current.fork(slot_number, age)

    def load(self, fork_process: ForkProcess, now_s: float, timeout_s: float) -> None:
        """Have the application loaded in a new process; one that does so already is ended. Raises OSError."""
        take_orphans()
        if self._next is not None:
            _end(self._next)
            self._next = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        others = [ours, *(zygote.channel for zygote in self.zygotes)]
        try:
            pid = fork_process(lambda: self._run(ZygoteEnd(theirs, others)))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._next = Zygote(pid, ours, now_s + (timeout_s or math.inf))

    def switch(self) -> bool:
        """Go over to the one that has loaded the application; False when there is none yet."""
        if self._next is None or not self._next.is_ready():
            return False
        if self._current is not None:
            _end(self._current)
        self._current, self._next = self._next, None
        log.info("Application loaded (pid: %d)", self._current.pid)
        return True

    def end_overdue(self, now_s: float) -> None:
        """End the one that takes too long; that it could not boot is to be told when it has ended."""
        for zygote in self.zygotes:
            if not zygote.was_ready and now_s >= zygote.boot_by_s:
                log.error("The application (pid:%d) was not loaded in time (--boot-timeout)", zygote.pid)
                zygote.boot_by_s = math.inf
                zygote.kill(signal.SIGKILL)

    def lost(self, pid: int) -> bool:
        """Forget the process that has ended with this id; False when it is none of these."""
        for zygote in self.zygotes:
            if zygote.pid == pid:
                zygote.forget_late()
                zygote.channel.close()
                if zygote is self._current:
                    self._current = None
                else:
                    self._next = None
                return True
        return False

    def close(self) -> None:
        """Let go of all; they end."""
        for zygote in self.zygotes:
            _end(zygote)
        self._current = self._next = None


def _end(zygote: Zygote) -> None:
    zygote.kill(signal.SIGTERM)
    zygote.channel.close()


def take_orphans() -> None:
    """Become the parent of the processes that descendants leave behind."""
    import ctypes  # only --preload needs it

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ZygoteEnd:
    """The other end of the channel to the arbiter, in the process itself."""

    def __init__(self, channel: socket.socket, others: list[socket.socket]) -> None:
        """`others` are those of the arbiter: nobody may hold them open when that has ended."""
        self._channel = channel
        for other in others:
            other.close()

    def serve(self, become_worker: Callable[[int, int], NoReturn]) -> None:
        """Fork workers until nobody asks for them any more.

        become_worker: called in a new process with the number of its slot and its age.
        """
        gc.collect()
        gc.freeze()  # as in the arbiter: a collection would write to the pages that are shared
        self._channel.send(_READY)
        while request := self._channel.recv(_FORK.size):
            slot_number, age = _FORK.unpack(request)
            # A signal that comes before the new process has its own handlers would be handled as this one's.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            between = os.fork()
            if not between:
                self._fork_orphan()
                become_worker(slot_number, age)
            os.waitpid(between, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _fork_orphan(self) -> None:
        """Return in a process whose parent is the arbiter, which is told its id."""
        gone, alive = os.pipe()
        pid = os.fork()
        if pid:
            try:
                self._channel.send(_PID.pack(pid))
            except OSError:
                os.kill(pid, signal.SIGKILL)  # nobody would know of it
            os._exit(0)
        os.close(alive)
        os.read(gone, 1)  # returns when the process between has ended
        os.close(gone)
        self._channel.close()
