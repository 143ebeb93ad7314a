"""WebSockets of ASGI applications: what passes between an application and a peer, in messages."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from ..message import REASONS, BadResponse, ProtocolError, RequestHead, ResponseMessage, response_message_of_bytes
from .asgi import ASGIGateway, Channel, Disconnected, Event, Waiting, log_failure
from .framing import plain_answer
from .settings import Settings
from .websocket import (
    ABNORMAL,
    INTERNAL_ERROR,
    NORMAL,
    SERVICE_RESTART,
    VERSION_LINES,
    Closed,
    Handshake,
    WebSocket,
    accept_lines,
    read_handshake,
)

log = logging.getLogger("demijohn.server")

# ASGI, "HTTP & WebSocket": 2.4 is that `send` raises OSError when the peer is gone, 2.5 the reason of a disconnect.
_VERSIONS = {"version": "3.0", "spec_version": "2.5"}
_SCHEMES = {"http": "ws", "https": "wss"}
# Messages that have arrived and were not asked for yet; the peer waits when there are more.
_READ_AHEAD_MESSAGES = 32
# How long a peer has to answer a close frame (RFC 6455 §7.1.1).
_CLOSING_S = 5.0
_SWITCHED = ResponseMessage("101 Switching Protocols", b"", b"")


class WebSocketExchange:
    """A WebSocket, from its opening handshake to its end."""

    __slots__ = (
        "_awaits_pong",
        "_channel",
        "_code",
        "_deadline",
        "_denial",
        "_denial_content",
        "_gateway",
        "_handshake",
        "_input",
        "_is_connect_given",
        "_is_finished",
        "_reason",
        "_sent_bytes",
        "_settings",
        "_socket",
        "begun",
        "head",
    )

    def __init__(self, gateway: ASGIGateway, channel: Channel, head: RequestHead, settings: Settings) -> None:
        self.head = head
        self.begun = monotonic()
        self._gateway = gateway
        self._channel = channel
        self._settings = settings
        self._handshake: Handshake | None = None
        self._socket: WebSocket | None = None  # once the application has accepted
        self._input = Waiting()
        self._is_connect_given = False
        self._is_finished = False
        # What the application is told of the end; None while the connection lives.
        self._code: int | None = None
        self._reason = ""
        self._denial: Event | None = None  # websocket.http.response.start
        self._denial_content: list[bytes] = []
        self._sent_bytes = 0
        self._deadline: float | None = None
        self._awaits_pong = False

    def call(self) -> Coroutine[Any, Any, None] | None:
        try:
            self._handshake = read_handshake(self.head, self._settings.websocket_deflate)
        except ProtocolError as error:
            log.info("Refused a WebSocket of %s: %s", self.head, error)
            message = plain_answer(error.status, error.detail)
            if error.status == 426:
                message.field_lines += VERSION_LINES
            self._answer(message)
            return None
        scope = self._gateway.scope("websocket", _VERSIONS, self.head, self._settings.root_path or "")
        scope["scheme"] = _SCHEMES.get(scope["scheme"], scope["scheme"])
        scope["subprotocols"] = self._handshake.subprotocols
        scope["extensions"] = {"websocket.http.response": {}}
        return self._gateway.application(scope, self.receive, self.send)

    # -- from the peer -----------------------------------------------------------------------------

    async def receive(self) -> Event:
        """Return the next event, as ASGI's `receive`."""
        if not self._is_connect_given:
            self._is_connect_given = True
            return {"type": "websocket.connect"}
        while True:
            socket = self._socket
            if socket is not None and socket.events:
                event = socket.events.popleft()
                if not isinstance(event, Closed):
                    if len(socket.events) == _READ_AHEAD_MESSAGES - 1:
                        self._channel.reconsider()
                    if isinstance(event, str):
                        return {"type": "websocket.receive", "text": event}
                    return {"type": "websocket.receive", "bytes": event}
            elif self._code is not None:
                return {"type": "websocket.disconnect", "code": self._code, "reason": self._reason}
            else:
                await self._input.wait()

    @property
    def begun_answer(self) -> tuple[ResponseMessage, int] | None:
        return None if self._socket is None else (_SWITCHED, self._sent_bytes)

    @property
    def wants_input(self) -> bool:
        socket = self._socket
        if self._code is not None or socket is None:
            # Before it is accepted the peer sends nothing, but it may go.
            return self._code is None and not self._channel.http.upgraded
        return len(socket.events) < _READ_AHEAD_MESSAGES

    def receive_data(self, data: bytes) -> None:
        socket = self._socket
        if socket is None:
            self._channel.http.upgraded = (self._channel.http.upgraded or b"") + data
            return
        self._awaits_pong = False
        answer = socket.receive_data(data)
        if answer:
            self._channel.write(answer)
        if socket.events:
            last = socket.events[-1]
            if isinstance(last, Closed):
                self._end(last.code, last.reason)
            self._input.wake()

    def receive_eof(self) -> None:
        """The transport's end is the connection's: a WebSocket is never half open (RFC 6455 §7.1.4)."""
        self._end(ABNORMAL, "")

    def lose(self) -> None:
        self._end(ABNORMAL, "")

    def _end(self, code: int, reason: str) -> None:
        """Note that the peer sends nothing more, and close once everything is out."""
        if self._code is None:
            self._code, self._reason = code, reason
            self._deadline = None
            self._input.wake()
        if self._socket is not None:
            self._finish(_SWITCHED)

    @property
    def deadline(self) -> float | None:
        if self._deadline is None and self._socket is not None and self._code is None:
            interval_s = self._settings.websocket_ping_interval_s
            self._deadline = self.begun + interval_s if interval_s else None
        return self._deadline

    def expire(self) -> None:
        """Ask whether the peer is still there; give it up when it has not said so since, or does not close."""
        socket = self._socket
        assert socket is not None
        if socket.closing or self._awaits_pong:
            if not socket.closing:
                log.info("The peer of %s does not answer to pings", self.head)
                self._channel.write(socket.close_bytes(INTERNAL_ERROR, "no answer to a ping"))
            self._end(ABNORMAL, "")
            return
        self._awaits_pong = True
        self._deadline = monotonic() + self._settings.websocket_ping_interval_s
        self._channel.write(socket.ping_bytes())

    def drain(self) -> None:
        if self._socket is not None:
            self._close(SERVICE_RESTART, "")

    # -- from the application ------------------------------------------------------------------------

    async def send(self, event: Event) -> None:
        """Take a message, as ASGI's `send`.

        Raises Disconnected when the peer is gone, RuntimeError for what is out of its place, and BadResponse for
        a handshake that must not be sent.
        """
        kind = event["type"]
        socket = self._socket
        if self._channel.is_lost or (socket is not None and self._code is not None):
            raise Disconnected(f"the WebSocket of {self.head.target.decode('latin-1')} is closed")
        if socket is None:
            if self._is_finished:
                raise RuntimeError(f"{kind!r} was sent after the handshake was refused")
            self._send_before(kind, event)
        elif socket.closing:
            raise RuntimeError(f"{kind!r} was sent after websocket.close")
        elif kind == "websocket.send":
            text = event.get("text")
            data = socket.message_bytes(bytes(event["bytes"]) if text is None else text)
            self._sent_bytes += len(data)
            self._channel.write(data)
            await self._channel.drain()
        elif kind == "websocket.close":
            self._close(event.get("code") or NORMAL, event.get("reason") or "")
        else:
            raise RuntimeError(f"{kind!r} was sent where websocket.send or websocket.close was due")

    def _send_before(self, kind: str, event: Event) -> None:
        """Take what answers the handshake."""
        if self._denial is None and kind == "websocket.accept":
            self._accept(event.get("subprotocol"), [tuple(line) for line in event.get("headers") or ()])
        elif self._denial is None and kind == "websocket.close":
            self._answer(plain_answer(403, "The application refused the WebSocket."))
        elif self._denial is None and kind == "websocket.http.response.start":
            self._denial = event
        elif self._denial is not None and kind == "websocket.http.response.body":
            self._denial_content.append(event.get("body", b""))
            if not event.get("more_body", False):
                self._answer(_denial(self._denial, b"".join(self._denial_content)))
        else:
            raise RuntimeError(f"{kind!r} was sent where websocket.accept or websocket.close was due")

    def _accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        handshake = self._handshake
        assert handshake is not None
        lines = accept_lines(handshake, subprotocol, [name for name, _ in headers])
        own = response_message_of_bytes("101", headers, b"").field_lines
        if own:
            lines.append(own[:-2])
        http = self._channel.http
        self._socket = WebSocket(self._settings.websocket_max_bytes, handshake.deflate)
        self._channel.write(http.switching_bytes(lines))
        if http.upgraded:
            self.receive_data(http.upgraded)
            http.upgraded = b""
        self._channel.reconsider()

    def _answer(self, message: ResponseMessage) -> None:
        """Refuse the handshake with an answer of HTTP."""
        self._is_finished = True
        assert isinstance(message.content, bytes)
        self._channel.write(self._channel.http.respond(self.head, message))
        self._code = ABNORMAL
        self._input.wake()
        self._channel.finish(message, len(message.content))

    def _close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; what the peer still sends is dropped until it answers."""
        socket = self._socket
        assert socket is not None
        if socket.closing or self._code is not None:
            return
        self._channel.write(socket.close_bytes(code, reason))
        self._deadline = monotonic() + _CLOSING_S
        self._channel.reconsider()

    def _finish(self, message: ResponseMessage) -> None:
        if not self._is_finished:
            self._is_finished = True
            self._channel.finish(message, self._sent_bytes)

    def ended(self, error: BaseException | None) -> None:
        if error is not None and not (isinstance(error, Disconnected) and self._code is not None):
            log_failure(self.head, error)
        if self._socket is not None:
            self._close(NORMAL if error is None else INTERNAL_ERROR, "")
        elif not self._is_finished and not self._channel.is_lost:
            if error is None:
                log.error("The application returned before it answered the handshake of %s", self.head)
            self._answer(plain_answer(500, "The server met an error and could not answer the request."))


def _denial(begins: Event, content: bytes) -> ResponseMessage:
    status = begins["status"]
    if status < 200:
        raise BadResponse(f"{status!r} is no status to refuse a handshake with")
    return response_message_of_bytes(f"{status} {REASONS.get(status, '')}".rstrip(), begins.get("headers", ()), content)
