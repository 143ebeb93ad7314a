"""Processes that run one call each at a time, and are replaced when they die.

A thread of this process stands beside each of them: it takes a call from the queue, sends it through a pipe and waits
for the answer. So it is always known which call a process has, and what one call does to its process is the matter
of that call alone. `concurrent.futures.ProcessPoolExecutor` instead is broken for good by one process that is killed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from ..reporting import Follower, followed
from .errors import CallCancelled, DeadlineExceeded, ProcessDied, QueueFull

log = logging.getLogger("demijohn.server.heavy")  # so that it goes where the server's log goes

# How often a thread that waits for a call looks whether it was cancelled elsewhere.
_LOOK_S = 0.25
# How long it then goes on: it may have noticed itself, and be cleaning up.
_CLEAN_UP_S = 2.0
# A call whose process dies is run once more: most often the system was out of memory, or somebody killed it.
_ATTEMPTS = 2
# What a report begins with that a process sends before its reply; a pickle begins otherwise.
_REPORT = b"report:"
# Beside a server: a request that only has to be answered goes first.
_NICE = 10


@dataclass(slots=True)
class Call:
    """One call on its way.

    name: of the function, for messages.
    payload: the pickled function and arguments.
    deadline: by `time.monotonic()`; None for a call that may take as long as it likes.
    is_cancelled: asked now and then while the call runs.
    follower: who is told what the function reports.
    """

    name: str
    payload: bytes
    deadline: float | None = None
    is_cancelled: Callable[[], bool] | None = None
    follower: Follower | None = None
    future: Future[Any] = field(default_factory=Future)

    def left_s(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class ProcessPool(Executor):
    """A pool of processes that heals.

    processes: how many. queue_limit: how many calls may wait for one; more raise QueueFull.
    """

    def __init__(self, processes: int, *, queue_limit: int | None = None) -> None:
        self._queue: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._waiting = 0
        self._queue_limit = processes * 16 if queue_limit is None else queue_limit
        self._lock = threading.Lock()
        self._closed = False
        self._slots = [_Slot(self, f"demijohn-heavy-{number}") for number in range(processes)]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in one of the processes. Raises QueueFull, and TypeError for what cannot be sent to a process."""
        return self.submit_call(Call(name_of(fn), dumps_call(fn, args, kwargs)))

    def submit_call(self, call: Call) -> Future[Any]:
        """Run a call that was put together already."""
        with self._lock:
            if self._closed:
                raise RuntimeError("The pool of processes was shut down and takes no more calls.")
            if self._waiting >= self._queue_limit + len(self._slots):
                raise QueueFull(
                    f"{call.name} was not run: {self._queue_limit} calls wait already."
                    " Raise the limit (HEAVY_QUEUE), run more processes, or make the calls shorter."
                )
            self._waiting += 1
            # With the count, so that no call comes behind the one that ends the threads.
            self._queue.put(call)
        call.future.add_done_callback(self._left)
        return call.future

    def _left(self, future: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1

    def take(self) -> Call | None:
        """Return the next call, None when there will be no other."""
        return self._queue.get()

    @property
    def pids(self) -> list[int]:
        """The processes there are now."""
        return [slot.process.pid for slot in self._slots if slot.process is not None and slot.process.pid is not None]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `cancel_futures` end those that run or wait, at once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._slots:
                    self._queue.put(None)
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while True:
                    call = self._queue.get_nowait()
                    if call is not None:
                        call.future.cancel()
            for slot in self._slots:
                self._queue.put(None)
                slot.abort()
        if wait:
            for slot in self._slots:
                slot.thread.join()


class _Slot:
    """A thread and its process."""

    def __init__(self, pool: ProcessPool, name: str) -> None:
        self._pool = pool
        self._aborted = False
        # Around `process`, so that it is not let go of while it is being ended.
        self._lock = threading.Lock()
        self.process: BaseProcess | None = None
        self._connection: Connection | None = None
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)
        self.thread.start()

    def abort(self) -> None:
        """End the call that runs, and let no other begin."""
        with self._lock:
            self._aborted = True
            if self.process is not None:
                self.process.kill()

    def _live(self) -> None:
        while (call := self._pool.take()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                outcome = self._run(call)
            except BaseException as error:
                call.future.set_exception(error)
            else:
                call.future.set_result(outcome)
                del outcome
            del call  # neither need live until the next one
        self._end_process()

    def _run(self, call: Call) -> Any:
        """Return what the call returns; raise what it raises, or what became of it."""
        for _ in range(_ATTEMPTS):
            reply = self._ask(call)
            if reply is not None:
                return _result(reply, call)
            status = self._end_process()
            if self._aborted:
                raise CallCancelled(f"{call.name} was ended, as the server stops.")
            log.error("The process that ran %s died (%s)", call.name, status)
        raise ProcessDied(
            f"{call.name} ended its process each of {_ATTEMPTS} times ({status})."
            " If it was killed by signal 9, the machine may be out of memory; a segmentation fault is a bug in C code."
        )

    def _ask(self, call: Call) -> bytes | None:
        """Return the reply; None when the process died."""
        connection = self._started()
        cancelled_at = None
        try:
            connection.send((call.name, call.payload, call.follower is not None))
            while True:
                if wait([connection], _soonest(call)):
                    said = connection.recv_bytes()
                    if not said.startswith(_REPORT):
                        return said
                    _pass_on(said, call)
                if call.deadline is not None and time.monotonic() >= call.deadline:
                    raise DeadlineExceeded(f"{call.name} was not done at its deadline, so its process was ended.")
                if cancelled_at is None:
                    if call.is_cancelled is not None and call.is_cancelled():
                        cancelled_at = time.monotonic()
                        if call.follower is not None:
                            connection.send(None)  # the function learns of it when it next reports
                elif time.monotonic() - cancelled_at >= _CLEAN_UP_S:
                    raise CallCancelled(f"{call.name} was cancelled.")
        except (EOFError, ConnectionError):
            return None
        except BaseException:
            # Whatever it was: the next call must not be given the reply to this one.
            self._kill()
            raise

    def _started(self) -> Connection:
        if self._connection is None:
            context = multiprocessing.get_context("forkserver")
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), name=self.thread.name, daemon=True)
            process.start()
            theirs.close()  # so that its end is noticed here
            with self._lock:
                self._connection, self.process = ours, process
                if self._aborted:  # while it was started
                    process.kill()
        return self._connection

    def _kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._end_process()

    def _end_process(self) -> str:
        """Let go of the process, which ends at the end of its pipe; return how it ended."""
        with self._lock:
            process, connection = self.process, self._connection
            self.process = self._connection = None
        if connection is not None:
            connection.close()
        if process is None:
            return "it was never started"
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode or 0
        process.close()
        return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit status {code}"


def _soonest(call: Call) -> float | None:
    """Return how long to wait before looking around, in seconds."""
    left_s = call.left_s()
    if call.is_cancelled is None:
        return left_s
    return _LOOK_S if left_s is None else min(_LOOK_S, left_s)


def _pass_on(said: bytes, call: Call) -> None:
    """Tell the follower of a call what its function reports."""
    assert call.follower is not None
    with contextlib.suppress(CallCancelled):  # `is_cancelled` says so too, and there it is dealt with
        call.follower.hear(*pickle.loads(said[len(_REPORT) :]))


def name_of(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__qualname__', type(function).__qualname__)}()"


def dumps_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickle a call. Raises TypeError that names what cannot be pickled."""
    try:
        return pickle.dumps((function, args, kwargs), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        named = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        for label, value in named:
            try:
                pickle.dumps(value)
            except Exception:
                raise TypeError(
                    f"{name_of(function)} runs in another process, and its {label}, a {type(value).__qualname__},"
                    f" cannot be sent there: {error}. Send what it is made from instead."
                ) from error
        raise TypeError(
            f"{name_of(function)} cannot be sent to another process: {error}. Define it at the top of a module."
        ) from error


def _result(reply: bytes, call: Call) -> Any:
    succeeded, outcome = pickle.loads(reply)
    if succeeded:
        return outcome
    raise outcome


# -- in the process --------------------------------------------------------------------------------------------


def _serve(connection: Connection) -> None:
    """Run the calls that come through a pipe, until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends its pools
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    threading.Thread(target=_end_with_parent, name="demijohn-parent", daemon=True).start()
    while True:
        try:
            asked = connection.recv()
        except (EOFError, ConnectionError):
            return
        if asked is None:
            continue  # that the last call was cancelled, which had ended by then
        name, payload, is_followed = asked
        try:
            reply = followed(_Caller(connection), _reply, name, payload) if is_followed else _reply(name, payload)
            connection.send_bytes(reply)
        except BrokenPipeError:
            return


class _Caller(Follower):
    """Whoever follows a call from the process it came from."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._is_cancelled = False

    def hear(self, done: float, total: float | None, message: str) -> None:
        self._connection.send_bytes(_REPORT + pickle.dumps((done, total, message)))
        if self.is_cancelled():
            raise CallCancelled("The call was cancelled.")

    def is_cancelled(self) -> bool:
        if not self._is_cancelled and self._connection.poll():
            self._connection.recv()
            self._is_cancelled = True
        return self._is_cancelled


def _end_with_parent() -> NoReturn:
    """End in the middle of a call too when the server is gone: nobody waits for its result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def run_payload(payload: bytes) -> Any:
    """Run what `dumps_call` pickled."""
    function, args, kwargs = pickle.loads(payload)
    return function(*args, **kwargs)


def _reply(name: str, payload: bytes) -> bytes:
    try:
        outcome = (True, run_payload(payload))
    except (Exception, SystemExit) as error:  # who calls it tells what becomes of an exit
        return _failure(error)
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return _failure(TypeError(f"{name} returned a {type(outcome[1]).__qualname__} that cannot be sent: {error}"))


def _failure(error: BaseException) -> bytes:
    """Pickle an exception with its traceback; one that cannot be pickled goes as a RuntimeError that says the same."""
    error.add_note("In the process that ran it:\n" + "".join(traceback.format_exception(error)).rstrip())
    try:
        reply = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(reply)  # some can be written but not read
    except Exception:
        told = RuntimeError(f"{type(error).__qualname__}: {error}")
        told.__notes__ = error.__notes__
        return pickle.dumps((False, told), pickle.HIGHEST_PROTOCOL)
    return reply
