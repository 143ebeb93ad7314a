"""One worker process: loads the application, runs the engine, stops gracefully."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ..message import RequestHead, ResponseMessage
from ..typing import Gateway
from .activity import Activity, show
from .loading import LoadError
from .log import LogFiles, log
from .loop import Engine, OnRequest
from .metrics import Metrics, Row
from .ownpages import OwnPage, OwnPages, Page, alive, counts, readiness
from .process import change_owner
from .settings import SettingError, Settings
from .slots import Slot, SlotTable, State
from .sockets import Listener

if TYPE_CHECKING:
    from .tls import TLS

BOOT_FAILED = 3  # gunicorn's exit status for it
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Worker:
    """What a process runs between its fork and its exit.

    load: gives the gateway, or raises LoadError.
    tell_arbiter: to be called when the state in `slot` has changed.
    """

    def __init__(
        self,
        load: Callable[[], Gateway],
        listeners: list[Listener],
        settings: Settings,
        logs: LogFiles,
        slot: Slot,
        slots: SlotTable,
        metrics: Metrics,
        tell_arbiter: Callable[[], None],
        arbiter_pid: int,
        tls: TLS | None,
    ) -> None:
        self._load = load
        self._listeners = listeners
        self._settings = settings
        self._logs = logs
        self._slot = slot
        self._slots = slots
        self._metrics = metrics
        self._tell_arbiter = tell_arbiter
        self._arbiter_pid = arbiter_pid
        self._tls = tls

    def take_signals(self) -> None:
        """Answer to signals as a worker does that has nothing in flight yet."""
        for signum in STOPS:
            signal.signal(signum, leave)
        signal.signal(signal.SIGUSR1, lambda signum, frame: self._logs.reopen())
        # A worker that hangs in C gets SIGABRT, one with a bug in C meets SIGSEGV: both then say where they were.
        faulthandler.enable(self._logs.error.fd, all_threads=True)

    def run(self) -> int:
        """Serve until asked to stop; return the exit status of the process."""
        self._slot.pid = os.getpid()
        self._slot.started_ns = time.time_ns()
        log.info("Booting worker with pid: %d", os.getpid())
        try:
            change_owner(self._settings)
            gateway = self._load()
        except LoadError as error:
            log_load_error(error)
            return BOOT_FAILED
        except SettingError as error:
            log.error("%s", error)
            return BOOT_FAILED
        engine = self._engine(gateway)
        self._enter(State.READY)
        engine.run()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # There is nothing left to drain.
        log.info("Worker exiting (pid: %d)", os.getpid())
        return 0

    def _engine(self, gateway: Gateway) -> Engine:
        sockets = [listener.socket for listener in self._listeners]
        pulse = _Pulse(self._slot, self._metrics.worker(self._slot), self._arbiter_pid)
        pages = self._own_pages()
        if pages:
            gateway = OwnPages(gateway, pages)
        engine = Engine(
            sockets,
            gateway,
            self._settings,
            on_request=self._on_request(pages),
            slot=pulse,
            tls=self._tls,
            on_worn=_ask_to_drain,
        )

        def drain(signum: int, frame: FrameType | None) -> None:
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
        if self._settings.metrics_path is not None:
            listeners.append(self._metrics.worker(self._slot))
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
        self._tell_arbiter()


class _Pulse:
    """The engine's heartbeat, which also notices that nobody is left to read it."""

    def __init__(self, slot: Slot, counts: Row, arbiter_pid: int) -> None:
        self._slot = slot
        self._counts = counts
        self._arbiter_pid = arbiter_pid

    @property
    def requests(self) -> int:
        return self._slot.requests

    @requests.setter
    def requests(self, answered: int) -> None:
        self._slot.requests = answered

    def timed_out(self) -> None:
        self._counts.timed_out += 1

    def beat(self, activity: Activity) -> None:
        self._slot.beat()
        show(self._slot, activity)
        if self._arbiter_pid and os.getppid() != self._arbiter_pid:
            log.warning("The arbiter (pid: %d) is gone, so this worker stops too", self._arbiter_pid)
            self._arbiter_pid = 0
            _ask_to_drain()


def _ask_to_drain() -> None:
    """Leave gracefully; the arbiter then sees to a successor."""
    signal.raise_signal(signal.SIGTERM)


def log_load_error(error: LoadError) -> None:
    """Say why there is no application, and where its own code raised."""
    log.error("%s", "\n".join(filter(None, [str(error), error.code_traceback])))


def leave(signum: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal by ending the process in order, but without waiting for requests."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)  # A second one must not break off what runs at the exit.
    raise SystemExit(0)
