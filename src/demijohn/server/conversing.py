"""WebSockets of applications that are called by threads: each message of a peer is answered as a request.

What an application makes of messages is its `typing.Conversation`; here is what that needs of the engine.

* A connection in the state EXCHANGING takes no thread: as long as nobody reads from it, it is in `_idle` as any other
  that waits. Whoever reads its messages puts them into `_requests` and gives the connection back before the first of
  them is answered, so many can be in hand at a time; they are answered by the team, as other requests are.
* Any thread may send, also while another one owns the connection: `_Peer._lock` is around everything that is done to
  the socket and to what has been read and written of frames. It may be held when `Engine._lock` is taken, and never the
  other way round.
* Who changes what is to be waited for writes that first, and then looks whether the connection is in `_idle`
  (`reconsider`); who gives the connection back looks again afterwards (`_wait_on`). So the later one sees the other.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from time import monotonic
from typing import Any

from ..message import NOT_BEGUN, BadResponse, ProtocolError, RequestHead, ResponseMessage, Suspended, Switching
from ..typing import Conversation, Route
from .answering import RECEIVE_BYTES, failure_of
from .connections import EXCHANGING, Client, Todo
from .http1 import plain_answer
from .leadership import Member
from .native_engine import NativeEngine
from .poller import READ, WRITE
from .sending import Answer, in_context
from .waiting import Waiting
from .websocket import (
    GOING_AWAY,
    INTERNAL_ERROR,
    VERSION_LINES,
    Closed,
    Handshake,
    Message,
    WebSocket,
    accept_lines,
    read_handshake,
)

log = logging.getLogger("demijohn.server")

# In `_ready`, for a message among `_requests`: no descriptor has this number.
_MESSAGE = -1
# No more is read from a peer while so many of its messages are in hand, while they are as large as the largest message
# may be, or while it has this much to read itself; then none of those in hand is begun either.
_MOST_IN_HAND = 1000
_UNREAD_BYTES = 65536
# How long a peer has to answer a close frame (RFC 6455 §7.1.1).
_CLOSING_S = 5.0
_NEVER = float("inf")
_SWITCHED = ResponseMessage("101 Switching Protocols", b"", b"")


class ConversingEngine(NativeEngine):
    """Serves the connections of some listeners with a gateway, and the WebSockets that some of them become."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._requests: deque[_Request] = deque()  # that have come in messages and were not begun
        self._in_hand: set[_Request] = set()
        limit_bytes = self._settings.limit_request_body
        most_bytes = self._settings.websocket_max_bytes
        self._message_bytes = most_bytes if limit_bytes is None else min(most_bytes, limit_bytes)

    # -- from HTTP to WebSocket --------------------------------------------------------------------

    def _begin_answer(self, member: Member, client: Client, answer: Answer, begun: float) -> bool:
        message = answer.message
        if not isinstance(message, Switching):
            return super()._begin_answer(member, client, answer, begun)
        head = answer.head
        try:
            handshake = self._handshake(client, head)
            own_lines = message.field_lines.split(b"\r\n")[:-1]
            names = [line.partition(b":")[0] for line in own_lines]
            lines = accept_lines(handshake, None, names) + own_lines
        except ProtocolError as error:
            log.info("Refused a WebSocket of %s: %s", head, error)
            refusal = plain_answer(error.status, error.detail)
            if error.status == 426:
                refusal.field_lines += VERSION_LINES
        except BadResponse as error:
            refusal = failure_of(head, error)
        else:
            peer = client.channel = _Peer(self, client, head, message.conversation, handshake, self._message_bytes)
            peer.write(client.http.switching_bytes(lines))
            self._close_content(head, message)
            member.answered += 1
            message.conversation.begin(peer)
            if self._drain_begun:
                peer.drain()
            self._wait_on(peer)
            return False
        refusal.close, refusal.context = message.close, message.context
        answer.message = refusal
        return super()._begin_answer(member, client, answer, begun)

    def _handshake(self, client: Client, head: RequestHead) -> Handshake:
        """Read the opening handshake. Raises ProtocolError."""
        if head.version != (1, 1) or (head.field(b"upgrade") or b"").lower() != b"websocket":
            raise ProtocolError(400, "The opening handshake of a WebSocket must be HTTP/1.1 and ask for nothing else.")
        if client.http.events or client.http.in_message or head.content != b"":
            raise ProtocolError(400, "Nothing may follow the opening handshake of a WebSocket before its answer.")
        return read_handshake(head, self._settings.websocket_deflate)

    # -- what happens on a WebSocket -----------------------------------------------------------------

    def _exchange(self, member: Member, client: Client) -> None:
        peer: _Peer = client.channel
        for message in peer.on_ready():
            head = peer.conversation.receive(message)
            if head is not None:
                request = _Request(peer, head)
                peer.take(request)
                self._in_hand.add(request)
                self._put(request)
        if not peer.is_behind:
            self._put(*peer.put_off())
        self._wait_on(peer)

    def _put(self, *requests: _Request) -> None:
        """Have messages answered."""
        self._requests.extend(requests)
        self._ready.extend([(_MESSAGE, 0)] * len(requests))

    def _expire(self, member: Member, client: Client) -> None:
        if client.state != EXCHANGING:
            super()._expire(member, client)
            return
        peer: _Peer = client.channel
        peer.on_deadline()
        self._wait_on(peer)

    def _wait_on(self, peer: _Peer) -> None:
        """Give up an owned connection, to wait for what there is to wait for."""
        client = peer.client
        while True:
            if peer.is_broken:
                self._close(client)
                return
            if peer.is_over:
                self._part(client, peer)
                return
            awaited = peer.awaited
            self._wait_for(client, EXCHANGING, *awaited)
            if peer.awaited == awaited and not (peer.is_broken or peer.is_over):
                return
            if not self._take(client):
                return  # whoever has it looks too

    def reconsider(self, peer: _Peer) -> None:
        """Wait for something else, when the connection waits; may be called in any thread."""
        if self._take(peer.client):
            self._wait_on(peer)

    def _take(self, client: Client) -> bool:
        """Whether the connection was nobody's; then it is the caller's."""
        owned = self._idle.pop(client.fd, None)
        if owned is client:
            return True
        if owned is not None:
            self._release(owned)  # the next connection with the same descriptor
        return False

    def _part(self, client: Client, peer: _Peer) -> None:
        """Let a connection end on which both sides have said that they close."""
        client.channel = None
        self._lose(peer)
        client.lingers = True
        self._end(client)

    def _close(self, client: Client) -> None:
        peer: _Peer | None = client.channel
        if peer is None:
            super()._close(client)
            return
        client.channel = None
        with peer.lock:  # nobody sends while the descriptor may become another connection's
            peer.is_lost = True
            super()._close(client)
        self._lose(peer)

    def _lose(self, peer: _Peer) -> None:
        """Let a conversation end. What is in hand goes on."""
        peer.lose()
        if put_off := peer.put_off():
            self._put(*put_off)
            self._wake_up()
        if self._on_request is not None:
            self._report(peer.head, _SWITCHED, peer.sent_bytes, monotonic() - peer.begun, not peer.is_broken)

    def _begin_drain(self) -> None:
        super()._begin_drain()
        for client in list(self._clients.values()):
            peer = client.channel
            if peer is not None:
                peer.drain()

    def _finish_if_drained(self) -> None:
        if not self._in_hand:  # of peers that are gone: their calls are no less worth than those of others
            super()._finish_if_drained()

    # -- messages that are answered as requests ----------------------------------------------------------

    def _not_idle(self, member: Member, fd: int) -> None:
        if fd == _MESSAGE:
            self._begin_request(member, self._requests.popleft())
        else:
            super()._not_idle(member, fd)

    def _begin_request(self, member: Member, request: _Request) -> None:
        if request.peer.puts_off(request):
            return
        try:
            head = request.head
            route: Route = head.route if head.route is not None else self._match(head)
            request.route = route
            if route.wall_s > member.slow_s and not self._make_way(member, request.peer.client, request, route):
                return
            self._answer_request(member, request)
        except Exception:
            self._drop(member, request)

    def _work(self, member: Member, job: Any) -> None:
        request = None if isinstance(job, partial) else job[1]
        if not isinstance(request, _Request):
            super()._work(member, job)
            return
        try:
            self._answer_request(member, request)
        except Exception:
            self._drop(member, request)

    def _answer_request(self, member: Member, request: _Request) -> None:
        """Answer a message, or go on with its answer."""
        head = request.head
        member.connection = request
        member.head = head
        member.route = request.route
        member.since = begun = monotonic()
        if not request.is_begun:
            request.is_begun = True
            request.begun = begun
            request.answer = self._handle(head)
        message = request.answer
        if isinstance(message, Suspended):
            answer = self._await(member, request.peer.client, request)
            if answer is None:
                member.since = 0.0
                return
            message = answer
        member.since = 0.0
        if member.claimed and self._drops(member, head, message):
            return
        self._finish_request(request, message)
        member.learn(request.route, monotonic() - begun)
        member.answered += 1

    def _may_begin(self, todo: Todo, route: Route) -> bool:
        return isinstance(todo, _Request) and route.may_await and not todo.is_begun

    def _finish_request(self, request: _Request, message: ResponseMessage) -> None:
        """Send what is answered to a message."""
        content = message.content
        if type(content) is not bytes:
            content = in_context(message, b"".join, content)
        reply = request.peer.conversation.reply(request.head, message, content)
        self._close_content(request.head, message)
        self._in_hand.discard(request)
        request.peer.put_back(request, reply)
        if self._drain_asked:
            self._finish_if_drained()

    def _drop(self, member: Member, request: _Request) -> None:
        """Keep a fault of the server's own from costing more than one connection."""
        member.since = 0.0
        log.exception("The server failed on a message of a WebSocket, and closes that")
        self._in_hand.discard(request)
        request.peer.put_back(request, None)
        request.peer.close(INTERNAL_ERROR)

    # -- messages that are over their limit --------------------------------------------------------------

    def _stays_silent(self, client: Any) -> bool:
        return isinstance(client, _Request) or super()._stays_silent(client)

    def _answer_with(self, client: Any, error: ProtocolError) -> None:
        if isinstance(client, _Request):
            self._finish_request(client, plain_answer(error.status, error.detail))
        else:
            super()._answer_with(client, error)


class _Request(Waiting):
    """A message that is answered as a request.

    is_begun: whether the application has been asked; until then there is no `answer` and no `begun`.
    """

    __slots__ = ("is_begun", "peer")

    def __init__(self, peer: _Peer, head: RequestHead) -> None:
        self.head = head
        self.peer = peer
        self.is_begun = self.is_late = False


class _Peer:
    """A WebSocket, from its handshake to its end: `typing.Peer`.

    is_broken: whether the connection can only be closed; is_lost: whether it is.
    """

    __slots__ = (
        "_closing_until",
        "_engine",
        "_has_closed",
        "_in_hand",
        "_in_hand_bytes",
        "_limit_bytes",
        "_ping_s",
        "_pinged",
        "_put_off",
        "_seen_at",
        "_sent_at",
        "_socket",
        "_unsent",
        "begun",
        "client",
        "conversation",
        "head",
        "is_broken",
        "is_draining",
        "is_lost",
        "lock",
        "sent_bytes",
    )

    def __init__(
        self,
        engine: ConversingEngine,
        client: Client,
        head: RequestHead,
        conversation: Conversation,
        handshake: Handshake,
        limit_bytes: int,
    ) -> None:
        self.lock = threading.Lock()
        self.client = client
        self.head = head
        self.conversation = conversation
        self.begun = self._seen_at = self._sent_at = monotonic()
        self.sent_bytes = 0
        self.is_broken = self.is_lost = self.is_draining = False
        self._engine = engine
        self._socket = WebSocket(limit_bytes, handshake.deflate)
        self._limit_bytes = limit_bytes
        self._ping_s = engine._settings.websocket_ping_interval_s
        self._pinged = False
        self._closing_until: float | None = None
        self._has_closed = False  # the peer
        self._unsent: bytearray | None = None
        self._in_hand = self._in_hand_bytes = 0
        self._put_off: list[_Request] = []

    # -- for the conversation ------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        unsent = self._unsent
        return unsent is not None and len(unsent) > _UNREAD_BYTES

    def send(self, text: str) -> None:
        with self.lock:
            self._send(text)
        self._look_again()

    # -- for any thread --------------------------------------------------------------------------------

    def put_back(self, request: _Request, reply: str | None) -> None:
        """Send what is answered to a message."""
        with self.lock:
            self._in_hand -= 1
            self._in_hand_bytes -= len(request.head.content or b"")
            if reply is not None:
                self._send(reply)
            if self.is_draining:
                self._say_goodbye()
        self._look_again()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake."""
        with self.lock:
            self._close(code, reason)
        self._look_again()

    def drain(self) -> None:
        """Take no new calls, and close when those in hand are answered."""
        with self.lock:
            self.is_draining = True
            self._say_goodbye()
        self._look_again()

    def write(self, data: bytes) -> None:
        with self.lock:
            self._write(data)

    def _look_again(self) -> None:
        """Have the engine wait for something else, if there is."""
        client = self.client
        if (client.events, client.deadline) != self.awaited or self.is_broken:
            self._engine.reconsider(self)

    # These are called with the lock held.

    def _send(self, text: str) -> None:
        data = self._socket.message_bytes(text)
        self.sent_bytes += len(data)
        self._write(data)

    def _say_goodbye(self) -> None:
        if not self._in_hand:
            self._close(GOING_AWAY, NOT_BEGUN)

    def _close(self, code: int, reason: str) -> None:
        if not self._socket.closing:
            self._write(self._socket.close_bytes(code, reason))
            self._closing_until = monotonic() + _CLOSING_S

    def _write(self, data: bytes) -> None:
        """Send what the socket takes now, and keep the rest."""
        if self.is_lost or self.is_broken or not data:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.is_broken = True
            return
        if sent < len(data):
            self._unsent = bytearray(memoryview(data)[sent:])
            self._sent_at = monotonic()

    def _flush(self) -> None:
        unsent = self._unsent
        if not unsent:
            return
        try:
            del unsent[: self.client.sock.send(unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.is_broken = True
            return
        self._sent_at = monotonic()
        if not unsent:
            self._unsent = None

    # -- for who owns the connection ---------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether both sides have closed, and all is sent."""
        return self._has_closed and not self._unsent

    @property
    def awaited(self) -> tuple[int, float]:
        """Return the events to wait for, and until when."""
        unsent = self._unsent
        has_room = self._in_hand < _MOST_IN_HAND and self._in_hand_bytes < self._limit_bytes and not self.is_behind
        reads = (has_room or self._socket.closing) and not self._has_closed
        deadline = self._closing_until
        if deadline is None:
            deadline = self._seen_at + self._ping_s if self._ping_s and reads else _NEVER
        if unsent:
            deadline = min(deadline, self._sent_at + self._engine._settings.answer_timeout_s)
        return (READ if reads else 0) | (WRITE if unsent else 0), deadline

    def on_ready(self) -> list[Message]:
        """Send and read what can be; return the messages that have arrived."""
        waited_for = self.client.events
        with self.lock:
            self._flush()
            if waited_for & READ and not self.is_broken:
                return self._receive()
            if not waited_for:
                self.is_broken = True  # nothing else comes without being waited for
        return []

    def _receive(self) -> list[Message]:
        try:
            data = self.client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:  # a WebSocket is never half open (RFC 6455 §7.1.4)
            self.is_broken = True
            return []
        self._seen_at = monotonic()
        self._pinged = False
        socket = self._socket
        self._write(socket.receive_data(data))
        messages: list[Message] = []
        while socket.events:
            event = socket.events.popleft()
            if isinstance(event, Closed):
                self._has_closed = True
            else:
                messages.append(event)
        return messages

    def take(self, request: _Request) -> None:
        """Count a message that is to be answered."""
        with self.lock:
            self._in_hand += 1
            self._in_hand_bytes += len(request.head.content or b"")

    def puts_off(self, request: _Request) -> bool:
        """Whether a message is not to be answered before the peer has read more of what it was sent."""
        with self.lock:
            if self.is_behind:
                self._put_off.append(request)
                return True
        return False

    def put_off(self) -> list[_Request]:
        """Return the messages that were put off; they are the caller's."""
        with self.lock:
            requests, self._put_off = self._put_off, []
        return requests

    def on_deadline(self) -> None:
        """Ask whether the peer is still there; give it up when it has not said so since, does not read or not close."""
        with self.lock:
            now = monotonic()
            if self._closing_until is not None:
                self.is_broken = True
            elif self._unsent and now >= self._sent_at + self._engine._settings.answer_timeout_s:
                log.info("The peer of %s did not read its messages in time", self.head)
                self.is_broken = True
            elif self._pinged:
                log.info("The peer of %s does not answer to pings", self.head)
                self._close(INTERNAL_ERROR, "no answer to a ping")
                self.is_broken = True
            else:
                self._pinged = True
                self._seen_at = now  # it has as long again
                self._write(self._socket.ping_bytes())

    def lose(self) -> None:
        """Note that nothing more can be sent."""
        with self.lock:
            self.is_lost = True
            self._unsent = None
        self.conversation.end()
