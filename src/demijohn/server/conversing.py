"""WebSockets of applications that are called by threads: each message of a peer is answered as a request.

What an application makes of messages is its `typing.Conversation`; here is what that needs of the engine.

* A connection in the state EXCHANGING takes no thread: as long as nobody reads from it, it is in `_idle` as any other
  that waits. Whoever reads its messages puts them into `_requests` and gives the connection back before the first of
  them is answered, so many can be in hand at a time; they are answered by the team, as other requests are.
* Any thread may send, also while another one owns the connection: `Peer.lock` is around everything that is done to
  the socket and to what has been read and written of frames. It may be held when `Engine._lock` is taken, and never the
  other way round.
* Who changes what is to be waited for writes that first, and then looks whether the connection is in `_idle`
  (`reconsider`); who gives the connection back looks again afterwards (`_wait_on`). So the later one sees the other.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from functools import partial
from time import monotonic
from typing import Any

from ..message import BadResponse, ProtocolError, RequestHead, ResponseMessage, Suspended, Switching
from ..typing import Gateway, Route
from .answering import failure_of
from .connections import EXCHANGING, Client, Todo
from .framing import plain_answer
from .leadership import Member
from .native_engine import NativeEngine
from .peer import Peer, PeerRequest
from .sending import Answer, in_context
from .settings import Settings
from .timekeeping import Surroundings
from .websocket import INTERNAL_ERROR, VERSION_LINES, Handshake, WebSocket, accept_lines, read_handshake

log = logging.getLogger("demijohn.server")

# In `_ready`, for a message among `_requests`: no descriptor has this number.
_MESSAGE = -1
_SWITCHED = ResponseMessage("101 Switching Protocols", b"", b"")


class ConversingEngine(NativeEngine):
    """Serves the connections of some listeners with a gateway, and the WebSockets that some of them become."""

    def __init__(
        self, listeners: list[socket.socket], gateway: Gateway, settings: Settings, around: Surroundings
    ) -> None:
        super().__init__(listeners, gateway, settings, around)
        self._requests: deque[PeerRequest] = deque()  # that have come in messages and were not begun
        self._in_hand: set[PeerRequest] = set()
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
            frames = WebSocket(self._message_bytes, handshake.deflate)
            peer = client.channel = Peer(client, head, message.conversation, frames, self._settings, self.reconsider)
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
        peer: Peer = client.channel
        for message in peer.on_ready():
            head = peer.conversation.receive(message)
            if head is not None:
                request = PeerRequest(peer, head)
                peer.take(request)
                self._in_hand.add(request)
                self._put(request)
        if not peer.is_behind:
            self._put(*peer.put_off())
        self._wait_on(peer)

    def _put(self, *requests: PeerRequest) -> None:
        """Have messages answered."""
        self._requests.extend(requests)
        self._ready.extend([(_MESSAGE, 0)] * len(requests))

    def _expire(self, member: Member, client: Client) -> None:
        if client.state != EXCHANGING:
            super()._expire(member, client)
            return
        peer: Peer = client.channel
        peer.on_deadline()
        self._wait_on(peer)

    def _wait_on(self, peer: Peer) -> None:
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

    def reconsider(self, peer: Peer) -> None:
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

    def _part(self, client: Client, peer: Peer) -> None:
        """Let a connection end on which both sides have said that they close."""
        client.channel = None
        self._lose(peer)
        client.lingers = True
        self._end(client)

    def _close(self, client: Client) -> None:
        peer: Peer | None = client.channel
        if peer is None:
            super()._close(client)
            return
        client.channel = None
        with peer.lock:  # nobody sends while the descriptor may become another connection's
            peer.is_lost = True
            super()._close(client)
        self._lose(peer)

    def _lose(self, peer: Peer) -> None:
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

    def _begin_request(self, member: Member, request: PeerRequest) -> None:
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
        if not isinstance(request, PeerRequest):
            super()._work(member, job)
            return
        try:
            self._answer_request(member, request)
        except Exception:
            self._drop(member, request)

    def _answer_request(self, member: Member, request: PeerRequest) -> None:
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
            answer = self._await(member, request.peer.client, message, request)
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
        return isinstance(todo, PeerRequest) and route.may_await and not todo.is_begun

    def _finish_request(self, request: PeerRequest, message: ResponseMessage) -> None:
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

    def _drop(self, member: Member, request: PeerRequest) -> None:
        """Keep a fault of the server's own from costing more than one connection."""
        member.since = 0.0
        log.exception("The server failed on a message of a WebSocket, and closes that")
        self._in_hand.discard(request)
        request.peer.put_back(request, None)
        request.peer.close(INTERNAL_ERROR)

    # -- messages that are over their limit --------------------------------------------------------------

    def _stays_silent(self, client: Any) -> bool:
        return isinstance(client, PeerRequest) or super()._stays_silent(client)

    def _answer_with(self, client: Any, error: ProtocolError, head: RequestHead | None = None) -> None:
        if isinstance(client, PeerRequest):
            self._finish_request(client, plain_answer(error.status, error.detail))
        else:
            super()._answer_with(client, error, head)
