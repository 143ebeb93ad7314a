"""The gateway to an ASGI application (ASGI 3): what it is told of a request, and what becomes of its messages.

Everything here is done in the thread of the event loop. The connection itself is the engine's (`asgi_engine.py`); of it
an exchange sees a `Channel`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from time import monotonic
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from ..environ import FileWrapper, split_target
from ..message import REASONS, ProtocolError, RequestHead, ResponseMessage, response_message_of_bytes
from .http1 import CONTINUE, Connection, plain_answer
from .settings import Settings
from .wsgi import Route

log = logging.getLogger("demijohn.server")

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

_VERSIONS = {(1, 1): "1.1", (1, 0): "1.0"}
# ASGI, "HTTP & WebSocket": with 2.4, `send` to a peer that is gone raises OSError.
_HTTP = {"version": "3.0", "spec_version": "2.4"}

# Content that has arrived and was not asked for yet; the peer waits when there is more.
_READ_AHEAD_BYTES = 65536


class Disconnected(OSError):
    """What `send` raises when the peer is gone."""


class Channel(Protocol):
    """A connection, for as long as an application works on it.

    is_lost: whether the peer is gone, so that nothing can be sent.
    """

    http: Connection
    is_lost: bool

    def write(self, data: bytes) -> None:
        """Send what the socket takes now, and the rest when it takes more."""

    async def drain(self) -> None:
        """Wait until the peer has read most of what was written; also ends when it is gone."""

    def reconsider(self) -> None:
        """Look again at what the exchange waits for."""

    def answer_with_file(self, message: ResponseMessage) -> None:
        """Send a whole answer whose content is a file, and let the connection go on."""

    def finish(self, message: ResponseMessage, content_bytes: int) -> None:
        """Report the answer, and let the connection go on as soon as all that was written is out."""

    def abort(self) -> None:
        """Break the connection off, so that the peer does not take for complete what is not."""


class Exchange(Protocol):
    """What an application and a peer have to do with each other: a request and its answer, or a WebSocket.

    begun: when, by `monotonic()`.
    """

    head: RequestHead
    begun: float

    def begin(self) -> bool:
        """Whether the application is to be called; else the request is answered."""

    def call(self) -> Coroutine[Any, Any, None]:
        """Return the application's coroutine."""

    def ended(self, error: BaseException | None) -> None:
        """Note that the application has returned, or raised `error`."""

    @property
    def wants_input(self) -> bool:
        """Whether the peer may send more."""

    def receive_data(self, data: bytes) -> None: ...

    def receive_eof(self) -> None:
        """Note that the peer sends nothing more; it may still read."""

    def lose(self) -> None:
        """Note that the peer is gone."""

    @property
    def deadline(self) -> float | None:
        """Until when the peer has to send something, by `monotonic()`; None when it has not."""

    def expire(self) -> None:
        """Do what there is to do when that was in vain."""

    def drain(self) -> None:
        """Note that the worker is about to stop."""


class Waiting:
    """Coroutines that wait for something to happen; nothing is made for it before one does."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None

    async def wait(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    def wake(self) -> None:
        if self._event is not None:
            self._event.set()


class ASGIGateway:
    """An ASGI application, and what all its scopes have in common.

    route: the one for all requests.
    state: what it has put into the state of its lifespan; None when it has no lifespan.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self.application = application
        self.state: dict[str, Any] | None = None
        self.route = Route(0.0)

    def match(self, head: RequestHead) -> Route:
        return self.route  # nothing the application awaits keeps others waiting

    def refuses(self, head: RequestHead) -> bool:
        return False  # only the application knows, by answering

    def handle(self, head: RequestHead) -> ResponseMessage:
        raise NotImplementedError("an ASGI application answers in an exchange")

    def scope(self, kind: str, versions: dict[str, str], head: RequestHead, root_path: str) -> dict[str, Any]:
        """Return what the scopes of HTTP and of WebSocket both have."""
        target = head.target
        headers = head.fields.copy()
        if target[:1] == b"/":
            path, _, query = target.partition(b"?")
        else:
            authority, path, query = split_target(target)
            if authority is not None:  # RFC 9112 §3.2.2
                headers = [(b"host", authority), *(line for line in headers if line[0] != b"host")]
        text = (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")
        origin = head.origin
        scope = {
            "type": kind,
            "asgi": versions,
            "http_version": _VERSIONS[head.version],
            "server": origin.server,
            "client": origin.client,
            "scheme": origin.scheme,
            "root_path": root_path,
            "path": root_path + text,
            "raw_path": root_path.encode() + path if root_path else path,
            "query_string": query,
            "headers": headers,
        }
        if self.state is not None:
            scope["state"] = self.state.copy()
        return scope


def log_failure(head: RequestHead, error: BaseException) -> None:
    log.error("The application failed on %s %s", head.method, head.target.decode("latin-1"), exc_info=error)


class HTTPExchange:
    """A request, and the answer that the application gives in messages."""

    __slots__ = (
        "_arrived",
        "_begins",
        "_channel",
        "_content_bytes",
        "_gateway",
        "_input",
        "_is_answered",
        "_is_complete",
        "_is_disconnected",
        "_is_given",
        "_message",
        "_received_bytes",
        "_refusal",
        "_settings",
        "begun",
        "head",
    )

    def __init__(self, gateway: ASGIGateway, channel: Channel, head: RequestHead, settings: Settings) -> None:
        self.head = head
        self.begun = monotonic()
        self._gateway = gateway
        self._channel = channel
        self._settings = settings
        # Content that has arrived and was not asked for; whether that is all there is, and whether all was given.
        incoming = channel.http.incoming
        self._arrived = _whole_content(head) if incoming is None else incoming
        self._is_complete = incoming is None
        self._is_given = False
        self._received_bytes = 0
        self._is_disconnected = False
        self._input = Waiting()
        self._begins: Event | None = None  # http.response.start
        self._message: ResponseMessage | None = None  # once it goes out
        self._content_bytes = 0
        self._is_answered = False
        self._refusal: ProtocolError | None = None

    def begin(self) -> bool:
        return True

    def call(self) -> Coroutine[Any, Any, None]:
        head = self.head
        scope = self._gateway.scope("http", _HTTP, head, self._settings.root_path or "")
        scope["method"] = head.method
        scope["extensions"] = {"http.response.pathsend": {}}
        return self._gateway.application(scope, self.receive, self.send)

    # -- from the peer -----------------------------------------------------------------------------

    async def receive(self) -> Event:
        """Return the next event, as ASGI's `receive`: content, or that the peer or the answer is at its end."""
        while not (self._is_given or self._arrived or self._is_complete or self._is_disconnected):
            self._invite()
            await self._input.wait()
        if not self._is_given and (self._arrived or self._is_complete):
            body = b"".join(self._arrived)
            self._arrived.clear()
            self._received_bytes += len(body)
            self._is_given = self._is_complete
            if not self._is_complete:
                self._channel.reconsider()
            return {"type": "http.request", "body": body, "more_body": not self._is_complete}
        while not (self._is_disconnected or self._is_answered):
            await self._input.wait()
        return {"type": "http.disconnect"}

    def _invite(self) -> None:
        """Ask for content that the peer holds back until then (RFC 9110 §10.1.1)."""
        http = self._channel.http
        if http.expecting is not None:
            http.expecting = None
            self._channel.write(CONTINUE)

    @property
    def wants_input(self) -> bool:
        if self._is_disconnected:
            return False
        if self._is_complete:
            return not self._channel.http.events  # of the next request, no more than has come with this one
        return sum(map(len, self._arrived)) < _READ_AHEAD_BYTES

    def receive_data(self, data: bytes) -> None:
        http = self._channel.http
        http.receive_data(data)
        if self._is_complete:
            return
        if http.events:
            # What comes first is about this request: that its content is complete, or what is wrong with it.
            event = http.events.popleft()
            if event is self.head:
                self._is_complete = True
            else:
                assert isinstance(event, ProtocolError)
                self._refuse_content(event)
        self._input.wake()

    def receive_eof(self) -> None:
        self._channel.http.receive_eof()
        self._disconnect()

    def lose(self) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        self._is_disconnected = True
        self._input.wake()

    @property
    def deadline(self) -> float | None:
        if self._is_complete or not self.wants_input:
            return None
        settings = self._settings
        received_bytes = self._received_bytes + sum(map(len, self._arrived))
        return self.begun + settings.body_timeout_s + received_bytes / settings.min_body_rate

    def expire(self) -> None:
        self._refuse_content(ProtocolError(408, "The request did not arrive in time."))

    def _refuse_content(self, error: ProtocolError) -> None:
        """Let what has arrived be all; the answer is `error` unless the application gives one."""
        log.info("Refused the content of %s: %s", self.head, error)
        self._refusal = error
        self._disconnect()

    def drain(self) -> None:
        """Requests in flight are answered."""

    # -- from the application ------------------------------------------------------------------------

    async def send(self, event: Event) -> None:
        """Take a part of the answer, as ASGI's `send`.

        Raises Disconnected when the peer is gone, RuntimeError for a message that is out of its place, and BadResponse
        for a status or a header that must not be sent.
        """
        kind = event["type"]
        if self._channel.is_lost:
            raise Disconnected(f"the peer of {self.head.target.decode('latin-1')} is gone")
        if self._is_answered:
            raise RuntimeError(f"{kind!r} was sent after the answer was complete")
        if kind == "http.response.body" and self._begins is not None:
            if self._message is not None:
                await self._send_part(event.get("body", b""), not event.get("more_body", False))
            elif event.get("more_body", False):
                await self._send_first_part(event.get("body", b""))
            else:
                self._answer(self._begins, event.get("body", b""))
        elif kind == "http.response.start" and self._begins is None:
            # Sent with the first part: until then the answer can become another one.
            _message(event, b"")
            self._begins = event
        elif kind == "http.response.pathsend" and self._begins is not None and self._message is None:
            self._answer_with_file(self._begins, event["path"])
        else:
            expected = "http.response.start" if self._begins is None else "http.response.body"
            raise RuntimeError(f"{kind!r} was sent where {expected!r} was due")

    def _answer(self, begins: Event, body: bytes) -> None:
        """Send a whole answer."""
        message = _message(begins, bytes(body))
        self._leave_content()
        self._channel.write(self._channel.http.respond(self.head, message))
        self._finish(message, len(body))

    def _leave_content(self) -> None:
        """Do without what the peer has not sent yet: whether it sends it cannot be told from its next request."""
        if not self._is_complete:
            self._channel.http.leave_content()

    async def _send_first_part(self, body: bytes) -> None:
        message = self._message = _message(self._begins or {}, ())
        http = self._channel.http
        data = http.respond(self.head, message)
        if http.framing is not None and body:
            data += http.framing.part_bytes(bytes(body))
            self._content_bytes = len(body)
        self._channel.write(data)
        await self._channel.drain()

    async def _send_part(self, body: bytes, is_last: bool) -> None:
        message = self._message
        assert message is not None
        framing = self._channel.http.framing
        data = b""
        if framing is not None:
            data = framing.part_bytes(bytes(body))
            self._content_bytes += len(body)
            if framing.overlong:
                log.error("The content of the answer to %s is longer than its Content-Length and was cut", self.head)
            if is_last:
                if framing.missing:
                    raise RuntimeError(f"the content is {framing.missing} bytes shorter than its Content-Length")
                data += framing.end_bytes()
        if data:
            self._channel.write(data)
        if is_last:
            self._leave_content()
            self._finish(message, self._content_bytes)
        else:
            await self._channel.drain()

    def _answer_with_file(self, begins: Event, path: str) -> None:
        file = open(path, "rb")  # noqa: SIM115 (closed with the answer)
        message = _message(begins, FileWrapper(file), close=file.close)
        self._leave_content()
        self._is_answered = True
        self._message = message
        self._input.wake()
        self._channel.answer_with_file(message)

    def _finish(self, message: ResponseMessage, content_bytes: int) -> None:
        self._is_answered = True
        self._message = message
        self._input.wake()
        self._channel.finish(message, content_bytes)

    def ended(self, error: BaseException | None) -> None:
        is_cut_short = not self._is_answered and not self._channel.is_lost
        if error is not None and not (isinstance(error, Disconnected) and self._channel.is_lost):
            log_failure(self.head, error)
        elif is_cut_short and not self._refusal:
            log.error("The application returned before its answer to %s was complete", self.head)
        if is_cut_short:
            if self._message is None:
                self._answer_instead()
            else:
                self._channel.abort()

    def _answer_instead(self) -> None:
        refusal = self._refusal or ProtocolError(500, "The server met an error and could not answer the request.")
        message = plain_answer(refusal.status, refusal.detail)
        self._leave_content()
        self._channel.write(self._channel.http.respond(self.head, message))
        self._finish(message, message.content_length or 0)


def _whole_content(head: RequestHead) -> list[bytes]:
    if head.spool is None:
        return [head.content] if head.content else []
    with head.spool as file:
        return [file.read()]


_STATUSES = {status: f"{status} {reason}" for status, reason in REASONS.items()}


def _message(begins: Event, content: Any, close: Callable[[], object] | None = None) -> ResponseMessage:
    """Return the answer that begins with an `http.response.start`. Raises BadResponse."""
    status = begins["status"]
    return response_message_of_bytes(_STATUSES.get(status) or str(status), begins.get("headers", ()), content, close)
