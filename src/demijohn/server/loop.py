"""The engine of a worker: connections in, answers out, by threads that take turns at polling.

It is made in layers, each a class that knows those below: `connections.py` (who owns which), `answering.py`,
`timekeeping.py`, `accepting.py`, and here what the leader does.

* The events of one poll are in `_ready`, a deque that every leader takes from; what a leader leaves behind, its
  successor finds. An event for a descriptor that has been closed, or closed and reused, since it was polled leads at
  worst to one read that finds nothing.
* For a moment there may be two leaders (see `leadership.py`). Both take from the same deque and the same `_idle`.
* While there are more events, answers wait in `_outbox` for those that follow, and are sent together: to wake a peer
  that sleeps costs more than all the rest of a quick answer, and one that was just woken is awake for the next. Whoever
  takes an answer from this deque sends it. None waits for a view that is known to be slow; behind one that turns out to
  be, the next leader finds it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections import deque
from functools import partial
from time import monotonic

from ..message import BadResponse, ProtocolError, RequestHead, ResponseMessage, Suspended, rounds
from ..typing import Gateway, Route
from .accepting import Accepting
from .answering import RECEIVE_BYTES, failure_of
from .connections import CONTENT, HEAD, IDLE, LINGERING, PREAMBLE, SENDING, Client, Job, Todo, peer_of
from .eventloop import EventLoop
from .forking import disown_in_copies
from .framing import CONTINUE
from .leadership import AVERAGE_WEIGHT, BEARABLE_S, SLOW_S, Member, Team
from .poller import READ, Poller, is_readable, new_poller
from .receiving import ContentReceiver
from .sending import Answer
from .settings import Settings
from .timekeeping import LONGEST_LOOK_S, Surroundings
from .waiting import Waiting

log = logging.getLogger("demijohn.server")

_ALONE = Surroundings()

# More than any backlog holds.
_ACCEPTS_AT_LAST = 1 << 16
# How long connections without a request stay open when the worker drains: a request may be on its way.
_DRAIN_IDLE_S = 1.0
# A listener that is ready while no thread is free is left to the other workers for this long.
_BUSY_PAUSE_S = 0.002
# How long an answer may wait for others, to be sent together with them.
# bench/together.py: a request that reads and writes a session in 40 us, 47 when each answer is sent at once.
_TOGETHER_S = 0.0003
# How often signs of life are given while there are requests.
_BEAT_S = 0.25
# After a fault that may come again at once, so that the log is not all there is.
_FAULT_PAUSE_S = 0.1
# A worker that fails so often in so many seconds is not going to recover.
_MOST_FAULTS = 10
_FAULTS_S = 5.0


class Engine(Accepting):
    """Serves the connections of some listeners with a gateway, until it is drained."""

    def __init__(
        self,
        listeners: list[socket.socket],
        gateway: Gateway,
        settings: Settings,
        around: Surroundings = _ALONE,
        poller: Poller | None = None,
    ) -> None:
        """Draining closes the listeners, in this process."""
        # One thread more than asked for: it polls while all the others are inside slow views.
        team: Team[Job] = Team(settings.threads + 1, self._lead, self._work)
        super().__init__(listeners, settings, poller or new_poller(), team, EventLoop(settings.asgi_loop), around)
        self._on_worn = around.on_worn or self.drain
        self._match = gateway.match
        self._refuses = gateway.refuses
        self._handle = gateway.handle
        self._watch = team.watch
        self._loop_member = Member()  # what the event loop's thread is where a member of the team is asked for
        self._for_leader: deque[Job] = deque()  # what found no free thread; each comes with a byte to wake the leader
        self._content = ContentReceiver()
        self._ready: deque[tuple[int, int]] = deque()
        self._woken, self._wake = os.pipe()
        for fd in (self._woken, self._wake):
            os.set_blocking(fd, False)
        self._poller.register(self._woken, READ)
        clocks = (
            settings.keep_alive_s or 1.0,
            settings.head_timeout_s,
            settings.body_timeout_s,
            settings.answer_timeout_s,
        )
        self._tick_s = max(0.05, min(1.0, *(clock / 4 for clock in clocks)))
        self._drain_deadline: float | None = None
        self._faults: deque[float] = deque(maxlen=_MOST_FAULTS)
        disown_in_copies(self)

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
            until_given_up = LONGEST_LOOK_S if self._drain_deadline is None else max(0.0, self._drain_deadline - now)
            until_over_limit = max(0.0, self._look_at_limits_at - now)
            self._watch(min(LONGEST_LOOK_S, until_given_up, until_over_limit))
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
                self._failed_to_wait()

    def _failed_to_wait(self) -> None:
        """Go on after a fault in `step`; but not for ever, as when the application has closed all descriptors."""
        log.exception("The server failed while it waited for events")
        now = monotonic()
        self._faults.append(now)
        if len(self._faults) == _MOST_FAULTS and now - self._faults[0] < _FAULTS_S:
            log.critical("This worker cannot wait for events any more, so it ends, with the requests in it")
            os._exit(1)
        time.sleep(_FAULT_PAUSE_S)

    def step(self, member: Member, timeout_s: float) -> None:
        """Wait for events, at most `timeout_s`, and handle them; return early when leadership is lost."""
        ready = self._ready
        team = self._team
        if not ready:
            accept_again_at = self._accept_again_at
            if accept_again_at is not None:
                timeout_s = min(timeout_s, max(0.0, accept_again_at - monotonic()))
            self._send_out()  # for a leader that was deposed
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
                break
            client = idle.pop(fd, None)
            if client is None:
                self._not_idle(member, fd)
                continue
            try:
                if client.state < CONTENT:
                    self._receive(member, client)
                    continue
                self._send_out()
                if client.state == CONTENT:
                    self._receive_content(member, client)
                elif client.state == SENDING:
                    self._resume(member, client)
                elif client.state == LINGERING:
                    self._linger_on(client)
                elif client.state == PREAMBLE:
                    self._read_preamble(client)
                else:
                    self._exchange(member, client)
            except Exception:
                self._failed(member, client)
        self._send_out()

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

    def _failed(self, member: Member, client: Client) -> None:
        """Keep a fault of the server's own from costing more than one connection."""
        member.since = 0.0
        log.exception("The server failed on a connection and closed it")
        self._close(client)

    def _not_idle(self, member: Member, fd: int) -> None:
        """Handle an event that is no idle connection's: of a listener, of `drain`, or of an owned connection."""
        listener = self._listeners.get(fd)
        if listener is not None:
            if self._team.has_free_thread:
                self._accept(listener, may_leave=True)
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

    # -- the end -------------------------------------------------------------------------------------

    def disown(self) -> None:
        super().disown()
        self._outbox.clear()
        self._team.disown()
        self._loop_member.claimed = True

    def _begin_drain(self) -> None:
        """Let every answer be the last of its connection, after the last connection there is was accepted."""
        if self._drain_begun:
            return
        self._drain_begun = True
        self._set_accepting(False)
        self._send_out()  # and their connections get the short time below
        for listener in self._listeners.values():
            self._accept(listener, _ACCEPTS_AT_LAST)
            # In this process: what comes now goes to a worker that goes on, or is refused at once when none does.
            listener.close()
        self._accept_again_at = None
        self._listeners = {}
        soon = monotonic() + _DRAIN_IDLE_S
        for client in list(self._clients.values()):
            if client.state == IDLE:
                client.deadline = min(client.deadline, soon)
            self._end_lent(client)
        self._finish_if_drained()

    def _finish_if_drained(self) -> None:
        # There are listeners until the last of those who wait there is accepted, while other threads close connections.
        if self._drain_begun and not self._listeners and not self._clients:
            self._finish()

    def _exchange(self, member: Member, client: Client) -> None:
        """Handle an event of a connection in a state of a subclass's own."""
        raise NotImplementedError

    def _expire(self, member: Member, client: Client) -> None:
        """End an owned connection whose deadline is over."""
        if client.state in (HEAD, CONTENT):
            client.http.refuse(ProtocolError(408, "The request did not arrive in time."))
            self._serve(member, client)
            return
        if client.state == SENDING:
            log.info("%s did not read its answer in time", peer_of(client))
            self._close_watched(member, client)
        elif client.state == IDLE and is_readable(client.fd):
            self._receive(member, client)  # a request has come since the last look
        elif client.state == IDLE and self._drain_begun:
            self._end(client)
        else:
            self._close(client)

    # -- requests ------------------------------------------------------------------------------------

    def _receive(self, member: Member, client: Client) -> None:
        try:
            data = client.sock.recv(RECEIVE_BYTES)
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

    def _receive_content(self, member: Member, client: Client) -> None:
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

    def _await_rest(self, member: Member, client: Client) -> None:
        """Wait for the rest of a request. A head has its time; content that keeps up a rate has all it needs."""
        http = client.http
        if http.expecting is not None and not self._invite(client):
            self._serve(member, client)
            return
        settings = self._settings
        now = monotonic()
        content_bytes = http.received_content_bytes
        state = HEAD if content_bytes is None else CONTENT
        if client.state != state:
            client.since = now
        if content_bytes is None:
            deadline = client.since + settings.head_timeout_s
        else:
            deadline = client.since + settings.body_timeout_s + content_bytes / settings.min_body_rate
        self._wait_for(client, state, READ, deadline)

    def _invite(self, client: Client) -> bool:
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

    def _serve(self, member: Member, client: Client) -> None:
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
        else:
            self._await_next(client)

    def _make_way(self, member: Member, client: Client, todo: Todo, route: Route) -> bool:
        """Let another thread lead while this one does what may take long. False when it is put off instead."""
        team = self._team
        if team.leader is not member:
            return True
        self._send_out()
        return team.hand_over(member, (client, todo, route), self._is_bearable(route))

    def _is_bearable(self, route: Route) -> bool:
        """Whether the leader may run a view of this route when nobody else can lead meanwhile.

        Not one that it knows nothing of, nor one that somebody is stuck in.
        """
        longest_ago = monotonic() - BEARABLE_S
        return 0.0 < route.wall_s < BEARABLE_S and not any(
            other.route is route and 0.0 < other.since < longest_ago for other in list(self._team.members)
        )

    def _answer(
        self, member: Member, client: Client, head: RequestHead, route: Route, waiting: Waiting | None = None
    ) -> bool:
        """Answer one request, or go on with it. False when the connection is not the caller's any more."""
        http = client.http
        member.connection = client
        member.head = head
        member.route = route
        member.since = begun = monotonic()
        message = self._handle(head) if waiting is None else waiting.answer
        if isinstance(message, Suspended):
            answer = self._await(member, client, message, waiting)
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
            self._send_out()
            return self._begin_answer(member, client, Answer(head, message, route, asked), begun)
        try:
            data = http.respond(head, message)
        except BadResponse as error:
            message = failure_of(head, error)
            data = http.respond(head, message)
        now = monotonic()
        wall_s = now - begun
        if wall_s > SLOW_S:
            member.learn(route, wall_s)
        else:
            route.wall_s += (wall_s - route.wall_s) * AVERAGE_WEIGHT
        outbox = self._outbox
        if (
            (self._ready or outbox)
            and http.persistent
            and not (http.events or http.in_message)
            and waiting is None
            and self._team.leader is member
        ):
            if not outbox:
                self._outbox_since = now
            outbox.append((member, client, head, message, data, route, asked, now))
            if now - self._outbox_since > _TOGETHER_S:
                self._send_out()
            return False
        return self._send(member, client, head, message, data, route, asked, now)

    def _await(
        self, member: Member, client: Client, suspended: Suspended, waiting: Waiting | None
    ) -> ResponseMessage | None:
        """Go on with a request that waits; None when it waits still: then the connection is not the caller's any more.

        waiting: None for a request that `member` has just begun with. For a subclass whose gateway gives such answers.
        """
        raise NotImplementedError

    def _resume(self, member: Member, client: Client) -> None:
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
