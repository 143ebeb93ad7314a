"""The engine of a worker with an application of ours: requests that wait for coroutines, and the event loop as leader.

While an application has shown nothing that is `async def`, all is as in `loop.py`. Its first coroutine starts the event
loop, in a thread of its own; a request that waits (`Waiting`) keeps its connection owned, by no thread, and the loop's
thread takes it up when the coroutine has come to its end. What may block, user code that is not `async def` and
content that is no bytes, it gives to the team.

To change threads costs more than all the rest of a quick request. So when one request after the other awaits, the
loop's thread becomes the leader: it polls in asyncio's place (`EngineSelector`), and coroutines are started in the step
that read their request. Plain views then go to the team; when they come one after the other, the lead does too.

The loop is watched as any leader is, also while asyncio runs what waited before: a coroutine that blocks costs it the
lead, and for a while it is given none.
"""

from __future__ import annotations

import logging
import socket
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..message import RequestHead, ResponseMessage, Suspended
from ..typing import Gateway, Route
from .activity import Activity, Task
from .connections import Client, Job, Todo
from .eventloop import EngineSelector, EventLoop
from .forking import end_copy
from .leadership import NEVER_SLOW_S, SLOW_S, Member
from .loop import Engine
from .poller import READ
from .settings import Settings
from .timekeeping import Surroundings
from .waiting import Waiting

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("demijohn.server")

# The lead changes sides when this many requests in a row were of the other kind.
_ENOUGH_IN_A_ROW = 8
# How long a loop that was found blocked is given no lead.
_DISTRUST_S = 1.0


class NativeEngine(Engine):
    """Serves the connections of some listeners with an application of ours, until it is drained."""

    def __init__(
        self, listeners: list[socket.socket], gateway: Gateway, settings: Settings, around: Surroundings
    ) -> None:
        super().__init__(listeners, gateway, settings, around)
        self._loop = EventLoop(settings.asgi_loop, self._make_selector)
        self._loop_member.slow_s = NEVER_SLOW_S  # so it asks before each view, see `_make_way`
        self._waiting: set[Waiting] = set()
        self._selector: EngineSelector | None = None  # there is none with uvloop, which then leads never
        self._selector_fd = -1
        self._is_polled = False  # whether the engine's poller knows the selector
        self._leads = False  # whether the loop's thread takes itself for the leader
        self._may_lead = settings.pre_request is None  # which is a plain function of the user's, before each request
        self._distrusted_until = 0.0
        self._awaited_in_a_row = self._plain_in_a_row = 0
        self._answered_before = 0  # by the thread that led when the last request awaited

    # -- the calling thread ------------------------------------------------------------------------

    def _activity(self) -> Activity:
        activity = super()._activity()
        activity.tasks += [Task(waiting.head, waiting.begun, None) for waiting in list(self._waiting)]
        member = self._loop_member
        begun, head = member.since, member.head
        if begun and head is not None and member.route is not None:  # in a coroutine that has not waited yet
            activity.tasks.append(Task(head, begun, member.thread))
        return activity

    def _end_overdue(self, now: float) -> None:
        super()._end_overdue(now)
        for waiting in list(self._waiting):
            limit_s = self._limits.limit_s(waiting.head, waiting.route)
            over_at = max(waiting.begun, self._awake_since) + limit_s
            if over_at > now:
                self._look_at_limits_at = min(self._look_at_limits_at, over_at)
            elif not waiting.is_late:
                self._cancel(waiting, limit_s)

    def _cancel(self, waiting: Waiting, limit_s: float) -> None:
        """End a request that awaits too long. `Waiting.advance` gives the answer to what the coroutine makes of it."""
        suspended = waiting.answer
        coroutine = suspended.coroutine if isinstance(suspended, Suspended) else None
        if coroutine is None:
            return  # it is about to be gone on with
        waiting.is_late = True
        self._log_awaiting(waiting.head, waiting.route, waiting.begun, limit_s, coroutine)
        self._loop.cancel(coroutine)

    def _give_up(self) -> None:
        for waiting in list(self._waiting):
            log.warning(
                "Gave up after the graceful timeout: %s %s has been awaiting for %.1f s",
                waiting.head.method,
                waiting.head.target.decode("latin-1"),
                monotonic() - waiting.begun,
            )
        super()._give_up()

    # -- any thread ----------------------------------------------------------------------------------

    def _await(
        self, member: Member, client: Client, suspended: Suspended, waiting: Waiting | None
    ) -> ResponseMessage | None:
        task: asyncio.Task[Any] | None = None
        if member is self._loop_member and waiting is None and suspended.coroutine is not None:
            task = self._loop.starter.start(suspended.coroutine, suspended.context)
            if type(suspended) is Suspended:
                message = _plain_answer_of(task)
                if message is not None:
                    return message
        if waiting is None:
            assert member.head is not None
            assert member.route is not None
            waiting = Waiting(member.head, member.route, member.since, suspended)
        if member is self._loop_member:
            if suspended.coroutine is None:
                waiting.advance(may_block=False)
            return self._run(client, waiting, task)
        if suspended.coroutine is None:
            waiting.advance(may_block=True)
            if isinstance(waiting.answer, ResponseMessage):
                return waiting.answer
        begun, member.since = member.since, 0.0
        if not (member.claimed and self._drops(member, waiting.head, suspended)):
            # Awaiting blocks nobody: only what was spent in this thread makes a route slow.
            member.learn(waiting.route, monotonic() - begun)
            self._note_awaited(member)
            self._waiting.add(waiting)
            assert suspended.coroutine is not None
            self._loop.start(suspended.coroutine, suspended.context, partial(self._go_on, client, waiting))
        return None

    def _note_awaited(self, member: Member) -> None:
        """Let the loop lead when requests that await come one after the other; before it is woken to run the last."""
        if member.answered != self._answered_before:
            self._answered_before = member.answered
            self._awaited_in_a_row = 0
        self._awaited_in_a_row += 1
        if self._awaited_in_a_row >= _ENOUGH_IN_A_ROW and self._selector is not None:
            self._awaited_in_a_row = 0
            if self._may_lead and monotonic() >= self._distrusted_until:
                self._team.pass_lead(member, self._loop_member)

    def _make_way(self, member: Member, client: Client, todo: Todo, route: Route) -> bool:
        if member is not self._loop_member:
            return super()._make_way(member, client, todo, route)
        if (route.may_await and type(todo) is RequestHead) or self._may_begin(todo, route):
            self._plain_in_a_row = 0
            # The loop has to run it, whatever it takes; but then somebody else leads meanwhile.
            return route.wall_s <= SLOW_S or super()._make_way(member, client, todo, route)
        self._give((client, todo, route))
        self._plain_in_a_row += 1
        if self._plain_in_a_row >= _ENOUGH_IN_A_ROW:
            self._plain_in_a_row = 0
            if self._leads and self._team.resign(member):
                self._leads = False
        return False

    def _may_begin(self, todo: Todo, route: Route) -> bool:
        """Whether something may be begun in the loop's thread."""
        return False

    def _give(self, job: Job) -> None:
        """Have a thread of the team do what may block. If none is free it is the next leader's."""
        team = self._team
        if team.submit(job):
            return
        if team.leader is self._loop_member and not team.resign(self._loop_member, to_reserve=True):
            team.put_off(job)
        else:
            self._for_leader.append(job)
            self._wake_up()

    def _close_content(self, head: RequestHead, message: ResponseMessage) -> None:
        if message.close is not None and threading.current_thread() is self._loop_member.thread:
            self._give(partial(super()._close_content, head, message))
        else:
            super()._close_content(head, message)

    def _not_idle(self, member: Member, fd: int) -> None:
        if fd != self._selector_fd:
            super()._not_idle(member, fd)
        elif member is self._loop_member:
            assert self._selector is not None
            self._selector.is_ready = True
        else:
            self._set_polled()  # the loop was found blocked

    def _set_polled(self) -> None:
        """Have the engine's poller wait for what the loop waits for while the loop leads, and only then."""
        with self._lock:
            leads = self._team.leader is self._loop_member
            if leads and not self._is_polled:
                self._poller.register(self._selector_fd, READ)
            elif self._is_polled and not leads:
                self._poller.unregister(self._selector_fd)
            self._is_polled = leads

    # -- the event loop's thread -----------------------------------------------------------------------

    def _make_selector(self) -> EngineSelector:
        self._selector = EngineSelector(self._poll, self._come_out)
        self._selector_fd = self._selector.fileno()
        return self._selector

    def _poll(self, timeout_s: float | None) -> bool:
        """Lead until there is something for asyncio to do. False when somebody else leads: then it waits by itself."""
        member = self._loop_member
        member.since = 0.0
        if member.thread is None:
            member.thread = threading.current_thread()
        if self._team.leader is not member:
            if self._is_copy:
                end_copy()
            if self._leads:  # it has been deposed
                self._leads = False
                self._distrusted_until = monotonic() + _DISTRUST_S
                self._set_polled()
            return False
        if not self._leads:
            self._leads = True
            self._set_polled()
        try:
            self.step(member, self._tick_s if timeout_s is None else max(0.0, min(timeout_s, self._tick_s)))
        except Exception:
            self._failed_to_wait()
        if not self._leads:
            self._set_polled()
        self._come_out()
        return True

    def _come_out(self) -> None:
        """Be watched while asyncio runs what it has to."""
        member = self._loop_member
        member.route = None
        member.since = monotonic()

    def _run(self, client: Client, waiting: Waiting, task: asyncio.Task[Any] | None = None) -> ResponseMessage | None:
        """Run what a request awaits; None when it waits still, or goes on in a thread of the team.

        task: what runs the first of it already.
        """
        while isinstance(suspended := waiting.answer, Suspended):
            coroutine = suspended.coroutine
            if coroutine is None:
                break
            self._waiting.add(waiting)
            if task is None:
                task = self._loop.starter.start(coroutine, suspended.context)
            if not task.done():
                member = self._loop_member
                begun, member.since = member.since, 0.0
                member.learn(waiting.route, monotonic() - begun)
                self._loop.keep(task, partial(self._go_on, client, waiting))
                suspended.answered = partial(self._finish_in_task, client, waiting, task)
                return None
            try:
                value = task.result()
            except BaseException as error:
                waiting.advance(may_block=False, error=error)
            else:
                waiting.advance(may_block=False, value=value)
            task = None
        self._waiting.discard(waiting)
        message = waiting.answer
        if isinstance(message, ResponseMessage) and type(message.content) is bytes and message.close is None:
            return message
        self._give((client, waiting, waiting.route))
        return None

    def _finish_in_task(
        self, client: Client, waiting: Waiting, task: asyncio.Task[Any], message: ResponseMessage
    ) -> None:
        """Answer in the task that came to the answer, so that the loop is spared a round.

        When there is more to do on the connection, which cannot be begun in a task, that is left to `_go_on`.
        """
        if not (client.http.events or client.http.in_message):
            self._loop.forget(task)
            self._go_on(client, waiting, message, None)

    def _go_on(self, client: Client, waiting: Waiting, value: Any, error: BaseException | None) -> None:
        """Take up a request whose coroutine has come to its end."""
        member = self._loop_member
        member.since = monotonic()
        try:
            waiting.advance(may_block=False, value=value, error=error)
            if self._run(client, waiting) is not None:
                self._work(member, (client, waiting, waiting.route))
        except Exception:
            self._waiting.discard(waiting)
            self._failed(member, client)
        self._come_out()


def _plain_answer_of(task: asyncio.Task[Any]) -> ResponseMessage | None:
    """Return the answer that a task has come to, when it is bytes and all that there is to it; else None."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    message = task.result()
    if type(message) is ResponseMessage and type(message.content) is bytes and message.close is None:
        return message
    return None
