"""Who is at the other end of a WebSocket of `conversing.py`: what was read and is to be sent, and until when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from ..message import NOT_BEGUN, RequestHead
from ..typing import Conversation
from .answering import RECEIVE_BYTES
from .connections import Client
from .poller import READ, WRITE
from .settings import Settings
from .waiting import Waiting
from .websocket import GOING_AWAY, INTERNAL_ERROR, Closed, Message, WebSocket

log = logging.getLogger("demijohn.server")

# No more is read from a peer while so many of its messages are in hand, while they are as large as the largest message
# may be, or while it has this much to read itself; then none of those in hand is begun either.
_MOST_IN_HAND = 1000
_UNREAD_BYTES = 65536
# How long a peer has to answer a close frame (RFC 6455 §7.1.1).
_CLOSING_S = 5.0
_NEVER = float("inf")


class PeerRequest(Waiting):
    """A message that is answered as a request.

    is_begun: whether the application has been asked; until then there is no `answer` and no `begun`.
    """

    __slots__ = ("is_begun", "peer")

    def __init__(self, peer: Peer, head: RequestHead) -> None:
        self.head = head
        self.peer = peer
        self.is_begun = self.is_late = False


class Peer:
    """A WebSocket, from its handshake to its end: `typing.Peer`.

    is_broken: whether the connection can only be closed; is_lost: whether it is.
    """

    __slots__ = (
        "_closing_until",
        "_has_closed",
        "_in_hand",
        "_in_hand_bytes",
        "_on_change",
        "_ping_s",
        "_pinged",
        "_put_off",
        "_seen_at",
        "_sent_at",
        "_unread_s",
        "_unsent",
        "_websocket",
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
        client: Client,
        head: RequestHead,
        conversation: Conversation,
        websocket: WebSocket,
        settings: Settings,
        on_change: Callable[[Peer], object],
    ) -> None:
        """`on_change` is called in any thread when there is something else to wait for."""
        self.lock = threading.Lock()
        self.client = client
        self.head = head
        self.conversation = conversation
        self.begun = self._seen_at = self._sent_at = monotonic()
        self.sent_bytes = 0
        self.is_broken = self.is_lost = self.is_draining = False
        self._on_change = on_change
        self._websocket = websocket
        self._ping_s = settings.websocket_ping_interval_s
        self._unread_s = settings.answer_timeout_s
        self._pinged = False
        self._closing_until: float | None = None
        self._has_closed = False  # the peer
        self._unsent: bytearray | None = None
        self._in_hand = self._in_hand_bytes = 0
        self._put_off: list[PeerRequest] = []

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

    def put_back(self, request: PeerRequest, reply: str | None) -> None:
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
            self._on_change(self)

    # These are called with the lock held.

    def _send(self, text: str) -> None:
        data = self._websocket.message_bytes(text)
        self.sent_bytes += len(data)
        self._write(data)

    def _say_goodbye(self) -> None:
        if not self._in_hand:
            self._close(GOING_AWAY, NOT_BEGUN)

    def _close(self, code: int, reason: str) -> None:
        if not self._websocket.closing:
            self._write(self._websocket.close_bytes(code, reason))
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
        has_room = (
            self._in_hand < _MOST_IN_HAND and self._in_hand_bytes < self._websocket.limit_bytes and not self.is_behind
        )
        reads = (has_room or self._websocket.closing) and not self._has_closed
        deadline = self._closing_until
        if deadline is None:
            deadline = self._seen_at + self._ping_s if self._ping_s and reads else _NEVER
        if unsent:
            deadline = min(deadline, self._sent_at + self._unread_s)
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
        socket = self._websocket
        self._write(socket.receive_data(data))
        messages: list[Message] = []
        while socket.events:
            event = socket.events.popleft()
            if isinstance(event, Closed):
                self._has_closed = True
            else:
                messages.append(event)
        return messages

    def take(self, request: PeerRequest) -> None:
        """Count a message that is to be answered."""
        with self.lock:
            self._in_hand += 1
            self._in_hand_bytes += len(request.head.content or b"")

    def puts_off(self, request: PeerRequest) -> bool:
        """Whether a message is not to be answered before the peer has read more of what it was sent."""
        with self.lock:
            if self.is_behind:
                self._put_off.append(request)
                return True
        return False

    def put_off(self) -> list[PeerRequest]:
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
            elif self._unsent and now >= self._sent_at + self._unread_s:
                log.info("The peer of %s did not read its messages in time", self.head)
                self.is_broken = True
            elif self._pinged:
                log.info("The peer of %s does not answer to pings", self.head)
                self._close(INTERNAL_ERROR, "no answer to a ping")
                self.is_broken = True
            else:
                self._pinged = True
                self._seen_at = now  # it has as long again
                self._write(self._websocket.ping_bytes())

    def lose(self) -> None:
        """Note that nothing more can be sent."""
        with self.lock:
            self.is_lost = True
            self._unsent = None
        self.conversation.end()
