"""Requests that take too long: each is ended by itself, and told with the stack of its thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ..message import ProtocolError, RequestHead
from ..typing import Route
from .activity import Activity, Task, place_of, stack_of
from .answering import Answering, OnRequest
from .connections import Client, Job
from .framing import plain_answer
from .leadership import Member, Team
from .lending import LentSocket
from .limits import OVER_LIMIT, TimeLimits
from .poller import Poller
from .settings import Settings

if TYPE_CHECKING:
    from .tls import TLS

log = logging.getLogger("demijohn.server")


def _is_request(job: Job) -> bool:
    """Whether a job is a request of which nobody knows yet but the server."""
    return isinstance(job, tuple) and type(job[1]) is RequestHead


# How long nothing is looked at, at most.
LONGEST_LOOK_S = 1.0
# A watch that has not looked for this long was not running, and neither was anything else.
_PAUSE_S = 3.0


class Heartbeat(Protocol):
    """Where a worker shows that it is alive: a row of `slots.SlotTable`."""

    requests: int

    def beat(self, activity: Activity) -> None: ...

    def has_more_than_its_share(self, connections: int) -> bool:
        """Note how many connections this worker has; return whether another that serves has notably fewer."""

    def timed_out(self) -> None:
        """Note that a request has been ended by its limit."""

    def shed(self, requests: int) -> None:
        """Note that so many requests were given up before a thread was free for them."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around an engine.

    on_request: see `answering.OnRequest`.
    slot: where to show signs of life.
    tls: spoken on every connection, when given.
    on_worn: called when as many threads are lost to requests over their limit as there are for views; it should see to
        a successor and have the engine drain. Without it, the engine drains.
    """

    on_request: OnRequest | None = None
    slot: Heartbeat | None = None
    tls: TLS | None = None
    on_worn: Callable[[], object] | None = None


class Timekeeping(Answering):
    """Knows what is in hand and for how long, and ends what takes longer than it may."""

    _on_worn: Callable[[], object]  # set by the layer that can drain

    def __init__(self, settings: Settings, poller: Poller, team: Team[Job], around: Surroundings) -> None:
        super().__init__(settings, poller, team, around.on_request)
        self._slot = around.slot
        self._limits = TimeLimits(settings)
        self._look_at_limits_at = 0.0
        self._looked_at = self._awake_since = monotonic()
        self._lost: list[Member] = []  # inside views that went over their limit

    def _activity(self) -> Activity:
        tasks = [
            Task(member.head, since, member.thread)
            for member in list(self._team.members)
            if (since := member.since) and member.head is not None
        ]
        return Activity(len(self._clients), self._settings.threads, tasks, self._team.waiting)

    def _end_overdue(self, now: float) -> None:
        """End each request whose view has had its time."""
        if now - self._looked_at > _PAUSE_S:
            self._awake_since = now  # this process was itself stopped, and so were its views
        self._looked_at = now
        # What begins later is not over the shortest of the limits before that.
        look_again_at = now + min(LONGEST_LOOK_S, self._limits.shortest_s)
        for member in list(self._team.members):
            since, head, route = member.since, member.head, member.route
            if since and head is not None:
                limit_s = self._limits.limit_s(head, route)
                over_at = max(since, self._awake_since) + limit_s
                if over_at <= now:
                    self._end_stuck(member, since, head, limit_s)
                elif over_at < look_again_at:
                    look_again_at = over_at
        self._look_at_limits_at = min(look_again_at, self._shed_overdue(now))

    def _shed_overdue(self, now: float) -> float:
        """Answer requests that have waited too long for a thread; return when to look at the others."""
        limit_s = self._limits.queue_s
        waits_since = self._team.waits_since
        if waits_since + limit_s > now:
            return min(now, waits_since) + limit_s
        shed = self._team.take_back(now - limit_s, _is_request)
        if shed:
            self._shed(shed, now, limit_s)
        return now + min(LONGEST_LOOK_S, limit_s)

    def _shed(self, shed: list[tuple[float, Job]], now: float, limit_s: float) -> None:
        first: RequestHead = shed[0][1][1]  # type: ignore[index, assignment]  # see `_is_request`
        log.warning(
            "Requests waited for a thread for longer than %g s (--queue-timeout): %d, the first %s %s. They are "
            "answered 503; %d more wait. Views hold all %d threads: raise --threads, or --workers if CPU is left",
            limit_s,
            len(shed),
            first.method,
            first.target.partition(b"?")[0].decode("latin-1"),
            self._team.waiting,
            self._settings.threads,
        )
        if self._slot is not None:
            self._slot.shed(len(shed))
        error = ProtocolError(503, "The server is too busy to answer the request.")
        for since, job in shed:
            client, head = job[0], job[1]  # type: ignore[index]
            assert isinstance(head, RequestHead)
            if head.spool is not None:
                head.spool.close()
            if self._on_request is not None:
                message = plain_answer(error.status, error.detail)
                self._report(head, message, message.content_length or 0, now - since)
            self._answer_with(client, error, head)

    def _end_stuck(self, member: Member, since: float, head: RequestHead, limit_s: float) -> None:
        """Answer for a view that does not come back, and do without its thread. What it answers later is dropped."""
        client: Client = member.connection
        if not self._team.abandon(member, since, lambda: self._stays_silent(client)):
            return
        wall_s = monotonic() - since
        tasks = self._activity().tasks
        log.error(
            "Request timed out: %s %s has been running for %.1f s in %s, its limit is %g s (%s). It is answered 504, "
            "and another thread takes the place of its own, which is left to itself in the stack below; %s",
            head.method,
            head.target.partition(b"?")[0].decode("latin-1"),
            wall_s,
            member.thread.name if member.thread else "?",
            limit_s,
            self._limits.set_by(head, member.route),
            f"{len(tasks)} more are in hand\n{stack_of(member.thread)}",
        )
        if self._slot is not None:
            self._slot.timed_out()
        error = ProtocolError(504, OVER_LIMIT)
        if self._on_request is not None:
            message = plain_answer(error.status, error.detail)
            self._report(head, message, message.content_length or 0, wall_s)
        self._answer_with(client, error, head)
        self._lost = [lost for lost in (*self._lost, member) if lost.thread is not None and lost.thread.is_alive()]
        if len(self._lost) >= self._settings.threads and not self._drain_asked:
            log.error("As many threads are lost to such requests as there are for views, so the worker is replaced")
            self._on_worn()

    def _stays_silent(self, client: Client) -> bool:
        """Whether nothing of an answer has been sent; then the application cannot take the connection over any more."""
        with self._lock:
            if client.answer is not None or isinstance(client.sock, LentSocket):
                return False
            client.origin.lend_socket = None
            return True

    def _log_awaiting(
        self, head: RequestHead, route: Route | None, since: float, limit_s: float, coroutine: Any
    ) -> None:
        log.error(
            "Request timed out: %s %s has been awaiting for %.1f s, its limit is %g s (%s). It is cancelled in\n%s",
            head.method,
            head.target.partition(b"?")[0].decode("latin-1"),
            monotonic() - since,
            limit_s,
            self._limits.set_by(head, route),
            place_of(coroutine),
        )
        if self._slot is not None:
            self._slot.timed_out()
