"""The engine of a worker with an ASGI application: all of it runs in the thread of the event loop.

The descriptors of the connections stay in the engine's own poller, which asyncio's is a part of (`EngineSelector`);
with uvloop it is the other way round. So a connection costs the loop nothing, and everything that `loop.py` knows of
connections holds here too. What is added is a state in which an application works on a connection while the peer may
send and read (`Channel`).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
from time import monotonic
from typing import Any

from ..message import Origin, ProtocolError, RequestHead, ResponseMessage
from ..typing import Gateway, Route
from .activity import Activity, Task
from .answering import RECEIVE_BYTES
from .asgi import ASGIGateway, Exchange, HTTPExchange, Waiting
from .asgi_websocket import WebSocketExchange
from .connections import EXCHANGING, IDLE, Client
from .eventloop import EngineSelector, EventLoop, Starter
from .http1 import Connection
from .leadership import Member
from .lifespan import Lifespan, StartupFailed
from .limits import OVER_LIMIT
from .loading import LoadError
from .loop import Engine
from .poller import READ, WRITE, EpollPoller
from .sending import Answer
from .settings import Settings
from .timekeeping import Surroundings

log = logging.getLogger("demijohn.server")

# What may be written and not be sent before an application that goes on writing has to wait.
_UNSENT_BYTES = 65536
_NEVER = float("inf")


class ASGIEngine(Engine):
    """Serves the connections of some listeners with an ASGI application, until it is drained."""

    def __init__(
        self,
        listeners: list[socket.socket],
        gateway: Gateway,
        settings: Settings,
        around: Surroundings,
        application: ASGIGateway,
    ) -> None:
        """`gateway` is what stands in front of `application`, or that itself."""
        self._epoll = EpollPoller()
        super().__init__(listeners, gateway, settings, around, self._epoll)
        self._gateway = application
        self._selector = EngineSelector()
        self._loop = EventLoop(settings.asgi_loop, lambda: self._selector)
        self._watch = self._team.sleep
        self._team.leader = self._loop_member
        # What was set where the application was imported is there for every request.
        self._context = contextvars.copy_context()
        self._lifespan: Lifespan | None = None
        self._running: dict[asyncio.Task[None], Channel] = {}

    # -- the calling thread ------------------------------------------------------------------------

    def start_up(self) -> None:
        """Start the event loop, and the application's lifespan. Raises LoadError."""
        try:
            loop = self._asyncio = self._loop.begin()
        except ImportError as error:
            raise LoadError(f"There is no event loop of the kind asked for: {error}. Install uvloop.") from None
        self._starter = Starter(loop)
        if self._settings.asgi_lifespan != "off":
            self._lifespan = Lifespan(self._gateway, self._settings.asgi_lifespan == "on")
            try:
                asyncio.run_coroutine_threadsafe(self._lifespan.start(), loop).result()
            except StartupFailed as error:
                raise LoadError(f"The application did not start up: {error}") from None

    def _start(self) -> None:
        self._asyncio.call_soon_threadsafe(self._begin_polling)

    def _begin_polling(self) -> None:
        if self._settings.asgi_loop == "uvloop":
            self._asyncio.add_reader(self._epoll.fileno(), self._poll, 0.0)
            self._poll_now_and_then()
        else:
            self._poller.register(self._selector.fileno(), READ)
            self._selector.wait = self._poll

    def _end_polling(self) -> None:
        if self._settings.asgi_loop == "uvloop":
            self._asyncio.remove_reader(self._epoll.fileno())
        else:
            self._selector.wait = None
            self._poller.unregister(self._selector.fileno())

    def _poll(self, timeout_s: float | None) -> bool:
        """Handle what is ready; wait for it, up to `timeout_s` and no longer than deadlines can."""
        try:
            self.step(self._loop_member, self._tick_s if timeout_s is None else max(0.0, min(timeout_s, self._tick_s)))
        except Exception:
            self._failed_to_wait()
        return True

    def _poll_now_and_then(self) -> None:
        """Have deadlines looked at when nothing happens."""
        if not self._finished:
            self._poll(0.0)
            self._asyncio.call_later(self._tick_s, self._poll_now_and_then)

    def _activity(self) -> Activity:
        activity = super()._activity()
        exchanges = [channel.exchange for channel in list(self._running.values())]
        activity.tasks.extend(Task(exchange.head, exchange.begun, None) for exchange in exchanges)
        return activity

    def _end_overdue(self, now: float) -> None:
        super()._end_overdue(now)
        for task, channel in self._running.copy().items():  # in one step: the loop's thread goes on meanwhile
            exchange = channel.exchange
            if isinstance(exchange, HTTPExchange) and exchange.owes_answer:
                limit_s = self._limits.limit_s(exchange.head, None)
                over_at = max(exchange.due_since, self._awake_since) + limit_s
                if over_at > now:
                    self._look_at_limits_at = min(self._look_at_limits_at, over_at)
                else:
                    self._asyncio.call_soon_threadsafe(self._time_out, task, exchange, limit_s)

    def _time_out(self, task: asyncio.Task[None], exchange: HTTPExchange, limit_s: float) -> None:
        """Cancel an application that has not begun its answer in time."""
        if task.done() or not exchange.owes_answer:
            return
        self._log_awaiting(exchange.head, None, exchange.due_since, limit_s, task.get_coro())
        exchange.time_out(ProtocolError(504, OVER_LIMIT))
        task.cancel()

    def _give_up(self) -> None:
        now = monotonic()
        for channel in list(self._running.values()):
            head = channel.exchange.head
            log.warning(
                "Gave up after the graceful timeout: %s %s has been running for %.1f s",
                head.method,
                head.target.decode("latin-1"),
                now - channel.exchange.begun,
            )
        super()._give_up()

    def _release_descriptors(self) -> None:
        shutting_down = asyncio.run_coroutine_threadsafe(self._shut_down(), self._asyncio)
        try:
            shutting_down.result(self._settings.graceful_timeout_s)
        except TimeoutError:
            log.error("The application did not shut down within %g s", self._settings.graceful_timeout_s)
        super()._release_descriptors()

    async def _shut_down(self) -> None:
        self._end_polling()
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._lifespan is not None:
            await self._lifespan.stop()

    # -- the event loop's thread -------------------------------------------------------------------------

    def _not_idle(self, member: Member, fd: int) -> None:
        if fd == self._selector.fileno():
            self._selector.is_ready = True
        else:
            super()._not_idle(member, fd)

    def _new_http(self, origin: Origin) -> Connection:
        http = super()._new_http(origin)
        http.takes_websockets = True
        return http

    def _await_rest(self, member: Member, client: Client) -> None:
        """Give a request away as soon as its head is here; its content comes later."""
        head = client.http.begin_incoming()
        if head is None:
            super()._await_rest(member, client)
        elif self._answer(member, client, head, self._match(head)):
            self._serve(member, client)

    def _answer(self, member: Member, client: Client, head: RequestHead, route: Route, waiting: Any = None) -> bool:
        """Begin an exchange, and see whether it is over already. Returns as `Engine._answer`."""
        if route is not self._gateway.route:  # a page of the server's own
            if client.http.incoming is not None:
                _leave_content(client)
            return super()._answer(member, client, head, route)
        channel = client.channel = Channel(self, client)
        exchange_type = HTTPExchange if client.http.upgraded is None else WebSocketExchange
        channel.exchange = exchange_type(self._gateway, channel, head, self._settings)
        try:
            coroutine = channel.exchange.call()
            if coroutine is not None:
                task = self._starter.start(coroutine, self._context.copy())
                if not task.done():
                    self._running[task] = channel
                    task.add_done_callback(self._ended_later, context=self._context)
                elif (
                    task.cancelled()
                    or task.exception() is not None
                    or not channel.is_released
                    or self._gateway.hooks is not None
                ):
                    self._ended(channel, task)
        except BaseException as error:  # of a hook, or an application that is called and does not return a coroutine
            channel.exchange.ended(error)
        finally:
            channel.is_in_first_step = False
        if not channel.is_released:
            self._wait_on(channel)
        return channel.is_released and not channel.is_lost

    def _ended_later(self, task: asyncio.Task[None]) -> None:
        channel = self._running.pop(task)
        try:
            self._ended(channel, task)
        except Exception:
            self._idle.pop(channel.client.fd, None)
            self._failed(self._loop_member, channel.client)
        if self._drain_asked:
            self._finish_if_drained()

    def _ended(self, channel: Channel, task: asyncio.Task[None]) -> None:
        channel.exchange.ended(asyncio.CancelledError() if task.cancelled() else task.exception())

    def _wait_on(self, channel: Channel) -> None:
        self._wait_for(channel.client, EXCHANGING, channel.events(), channel.deadline())

    def _exchange(self, member: Member, client: Client) -> None:
        channel: Channel = client.channel
        channel.on_ready()
        if not channel.is_released:
            self._wait_on(channel)

    def _expire(self, member: Member, client: Client) -> None:
        if client.state != EXCHANGING:
            super()._expire(member, client)
            return
        channel: Channel = client.channel
        channel.on_deadline()
        if not channel.is_released:
            self._wait_on(channel)

    def _close(self, client: Client) -> None:
        super()._close(client)
        channel, client.channel = client.channel, None
        if channel is not None:
            if self._on_request is not None and not channel.is_released:
                self._report_cut_off(channel)
            channel.lose()

    def _report_cut_off(self, channel: Channel) -> None:
        exchange = channel.exchange
        begun = exchange.begun_answer
        if begun is not None:
            message, written_bytes = begun
            wall_s = monotonic() - exchange.begun
            self._report(exchange.head, message, max(0, written_bytes - channel.unsent_bytes), wall_s, False)

    def _begin_drain(self) -> None:
        super()._begin_drain()
        for client in list(self._clients.values()):
            if client.channel is not None:
                client.channel.exchange.drain()

    def _finish_if_drained(self) -> None:
        if not self._running:  # an application may have something to do after its answer
            super()._finish_if_drained()

    # -- what channels ask for -----------------------------------------------------------------------------

    def reading_limit_s(self, taken_bytes: int, waited_s: float) -> float:
        """Return how long a peer may leave an answer unread now; see `Engine._await_reader`."""
        settings = self._settings
        return settings.answer_timeout_s + min(0.0, taken_bytes / settings.min_body_rate - waited_s)

    def reconsider(self, channel: Channel) -> None:
        """Wait for something else, when the connection waits."""
        client = channel.client
        if client.state == EXCHANGING and self._idle.pop(client.fd, None) is client:
            self._wait_on(channel)

    def release(self, channel: Channel, message: ResponseMessage, content_bytes: int) -> None:
        """Take note of an answer that is out. Serves the connection on, unless the caller does."""
        client = channel.client
        client.channel = None
        now = monotonic()
        self._loop_member.answered += 1
        client.deadline = now + self._keep_alive_s
        client.state = IDLE
        if self._on_request is not None:
            self._report(channel.exchange.head, message, content_bytes, now - channel.exchange.begun)
        if not channel.is_in_first_step:
            self._proceed(client)

    def _proceed(self, client: Client) -> None:
        """Serve a connection on. In the task of an application no other one can be started."""
        self._idle.pop(client.fd, None)
        http = client.http
        if http.events or http.in_message:
            self._asyncio.call_soon(self._serve_on, client)
        else:
            self._serve(self._loop_member, client)

    def _serve_on(self, client: Client) -> None:
        try:
            self._serve(self._loop_member, client)
        except Exception:
            self._failed(self._loop_member, client)

    def answer_with_file(self, channel: Channel, message: ResponseMessage) -> None:
        client = channel.client
        self._idle.pop(client.fd, None)
        client.channel = None
        head = channel.exchange.head
        answer = Answer(head, message, self._match(head), channel.exchange.begun)
        if self._begin_answer(self._loop_member, client, answer, monotonic()) and not channel.is_in_first_step:
            self._proceed(client)

    def abort(self, channel: Channel) -> None:
        """Break a connection off."""
        self._idle.pop(channel.client.fd, None)
        self._abort(channel.client)

    def drop(self, channel: Channel) -> None:
        """Close a connection whose peer is gone."""
        self._idle.pop(channel.client.fd, None)
        self._close(channel.client)


def _leave_content(client: Client) -> None:
    """Do without what is still to come of a request. Its sender, which goes on with it, is to read the answer."""
    client.http.leave_content()
    client.lingers = True


class Channel:
    """A connection, for as long as an application works on it: `asgi.Channel`.

    is_released: whether the connection has gone on, or is closed.
    is_in_first_step: whether the engine waits for what becomes of the request at once.
    """

    __slots__ = (
        "_engine",
        "_finished_with",
        "_sent_at",
        "_taken_bytes",
        "_unsent",
        "_waited_s",
        "_writable",
        "client",
        "exchange",
        "http",
        "is_in_first_step",
        "is_lost",
        "is_released",
    )

    def __init__(self, engine: ASGIEngine, client: Client) -> None:
        self._engine = engine
        self.client = client
        self.http: Connection = client.http
        self.is_lost = self.is_released = False
        self.is_in_first_step = True
        self._unsent: bytearray | None = None
        self._sent_at = 0.0  # when the socket took the last of it
        # While there was something unsent: what the socket has taken since, and for how long it was waited for.
        self._taken_bytes = 0
        self._waited_s = 0.0
        self._writable: Waiting | None = None
        self._finished_with: tuple[ResponseMessage, int] | None = None
        self.exchange: Exchange

    # -- for the exchange --------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            return
        if self.is_lost:
            return
        try:
            sent = self.client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._engine.drop(self)
            return
        if sent < len(data):
            self._unsent = bytearray(memoryview(data)[sent:])
            self._sent_at = monotonic()
            self._engine.reconsider(self)

    async def drain(self) -> None:
        while self._unsent is not None and len(self._unsent) > _UNSENT_BYTES:
            if self._writable is None:
                self._writable = Waiting()
            await self._writable.wait()

    def reconsider(self) -> None:
        self._engine.reconsider(self)

    def finish(self, message: ResponseMessage, content_bytes: int) -> None:
        if self._unsent:
            self._finished_with = (message, content_bytes)
        elif not self.is_released:
            self.is_released = True
            self._engine.release(self, message, content_bytes)

    def leave_content(self) -> None:
        _leave_content(self.client)

    def answer_with_file(self, message: ResponseMessage) -> None:
        self.is_released = True
        self._engine.answer_with_file(self, message)

    def abort(self) -> None:
        self._engine.abort(self)

    # -- for the engine ----------------------------------------------------------------------------

    def events(self) -> int:
        """Return what to wait for."""
        # What is read may have to be answered at once, as pings are: not to a peer that reads nothing itself.
        reads = self._finished_with is None and self.exchange.wants_input and self.unsent_bytes <= _UNSENT_BYTES
        return (READ if reads else 0) | (WRITE if self._unsent else 0)

    def deadline(self) -> float:
        until = self.exchange.deadline
        if self._unsent:
            unread_until = self._unread_until()
            return unread_until if until is None else min(until, unread_until)
        return _NEVER if until is None else until

    def _unread_until(self) -> float:
        return self._sent_at + self._engine.reading_limit_s(self._taken_bytes, self._waited_s)

    @property
    def unsent_bytes(self) -> int:
        return len(self._unsent or b"")

    def on_deadline(self) -> None:
        if self._unsent and monotonic() >= self._unread_until():
            log.info("The peer of %s did not read its answer in time", self.exchange.head)
            self._engine.drop(self)
        else:
            self.exchange.expire()

    def on_ready(self) -> None:
        """Send and read what can be."""
        waited_for = self.client.events
        if self._unsent and not self._flush():
            return
        if waited_for & READ:
            self._receive()
        elif not waited_for:
            self._engine.drop(self)  # only that the connection is broken comes without being waited for

    def _flush(self) -> bool:
        """Whether there is something to read for."""
        unsent = self._unsent
        assert unsent is not None
        try:
            sent = self.client.sock.send(unsent)
        except BlockingIOError:
            return True
        except OSError:
            self._engine.drop(self)
            return False
        del unsent[:sent]
        now = monotonic()
        self._taken_bytes += sent
        self._waited_s += now - self._sent_at
        self._sent_at = now
        if self._writable is not None and len(unsent) <= _UNSENT_BYTES:
            self._writable.wake()
        if not unsent and self._finished_with is not None:
            self.finish(*self._finished_with)
        return not self.is_released

    def _receive(self) -> None:
        try:
            data = self.client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._engine.drop(self)
            return
        if data:
            self.exchange.receive_data(data)
        else:
            self.exchange.receive_eof()

    def lose(self) -> None:
        """Note that the connection is closed."""
        self.is_lost = self.is_released = True
        self._unsent = None
        if self._writable is not None:
            self._writable.wake()
        self.exchange.lose()
