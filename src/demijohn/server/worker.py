"""One worker process: loads the application, runs the engine, stops gracefully."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ..message import RequestHead, ResponseMessage
from ..typing import Gateway
from .activity import Activity, show
from .answering import OnRequest
from .conversing import ConversingEngine
from .forking import STOPS, disown_in_copies
from .hook_objects import HookedGateway, HookError, HookServer, HookWorker, RequestHooks, call, must_call
from .loading import Leaving, LoadError
from .log import LogFiles, log
from .loop import Engine
from .metrics import Metrics, Row
from .native import NativeGateway
from .ownpages import OwnPage, OwnPages, Page, alive, counts, readiness
from .process import change_owner
from .settings import SettingError, Settings
from .slots import Slot, SlotTable, State
from .sockets import Listener
from .statsd import Statsd
from .timekeeping import Surroundings
from .wsgi import WSGIGateway

if TYPE_CHECKING:
    from .tls import TLS

# A worker that has so many connections more than another leaves those that come to others.
_UNEVEN = 4
BOOT_FAILED = 3  # gunicorn's exit status for it


@dataclass(frozen=True, slots=True)
class Equipment:
    """What all workers of a generation are given.

    server: the arbiter as hooks see it.
    tell_arbiter: to be called when the state in a slot has changed.
    """

    settings: Settings
    listeners: list[Listener]
    logs: LogFiles
    slots: SlotTable
    metrics: Metrics
    server: HookServer
    tell_arbiter: Callable[[], None]
    tls: TLS | None


class Worker:
    """What a process runs between its fork and its exit.

    load: gives the gateway, or raises LoadError.
    hooked: this worker as hooks see it.
    """

    def __init__(self, equipment: Equipment, load: Callable[[], Gateway], slot: Slot, hooked: HookWorker) -> None:
        self._settings = equipment.settings
        self._listeners = equipment.listeners
        self._logs = equipment.logs
        self._slots = equipment.slots
        self._metrics = equipment.metrics
        self._server = equipment.server
        self._tell_arbiter = equipment.tell_arbiter
        self._load = load
        self._slot = slot
        self._statsd: Statsd | None = None
        self._hooked = hooked
        hooked.pid = os.getpid()
        self._tls = equipment.tls

    def take_signals(self) -> None:
        """Answer to signals as a worker does that has nothing in flight yet."""
        for signum in STOPS:
            signal.signal(signum, leave)
        disown_in_copies(self)
        signal.signal(signal.SIGUSR1, lambda signum, frame: self._logs.reopen())
        if self._settings.worker_int is not None:
            for signum in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(signum, self._on_interrupt)
        if self._settings.worker_abort is not None:
            signal.signal(signal.SIGABRT, self._on_abort)
        # A worker that hangs in C gets SIGABRT, one with a bug in C meets SIGSEGV: both then say where they were. What
        # handled the signal before comes after that.
        faulthandler.enable(self._logs.error.fd, all_threads=True)
        faulthandler.register(signal.SIGUSR2, self._logs.error.fd, all_threads=True)  # to look at one that goes on

    def disown(self) -> None:
        """Let a copy of this process be ended as any is: multiprocessing's `terminate` relies on it."""
        for signum in (*STOPS, signal.SIGUSR1):
            signal.signal(signum, signal.SIG_DFL)

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        self._hooked.alive = False
        call("worker_int", self._settings.worker_int, self._hooked)
        leave(signum, frame)

    def _on_abort(self, signum: int, frame: FrameType | None) -> None:
        self._hooked.alive = False
        call("worker_abort", self._settings.worker_abort, self._hooked)
        raise SystemExit(1)

    def run(self) -> int:
        """Serve until asked to stop; return the exit status of the process."""
        self._slot.pid = os.getpid()
        self._slot.started_ns = time.time_ns()
        log.info("Booting worker with pid: %d", os.getpid())
        try:
            return self._serve()
        except (LoadError, SettingError, HookError) as error:
            log_boot_error(error)
            return BOOT_FAILED
        finally:
            call("worker_exit", self._settings.worker_exit, self._server, self._hooked)

    def _serve(self) -> int:
        must_call("post_fork", self._settings.post_fork, self._server, self._hooked)
        change_owner(self._settings)
        engine = self._engine(self._load())
        engine.start_up()
        must_call("post_worker_init", self._settings.post_worker_init, self._hooked)
        if self._settings.reload:
            self._watch_files()
        self._enter(State.READY)
        engine.run()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # There is nothing left to drain.
        log.info("Worker exiting (pid: %d)", os.getpid())
        return 0

    def _watch_files(self) -> None:
        from .reload import Reloader  # only a server under development needs it

        arbiter_pid = self._server.pid
        Reloader(self._settings.reload_extra_files, lambda: os.kill(arbiter_pid, signal.SIGHUP)).start()

    def _engine(self, gateway: Gateway) -> Engine:
        sockets = [listener.socket for listener in self._listeners]
        settings = self._settings
        if settings.statsd_host is not None:
            self._statsd = Statsd(settings, self._slot, self._slots, self._listeners)
            log.addHandler(self._statsd)
        pulse = _Pulse(self._slot, self._slots, self._metrics.worker(self._slot), self._server.pid, self._statsd)
        engine_class = _engine_class(gateway)
        if settings.compress:
            gateway = _compressing(gateway)
        if settings.pre_request is not None or settings.post_request is not None:
            hooks = RequestHooks(self._hooked, settings.pre_request, settings.post_request)
            gateway = HookedGateway(gateway, hooks) if engine_class is ConversingEngine else _hooked(gateway, hooks)
        pages = self._own_pages()
        if pages:
            gateway = OwnPages(gateway, pages)
        engine = engine_class(
            sockets,
            gateway,
            self._settings,
            Surroundings(self._on_request(pages), pulse, self._tls, _ask_to_drain),
        )

        def drain(signum: int, frame: FrameType | None) -> None:
            self._hooked.alive = False
            self._enter(State.DRAINING)
            engine.drain()

        signal.signal(signal.SIGTERM, drain)
        return engine

    def _own_pages(self) -> dict[bytes, Page]:
        settings = self._settings
        wanted = {
            settings.livez_path: alive,
            settings.readyz_path: readiness(self._slot, self._slots),
            settings.metrics_path: counts(self._metrics, self._slots),
        }
        return {path.encode(): page for path, page in wanted.items() if path is not None}

    def _on_request(self, pages: dict[bytes, Page]) -> OnRequest | None:
        """Return whom to tell of each request, so that nobody is asked who does not want to know."""
        listeners: list[OnRequest] = []
        if self._settings.metrics_path is not None or self._settings.status_bind:
            listeners.append(self._metrics.worker(self._slot))
        if self._statsd is not None:
            listeners.append(self._statsd)
        if self._logs.write_access is not None:
            listeners.append(self._logs.write_access)
        if not listeners:
            return None
        if len(listeners) == 1 and not pages:
            return listeners[0]

        def tell_all(
            head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool
        ) -> None:
            if type(head.route) is not OwnPage:  # whoever asks every few seconds would drown the others
                for listener in listeners:
                    listener(head, message, content_bytes, wall_s, is_complete)

        return tell_all

    def _enter(self, state: State) -> None:
        self._slot.state = state
        self._slot.beat()
        self._tell_arbiter()


class _Pulse:
    """The engine's heartbeat, which also notices that nobody is left to read it."""

    def __init__(self, slot: Slot, slots: SlotTable, counts: Row, arbiter_pid: int, statsd: Statsd | None) -> None:
        self._slot = slot
        self._slots = slots
        self._statsd = statsd
        self._counts = counts
        self._arbiter_pid = arbiter_pid

    @property
    def requests(self) -> int:
        return self._slot.requests

    @requests.setter
    def requests(self, answered: int) -> None:
        self._slot.requests = answered

    def has_more_than_its_share(self, connections: int) -> bool:
        self._slot.connections = connections
        return connections >= _UNEVEN and connections - self._slots.fewest_connections() >= _UNEVEN

    def timed_out(self) -> None:
        self._counts.timed_out += 1

    def shed(self, requests: int) -> None:
        self._counts.shed += requests

    def beat(self, activity: Activity) -> None:
        self._slot.beat()
        show(self._slot, activity)
        if self._statsd is not None:
            self._statsd.send()
        if self._arbiter_pid and os.getppid() != self._arbiter_pid:
            log.warning("The arbiter (pid: %d) is gone, so this worker stops too", self._arbiter_pid)
            self._arbiter_pid = 0
            _ask_to_drain()


def _engine_class(gateway: Gateway) -> Callable[[list[socket.socket], Gateway, Settings, Surroundings], Engine]:
    if isinstance(gateway, NativeGateway | WSGIGateway):
        return ConversingEngine
    # Inside, for its cost: it needs more than the others do.
    from .asgi import ASGIGateway
    from .asgi_engine import ASGIEngine

    assert isinstance(gateway, ASGIGateway)
    return partial(ASGIEngine, application=gateway)


def _compressing(gateway: Gateway) -> Gateway:
    """Return a gateway to the same application whose answers are compressed."""
    from .compression import CompressingGateway, Compression  # only a server with --compress needs it

    if isinstance(gateway, NativeGateway | WSGIGateway):
        return CompressingGateway(gateway, Compression())
    from .asgi import ASGIGateway

    assert isinstance(gateway, ASGIGateway)
    gateway.compression = Compression()  # the messages of an exchange are not the gateway's to see
    return gateway


def _hooked(gateway: Gateway, hooks: RequestHooks) -> Gateway:
    """Return the gateway to an ASGI application, around whose exchanges the hooks are called."""
    from .asgi import ASGIGateway  # as in `_engine_class`

    assert isinstance(gateway, ASGIGateway)
    gateway.hooks = hooks
    return gateway


def _ask_to_drain() -> None:
    """Leave gracefully; the arbiter then sees to a successor."""
    signal.raise_signal(signal.SIGTERM)


def log_boot_error(error: LoadError | SettingError | HookError) -> None:
    """Say why there is nothing to serve, and where the application's own code raised."""
    traceback = error.code_traceback if isinstance(error, LoadError) else ""
    log.error("%s", "\n".join(filter(None, [str(error), traceback])))


def leave(signum: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal by ending the process in order, but without waiting for requests."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)  # A second one must not break off what runs at the exit.
    raise Leaving(0)
