"""The parent process: keeps the listeners, forks the workers and replaces them, answers to signals."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ..typing import Gateway
from .loading import LoadError, load_gateway
from .log import LogFiles, log, open_logs
from .metrics import Metrics, resident_bytes
from .pidfile import PidFile
from .process import daemonize, prepare, use_what_a_container_gives
from .settings import SettingError, Settings
from .slots import Slot, SlotTable, State
from .sockets import Listener, open_listeners
from .worker import BOOT_FAILED, STOPS, Worker, leave, log_load_error

if TYPE_CHECKING:
    from .tls import TLS

_CAPACITY = 1024  # rows for workers; the kernel gives memory only to those in use
_TICK_S = 1.0  # how often heartbeats and deadlines are looked at
_QUICK_S = 5.0  # what a quick stop leaves to workers
_EXIT_S = 1.0  # what a worker has after the graceful timeout, to say what it gave up and to exit
_ABORT_S = 2.0  # what a worker without a heartbeat has to write down its stacks
_YOUNG_S = 2.0  # a worker that dies before it has served this long may be one of a crash loop
_YOUNG_DEATHS = 5  # so many of them in a row are one
_CRASH_LOOP_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_SIGNALS = (*STOPS, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGCHLD)


def serve(target: str, settings: Settings, *, notes: Sequence[str] = ()) -> int:
    """Serve the application that `target` names (see `loading.load`) until a signal ends it.

    notes: sentences on the settings, for the log.

    Returns the exit status: 0 when it was asked to stop, 1 for a setting that cannot be used, 3 when the
    application cannot be loaded. What went wrong is on standard error or in the error log by then.

    Raises SystemExit in the worker processes it forks.
    """
    # The kernel keeps signals from process 1 of a container until it has handlers, and loading can take its time.
    for signum in STOPS:
        signal.signal(signum, leave)
    try:
        prepare(settings)
        use_what_a_container_gives()
        logs = open_logs(settings)
        for note in notes:
            log.warning("%s", note)
        load = _preloaded(target) if settings.preload else lambda: load_gateway(target)
        tls = _make_tls(settings)
        listeners = open_listeners(settings)
        if settings.daemon:
            daemonize()
        pid_file = None if settings.pid_file is None else PidFile(settings.pid_file)
    except SettingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except LoadError as error:
        log_load_error(error)
        return BOOT_FAILED
    scheme = "http" if tls is None else "https"
    log.info("Listening at: %s (%d)", ", ".join(listener.url(scheme) for listener in listeners), os.getpid())
    log.info("Using %s with %s each", _counted(settings.workers, "worker"), _counted(settings.threads, "thread"))
    status = Arbiter(load, listeners, settings, logs, tls).run()
    if pid_file is not None:
        pid_file.remove()
    log.info("Stopped")
    return status


def check(target: str, settings: Settings) -> int:
    """Load the application into this process, and serve nothing; return the status that `serve` would end with, or 0.

    What is wrong is on standard error by then.
    """
    try:
        prepare(settings)
        load_gateway(target)
    except SettingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except LoadError as error:
        print(f"Error: {error}", file=sys.stderr)
        if error.code_traceback:
            print(error.code_traceback, file=sys.stderr)
        return BOOT_FAILED
    return 0


def _preloaded(target: str) -> Callable[[], Gateway]:
    """Load the application into this process, for its workers to share. Raises LoadError."""
    gateway = load_gateway(target)
    return lambda: gateway


@dataclass(slots=True, eq=False)
class Child:
    """A worker as its arbiter sees it; times are `time.monotonic()`.

    generation: of the code it loaded; SIGHUP starts the next one.
    late_s: when to say that it still boots.
    boot_by_s: when it is ended unless it is ready.
    is_aborted: it did not boot in time, and was asked for its stacks.
    max_requests: how many it answers before it is replaced.
    is_worn: it has answered so many, or holds too much memory, and is to be replaced.
    ready_s: when it said that it is ready; None before.
    leaves_by_s: it was asked to stop, and is killed then; None when it was not asked.
    """

    pid: int
    slot: Slot
    generation: int
    late_s: float
    boot_by_s: float
    max_requests: float
    is_aborted: bool = False
    is_worn: bool = False
    ready_s: float | None = None
    leaves_by_s: float | None = None

    def kill(self, signum: signal.Signals) -> None:
        os.kill(self.pid, signum)  # It is there until waited for, so the number is nobody else's.


def _make_tls(settings: Settings) -> TLS | None:
    """Return what the settings say of TLS, None when there is to be none. Raises SettingError."""
    if settings.certificate is None:
        if settings.private_key is not None:
            raise SettingError("--keyfile needs --certfile, the certificate that the key belongs to.")
        return None
    from .tls import TLS  # here, because the ssl module and OpenSSL take 3 MB

    return TLS(settings)


class Arbiter:
    """Keeps workers serving until it is asked to stop.

    The rule for their number: while one serves that is to be replaced, of an older generation or worn out, there may
    be one more than wanted; and when more are ready than wanted, the oldest are asked to leave. So nobody leaves before
    its successor is ready, and no two at once.
    """

    def __init__(
        self,
        load: Callable[[], Gateway],
        listeners: list[Listener],
        settings: Settings,
        logs: LogFiles,
        tls: TLS | None = None,
    ) -> None:
        self._load = load
        self._tls = tls
        self._listeners = listeners
        self._settings = settings
        self._logs = logs
        self._pid = os.getpid()
        self._wanted = settings.workers
        self._slots = SlotTable(_CAPACITY)
        self._metrics = Metrics(_CAPACITY)
        self._children: dict[int, Child] = {}  # the oldest first
        self._generation = 1
        self._is_reloading = False
        self._stopped_by: signal.Signals | None = None
        self._stops_at_s = math.inf  # after --drain-delay
        self._exit_status: int | None = None  # set when there is to be no new worker
        self._was_ready = False  # one worker has been, so the application can be served
        self._failed_boots = 0  # in a row
        self._young_deaths = 0  # in a row
        self._paused_until_s = 0.0  # no new worker before that
        self._weigh_again_s = 0.0
        self._awake_since_s = self._looked_s = time.monotonic()
        self._wakeups, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until a signal asks to stop, or the first worker cannot boot; return the exit status.

        Raises SystemExit in the workers.
        """
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for signum in _SIGNALS:
            signal.signal(signum, _noted)
        gc.collect()
        # The collector of a worker then leaves the pages it shares with the others as they are. bench/shared_memory.py:
        # 14.8 MB for each of 4 workers instead of 16.5, and 7.2 instead of 12.2 with --preload.
        gc.freeze()
        poll = select.poll()
        poll.register(self._wakeups, select.POLLIN)
        while True:
            self._tend(time.monotonic())
            if self._exit_status is not None and not self._children:
                return self._exit_status
            poll.poll(self._until_due_s() * 1000)
            for byte in self._read_wakeups():
                if byte != _NEWS:
                    self._on_signal(signal.Signals(byte))
            self._bury_the_dead()

    def _until_due_s(self) -> float:
        """Return how long nothing has to be done when no signal comes."""
        now_s = time.monotonic()
        due = [child.leaves_by_s for child in self._children.values() if child.leaves_by_s is not None]
        if self._paused_until_s > now_s:
            due.append(self._paused_until_s)
        due.append(self._stops_at_s)
        return max(0.0, min([_TICK_S, *(due_s - now_s for due_s in due)]))

    def _read_wakeups(self) -> bytes:
        try:
            return os.read(self._wakeups, 4096)
        except BlockingIOError:
            return b""

    def _on_signal(self, signum: signal.Signals) -> None:
        if signum is signal.SIGCHLD:
            return
        log.info("Handling signal: %s", signum.name[3:].lower())
        match signum:
            case signal.SIGHUP:
                self._reload()
            case signal.SIGTTIN:
                self._wanted += 1
            case signal.SIGTTOU:
                self._wanted = max(1, self._wanted - 1)
            case signal.SIGUSR1:
                self._logs.reopen()
                for child in self._children.values():
                    child.kill(signal.SIGUSR1)
            case signal.SIGTERM if self._may_delay():
                self._slots.is_leaving = True
                self._stops_at_s = time.monotonic() + self._settings.drain_delay_s
                log.info("Not ready any more; serving for another %g s", self._settings.drain_delay_s)
            case _:
                self._stop(signum)

    def _tend(self, now_s: float) -> None:
        """Do what has become due."""
        for child in self._children.values():
            self._note_state(child, now_s)
        self._look_at_heartbeats(now_s)
        self._look_at_boots(now_s)
        self._look_at_wear(now_s)
        self._kill_overdue(now_s)
        if self._is_reloading and not any(child.generation < self._generation for child in self._children.values()):
            self._is_reloading = False
            log.info("Reloaded: all workers run the new code")
        if now_s >= self._stops_at_s:
            self._stop(signal.SIGTERM)
        if self._exit_status is None:
            self._dismiss_surplus(now_s)
            self._fork_missing(now_s)

    def _serving(self) -> list[Child]:
        """Return those that boot or serve, and are to go on."""
        return [child for child in self._children.values() if child.leaves_by_s is None]

    def _serves_old_code(self) -> bool:
        """Whether some worker is still to be replaced in a reload."""
        return any(child.generation < self._generation for child in self._serving())

    def _has_to_replace(self) -> bool:
        """Whether some worker is to leave when there is one more."""
        return any(child.is_worn or child.generation < self._generation for child in self._serving())

    # -- coming and going -------------------------------------------------------------------------

    def _fork_missing(self, now_s: float) -> None:
        # The first one shows whether the application can be loaded; when not, it is said once.
        wanted = self._wanted + self._has_to_replace() if self._was_ready else 1
        for _ in range(wanted - len(self._serving())):
            if now_s >= self._paused_until_s:
                self._fork(now_s)

    def _fork(self, now_s: float) -> None:
        slot = self._slots.take()
        if slot is None:
            self._wanted = len(self._serving())
            log.error("There is no room for more than %d workers", _CAPACITY)
            return
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that arrives before the new process has its own handlers would go to the pipe of this one.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            self._slots.release(slot)
            self._pause_boots(now_s, f"A worker could not be forked: {error.strerror}")
        else:
            if pid == 0:
                self._become_worker(slot, mask)
            self._metrics.arbiter.worker_starts += 1
            settings = self._settings
            self._children[pid] = Child(
                pid,
                slot,
                self._generation,
                late_s=now_s + (settings.timeout_s or math.inf),
                boot_by_s=now_s + (settings.boot_timeout_s or math.inf),
                max_requests=_random_limit(settings.max_requests, settings.max_requests_jitter),
            )
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _become_worker(self, slot: Slot, mask: set[int | signal.Signals]) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._wakeups)
        worker = Worker(
            self._load,
            self._listeners,
            self._settings,
            self._logs,
            slot,
            self._slots,
            self._metrics,
            self._on_news,
            self._pid,
            self._tls,
        )
        worker.take_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # Not os._exit: what the application registered with atexit has to run.
        sys.exit(worker.run())

    def _on_news(self) -> None:
        """Called in a worker: its state has changed."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # it is awake anyway; it is gone
            os.write(self._wake, bytes([_NEWS]))

    def _note_state(self, child: Child, now_s: float) -> None:
        state = child.slot.state
        if state != State.BOOTING and child.ready_s is None:
            child.ready_s = now_s
            self._was_ready = True
            self._failed_boots = 0
            log.info("Worker ready (pid: %d)", child.pid)
        if state == State.DRAINING and child.leaves_by_s is None:  # asked by somebody else
            child.leaves_by_s = now_s + self._settings.graceful_timeout_s + _EXIT_S

    def _dismiss_surplus(self, now_s: float) -> None:
        ready = [child for child in self._serving() if child.ready_s is not None]
        ready.sort(key=lambda child: (child.generation, not child.is_worn))
        for child in ready[: max(0, len(ready) - self._wanted)]:
            self._dismiss(child, signal.SIGTERM, now_s + self._settings.graceful_timeout_s + _EXIT_S)

    def _dismiss(self, child: Child, signum: signal.Signals, leaves_by_s: float) -> None:
        child.kill(signum)
        child.leaves_by_s = leaves_by_s

    def _kill_overdue(self, now_s: float) -> None:
        for child in self._children.values():
            if child.leaves_by_s is not None and child.leaves_by_s <= now_s:
                log.warning("Worker (pid:%d) did not stop in time and is killed", child.pid)
                self._dismiss(child, signal.SIGKILL, now_s + _LONGEST_PAUSE_S)

    def _look_at_heartbeats(self, now_s: float) -> None:
        # When this process was itself stopped (Ctrl-Z, a paused container), so were the workers.
        if now_s - self._looked_s > 3 * _TICK_S:
            self._awake_since_s = now_s
        self._looked_s = now_s
        if not self._settings.timeout_s:
            return
        for child in self._serving():
            if child.ready_s is not None:
                seen_s = max(child.slot.heartbeat_ns / 1e9, child.ready_s, self._awake_since_s)
                if now_s - seen_s > self._settings.timeout_s:
                    log.error(
                        "Worker (pid:%d) has given no sign of life for %.0f s: it is stopped, or C code keeps the "
                        "interpreter to itself. It is replaced; the stacks of its threads follow",
                        child.pid,
                        now_s - seen_s,
                    )
                    self._metrics.arbiter.workers_hung += 1
                    self._dismiss(child, signal.SIGABRT, now_s + _ABORT_S)

    def _look_at_boots(self, now_s: float) -> None:
        for child in self._serving():
            if child.ready_s is not None:
                continue
            if now_s >= child.late_s:
                child.late_s = math.inf
                log.warning("Worker (pid:%d) has been booting for %.0f s", child.pid, self._settings.timeout_s)
            if now_s >= child.boot_by_s:
                log.error(
                    "Worker (pid:%d) was not ready within %g s (--boot-timeout) and is ended; the stacks of its "
                    "threads follow",
                    child.pid,
                    self._settings.boot_timeout_s,
                )
                # Not dismissed: that it could not boot is to be told when it has ended.
                child.kill(signal.SIGKILL if child.is_aborted else signal.SIGABRT)
                child.is_aborted = True
                child.boot_by_s = now_s + _ABORT_S

    def _look_at_wear(self, now_s: float) -> None:
        """Have workers replaced that have answered enough or hold too much; one after the other."""
        settings = self._settings
        soft, hard = settings.max_memory or math.inf, settings.max_memory_hard or math.inf
        weighs = soft < math.inf or hard < math.inf
        if not (weighs or settings.max_requests) or now_s < self._weigh_again_s:
            return
        self._weigh_again_s = now_s + _TICK_S
        for child in self._serving():
            held_bytes = resident_bytes(child.pid) if weighs else 0
            if held_bytes > hard:
                log.error(
                    "Worker (pid:%d) holds %s, more than --max-memory-hard. It is ended; the stacks of its threads "
                    "follow",
                    child.pid,
                    _megabytes(held_bytes),
                )
                self._dismiss(child, signal.SIGABRT, now_s + _ABORT_S)
            elif child.ready_s is not None and not self._has_to_replace():
                if child.slot.requests >= child.max_requests:
                    child.is_worn = True
                    log.info("Worker (pid:%d) has answered %d requests and is replaced", child.pid, child.slot.requests)
                elif held_bytes > soft:
                    child.is_worn = True
                    log.warning(
                        "Worker (pid:%d) holds %s, more than --max-memory, and is replaced",
                        child.pid,
                        _megabytes(held_bytes),
                    )

    # -- what signals ask for ---------------------------------------------------------------------

    def _reload(self) -> None:
        if self._exit_status is not None:
            return
        if self._settings.preload:
            log.warning("The application was loaded with --preload: workers are replaced, but not their code")
        self._generation += 1
        self._is_reloading = True
        self._paused_until_s = 0.0
        for child in self._serving():
            if child.ready_s is None:  # it may hang, and would be dismissed as soon as it is ready
                self._dismiss(child, signal.SIGTERM, time.monotonic() + _QUICK_S)

    def _may_delay(self) -> bool:
        """Whether SIGTERM leaves time for load balancers to turn away: the first one, while there is who serves."""
        return self._settings.drain_delay_s > 0 and self._was_ready and not self._slots.is_leaving

    def _stop(self, signum: signal.Signals) -> None:
        self._slots.is_leaving = True
        self._stops_at_s = math.inf
        now_s = time.monotonic()
        if signum is signal.SIGTERM:
            limit_s = self._settings.graceful_timeout_s + _EXIT_S
        else:
            limit_s = 0.0 if self._stopped_by is signal.SIGINT else _QUICK_S
            signum = signal.SIGINT  # Unlike SIGQUIT it leaves no core when it comes during the last of the exit.
        self._stopped_by = signum
        self._close(0)
        for child in self._children.values():
            leaves_by_s = now_s + limit_s
            self._dismiss(
                child, signum, leaves_by_s if child.leaves_by_s is None else min(leaves_by_s, child.leaves_by_s)
            )

    def _close(self, exit_status: int) -> None:
        """Have no new workers. The listeners close with the last of the present ones that drains them."""
        if self._exit_status is None:
            self._exit_status = exit_status
            for listener in self._listeners:
                listener.turn_newcomers_away()
                listener.close()

    # -- what the dead leave to do ----------------------------------------------------------------

    def _bury_the_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.get(pid)
            if child is not None:  # as process 1 of a container this one also reaps strangers
                self._on_death(child, os.waitstatus_to_exitcode(status), time.monotonic())

    def _on_death(self, child: Child, code: int, now_s: float) -> None:
        self._note_state(child, now_s)
        del self._children[child.pid]
        self._metrics.retire(child.slot)
        self._slots.release(child.slot)
        if child.leaves_by_s is not None:
            if code > 0:
                log.warning("Worker (pid:%d) stopped: %s", child.pid, _how(code))
        elif child.ready_s is None:
            self._on_failed_boot(child, _how(code), now_s)
        else:
            self._on_crash(child, _how(code), now_s - child.ready_s, now_s)

    def _on_failed_boot(self, child: Child, how: str, now_s: float) -> None:
        if not self._was_ready:
            log.error("Worker (pid:%d) could not boot: %s. The server stops", child.pid, how)
            self._close(BOOT_FAILED)
        elif self._serves_old_code():
            self._is_reloading = False
            for other in self._children.values():
                other.generation = self._generation
            log.error(
                "Reload given up: worker (pid:%d) could not boot: %s. The old code stays, with %s",
                child.pid,
                how,
                _counted(len(self._serving()), "worker"),
            )
        else:
            self._pause_boots(now_s, f"Worker (pid:{child.pid}) could not boot: {how}")

    def _pause_boots(self, now_s: float, why: str) -> None:
        pause_s = min(2.0**self._failed_boots, _LONGEST_PAUSE_S)
        self._failed_boots += 1
        self._paused_until_s = now_s + pause_s
        log.error("%s. The next try is in %.0f s", why, pause_s)

    def _on_crash(self, child: Child, how: str, served_s: float, now_s: float) -> None:
        self._young_deaths = self._young_deaths + 1 if served_s < _YOUNG_S else 0
        self._metrics.arbiter.worker_crashes += 1
        log.error("Worker (pid:%d) died after serving for %.1f s: %s. It is replaced", child.pid, served_s, how)
        if self._young_deaths >= _YOUNG_DEATHS:
            self._paused_until_s = now_s + _CRASH_LOOP_PAUSE_S
            log.error(
                "%d workers in a row died within %.0f s; from now on there is a pause of %.0f s before the next",
                self._young_deaths,
                _YOUNG_S,
                _CRASH_LOOP_PAUSE_S,
            )


_NEWS = 0  # what a worker writes to the pipe of the arbiter's signals; no signal has this number


def _noted(signum: int, frame: FrameType | None) -> None:
    """Handle a signal by having its number written to the wakeup pipe, which the interpreter does."""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _megabytes(number: int) -> str:
    return f"{number / 1024**2:.0f} MB"


def _random_limit(least: int, jitter: int) -> float:
    """Return a number from `least` to `least + jitter` by chance; infinite when `least` is 0."""
    # Not by `random`, which would cost this process a megabyte.
    return least + int.from_bytes(os.urandom(8)) % (jitter + 1) if least else math.inf


def _how(code: int) -> str:
    """Say how a process ended, from `os.waitstatus_to_exitcode`."""
    if code >= 0:
        return f"it exited with status {code}"
    hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
    return f"signal {-code} ended it ({signal.strsignal(-code)}{hint})"
