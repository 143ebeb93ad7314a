"""The engine of a worker: connections in, answers out, by threads that take turns at polling.

Who may touch what, without a lock around each request:

* A connection is in `_idle` (by descriptor) while no thread works on it. `dict.pop` is one step under the
  interpreter's lock, so of several threads that want a connection exactly one gets it: it owns the connection until
  it puts it back (`_release`) or closes it. Everything in a `_Client` belongs to its owner, but for `disarmed` and
  `events`.
* The events of one poll are in `_ready`, a deque that every leader takes from; what a leader leaves behind, its
  successor finds. An event for a descriptor that has been closed, or closed and reused, since it was polled leads at
  worst to one read that finds nothing.
* An event for an owned connection would come again and again (level-triggered): the leader takes the descriptor out
  of the poller (`disarmed`), the owner puts it back. Both sides write first and look afterwards (`_disarm`,
  `_release`), so whoever comes second sees the other and the descriptor is never left out.
* `_lock` holds together what happens to a descriptor: changing it in the poller and closing it, so that nothing
  is done to the next connection that gets the same number. It is not taken for a request on a connection that
  persists.
* A request that waits for a coroutine (`waiting.py`) keeps its connection owned, by no thread; see `native_engine.py`.
* For a moment there may be two leaders (see `leadership.py`). Both take from the same deque and the same `_idle`.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import logging
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..environ import FileWrapper
from ..message import BadResponse, Origin, ProtocolError, RequestHead, ResponseMessage, Suspended, rounds
from ..typing import Gateway, Route
from .activity import Activity, Task, place_of, stack_of
from .eventloop import EventLoop
from .gathering import Gatherer
from .http1 import CONTINUE, AnswerHeads, Connection, plain_answer
from .leadership import AVERAGE_WEIGHT, BEARABLE_S, SLOW_S, Member, Team
from .lending import LentSocket, lend
from .limits import OVER_LIMIT, TimeLimits
from .poller import READ, WRITE, Poller, is_readable, new_poller
from .proxy import Entrance, PreambleReader
from .receiving import ContentReceiver
from .sending import SENDFILE_BYTES, Answer, Truncated, framed, in_context, next_part, send_file, use_file
from .settings import Settings
from .waiting import Waiting, late_answer

if TYPE_CHECKING:
    from .tls import TLS, TLSSocket

log = logging.getLogger("demijohn.server")

_RECEIVE_BYTES = 65536
_ACCEPTS_AT_ONCE = 16
# More than any backlog holds.
_ACCEPTS_AT_LAST = 1 << 16
# RFC 9112 §9.6: how long to read and drop what a peer still sends after its last answer.
_LINGER_S = 2.0
# How long connections without a request stay open when the worker drains: a request may be on its way.
_DRAIN_IDLE_S = 1.0
# A listener that is ready while no thread is free is left to the other workers for this long.
_BUSY_PAUSE_S = 0.002
_NO_DESCRIPTORS_PAUSE_S = 0.1
# One that has --worker-connections looks again after this.
_FULL_PAUSE_S = 0.05
# At the limit of descriptors, connections idle for longer than this are closed first.
_SHED_IDLE_S = 1.0
# How often signs of life are given: while there are requests, and while there are none.
_BEAT_S = 0.25
_IDLE_BEAT_S = 1.0
# A watch that has not looked for this long was not running, and neither was anything else.
_PAUSE_S = 3.0
# After a fault that may come again at once, so that the log is not all there is.
FAULT_PAUSE_S = 0.1

OnRequest = Callable[[RequestHead, ResponseMessage, int, float, bool], object]
"""Called with each request, its answer, the bytes of content sent, the seconds it took, and whether all went out."""


class Heartbeat(Protocol):
    """Where a worker shows that it is alive: a row of `slots.SlotTable`."""

    requests: int

    def beat(self, activity: Activity) -> None: ...

    def timed_out(self) -> None:
        """Note that a request has been ended by its limit."""


# What a connection waits for.
_IDLE = 0  # a request
_HEAD = 1  # the rest of a head
_CONTENT = 2  # the rest of its content
_SENDING = 3  # the peer to read its answer
_LINGERING = 4  # the peer to close
_PREAMBLE = 5  # what a proxy says first
EXCHANGING = 6  # what an application and the peer have for each other, see `asgi_engine.py` and `conversing.py`


class _Client:
    """A connection and what is half done on it.

    deadline: when it is given up, by `monotonic()`.
    since: when it came into the state it is in.
    events: what it is registered for in the poller, unless it is `disarmed`.
    unsent: bytes the socket did not take yet.
    answer: the answer they belong to.
    lingers: whether the peer may be sending, so that closing at once could cost it the answer.
    preamble: what a proxy says first, until that is read.
    channel: what an application sees of it while it is in the state EXCHANGING.
    """

    __slots__ = (
        "answer",
        "channel",
        "deadline",
        "disarmed",
        "events",
        "fd",
        "http",
        "lingers",
        "origin",
        "preamble",
        "since",
        "sock",
        "state",
        "unsent",
    )

    def __init__(self, sock: socket.socket, origin: Origin, http: Connection, now: float, deadline: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.origin = origin
        self.http = http
        self.state = _IDLE
        self.since = now
        self.deadline = deadline
        self.disarmed = False
        self.events = READ
        self.unsent: bytes | memoryview | None = None
        self.answer: Answer | None = None
        self.channel: Any = None
        self.lingers = False
        self.preamble: PreambleReader | None = None


Todo = RequestHead | Answer | Waiting
"""A request to be answered or to go on with, or an answer to be sent on."""

Job = tuple[_Client, Todo, Route] | partial[None]
"""What a thread does that has no lead: something for a connection, or anything else."""


class Engine:
    """Serves the connections of some listeners with a gateway, until it is drained."""

    def __init__(
        self,
        listeners: list[socket.socket],
        gateway: Gateway,
        settings: Settings,
        *,
        on_request: OnRequest | None = None,
        slot: Heartbeat | None = None,
        poller: Poller | None = None,
        tls: TLS | None = None,
        on_worn: Callable[[], object] | None = None,
    ) -> None:
        """Draining closes the listeners, in this process. `slot` is where to show signs of life.

        `on_worn` is called when as many threads are lost to requests over their limit as there are for views; it
        should see to a successor and have this engine drain.
        """
        self._settings = settings
        self._match = gateway.match
        self._refuses = gateway.refuses
        self._handle = gateway.handle
        self._on_request = on_request
        self._slot = slot
        self._tls = tls
        self._entrance = Entrance(settings)
        self._on_worn = on_worn or self.drain
        self._limits = TimeLimits(settings)
        self._look_at_limits_at = 0.0
        self._looked_at = self._awake_since = monotonic()
        self._lost: list[Member] = []  # inside views that went over their limit
        self._listeners = {listener.fileno(): listener for listener in listeners}
        # One thread more than asked for: it polls while all the others are inside slow views.
        self._team: Team[Job] = Team(settings.threads + 1, self._lead, self._work)
        self._watch = self._team.watch
        self._loop = EventLoop(settings.asgi_loop)
        self._loop_member = Member()  # what the event loop's thread is where a member of the team is asked for
        self._for_leader: deque[Job] = deque()  # what found no free thread; each comes with a byte to wake the leader
        self._heads = AnswerHeads()
        self._content = ContentReceiver()
        self._gatherer = Gatherer(self._team.attended, self._team.attend)
        if not settings.keep_alive_s:
            self._heads.drain()
        self._clients: dict[int, _Client] = {}
        self._idle: dict[int, _Client] = {}
        self._ready: deque[tuple[int, int]] = deque()
        self._lock = threading.Lock()
        self._keep_alive_s = settings.keep_alive_s
        self._script_name = os.fsencode(os.environ.get("SCRIPT_NAME", ""))  # as gunicorn has it
        self._most_clients = settings.worker_connections or sys.maxsize
        self._poller = poller or new_poller()
        self._woken, self._wake = os.pipe()
        for fd in (self._woken, self._wake):
            os.set_blocking(fd, False)
        self._poller.register(self._woken, READ)
        self._accepting = False
        self._accept_again_at: float | None = None
        self._descriptors_gone = False
        self._next_tick = 0.0
        clocks = (
            settings.keep_alive_s or 1.0,
            settings.head_timeout_s,
            settings.body_timeout_s,
            settings.answer_timeout_s,
        )
        self._tick_s = max(0.05, min(1.0, *(clock / 4 for clock in clocks)))
        self._drain_asked = self._drain_begun = False
        self._drain_deadline: float | None = None
        self._finished = False

    # -- the calling thread ------------------------------------------------------------------------

    def start_up(self) -> None:
        """Do what has to be done before the first request. Raises LoadError when there can be none."""

    def run(self) -> None:
        """Serve until drained. The calling thread keeps watch and runs no view, so signals find it free."""
        sys.setswitchinterval(self._settings.switch_interval_s)
        for listener in self._listeners.values():
            listener.setblocking(False)
        self._heads.set_time(time.time())
        self._set_accepting(True)
        self._start()
        beat_at = 0.0
        now = monotonic()
        while not self._finished:
            until_given_up = _IDLE_BEAT_S if self._drain_deadline is None else max(0.0, self._drain_deadline - now)
            until_over_limit = max(0.0, self._look_at_limits_at - now)
            self._watch(min(_IDLE_BEAT_S, until_given_up, until_over_limit))
            now = monotonic()
            if self._team.attended:
                self._gatherer.send_waiting()
            if now >= self._look_at_limits_at:
                self._end_overdue(now)
            if now >= beat_at:
                beat_at = now + _BEAT_S
                self._heads.set_time(time.time())  # the leader does it too, but there may be none for a while
                self._show_life()
                self._loop.watch(now)
                if self._tls is not None:
                    self._tls.renew()
            if self._drain_deadline is not None and now >= self._drain_deadline:
                self._give_up()
        self._show_life()
        self._release_descriptors()

    def _start(self) -> None:
        """Have a thread wait for events."""
        self._team.start()

    def _release_descriptors(self) -> None:
        """Close what no thread uses; one that is stuck in a view closes its connection when it comes out."""
        rounds.current = None
        for client in list(self._clients.values()):
            if self._idle.pop(client.fd, None) is client:
                self._close(client)
        alive = not self._loop.stop(_BEAT_S)
        for member in self._team.members:
            if member.thread is not None:
                if not member.since:
                    member.thread.join(_BEAT_S)
                alive = alive or member.thread.is_alive()
        if not alive:
            self._poller.close()
            os.close(self._woken)
            os.close(self._wake)

    def drain(self) -> None:
        """Ask for the end: accept what waits, answer what is in flight, and return from `run`.

        May be called from a signal handler: it takes no lock.
        """
        if self._finished or self._drain_asked:
            return
        self._drain_asked = True
        self._heads.drain()
        self._drain_deadline = monotonic() + self._settings.graceful_timeout_s
        self._wake_up()

    def _wake_up(self) -> None:
        """Let the leader and the watch look around."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\0")
        self._team.wake_watch()

    def _show_life(self) -> None:
        if self._slot is not None:
            self._slot.requests = self._team.answered + self._loop_member.answered
            self._slot.beat(self._activity())

    def _activity(self) -> Activity:
        tasks = [
            Task(member.head, since, member.thread)
            for member in list(self._team.members)
            if (since := member.since) and member.head is not None
        ]
        return Activity(len(self._clients), self._settings.threads, tasks)

    # -- requests over their limit -------------------------------------------------------------------

    def _end_overdue(self, now: float) -> None:
        """End each request whose view has had its time."""
        if now - self._looked_at > _PAUSE_S:
            self._awake_since = now  # this process was itself stopped, and so were its views
        self._looked_at = now
        # What begins later is not over the shortest of the limits before that.
        look_again_at = now + min(_IDLE_BEAT_S, self._limits.shortest_s)
        for member in list(self._team.members):
            since, head, route = member.since, member.head, member.route
            if since and head is not None:
                limit_s = self._limits.limit_s(head, route)
                over_at = max(since, self._awake_since) + limit_s
                if over_at <= now:
                    self._end_stuck(member, since, head, limit_s)
                elif over_at < look_again_at:
                    look_again_at = over_at
        self._look_at_limits_at = look_again_at

    def _end_stuck(self, member: Member, since: float, head: RequestHead, limit_s: float) -> None:
        """Answer for a view that does not come back, and do without its thread. What it answers later is dropped."""
        client: _Client = member.connection
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
        self._answer_with(client, error)
        self._lost = [lost for lost in (*self._lost, member) if lost.thread is not None and lost.thread.is_alive()]
        if len(self._lost) >= self._settings.threads and not self._drain_asked:
            log.error("As many threads are lost to such requests as there are for views, so the worker is replaced")
            self._on_worn()

    def _stays_silent(self, client: _Client) -> bool:
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

    def _drops(self, member: Member, head: RequestHead, message: ResponseMessage | Suspended) -> bool:
        """Whether a thread comes out of its view too late; then what it brings is dropped."""
        if not self._team.was_abandoned(member):
            return False
        log.info("The late answer to %s %s is dropped", head.method, head.target.partition(b"?")[0].decode("latin-1"))
        if isinstance(message, Suspended):
            try:
                message.close()
            except BaseException:  # of the application, as in `handle`
                log.exception("The application failed while its late answer was dropped")
            message = late_answer()
        self._close_content(head, message)
        return True

    def _give_up(self) -> None:
        for member in list(self._team.members):
            if member.since and member.head is not None:
                log.warning(
                    "Gave up after the graceful timeout: %s %s has been running for %.1f s in %s",
                    member.head.method,
                    member.head.target.decode("latin-1"),
                    monotonic() - member.since,
                    member.thread.name if member.thread else "?",
                )
        self._finish()

    def _finish(self) -> None:
        self._finished = True
        self._team.stop()
        self._wake_up()

    # -- the leader ----------------------------------------------------------------------------------

    def _lead(self, member: Member) -> None:
        team = self._team
        while team.leader is member:
            try:
                self.step(member, self._tick_s)
                if member.is_reserve:
                    team.relieve(member)
            except Exception:
                log.exception("The server failed while it waited for events")
                time.sleep(FAULT_PAUSE_S)

    def step(self, member: Member, timeout_s: float) -> None:
        """Wait for events, at most `timeout_s`, and handle them; return early when leadership is lost."""
        ready = self._ready
        team = self._team
        if not ready:
            accept_again_at = self._accept_again_at
            if accept_again_at is not None:
                timeout_s = min(timeout_s, max(0.0, accept_again_at - monotonic()))
            team.before_poll(member)
            ready.extend(self._poller.poll(timeout_s))
            rounds.current = object()
            team.after_poll()
            now = monotonic()
            if now >= self._next_tick or self._accept_again_at is not None:
                self._tick(member, now)
        idle = self._idle
        while team.leader is member:
            try:
                fd, _ = ready.popleft()
            except IndexError:
                return
            client = idle.pop(fd, None)
            if client is None:
                self._not_idle(member, fd)
                continue
            try:
                if client.state < _CONTENT:
                    self._receive(member, client)
                elif client.state == _CONTENT:
                    self._receive_content(member, client)
                elif client.state == _SENDING:
                    self._resume(member, client)
                elif client.state == _LINGERING:
                    self._linger_on(client)
                elif client.state == _PREAMBLE:
                    self._read_preamble(client)
                else:
                    self._exchange(member, client)
            except Exception:
                self._failed(member, client)

    def _work(self, member: Member, job: Job) -> None:
        """Do in a thread of its own what the leader put off."""
        if isinstance(job, partial):
            job()
            return
        client, todo, route = job
        try:
            if isinstance(todo, Answer):
                open_still = self._send_on(member, client, todo)
            elif isinstance(todo, Waiting):
                open_still = self._answer(member, client, todo.head, route, todo)
            else:
                open_still = self._answer(member, client, todo, route)
            if open_still:
                self._serve(member, client)
        except Exception:
            self._failed(member, client)

    def _failed(self, member: Member, client: _Client) -> None:
        """Keep a fault of the server's own from costing more than one connection."""
        member.since = 0.0
        log.exception("The server failed on a connection and closed it")
        self._close(client)

    def _not_idle(self, member: Member, fd: int) -> None:
        """Handle an event that is no idle connection's: of a listener, of `drain`, or of an owned connection."""
        listener = self._listeners.get(fd)
        if listener is not None:
            if self._team.has_free_thread:
                self._accept(listener)
            else:
                self._pause_accepting(_BUSY_PAUSE_S)
        elif fd == self._woken:
            with contextlib.suppress(BlockingIOError):
                os.read(fd, 1)
            if self._drain_asked:
                self._begin_drain()
            if self._for_leader:
                self._do_for_thread(member, self._for_leader.popleft())
        else:
            self._disarm(fd)

    def _do_for_thread(self, member: Member, job: Job) -> None:
        """Do what no other thread was free for, unless it is known to block: then it waits for one."""
        if isinstance(job, partial):
            self._work(member, job)
            return
        client, todo, route = job
        if route.wall_s <= member.slow_s or self._make_way(member, client, todo, route):
            self._work(member, job)

    def _tick(self, member: Member, now: float) -> None:
        """Do what has its time: accept again, tell the date, end what takes too long."""
        if self._accept_again_at is not None and now >= self._accept_again_at:
            self._accept_again_at = None
            for listener in self._listeners.values():
                self._accept(listener)
            self._set_accepting(self._accept_again_at is None)
        if now < self._next_tick:
            return
        wall = time.time()
        # With the second, so that Date is right, but for what a thread writes that was not watched over.
        self._next_tick = now + min(self._tick_s, 1.0 - wall % 1.0)
        self._heads.set_time(wall)
        for client in list(self._clients.values()):
            if client.deadline > now:
                continue
            owned = self._idle.pop(client.fd, None)
            if owned is client:
                try:
                    self._expire(member, client)
                except Exception:
                    self._failed(member, client)
            elif owned is not None:
                self._release(owned)  # the next connection with the same descriptor

    # -- ownership -----------------------------------------------------------------------------------

    def _release(self, client: _Client) -> None:
        """Give up an owned connection, to wait for what its state says."""
        self._idle[client.fd] = client
        if client.disarmed:
            self._arm_again(client)

    def _arm_again(self, client: _Client) -> None:
        """Listen again for a connection that was released."""
        with self._lock:
            # It may have been taken, and even closed, by another thread in the meantime.
            if client.disarmed and self._clients.get(client.fd) is client:
                client.disarmed = False
                self._poller.register(client.fd, client.events)

    def _disarm(self, fd: int) -> None:
        """Stop listening for a connection that is owned by a thread, until it is released."""
        with self._lock:
            client = self._clients.get(fd)
            if client is None or client.disarmed or fd in self._idle:
                return
            client.disarmed = True
            self._poller.unregister(fd)
            if fd in self._idle:  # released before it could see that it is disarmed
                client.disarmed = False
                self._poller.register(fd, client.events)

    def _disarm_owned(self, client: _Client) -> None:
        """Stop listening for a connection that the caller owns, until it is released."""
        with self._lock:
            if not client.disarmed:
                client.disarmed = True
                self._poller.unregister(client.fd)

    def _wait_for(self, client: _Client, state: int, events: int, deadline: float) -> None:
        """Release an owned connection in another state."""
        if client.events != events:
            with self._lock:
                client.events = events
                if not client.disarmed:
                    self._poller.modify(client.fd, events)
        client.state = state
        client.deadline = deadline
        self._release(client)

    def _close(self, client: _Client) -> None:
        """Close an owned connection."""
        with self._lock:
            if self._clients.get(client.fd) is not client:
                return
            del self._clients[client.fd]
            if not client.disarmed:
                self._poller.unregister(client.fd)
            client.sock.close()
        client.http.end()
        answer = client.answer
        if answer is not None:
            self._close_content(answer.head, answer.message)
            client.answer = None
            if self._on_request is not None:
                sent_bytes = answer.sent_bytes - len(client.unsent or b"")
                self._report(answer.head, answer.message, max(0, sent_bytes), monotonic() - answer.begun, False)
        if self._drain_asked:
            self._finish_if_drained()

    # -- connections come and go -----------------------------------------------------------------------

    def _set_accepting(self, accepting: bool) -> None:
        with self._lock:
            if accepting == self._accepting:
                return
            self._accepting = accepting
            for fd in self._listeners:
                if accepting:
                    self._poller.register(fd, READ)
                else:
                    self._poller.unregister(fd)

    def _pause_accepting(self, seconds: float) -> None:
        self._set_accepting(False)
        self._accept_again_at = monotonic() + seconds

    def _accept(self, listener: socket.socket, most: int = _ACCEPTS_AT_ONCE) -> None:
        for _ in range(most):
            if len(self._clients) >= self._most_clients and not self._drain_begun:
                self._pause_accepting(_FULL_PAUSE_S)
                return
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                self._descriptors_gone = False
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._no_descriptors(error)
                    return
                continue  # ECONNABORTED and its like: of one connection that is gone already
            self._admit(listener, sock, address)

    def _no_descriptors(self, error: OSError) -> None:
        """Wait instead of trying again and again; connections nobody uses make room."""
        if not self._descriptors_gone:
            self._descriptors_gone = True
            log.error(
                "No connection can be accepted: %s. %d are open. Raise the limit of open files.",
                error.strerror,
                len(self._clients),
            )
        now = monotonic()
        for client in list(self._clients.values()):
            if client.state == _IDLE and self._idle_s(client, now) > _SHED_IDLE_S:
                client.deadline = 0.0  # the next tick closes it, when it is still idle
        self._next_tick = 0.0
        self._pause_accepting(_NO_DESCRIPTORS_PAUSE_S)

    def _idle_s(self, client: _Client, now: float) -> float:
        """Return how long there has been no request on an idle connection."""
        head_timeout_s = self._settings.head_timeout_s
        had_none = client.deadline == client.since + head_timeout_s
        return now - client.deadline + (head_timeout_s if had_none else self._keep_alive_s)

    def _admit(self, listener: socket.socket, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        name = listener.getsockname()
        if listener.family == socket.AF_UNIX:
            origin = Origin(server=(os.fsdecode(name), None))
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            origin = Origin(client=address[:2], server=name[:2])
        origin.multiprocess = self._settings.workers > 1
        origin.run_coroutine = self._loop.run
        origin.script_name = self._script_name
        preamble = self._entrance.preamble(origin)
        if self._tls is not None and preamble is None:
            try:
                sock = self._secure(sock, origin)
            except OSError:  # the peer is gone already
                sock.close()
                return
        now = monotonic()
        http = self._new_http(origin)
        client = _Client(sock, origin, http, now, now + self._settings.head_timeout_s)
        if preamble is not None:
            client.state = _PREAMBLE
            client.preamble = preamble
        origin.lend_socket = partial(self._lend_socket, client.fd, http)
        # In this order: an event finds the connection in both.
        self._clients[client.fd] = client
        self._idle[client.fd] = client
        self._poller.register(client.fd, READ)

    def _new_http(self, origin: Origin) -> Connection:
        return Connection(self._settings, origin, self._heads, tempfile.TemporaryFile)

    def _secure(self, sock: socket.socket, origin: Origin) -> socket.socket:
        """Return the socket with TLS on it; the handshake comes with the first bytes."""
        assert self._tls is not None
        secured = self._tls.wrap(sock)
        origin.scheme = "https"
        origin.tls = secured.environ
        return secured

    def _read_preamble(self, client: _Client) -> None:
        """Take what the PROXY protocol says off a connection, and not a byte more."""
        preamble = client.preamble
        assert preamble is not None
        try:
            seen = client.sock.recv(_RECEIVE_BYTES, socket.MSG_PEEK)
            taken = preamble.receive_data(seen)
            if taken:
                client.sock.recv(taken)
            if not seen:
                self._close(client)
            elif not preamble.done:
                self._release(client)
            else:
                self._enter(client, preamble)
        except BlockingIOError:
            self._release(client)
        except OSError:
            self._close(client)
        except ProtocolError as error:
            self._refuse(client, error)

    def _enter(self, client: _Client, preamble: PreambleReader) -> None:
        """Let a connection begin whose preamble is read."""
        client.preamble = None
        self._entrance.believe(client.origin, preamble.told)
        if self._tls is not None and preamble.unread:  # what begins like this header is no handshake
            self._refuse(client, ProtocolError(400, "The connection must begin with a TLS handshake."))
            return
        if self._tls is not None:
            self._disarm_owned(client)  # when the peer is gone, this closes the descriptor, which may be used anew
            client.sock = self._secure(client.sock, client.origin)
        client.state = _IDLE
        if preamble.unread:
            client.http.receive_data(preamble.unread)
        self._release(client)

    def _lend_socket(self, fd: int, http: Connection) -> socket.socket:
        """Give an owned connection to the application that answers its request.

        Raises ConnectionAbortedError when the request was over its limit: it is answered, and the descriptor may be
        another connection's by now, which `http` tells.
        """
        with self._lock:
            client = self._clients.get(fd)
            if client is None or client.http is not http or client.origin.lend_socket is None:
                raise ConnectionAbortedError("The connection is not this request's any more.")
            client.sock, lent = lend(client.sock)  # type: ignore[assignment]  # what it lacks is not used before the end
            return lent

    def _begin_drain(self) -> None:
        """Let every answer be the last of its connection, after the last connection there is was accepted."""
        if self._drain_begun:
            return
        self._drain_begun = True
        self._set_accepting(False)
        for listener in self._listeners.values():
            self._accept(listener, _ACCEPTS_AT_LAST)
            # In this process: what comes now goes to a worker that goes on, or is refused at once when none does.
            listener.close()
        self._accept_again_at = None
        self._listeners = {}
        soon = monotonic() + _DRAIN_IDLE_S
        for client in list(self._clients.values()):
            if client.state == _IDLE:
                client.deadline = min(client.deadline, soon)
        self._finish_if_drained()

    def _finish_if_drained(self) -> None:
        if self._drain_begun and not self._clients:
            self._finish()

    def _end(self, client: _Client) -> None:
        """Close an owned connection whose last answer is out, not before the peer has read it."""
        if self._finished or not (client.lingers or self._heads.draining):
            # The peer asked for the end itself and sends nothing more, or there is nobody left to wait for it.
            self._close(client)
            return
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(client)
            return
        self._wait_for(client, _LINGERING, READ, monotonic() + _LINGER_S)

    def _exchange(self, member: Member, client: _Client) -> None:
        """Handle an event of a connection in a state of a subclass's own."""
        raise NotImplementedError

    def _linger_on(self, client: _Client) -> None:
        try:
            data = client.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            self._release(client)
            return
        except OSError:
            data = b""
        if data:
            self._release(client)  # dropped; the deadline stays
        else:
            self._close(client)

    def _expire(self, member: Member, client: _Client) -> None:
        """End an owned connection whose deadline is over."""
        if client.state in (_HEAD, _CONTENT):
            client.http.refuse(ProtocolError(408, "The request did not arrive in time."))
            self._serve(member, client)
            return
        if client.state == _SENDING:
            log.info("%s did not read its answer in time", _peer(client))
            self._close_watched(member, client)
        elif client.state == _IDLE and is_readable(client.fd):
            self._receive(member, client)  # a request has come since the last look
        elif client.state == _IDLE and self._drain_begun:
            self._end(client)
        else:
            self._close(client)

    def _close_watched(self, member: Member, client: _Client) -> None:
        """Close an owned connection whose answer is under way; what the application does then may take long."""
        answer = client.answer
        assert answer is not None
        member.connection, member.head, member.route = client, answer.head, answer.route
        member.since = monotonic()
        try:
            self._close(client)
        finally:
            member.since = 0.0

    # -- requests ------------------------------------------------------------------------------------

    def _receive(self, member: Member, client: _Client) -> None:
        try:
            data = client.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            self._release(client)
            return
        except OSError:
            self._close(client)
            return
        http = client.http
        if data:
            http.receive_data(data)
        else:
            http.receive_eof()
        if http.events:
            self._serve(member, client)
        elif data:
            self._await_rest(member, client)
        else:
            self._close(client)

    def _receive_content(self, member: Member, client: _Client) -> None:
        http = client.http
        if not http.content_left:
            self._receive(member, client)
            return
        try:
            received = self._content.receive(client.sock, http)
        except BlockingIOError:
            self._release(client)
            return
        except OSError:
            self._close(client)
            return
        if http.events:
            self._serve(member, client)
        elif received:
            self._await_rest(member, client)
        else:
            self._close(client)

    def _await_rest(self, member: Member, client: _Client) -> None:
        """Wait for the rest of a request. A head has its time; content that keeps up a rate has all it needs."""
        http = client.http
        if http.expecting is not None and not self._invite(client):
            self._serve(member, client)
            return
        settings = self._settings
        now = monotonic()
        content_bytes = http.received_content_bytes
        state = _HEAD if content_bytes is None else _CONTENT
        if client.state != state:
            client.since = now
        if content_bytes is None:
            deadline = client.since + settings.head_timeout_s
        else:
            deadline = client.since + settings.body_timeout_s + content_bytes / settings.min_body_rate
        self._wait_for(client, state, READ, deadline)

    def _invite(self, client: _Client) -> bool:
        """Ask for the content of a request that waits for it; False when it is answered without (RFC 9110 §10.1.1)."""
        http = client.http
        head = http.expecting
        assert head is not None
        if self._refuses(head):
            http.refuse_content()
            client.lingers = True
            return False
        http.expecting = None
        # A socket that has nothing to send takes 25 bytes; one that does not is broken, and reading will tell.
        with contextlib.suppress(OSError):
            client.sock.send(CONTINUE)
        return True

    def _serve(self, member: Member, client: _Client) -> None:
        """Answer the requests there are, in order, until none is left or one has to wait."""
        http = client.http
        events = http.events
        while events:
            head = events.popleft()
            if isinstance(head, ProtocolError):
                self._refuse(client, head)
                return
            route = self._match(head)
            if route.wall_s > member.slow_s and not self._make_way(member, client, head, route):
                return
            if not self._answer(member, client, head, route):
                return
        if not http.persistent:
            self._end(client)
        elif http.in_message:
            self._await_rest(member, client)
        elif client.events == READ:
            # As `_release` does; deadline and state are set with the answer.
            self._idle[client.fd] = client
            if client.disarmed:
                self._arm_again(client)
        else:
            self._wait_for(client, _IDLE, READ, client.deadline)

    def _make_way(self, member: Member, client: _Client, todo: Todo, route: Route) -> bool:
        """Let another thread lead while this one does what may take long. False when it is put off instead."""
        team = self._team
        if team.leader is not member:
            return True
        return team.hand_over(member, (client, todo, route), self._is_bearable(route))

    def _is_bearable(self, route: Route) -> bool:
        """Whether the leader may run a view of this route when nobody else can lead meanwhile.

        Not one that it knows nothing of, nor one that somebody is stuck in.
        """
        longest_ago = monotonic() - BEARABLE_S
        return 0.0 < route.wall_s < BEARABLE_S and not any(
            other.route is route and 0.0 < other.since < longest_ago for other in list(self._team.members)
        )

    def _refuse(self, client: _Client, error: ProtocolError) -> None:
        if error.__cause__ is None:
            log.info("Refused a request of %s: %s", _peer(client), error)
        else:
            log.error("Could not take a request of %s: %s", _peer(client), error.__cause__)
        if self._on_request is not None:
            message = plain_answer(error.status, error.detail)
            wall_s = 0.0 if client.state == _IDLE else monotonic() - client.since
            self._report(client.http.refused_head(), message, message.content_length or 0, wall_s)
        self._answer_with(client, error)

    def _answer_with(self, client: _Client, error: ProtocolError) -> None:
        """Let an error be the last answer of an owned connection."""
        client.lingers = True
        answer = client.http.respond_to_error(error)
        with contextlib.suppress(OSError):
            # Not finished when the socket does not take it at once: the peer broke a rule and does not read either.
            client.sock.send(answer)
        self._end(client)

    def _answer(
        self, member: Member, client: _Client, head: RequestHead, route: Route, waiting: Waiting | None = None
    ) -> bool:
        """Answer one request, or go on with it. False when the connection is not the caller's any more."""
        http = client.http
        member.connection = client
        member.head = head
        member.route = route
        member.since = begun = monotonic()
        message = self._handle(head) if waiting is None else waiting.answer
        if isinstance(message, Suspended):
            if waiting is None:
                waiting = Waiting(head, route, begun, message)
            answer = self._await(member, client, waiting)
            if answer is None:
                member.since = 0.0
                return False
            message = answer
        member.since = 0.0
        if member.claimed and self._drops(member, head, message):
            return False
        asked = begun if waiting is None else waiting.begun
        content = message.content
        if type(content) is not bytes or message.close is not None:
            return self._begin_answer(member, client, Answer(head, message, route, asked), begun)
        try:
            data = http.respond(head, message)
        except BadResponse as error:
            message = _failure(head, error)
            data = http.respond(head, message)
        try:
            sent = client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            client.answer = Answer(head, message, route, asked)
            self._close(client)  # the peer is gone
            return False
        now = monotonic()
        wall_s = now - begun
        if wall_s > SLOW_S:
            member.learn(route, wall_s)
        else:
            route.wall_s += (wall_s - route.wall_s) * AVERAGE_WEIGHT
        if sent != len(data):
            client.answer = Answer(head, message, route, asked)
            client.answer.sent_bytes = len(content)
            client.unsent = memoryview(data)[sent:]
            self._wait_for(client, _SENDING, WRITE, now + self._settings.answer_timeout_s)
            return False
        if head.spool is not None:
            head.spool.close()
        member.answered += 1
        client.deadline = now + self._keep_alive_s
        client.state = _IDLE
        if self._on_request is not None:
            self._report(head, message, len(content), now - asked)
        return True

    def _await(self, member: Member, client: _Client, waiting: Waiting) -> ResponseMessage | None:
        """Go on with a request that waits; None when it waits still: then the connection is not the caller's any more.

        For a subclass whose gateway gives such answers.
        """
        raise NotImplementedError

    # -- answers that take more than one send ------------------------------------------------------------

    def _begin_answer(self, member: Member, client: _Client, answer: Answer, begun: float) -> bool:
        """Send an answer whose content is no bytes, or that wants to be told when it is out. Returns as `_answer`.

        `begun` is when the thread began to work on it. Up to its first part, an answer may still be too late.
        """
        member.since = begun
        if isinstance(answer.message.content, FileWrapper):
            use_file(answer, answer.message.content, by_kernel=self._settings.sendfile and client.origin.tls is None)
        try:
            data = client.http.respond(answer.head, answer.message)
            framing = client.http.framing
            content = answer.message.content
            if isinstance(content, bytes):
                answer.sent_bytes = len(content)
            elif framing is None:
                answer.file_left = 0
            elif answer.file is None:
                answer.parts = filter(None, content)
                # With the first part, so that one packet carries both, and a failure can still be answered as one.
                first = next_part(answer)
                data += framed(answer, framing, [] if first is None else [first], is_last=first is None)
                if answer.failure is not None:
                    raise answer.failure
        except Exception as error:
            self._close_content(answer.head, answer.message)
            answer.message = _failure(answer.head, error)
            answer.parts = answer.failure = None
            data = client.http.respond(answer.head, answer.message)
        member.since = 0.0
        if member.claimed and self._drops(member, answer.head, answer.message):
            return False
        client.answer = answer
        client.unsent = data
        return self._send_on(member, client, answer, begun)

    def _send_on(self, member: Member, client: _Client, answer: Answer, begun: float | None = None) -> bool:
        """Send what the socket takes. Returns as `_answer`; the peer may have to read before there is more to do."""
        member.connection = client
        member.head = answer.head
        member.route = answer.route
        begun = begun or monotonic()
        member.since = begun
        try:
            done = self._transmit(client, answer)
            if done:
                self._close_content(answer.head, answer.message)
                client.answer = None  # not before: to the very end, no other answer may be sent
        except Truncated as error:
            log.error(
                "The answer to %s %s was cut off: %s",
                answer.head.method,
                answer.head.target.decode("latin-1"),
                error,
                exc_info=error.__cause__,
            )
            self._abort(client)
            return False
        except OSError:
            self._close(client)  # the peer is gone
            return False
        finally:
            now = monotonic()
            member.since = 0.0
            member.learn(answer.route, now - begun)
        if not done:
            if answer.message.context is None:  # who sends the rest may have answered other requests in between
                answer.message.context = contextvars.copy_context()
            self._await_reader(client, answer, now)
            return False
        member.answered += 1
        client.deadline = now + self._keep_alive_s
        client.state = _IDLE
        if self._on_request is not None:
            self._report(answer.head, answer.message, answer.sent_bytes, now - answer.begun)
        return True

    def _await_reader(self, client: _Client, answer: Answer, now: float) -> None:
        """Wait for the peer to read. It has its time for each turn, and for all of them, unless it keeps up a rate."""
        settings = self._settings
        in_all_s = settings.answer_timeout_s + answer.taken_bytes / settings.min_body_rate - answer.waited_s
        client.since = now
        self._wait_for(client, _SENDING, WRITE, now + min(settings.answer_timeout_s, in_all_s))

    def _transmit(self, client: _Client, answer: Answer) -> bool:
        """Whether all of the answer went out. Raises OSError when the peer is gone, and Truncated."""
        file_bytes = 0
        while True:
            try:
                unsent = client.unsent
                if unsent is not None:
                    sent = client.sock.send(unsent)
                    answer.taken_bytes += sent
                    if sent < len(unsent):
                        client.unsent = memoryview(unsent)[sent:]
                        return False
                    client.unsent = None
                elif answer.failure is not None:
                    raise answer.failure
                elif answer.parts is not None and client.http.framing is not None:
                    self._gatherer.fill(client, answer, client.http.framing)
                elif answer.file_left:
                    if file_bytes >= SENDFILE_BYTES:
                        return False
                    file_bytes += send_file(client.sock, answer)
                else:
                    return True
            except BlockingIOError:
                return False

    def _resume(self, member: Member, client: _Client) -> None:
        """Go on with an answer whose peer has read."""
        answer = client.answer
        assert answer is not None
        answer.waited_s += monotonic() - client.since
        route = answer.route
        if (
            answer.parts is not None
            and route.wall_s > member.slow_s
            and not self._make_way(member, client, answer, route)
        ):
            return
        if self._send_on(member, client, answer):
            self._serve(member, client)

    def _abort(self, client: _Client) -> None:
        """Close so that the peer can tell an answer from a complete one."""
        framing = client.http.framing
        if framing is not None and framing.ends_with_connection:
            # Only a reset can say it (RFC 9112 §8).
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if client.origin.tls is not None:
                cast("TLSSocket", client.sock).reset()
        self._close(client)

    def _close_content(self, head: RequestHead, message: ResponseMessage) -> None:
        """Close the content of an answer, and of its request, which the one may have been made of."""
        if head.spool is not None:
            head.spool.close()
        close, message.close = message.close, None
        if close is not None:
            try:
                in_context(message, close)
            except BaseException:  # of the application, as in `handle`
                log.exception("The application failed in close(), after its answer")

    def _report(
        self, head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool = True
    ) -> None:
        assert self._on_request is not None
        try:
            self._on_request(head, message, 0 if head.method == "HEAD" else content_bytes, wall_s, is_complete)
        except Exception:
            log.exception("A request could not be reported")


def _peer(client: _Client) -> str:
    return client.origin.client[0] if client.origin.client else "a peer on a Unix socket"


def _failure(head: RequestHead, error: Exception) -> ResponseMessage:
    """Log why the application's answer cannot be sent, and return the answer there is instead."""
    log.error("The answer to %s %s is unusable", head.method, head.target.decode("latin-1"), exc_info=error)
    return plain_answer(500, "The server met an error and could not answer the request.")
