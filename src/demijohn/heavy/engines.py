"""Where heavy calls run, chosen by a URL: `processes:4`, `threads:8`, `inline`, `dask://host:8786`.

Each engine takes the same calls, so that nothing in an application changes with it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

from ..reporting import Follower, followed
from .dask_calls import run_followed
from .errors import CallCancelled, DeadlineExceeded, EngineUnavailable, ProcessDied, QueueFull
from .pool import Call, ProcessPool, dumps_call, name_of, run_payload

log = logging.getLogger("demijohn.server.heavy")  # so that it goes where the server's log goes

# How long a call waits for a Dask scheduler that cannot be reached before it says so.
_CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as it was asked for; see `Engine.submit`."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deadline_s: float | None
    is_cancelled: Callable[[], bool] | None
    outlives: bool
    follower: Follower | None

    @property
    def name(self) -> str:
        return name_of(self.function)

    def dumps(self) -> bytes:
        return dumps_call(self.function, self.args, self.kwargs)


class Engine(ABC):
    """What runs heavy calls.

    shares_memory: whether calls see the memory of this process.
    """

    shares_memory: ClassVar[bool]

    def submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        deadline_s: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        outlives: bool = False,
        follower: Follower | None = None,
    ) -> Future[Any]:
        """Start a call.

        deadline_s: how long it may take from now, in seconds; after that `result` raises DeadlineExceeded.
        is_cancelled: asked now and then, where a running call can be ended.
        outlives: whether it is to go on when this process ends, where that is possible.
        follower: who is told what the function reports.
        Raises QueueFull, EngineUnavailable, and TypeError for what cannot be sent.
        """
        return self.start(Asked(function, args, kwargs, deadline_s, is_cancelled, outlives, follower))

    @abstractmethod
    def start(self, asked: Asked) -> Future[Any]:
        """Do what `submit` says."""

    @abstractmethod
    def shutdown(self) -> None:
        """End all calls."""


class Processes(Engine):
    """The processes of this server, see pool.py."""

    shares_memory = False

    def __init__(self, processes: int, queue_limit: int | None = None) -> None:
        self.pool = ProcessPool(processes, queue_limit=queue_limit)

    def start(self, asked: Asked) -> Future[Any]:
        deadline = None if asked.deadline_s is None else time.monotonic() + asked.deadline_s
        call = Call(asked.name, asked.dumps(), deadline, asked.is_cancelled, asked.follower)
        return self.pool.submit_call(call)

    def shutdown(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)


class Threads(Engine):
    """Threads of this process: for what waits, or computes outside the interpreter's lock.

    A thread cannot be ended: at its deadline a call is given up, and goes on unheard.
    """

    shares_memory = True

    def __init__(self, threads: int, queue_limit: int | None = None) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="demijohn-heavy")
        self._limit = threads + (threads * 16 if queue_limit is None else queue_limit)
        self._lock = threading.Lock()
        self._pending = 0

    def start(self, asked: Asked) -> Future[Any]:
        with self._lock:
            if self._pending >= self._limit:
                raise QueueFull(f"{asked.name} was not run: {self._limit} calls run or wait already.")
            self._pending += 1
        # A thread of the executor has a context of its own.
        function = asked.function if asked.follower is None else partial(followed, asked.follower, asked.function)
        future = self._executor.submit(function, *asked.args, **asked.kwargs)
        future.add_done_callback(self._left)
        # One that waits still is not begun any more.
        return _with_deadline(future, asked, give_up=future.cancel)

    def _left(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1

    def shutdown(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class Inline(Engine):
    """The calling thread: for tests, and to look into a function with a debugger."""

    shares_memory = True

    def start(self, asked: Asked) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(asked.function(*asked.args, **asked.kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self) -> None:
        pass


class Dask(Engine):
    """A Dask cluster, which the same modules are installed on.

    The connection is made at the first call, and anew when it was lost. A call waits three seconds for that; those
    that waited meanwhile are told what came of it, and not made to wait for one attempt after the other.
    """

    shares_memory = False

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._topic = f"demijohn-{uuid4()}"
        self._followers: dict[str, Follower] = {}  # by the keys of tasks
        self._failure: BaseException | None = None
        self._failed_at = float("-inf")

    def start(self, asked: Asked) -> Future[Any]:
        # As bytes: only the workers need the application's modules, not the scheduler. Not pure: the same arguments may
        # well give another result.
        payload = asked.dumps()
        client = self._connected()
        key = f"{asked.name}-{uuid4()}"
        how = (run_payload, payload) if asked.follower is None else (run_followed, payload, self._topic, key)
        if asked.follower is not None:
            self._followers[key] = asked.follower
        try:
            task = client.submit(*how, key=key, pure=False, retries=1)
        except Exception as error:
            self._followers.pop(key, None)
            raise self._unavailable(error) from error
        if asked.outlives:
            _distributed().fire_and_forget(task)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        task.add_done_callback(lambda done: _follow(done, future, partial(self._translated, asked)))
        if asked.follower is not None:
            future.add_done_callback(lambda done: self._followers.pop(key, None))
            # In Dask's own thread: whoever cancels does not wait for the scheduler.
            asked.follower.on_cancel(lambda: client.loop.add_callback(task.cancel, asynchronous=True))
        return _with_deadline(future, asked, give_up=task.cancel)

    def _heard(self, event: tuple[float, tuple[str, float, float | None, str]]) -> None:
        """Tell who follows a call what its function reports."""
        key, done, total, message = event[1]
        follower = self._followers.get(key)
        if follower is not None:
            follower.hear(done, total, message)

    def _connected(self) -> Any:
        asked_at = time.monotonic()
        with self._lock:
            if self._client is not None and self._client.status == "running":
                return self._client
            if self._failure is not None and asked_at <= self._failed_at:
                raise self._unavailable(self._failure) from self._failure
            try:
                distributed = _distributed()
            except ImportError:
                raise EngineUnavailable(
                    "Dask is not installed, and the executor is dask://. Install demijohn[dask] here and there."
                ) from None
            self._close()
            try:
                self._client = distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
                self._client.subscribe_topic(self._topic, self._heard)
            except (OSError, TimeoutError) as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise self._unavailable(error) from error
            return self._client

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close(timeout=0)
            except Exception as error:  # it is broken already, in any of Dask's ways
                log.info("The connection to the Dask scheduler at %s was left as it is: %r", self._address, error)

    def _unavailable(self, error: BaseException) -> EngineUnavailable:
        return EngineUnavailable(
            f"The Dask scheduler at {self._address} cannot be reached: {error or type(error).__name__}."
            " Start it, or give another address with --executor."
        )

    def _translated(self, asked: Asked, error: BaseException) -> BaseException:
        """Say in our words what Dask says of itself; the function's own exceptions stay as they are."""
        if isinstance(error, _distributed().KilledWorker):
            return ProcessDied(f"The function ended the Dask workers that ran it: {error}")
        if isinstance(error, CancelledError) or type(error).__name__ in ("FutureCancelledError", "CommClosedError"):
            if asked.is_cancelled is not None and asked.is_cancelled():
                return CallCancelled(f"{asked.name} was cancelled by its caller.")
            return self._unavailable(error)
        return error

    def shutdown(self) -> None:
        with self._lock:
            self._close()


def _distributed() -> Any:
    """Import Dask when it is needed: it takes longer than all else together."""
    return importlib.import_module("distributed")


def _follow(done: Any, future: Future[Any], translated: Callable[[BaseException], BaseException]) -> None:
    """Give what became of a Dask future to ours, unless that was given up."""
    try:
        error = done.exception() if done.status != "cancelled" else CancelledError("the connection was lost")
        if error is not None:
            outcome = translated(error)
    except BaseException as failed:
        error, outcome = failed, translated(failed)
    with contextlib.suppress(InvalidStateError):  # nobody waits any more
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(outcome)


def _with_deadline(future: Future[Any], asked: Asked, give_up: Callable[[], object]) -> Future[Any]:
    """Return a future that fails at its deadline, for engines that cannot end a call; then `give_up` is called."""
    if asked.deadline_s is None:
        return future
    late: Future[Any] = Future()

    def at_deadline() -> None:
        with contextlib.suppress(InvalidStateError):  # it was done just now
            late.set_exception(DeadlineExceeded(f"{asked.name} was not done at its deadline and was given up."))

    def at_end(done: Future[Any]) -> None:
        timer.cancel()
        if not future.done():
            give_up()

    # Nobody may be asking for the result: a job's is only looked at when it is there.
    timer = threading.Timer(asked.deadline_s, at_deadline)
    timer.daemon = True
    timer.start()
    future.add_done_callback(lambda done: _copy(done, late))
    late.add_done_callback(at_end)
    return late


def _copy(done: Future[Any], late: Future[Any]) -> None:
    if done.cancelled():
        late.cancel()
        return
    with contextlib.suppress(InvalidStateError):  # given up meanwhile
        if (error := done.exception()) is not None:
            late.set_exception(error)
        else:
            late.set_result(done.result())


# -- the one of this process -------------------------------------------------------------------------------

VARIABLE = "DEMIJOHN_EXECUTOR"
_engines: dict[tuple[int, str], Engine] = {}
_lock = threading.Lock()


def default_processes() -> int:
    """Return how many processes the pool has unless told otherwise: one for each processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_engine(url: str, queue_limit: int | None = None) -> Engine:
    """Make the engine a URL names. Raises ValueError that says what there is."""
    kind, _, rest = url.partition(":")
    if kind in ("processes", "threads", "inline"):
        if kind == "inline" and not rest:
            return Inline()
        if kind != "inline" and (not rest or (rest.isdecimal() and int(rest) > 0)):
            number = int(rest) if rest else default_processes()
            return Processes(number, queue_limit) if kind == "processes" else Threads(number, queue_limit)
    elif kind == "dask" and urlsplit(url).hostname:
        return Dask("tcp://" + urlsplit(url).netloc)
    raise ValueError(
        f"There is no executor {url!r}: it is 'processes', 'threads' (both with a number, as in 'processes:4'),"
        " 'inline' or 'dask://HOST:PORT'."
    )


def engine(url: str | None = None) -> Engine:
    """Return this process's engine for a URL, by default that of the variable DEMIJOHN_EXECUTOR, or `processes`.

    It is made when first asked for: in a worker, not before it was forked.
    """
    url = url or os.environ.get(VARIABLE) or "processes"
    key = (os.getpid(), url)
    found = _engines.get(key)
    if found is None:
        with _lock:
            found = _engines.get(key)
            if found is None:
                limit = os.environ.get("DEMIJOHN_HEAVY_QUEUE")
                found = _engines[key] = make_engine(url, int(limit) if limit else None)
    return found


def shutdown_engines() -> None:
    """End all calls of this process's engines; the next call makes another."""
    with _lock:
        mine = [key for key in _engines if key[0] == os.getpid()]
        ended = [_engines.pop(key) for key in mine]
    for each in ended:
        each.shutdown()


atexit.register(shutdown_engines)
