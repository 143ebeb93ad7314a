"""The worker's event loop: one thread that runs the coroutines of all requests, started with the first of them."""

from __future__ import annotations

import contextvars
import logging
import selectors
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio  # else inside functions, for its cost: 12 ms and 3 MB, which a worker without coroutines is spared

log = logging.getLogger("demijohn.server")

# A loop that has not come round for this long is reported, with what holds it up.
_BLOCKED_S = 1.0

# Of tasks that run at one time: they come again. To make a new one, as asyncio does, takes 1,900 of the 14,400
# instructions of a task that awaits nothing.
_names = cycle([f"request-{number}" for number in range(1024)])

Done = Callable[[Any, BaseException | None], object]
"""Called in the loop's thread with what a coroutine returned, or with None and what it raised."""


class Starter:
    """Makes tasks of one event loop that run until they first wait, before `start` comes back.

    A task is otherwise run by the loop when that comes round; most are done by then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from asyncio import Task

        self._loop = loop
        self._task_class = Task
        self._step: Callable[[], object] | None = None

    def start(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> asyncio.Task[Any]:
        """Return the task, which may be done. To be called in the loop's thread, not in a task."""
        loop: Any = self._loop
        # asyncio has `eager_start` for this since 3.12. Before, a new task asks its loop for nothing but to be run.
        loop.call_soon = self._take_step
        try:
            task = self._task_class(coroutine, loop=loop, name=next(_names), context=context)
        finally:
            del loop.call_soon
        step, self._step = self._step, None
        assert step is not None
        try:
            context.run(step)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two out of any task; that of a request has its outcome all the same.
            log.info("A coroutine raised %r; the event loop goes on", error)
        return task

    def _take_step(self, step: Callable[[], object], *, context: Context) -> None:
        self._step = step


class EngineSelector(selectors.EpollSelector):
    """How asyncio waits where an engine polls: what the loop waits for is one more descriptor of the engine's.

    So an event of the engine costs asyncio nothing: no callback, and no second call of the kernel. The engine handles
    its events while the loop believes that it still waits.

    wait: called with how long the loop can wait, in seconds, None for ever. False when the engine does not poll just
        now, so that asyncio waits by itself; None when that is always so.
    woken: called when asyncio has waited by itself.
    is_ready: to be set by `wait` when there is something for the loop.
    """

    def __init__(
        self, wait: Callable[[float | None], bool] | None = None, woken: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.wait = wait
        self.woken = woken
        self.is_ready = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.wait is not None and self.wait(timeout):
            if not self.is_ready:
                return []
            self.is_ready = False
            return super().select(0)
        events = super().select(timeout)
        if self.woken is not None:
            self.woken()
        return events


def new_loop(kind: str, selector: EngineSelector | None = None) -> asyncio.AbstractEventLoop:
    """Return a loop of the kind that the setting `asgi_loop` names, on `selector` if it can.

    Raises ImportError when it is not installed.
    """
    if kind == "uvloop":
        import uvloop  # type: ignore[import-not-found, unused-ignore]  # an extra

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    from asyncio import SelectorEventLoop

    return SelectorEventLoop(selector)


def was_cancelled(error: BaseException) -> bool:
    """Whether a coroutine ended because its task was cancelled."""
    from asyncio import CancelledError

    return isinstance(error, CancelledError)


class EventLoop:
    """Runs coroutines for threads that have no event loop. There is no thread of its own before the first one.

    starter: what starts them, once there is a loop.
    """

    def __init__(self, kind: str = "asyncio", new_selector: Callable[[], EngineSelector] | None = None) -> None:
        """`kind` and what `new_selector` returns are for `new_loop`."""
        self._kind = kind
        self._new_selector = new_selector
        self._loop: asyncio.AbstractEventLoop | None = None
        self.starter: Starter
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._submitted: deque[tuple[Coroutine[Any, Any, Any], Context, Done]] = deque()
        self._is_told = False
        # What is called when they are done; asyncio itself holds tasks weakly.
        self._tasks: dict[asyncio.Task[Any], Callable[[asyncio.Task[Any]], object]] = {}
        self._stopping = False
        self._asked_at: float | None = None
        self._reported = False

    def start(self, coroutine: Coroutine[Any, Any, Any], context: Context, done: Done) -> None:
        """Run a coroutine in a task of its own, in `context`; may be called in any thread.

        `done` is called when the task has left the context. Raises RuntimeError when the loop was stopped.
        """
        loop = self._loop or self.begin()
        self._submitted.append((coroutine, context, done))
        # Many coroutines that are started at a time wake the loop once. Both sides look after they have written.
        if not self._is_told:
            self._is_told = True
            loop.call_soon_threadsafe(self._take)

    def cancel(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """End what was started, as `asyncio.Task.cancel` does; may be called in any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, coroutine)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Wait for a coroutine and return what it returns, or raise what it raises.

        It runs in a copy of the caller's context; the variables that it sets are set in the caller's then.

        Raises RuntimeError in the loop's own thread, which must not wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            name = getattr(coroutine, "__qualname__", coroutine)
            raise RuntimeError(
                f"{name!r} was called as a plain function in the thread of the event loop, which cannot wait for it."
                " In an 'async def' function, await it."
            )
        context = contextvars.copy_context()
        outcome: list[Any] = []
        ended = threading.Lock()
        ended.acquire()

        def done(value: Any, error: BaseException | None) -> None:
            outcome.extend((value, error))
            ended.release()

        self.start(coroutine, context, done)
        ended.acquire()
        for variable, value in context.items():
            if variable.get(ended) is not value:  # `ended` is nobody's value
                variable.set(value)
        value, error = outcome
        if error is not None:
            try:
                raise error
            finally:
                outcome.clear()  # no circle through the traceback
                del error
        return value

    def watch(self, now: float) -> None:
        """Report when something blocks the loop; to be called now and then, by one thread that is not the loop's."""
        if self._loop is None or self._thread is None:
            return
        if self._asked_at is None:
            self._asked_at = now
            self._loop.call_soon_threadsafe(self._come_round)
        elif now - self._asked_at > _BLOCKED_S and not self._reported:
            self._reported = True
            frame = sys._current_frames().get(self._thread.ident or 0)
            log.warning(
                "The event loop has been blocked for %.1f s, and with it all 'async def' views. Await what takes time,"
                " or make the view a plain 'def'. It is in:\n%s",
                now - self._asked_at,
                "".join(traceback.format_stack(frame, limit=6)).rstrip(),
            )

    def stop(self, timeout_s: float) -> bool:
        """Cancel what still runs and end the thread; whether it has ended, within `timeout_s`."""
        with self._lock:
            self._stopping = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return True
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout_s)
        return not thread.is_alive()

    # -- the loop's thread ---------------------------------------------------------------------------

    def begin(self) -> asyncio.AbstractEventLoop:
        """Return the loop, with its thread started."""
        with self._lock:
            if self._loop is None:
                if self._stopping:
                    raise RuntimeError("The worker has stopped its event loop.")
                selector = self._new_selector() if self._new_selector is not None and self._kind != "uvloop" else None
                loop = new_loop(self._kind, selector)
                self.starter = Starter(loop)
                self._thread = threading.Thread(target=self._live, args=(loop,), name="demijohn-async", daemon=True)
                self._thread.start()
                self._loop = loop
            return self._loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        while not self._stopping:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio lets these two out of any task; that of a request has its outcome all the same.
                log.info("A coroutine raised %r; the event loop goes on", error)
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _take(self) -> None:
        self._is_told = False
        submitted = self._submitted
        while submitted:
            coroutine, context, done = submitted.popleft()
            task = self.starter.start(coroutine, context)
            if task.done():
                self._ended(done, task)
            else:
                self.keep(task, done)

    def keep(self, task: asyncio.Task[Any], done: Done) -> None:
        """See a task to its end that has been started here."""
        # In the loop's own context: `done` may enter the task's again.
        ended = self._tasks[task] = partial(self._ended, done)
        task.add_done_callback(ended)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Let `done` not be called for a task that is about to end."""
        task.remove_done_callback(self._tasks.pop(task))

    def _cancel(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        for task in self._tasks:
            if task.get_coro() is coroutine:
                task.cancel()

    def _ended(self, done: Done, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        try:
            value = task.result()
        except BaseException as error:
            done(None, error)
        else:
            done(value, None)

    def _come_round(self) -> None:
        self._asked_at = None
        self._reported = False
