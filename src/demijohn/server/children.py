"""Workers as their arbiter sees them, and the watch it keeps over them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from .hook_objects import HookWorker
from .log import log
from .metrics import Metrics, resident_bytes
from .settings import Settings
from .slots import Slot, State

TICK_S = 1.0  # how often heartbeats, memory and deadlines are looked at
EXIT_S = 1.0  # what a worker has after the graceful timeout, to say what it gave up and to exit
_ABORT_S = 2.0  # what a worker without a heartbeat has to write down its stacks


@dataclass(slots=True, eq=False)
class Child:
    """A worker as its arbiter sees it; times are `time.monotonic()`.

    generation: of the code it loaded; SIGHUP starts the next one.
    hooked: what hooks are given for it.
    late_s: when to say that it still boots.
    boot_by_s: when it is ended unless it is ready.
    max_requests: how many it answers before it is replaced.
    is_aborted: it did not boot in time, and was asked for its stacks.
    is_worn: it has answered so many, or holds too much memory, and is to be replaced.
    ready_s: when it said that it is ready; None before.
    leaves_by_s: it was asked to stop, and is killed then; None when it was not asked.
    """

    pid: int
    slot: Slot
    generation: int
    hooked: HookWorker
    late_s: float
    boot_by_s: float
    max_requests: float
    is_aborted: bool = False
    is_worn: bool = False
    ready_s: float | None = None
    leaves_by_s: float | None = None

    def kill(self, signum: signal.Signals) -> None:
        os.kill(self.pid, signum)  # It is there until waited for, so the number is nobody else's.

    def dismiss(self, signum: signal.Signals, leaves_by_s: float) -> None:
        """Ask it to stop; it is killed when it is still there at `leaves_by_s`."""
        self.kill(signum)
        self.leaves_by_s = leaves_by_s
        self.hooked.alive = False

    @property
    def is_up(self) -> bool:
        """Whether it has loaded the application."""
        return self.slot.state != State.BOOTING

    @property
    def is_draining_unasked(self) -> bool:
        """Whether somebody else than the arbiter has asked it to stop."""
        return self.leaves_by_s is None and self.slot.state == State.DRAINING


def new_child(pid: int, slot: Slot, generation: int, hooked: HookWorker, settings: Settings, now_s: float) -> Child:
    """Return the entry of a worker that has just been forked."""
    hooked.pid = pid
    return Child(
        pid,
        slot,
        generation,
        hooked,
        late_s=now_s + (settings.timeout_s or math.inf),
        boot_by_s=now_s + (settings.boot_timeout_s or math.inf),
        max_requests=_random_limit(settings.max_requests, settings.max_requests_jitter),
    )


class Watch:
    """Looks after workers: who does not boot, shows no sign of life, or is worn out."""

    def __init__(self, settings: Settings, metrics: Metrics, now_s: float) -> None:
        self._settings = settings
        self._metrics = metrics
        self._soft_bytes = settings.max_memory or math.inf
        self._hard_bytes = settings.max_memory_hard or math.inf
        self._weighs = min(self._soft_bytes, self._hard_bytes) < math.inf
        self._weigh_again_s = 0.0
        self._awake_since_s = self._looked_s = now_s

    def look(self, children: Iterable[Child], now_s: float, *, may_replace: bool) -> None:
        """Look at workers that boot or serve, ask those to stop who have to, and mark those who are worn out.

        may_replace: whether one may be marked now; no second one is before it has left.
        """
        # When this process was itself stopped (Ctrl-Z, a paused container), so were the workers.
        if now_s - self._looked_s > 3 * TICK_S:
            self._awake_since_s = now_s
        self._looked_s = now_s
        serving = []
        for child in children:
            if child.ready_s is None:
                self._look_at_boot(child, now_s)
            else:
                self._look_at_heartbeat(child, child.ready_s, now_s)
                serving.append(child)
        if (self._weighs or self._settings.max_requests) and now_s >= self._weigh_again_s:
            self._weigh_again_s = now_s + TICK_S
            for child in serving:
                if child.leaves_by_s is None:
                    self._look_at_wear(child, now_s, may_replace)
                    may_replace = may_replace and not child.is_worn

    def _look_at_boot(self, child: Child, now_s: float) -> None:
        if now_s >= child.late_s:
            child.late_s = math.inf
            log.warning("Worker (pid:%d) has been booting for %.0f s", child.pid, self._settings.timeout_s)
        if now_s >= child.boot_by_s:
            log.error(
                "Worker (pid:%d) was not ready within %g s (--boot-timeout) and is ended; its stacks follow",
                child.pid,
                self._settings.boot_timeout_s,
            )
            # Not dismissed: that it could not boot is to be told when it has ended.
            child.kill(signal.SIGKILL if child.is_aborted else signal.SIGABRT)
            child.is_aborted = True
            child.boot_by_s = now_s + _ABORT_S

    def _look_at_heartbeat(self, child: Child, ready_s: float, now_s: float) -> None:
        seen_s = max(child.slot.heartbeat_ns / 1e9, ready_s, self._awake_since_s)
        if self._settings.timeout_s and now_s - seen_s > self._settings.timeout_s:
            log.error(
                "Worker (pid:%d) has given no sign of life for %.0f s: it is stopped, or C code keeps the "
                "interpreter to itself. It is replaced; the stacks of its threads follow",
                child.pid,
                now_s - seen_s,
            )
            child.hooked.aborted = True
            self._metrics.arbiter.workers_hung += 1
            child.dismiss(signal.SIGABRT, now_s + _ABORT_S)

    def _look_at_wear(self, child: Child, now_s: float, may_replace: bool) -> None:
        held_bytes = resident_bytes(child.pid) if self._weighs else 0
        if held_bytes > self._hard_bytes:
            log.error(
                "Worker (pid:%d) holds %s, more than --max-memory-hard. It is ended; the stacks of its threads follow",
                child.pid,
                _megabytes(held_bytes),
            )
            child.dismiss(signal.SIGABRT, now_s + _ABORT_S)
        elif may_replace and child.slot.requests >= child.max_requests:
            child.is_worn = True
            log.info("Worker (pid:%d) has answered %d requests and is replaced", child.pid, child.slot.requests)
        elif may_replace and held_bytes > self._soft_bytes:
            child.is_worn = True
            log.warning(
                "Worker (pid:%d) holds %s, more than --max-memory, and is replaced", child.pid, _megabytes(held_bytes)
            )


def how(code: int) -> str:
    """Say how a process ended, from `os.waitstatus_to_exitcode`."""
    if code >= 0:
        return f"it exited with status {code}"
    hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
    return f"signal {-code} ended it ({signal.strsignal(-code)}{hint})"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _megabytes(number: int) -> str:
    return f"{number / 1024**2:.0f} MB"


def _random_limit(least: int, jitter: int) -> float:
    """Return a number from `least` to `least + jitter` by chance; infinite when `least` is 0."""
    # Not by `random`, which would cost this process a megabyte.
    return least + int.from_bytes(os.urandom(8)) % (jitter + 1) if least else math.inf
