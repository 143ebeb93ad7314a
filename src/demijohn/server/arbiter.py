"""The parent process: keeps the listeners, has workers forked and replaces them, answers to signals."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ..typing import Gateway
from .children import EXIT_S, TICK_S, Child, Watch, counted, how, new_child
from .control import ControlServer
from .forking import STOPS
from .hook_objects import HookServer, HookWorker, call
from .loading import LoadError, load_gateway
from .log import LogFiles, log, open_logs
from .logger_class import use_logger_class
from .metrics import Metrics
from .process import change_owner, prepare
from .settings import Service, SettingError, Settings
from .slots import Slot, SlotTable
from .sockets import Listener, open_listener
from .systemd import Notifier
from .upgrade import Succession, has_terminal
from .worker import BOOT_FAILED, Equipment, Worker, leave, log_boot_error
from .zygote import Nursery, ZygoteEnd

if TYPE_CHECKING:
    from .tls import TLS

_CAPACITY = 1024  # rows for workers; the kernel gives memory only to those in use
_QUICK_S = 5.0  # what a quick stop leaves to workers
_YOUNG_S = 2.0  # a worker that dies before it has served this long may be one of a crash loop
_YOUNG_DEATHS = 5  # so many of them in a row are one
_CRASH_LOOP_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_ASKED_FOR = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
_SIGNALS = (*STOPS, *_ASKED_FOR, signal.SIGCHLD)


def make_tls(settings: Settings) -> TLS | None:
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
        service: Service,
        listeners: list[Listener],
        logs: LogFiles,
        server: HookServer,
        tls: TLS | None,
        control: ControlServer,
        *,
        succession: Succession,
        reread: Callable[[], Service] | None = None,
    ) -> None:
        """`server` is what hooks are given; `reread` gives what there is to serve by now, or raises SettingError."""
        self._service = service
        self._settings = service.settings
        self._listeners = listeners
        self._dropped: list[Listener] = []  # by a reload: only workers of older generations listen there
        self._logs = logs
        self._server = server
        self._succession = succession
        self._reread = reread
        self._tls = tls
        self._control = control
        self._pid = os.getpid()
        self._wanted = self._settings.workers
        self._slots = SlotTable(_CAPACITY)
        self._metrics = Metrics(_CAPACITY)
        self._metrics.listeners = listeners
        self._watch = Watch(self._settings, self._metrics, time.monotonic())
        self._notifier = Notifier(os.environ)
        self._children: dict[int, Child] = {}  # the oldest first
        self._nursery = Nursery(self._run_zygote)
        self._age = 0
        self._generation = 1
        self._is_reloading = False
        self._stopped_by: signal.Signals | None = None
        self._stops_at_s = math.inf  # after --drain-delay
        self._exit_status: int | None = None  # set when there is to be no new worker
        self._was_ready = False  # one worker has been, so the application can be served
        self._failed_boots = 0  # in a row
        self._young_deaths = 0  # in a row
        self._paused_until_s = 0.0  # no new worker before that
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
        call("nworkers_changed", self._settings.nworkers_changed, self._server, self._wanted, None)
        poll = select.poll()
        poll.register(self._wakeups, select.POLLIN)
        self._control.show(self._metrics, self._slots, to_users=not self._settings.control_socket_disable)
        poll.register(self._control.fileno(), select.POLLIN)
        while True:
            self._tend(time.monotonic())
            if self._exit_status is not None and not self._children:
                self._control.close()
                return self._exit_status
            poll.poll(self._until_due_s() * 1000)
            for byte in self._read_wakeups():
                if byte != _NEWS:
                    self._on_signal(signal.Signals(byte))
            self._bury_the_dead()
            self._control.serve()

    def _until_due_s(self) -> float:
        """Return how long nothing has to be done when no signal comes."""
        now_s = time.monotonic()
        due = [child.leaves_by_s for child in self._children.values() if child.leaves_by_s is not None]
        if self._paused_until_s > now_s:
            due.append(self._paused_until_s)
        due.append(self._stops_at_s)
        return max(0.0, min([TICK_S, self._notifier.watchdog_s, *(due_s - now_s for due_s in due)]))

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
                self._want(self._wanted + 1)
            case signal.SIGTTOU:
                self._want(max(1, self._wanted - 1))
            case signal.SIGUSR1:
                self._logs.reopen()
                for child in self._children.values():
                    child.kill(signal.SIGUSR1)
                for zygote in self._nursery.zygotes:
                    zygote.kill(signal.SIGUSR1)
            case signal.SIGUSR2:
                if self._exit_status is None:
                    self._succession.begin(self._listeners, self._settings.pre_exec, self._server)
            case signal.SIGWINCH:
                self._dismiss_all()
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
        self._watch.look(self._serving(), now_s, may_replace=not self._has_to_replace())
        self._kill_overdue(now_s)
        if self._is_reloading and not self._nursery.is_loading and not self._has_old_code():
            self._end_reload()
            log.info("Reloaded: all workers run the new code")
        if now_s >= self._stops_at_s:
            self._stop(signal.SIGTERM)
        if self._succession.is_complete():
            self._notifier.tell(f"MAINPID={self._pid}", "READY=1")
        if self._exit_status is None:
            self._tend_nursery(now_s)
            self._dismiss_surplus(now_s)
            self._fork_missing(now_s)
        self._notifier.pat_watchdog(now_s)

    def _serving(self) -> list[Child]:
        """Return those that boot or serve, and are to go on."""
        return [child for child in self._children.values() if child.leaves_by_s is None]

    def _has_old_code(self) -> bool:
        """Whether some worker of before the reload is still there."""
        return any(child.generation < self._generation for child in self._children.values())

    def _has_to_replace(self) -> bool:
        """Whether some worker is to leave when there is one more."""
        return any(child.is_worn or child.generation < self._generation for child in self._serving())

    def _want(self, workers: int) -> None:
        """Have so many workers from now on."""
        if workers != self._wanted:
            old, self._wanted = self._wanted, workers
            self._server.num_workers = workers
            call("nworkers_changed", self._settings.nworkers_changed, self._server, workers, old)

    # -- coming and going -------------------------------------------------------------------------

    def _fork_missing(self, now_s: float) -> None:
        if self._settings.preload and not self._nursery.can_fork:
            return
        # The first one shows whether the application can be loaded; when not, it is said once.
        wanted = self._wanted + self._has_to_replace() if self._was_ready else min(1, self._wanted)
        for _ in range(wanted - len(self._serving())):
            if now_s >= self._paused_until_s:
                self._fork(now_s)

    def _fork(self, now_s: float) -> None:
        slot = self._slots.take()
        if slot is None:
            self._wanted = len(self._serving())
            log.error("There is no room for more than %d workers", _CAPACITY)
            return
        if self._tls is not None:
            self._tls.renew()  # the worker may be of a user who cannot read the files
        self._age += 1
        hooked = HookWorker(self._age, self._server, lambda: slot.requests)
        call("pre_fork", self._settings.pre_fork, self._server, hooked)
        try:
            if self._settings.preload:
                pid = self._nursery.fork(slot.number, self._age)
            else:
                load = partial(load_gateway, self._service.target, self._settings.interface)
                pid = self._fork_process(lambda: self._become_worker(slot, hooked, load))
        except OSError as error:
            self._slots.release(slot)
            self._pause_boots(now_s, f"A worker could not be forked: {error.strerror or error}")
            return
        self._metrics.arbiter.worker_starts += 1
        self._children[pid] = new_child(pid, slot, self._generation, hooked, self._settings, now_s)
        self._server.WORKERS[pid] = hooked

    def _fork_process(self, become: Callable[[], NoReturn]) -> int:
        """Call `become` in a new process; return its id. No signal is delivered to that before it wants them."""
        sys.stdout.flush()
        sys.stderr.flush()
        # One that arrives before the new process has its own handlers would go to the pipe of this one.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for signum in (signal.SIGCHLD, *_ASKED_FOR):
                    signal.signal(signum, signal.SIG_DFL)
                os.close(self._wakeups)
                self._control.leave()
                _live_as(become)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _become_worker(self, slot: Slot, hooked: HookWorker, load: Callable[[], Gateway]) -> NoReturn:
        for listener in self._dropped:  # nobody would accept from this copy, or know that it should be closed
            listener.close()
        equipment = Equipment(
            self._settings,
            self._listeners,
            self._logs,
            self._slots,
            self._metrics,
            self._server,
            self._on_news,
            self._tls,
        )
        worker = Worker(equipment, load, slot, hooked)
        worker.take_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Not os._exit: what the application registered with atexit has to run.
        sys.exit(worker.run())

    def _on_news(self) -> None:
        """Called in a worker: its state has changed."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # it is awake anyway; it is gone
            os.write(self._wake, bytes([_NEWS]))

    def _note_state(self, child: Child, now_s: float) -> None:
        if child.is_up and child.ready_s is None:
            child.ready_s = now_s
            if not self._was_ready:
                self._was_ready = True
                self._notifier.tell("READY=1", f"MAINPID={self._pid}", "STATUS=Serving")
            self._failed_boots = 0
            log.info("Worker ready (pid: %d)", child.pid)
        if child.is_draining_unasked:
            child.leaves_by_s = now_s + self._settings.graceful_timeout_s + EXIT_S

    def _dismiss_surplus(self, now_s: float) -> None:
        ready = [child for child in self._serving() if child.ready_s is not None]
        ready.sort(key=lambda child: (child.generation, not child.is_worn))
        leaving = ready[: max(0, len(ready) - self._wanted)]
        if all(child in leaving or child.generation == self._generation for child in self._serving()):
            self._close_listeners(self._dropped)
        for child in leaving:
            child.dismiss(signal.SIGTERM, now_s + self._settings.graceful_timeout_s + EXIT_S)

    def _kill_overdue(self, now_s: float) -> None:
        for child in self._children.values():
            if child.leaves_by_s is not None and child.leaves_by_s <= now_s:
                log.warning("Worker (pid:%d) did not stop in time and is killed", child.pid)
                child.dismiss(signal.SIGKILL, now_s + _LONGEST_PAUSE_S)

    # -- the processes that workers are forked from (--preload) ---------------------------------------

    def _tend_nursery(self, now_s: float) -> None:
        if not self._settings.preload:
            self._nursery.close()
            return
        if self._nursery.is_empty and now_s >= self._paused_until_s:
            self._load_application(now_s)
        self._nursery.end_overdue(now_s)
        if self._nursery.switch() and self._is_reloading:
            self._begin_generation(now_s)

    def _load_application(self, now_s: float) -> None:
        """Have the application loaded in a process of its own; what loads already is given up."""
        try:
            self._nursery.load(self._fork_process, now_s, self._settings.boot_timeout_s)
        except OSError as error:
            self._pause_boots(now_s, f"No process for the application could be forked: {error.strerror}")

    def _run_zygote(self, zygote: ZygoteEnd) -> NoReturn:
        """What a process is that has been forked to load the application."""
        for signum in STOPS:
            signal.signal(signum, leave)
        signal.signal(signal.SIGUSR1, lambda signum, frame: self._logs.reopen())
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        settings = self._settings

        def become_worker(slot_number: int, age: int) -> NoReturn:
            slot = self._slots.at(slot_number)
            hooked = HookWorker(age, self._server, lambda: slot.requests)
            self._become_worker(slot, hooked, lambda: gateway)

        try:
            change_owner(settings)
            gateway = load_gateway(self._service.target, self._service.settings.interface)
        except (LoadError, SettingError) as error:
            log_boot_error(error)
            sys.exit(BOOT_FAILED)
        zygote.serve(become_worker)
        sys.exit(0)

    # -- what signals ask for ---------------------------------------------------------------------

    def _reload(self) -> None:
        if self._exit_status is not None or not self._reconfigure():
            return
        call("on_reload", self._settings.on_reload, self._server)
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._want(self._settings.workers)
        self._paused_until_s = 0.0
        self._is_reloading = True
        if self._settings.preload:
            self._load_application(time.monotonic())  # the generation begins when that is done
        else:
            self._begin_generation(time.monotonic())

    def _begin_generation(self, now_s: float) -> None:
        """Have all workers replaced that there are."""
        self._generation += 1
        for child in self._serving():
            if child.ready_s is None:  # it may hang, and would be dismissed as soon as it is ready
                child.dismiss(signal.SIGTERM, now_s + _QUICK_S)

    def _reconfigure(self) -> bool:
        """Read the settings anew and use them; False, and the reason in the log, when they cannot be used."""
        if self._reread is None:
            return True
        opened: list[Listener] = []
        try:
            service = self._reread()
            prepare(service.settings)
            wanted = service.settings.bind
            known = {listener.address: listener for listener in (*self._listeners, *self._dropped)}
            opened += [open_listener(address, service.settings) for address in wanted if address not in known]
            tls = make_tls(service.settings)
            logs = open_logs(service.settings)
            use_logger_class(service.settings, logs)
        except SettingError as error:
            for listener in opened:
                listener.turn_newcomers_away()
                listener.close()
            log.error("The settings cannot be used, and everything stays as it is: %s", error)
            return False
        for note in service.notes:
            log.warning("%s", note)
        known.update((listener.address, listener) for listener in opened)
        self._listeners = self._metrics.listeners = [known.pop(address) for address in wanted]
        self._dropped = list(known.values())
        self._logs.close()
        self._logs, self._tls = logs, tls
        self._service, self._settings = service, service.settings
        self._server.use_settings(service.settings)
        self._watch = Watch(service.settings, self._metrics, time.monotonic())
        return True

    def _end_reload(self) -> None:
        self._is_reloading = False
        self._close_listeners(self._dropped)
        self._notifier.tell("READY=1")

    def _close_listeners(self, listeners: list[Listener]) -> None:
        """Let go of listeners, before the last worker that drains them is asked to; the list is empty then."""
        while listeners:
            listener = listeners.pop()
            if not self._succession.shares_listeners:
                listener.turn_newcomers_away()
            listener.close()

    def _give_up_reload(self, why: str) -> None:
        self._is_reloading = False
        for other in self._children.values():
            other.generation = self._generation
        self._listeners += self._dropped  # workers that stay listen there
        self._dropped = []
        self._notifier.tell("READY=1")
        log.error("Reload given up: %s. The old code stays, with %s", why, counted(len(self._serving()), "worker"))

    def _dismiss_all(self) -> None:
        """Let all workers leave and go on without, for the successor to serve; SIGHUP starts them again."""
        if has_terminal():
            log.info("Nothing is done: a terminal that is resized sends this signal, too")
            return
        self._want(0)

    def _may_delay(self) -> bool:
        """Whether SIGTERM leaves time for load balancers to turn away: the first one, while there is who serves."""
        return self._settings.drain_delay_s > 0 and self._was_ready and not self._slots.is_leaving

    def _stop(self, signum: signal.Signals) -> None:
        self._slots.is_leaving = True
        self._stops_at_s = math.inf
        now_s = time.monotonic()
        if signum is signal.SIGTERM:
            limit_s = self._settings.graceful_timeout_s + EXIT_S
        else:
            limit_s = 0.0 if self._stopped_by is signal.SIGINT else _QUICK_S
            signum = signal.SIGINT  # Unlike SIGQUIT it leaves no core when it comes during the last of the exit.
        self._stopped_by = signum
        self._close(0)
        for child in self._children.values():
            leaves_by_s = now_s + limit_s
            child.dismiss(signum, leaves_by_s if child.leaves_by_s is None else min(leaves_by_s, child.leaves_by_s))

    def _close(self, exit_status: int) -> None:
        """Have no new workers. The listeners close with the last of the present ones that drains them."""
        if self._exit_status is None:
            self._exit_status = exit_status
            self._notifier.tell("STOPPING=1")
            self._nursery.close()
            self._close_listeners(self._listeners)
            self._close_listeners(self._dropped)

    # -- what the dead leave to do ----------------------------------------------------------------

    def _bury_the_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            child = self._children.get(pid)
            if child is not None:
                self._on_death(child, code, time.monotonic())
            elif self._nursery.lost(pid):
                self._on_zygote_death(pid, how(code), time.monotonic())
            else:  # as process 1 of a container this one also reaps strangers
                self._succession.on_death(pid, how(code))

    def _on_death(self, child: Child, code: int, now_s: float) -> None:
        self._note_state(child, now_s)
        del self._children[child.pid]
        self._server.WORKERS.pop(child.pid, None)
        call("child_exit", self._settings.child_exit, self._server, child.hooked)
        self._metrics.retire(child.slot)
        self._slots.release(child.slot)
        if child.leaves_by_s is not None:
            if code > 0:
                log.warning("Worker (pid:%d) stopped: %s", child.pid, how(code))
        elif child.ready_s is None:
            self._on_failed_boot(f"worker (pid:{child.pid})", how(code), now_s)
        else:
            self._on_crash(child, how(code), now_s - child.ready_s, now_s)

    def _on_zygote_death(self, pid: int, reason: str, now_s: float) -> None:
        if self._exit_status is not None:
            return
        self._on_failed_boot(f"the process that loads the application (pid:{pid})", reason, now_s)

    def _on_failed_boot(self, who: str, reason: str, now_s: float) -> None:
        what = f"{who} could not boot: {reason}"
        if not self._was_ready:
            log.error("%s. The server stops", what[:1].upper() + what[1:])
            self._close(BOOT_FAILED)
        elif self._is_reloading and self._serving():
            self._give_up_reload(what)
        else:
            self._pause_boots(now_s, what[:1].upper() + what[1:])

    def _pause_boots(self, now_s: float, why: str) -> None:
        pause_s = min(2.0**self._failed_boots, _LONGEST_PAUSE_S)
        self._failed_boots += 1
        self._paused_until_s = now_s + pause_s
        log.error("%s. The next try is in %.0f s", why, pause_s)

    def _on_crash(self, child: Child, reason: str, served_s: float, now_s: float) -> None:
        self._young_deaths = self._young_deaths + 1 if served_s < _YOUNG_S else 0
        self._metrics.arbiter.worker_crashes += 1
        log.error("Worker (pid:%d) died after serving for %.1f s: %s. It is replaced", child.pid, served_s, reason)
        if self._young_deaths >= _YOUNG_DEATHS:
            self._paused_until_s = now_s + _CRASH_LOOP_PAUSE_S
            log.error(
                "%d workers in a row died within %.0f s; from now on there is a pause of %.0f s before the next",
                self._young_deaths,
                _YOUNG_S,
                _CRASH_LOOP_PAUSE_S,
            )


def _live_as(become: Callable[[], NoReturn]) -> NoReturn:
    """Call `become`, and end this process should that fail: nothing of the arbiter that forked it is to go on in it."""
    try:
        become()
    except Exception:
        log.exception("This process (pid: %d) failed, and ends", os.getpid())
        sys.exit(1)


_NEWS = 0  # what a worker writes to the pipe of the arbiter's signals; no signal has this number


def _noted(signum: int, frame: FrameType | None) -> None:
    """Handle a signal by having its number written to the wakeup pipe, which the interpreter does."""
