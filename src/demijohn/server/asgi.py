"""The gateway to an ASGI application (ASGI 3): what it is told of a request, and what becomes of its messages.

Everything here is done in the thread of the event loop. The connection itself is the engine's (`asgi_engine.py`); of it
an exchange sees a `Channel`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

from ..environ import FileWrapper, split_target
from ..message import REASONS, ProtocolError, RequestHead, ResponseMessage, origin_of, response_message_of_bytes
from .framing import CONTINUE, Framing, plain_answer
from .hints import hint_bytes
from .hook_objects import HookRequest, RequestHooks
from .http1 import Connection
from .settings import Settings
from .wsgi import Route

if TYPE_CHECKING:
    from .compression import Compression, Encoder

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

    def leave_content(self) -> None:
        """Do without what the peer has still to send; its request is the last one."""

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

    def call(self) -> Coroutine[Any, Any, None] | None:
        """Return the application's coroutine; None when the application is not called, and the request is answered."""

    def ended(self, error: BaseException | None) -> None:
        """Note that the application has returned, or raised `error`."""

    @property
    def begun_answer(self) -> tuple[ResponseMessage, int] | None:
        """The answer of which something has been written, and how many bytes of content; None when nothing has."""

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
    compression: for its answers; None when they are not to be compressed.
    hooks: those of requests; None when there are none.
    state: what it has put into the state of its lifespan; None when it has no lifespan.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self.application = application
        self.state: dict[str, Any] | None = None
        self.compression: Compression | None = None
        self.hooks: RequestHooks | None = None
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
        origin = origin_of(head)
        host = origin.host
        if target[:1] == b"/":
            path, _, query = target.partition(b"?")
        else:
            authority, path, query = split_target(target)
            host = host or authority  # RFC 9112 §3.2.2
        if host is not None:
            headers = [(b"host", host), *(line for line in headers if line[0] != b"host")]
        mounted_at = head.special.script_name if head.special is not None else b""
        text = (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")
        scope = {
            "type": kind,
            "asgi": versions,
            "http_version": _VERSIONS[head.version],
            "server": origin.server,
            "client": origin.client,
            "scheme": origin.scheme,
            "root_path": mounted_at.decode("latin-1") or root_path,
            # The path of the target begins with what it is mounted at, but not with the setting.
            "path": text if mounted_at else root_path + text,
            "raw_path": root_path.encode() + path if root_path and not mounted_at else path,
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
        "_asked",
        "_channel",
        "_content_bytes",
        "_encoder",
        "_gateway",
        "_input",
        "_is_answered",
        "_is_begun",
        "_is_complete",
        "_is_disconnected",
        "_is_given",
        "_is_late",
        "_message",
        "_received_bytes",
        "_refusal",
        "_request",
        "_settings",
        "_uncoded_left",
        "begun",
        "due_since",
        "head",
    )

    def __init__(self, gateway: ASGIGateway, channel: Channel, head: RequestHead, settings: Settings) -> None:
        self.head = head
        self.begun = self.due_since = monotonic()  # the latter: when it has become the application's turn
        self._gateway = gateway
        self._channel = channel
        self._settings = settings
        # Content that has arrived and was not asked for; whether that is all there is, and whether all was given.
        incoming = channel.http.incoming
        self._is_complete = incoming is None
        if incoming is not None:
            self._arrived = incoming
        else:
            self._arrived = [head.content] if head.content is not None else _spooled_content(head)
        self._is_given = False
        self._received_bytes = 0
        self._asked = self.begun  # when the peer was asked for content
        self._is_disconnected = False
        self._input: Waiting | None = None
        self._message: ResponseMessage | None = None  # what http.response.start has begun
        self._is_begun = False  # whether any of it is sent
        self._content_bytes = 0
        self._encoder: Encoder | None = None
        self._uncoded_left: int | None = None  # what the encoder has yet to be given, when that was declared
        self._is_answered = False
        self._refusal: ProtocolError | None = None
        self._is_late = False
        self._request: HookRequest | None = None  # what hooks are given

    def call(self) -> Coroutine[Any, Any, None]:
        head = self.head
        scope = self._gateway.scope("http", _HTTP, head, self._settings.root_path or "")
        scope["method"] = head.method
        scope["extensions"] = {"http.response.pathsend": {}}
        if head.version == (1, 1):
            scope["extensions"]["http.response.early_hint"] = {}
        if self._gateway.hooks is not None:
            self._request = HookRequest(head)
            self._gateway.hooks.before(self._request)
        return self._gateway.application(scope, self.receive, self.send)

    # -- from the peer -----------------------------------------------------------------------------

    async def receive(self) -> Event:
        """Return the next event, as ASGI's `receive`: content, or that the peer or the answer is at its end."""
        while not (self._is_given or self._arrived or self._is_complete or self._is_disconnected):
            self._invite()
            if not self._is_disconnected:  # as it is when the peer is found gone while it is asked
                await self._wait()
        if not self._is_given and (self._arrived or self._is_complete):
            body = b"".join(self._arrived)
            self._arrived.clear()
            self._received_bytes += len(body)
            self._is_given = self._is_complete
            if not self._is_complete:
                self._channel.reconsider()
            return {"type": "http.request", "body": body, "more_body": not self._is_complete}
        while not (self._is_disconnected or self._is_answered):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        """Wait for whatever may be next."""
        if self._input is None:
            self._input = Waiting()
        await self._input.wait()

    def _wake(self) -> None:
        if self._input is not None:
            self._input.wake()

    def _invite(self) -> None:
        """Ask for content that the peer holds back until then (RFC 9110 §10.1.1)."""
        http = self._channel.http
        if http.expecting is not None:
            http.expecting = None
            self._asked = monotonic()
            self._channel.write(CONTINUE)

    @property
    def begun_answer(self) -> tuple[ResponseMessage, int] | None:
        return (self._message, self._content_bytes) if self._is_begun and self._message is not None else None

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
                self.due_since = monotonic()
            else:
                self._take_refusal(event)
        elif not self.wants_input:
            self.due_since = monotonic()
        self._wake()

    def _take_refusal(self, event: RequestHead | ProtocolError) -> None:
        assert isinstance(event, ProtocolError)
        self._refuse_content(event)

    def receive_eof(self) -> None:
        http = self._channel.http
        http.receive_eof()
        if not self._is_complete and http.events:
            self._take_refusal(http.events.popleft())
        self._disconnect()

    def lose(self) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        self._is_disconnected = True
        self._wake()

    @property
    def deadline(self) -> float | None:
        if self._is_complete or not self.wants_input:
            return None
        if self._channel.http.expecting is not None:
            return None  # it waits to be asked
        settings = self._settings
        received_bytes = self._received_bytes + sum(map(len, self._arrived))
        return self._asked + settings.body_timeout_s + received_bytes / settings.min_body_rate

    def expire(self) -> None:
        self._refuse_content(ProtocolError(408, "The request did not arrive in time."))

    def _refuse_content(self, error: ProtocolError) -> None:
        """Let what has arrived be all; the answer is `error` unless the application has begun one."""
        log.info("Refused the content of %s: %s", self.head, error)
        self._refusal = error
        self.due_since = monotonic()
        self._disconnect()

    @property
    def owes_answer(self) -> bool:
        """Whether its answer has not begun and nothing is to come from the peer before: there is no more content, or
        as much as is read ahead of an application that does not ask for it."""
        if self._is_late or self._message is not None:
            return False
        if self._is_disconnected:
            return self._refusal is not None
        return self._is_complete or not self.wants_input or self._channel.http.expecting is not None

    def time_out(self, error: ProtocolError) -> None:
        """Let `error` be the answer, once the application has been cancelled, unless there is another reason."""
        self._is_late = True
        self._refusal = self._refusal or error

    def drain(self) -> None:
        """Requests in flight are answered."""

    # -- from the application ------------------------------------------------------------------------

    async def send(self, event: Event) -> None:
        """Take a part of the answer, as ASGI's `send`.

        Raises Disconnected when the peer is gone, or its content was refused before the answer began; RuntimeError for
        a message that is out of its place, and BadResponse for a status or a header that must not be sent.
        """
        kind = event["type"]
        if self._channel.is_lost:
            raise Disconnected(f"the peer of {self.head.target.decode('latin-1')} is gone")
        if self._is_answered:
            raise RuntimeError(f"{kind!r} was sent after the answer was complete")
        message = self._message
        if message is None:
            if kind == "http.response.early_hint" and self.head.version == (1, 1):
                self._channel.write(hint_bytes([(b"link", link) for link in event["links"]]))
                return
            if kind != "http.response.start":
                raise RuntimeError(f"{kind!r} was sent where 'http.response.start' was due")
            if self._refusal is not None:
                # Whatever it makes of half a message (RFC 9112 §8) must not be taken for the answer to a whole one.
                raise Disconnected(f"the content of {self.head.target.decode('latin-1')} was refused: {self._refusal}")
            # It is sent with the first part: until then the answer can become another one.
            self._message = _message_begun_by(event)
        elif kind == "http.response.body":
            body = event.get("body", b"")
            if event.get("more_body", False):
                await self._send_part(message, body)
            elif self._is_begun:
                self._send_last_part(message, body)
            else:
                self._answer(message, body)
        elif kind == "http.response.pathsend" and not self._is_begun:
            self._answer_with_file(message, event["path"])
        else:
            raise RuntimeError(f"{kind!r} was sent where 'http.response.body' was due")

    def _answer(self, message: ResponseMessage, body: bytes) -> None:
        """Send a whole answer."""
        if not self._is_complete:
            self._channel.leave_content()
        message.content = body if type(body) is bytes else bytes(body)
        if self._gateway.compression is not None:
            self._gateway.compression.compress(self.head, message, at_once=True)
        self._channel.write(self._channel.http.respond(self.head, message))
        self._finish(message, len(message.content) if isinstance(message.content, bytes) else 0)

    async def _send_part(self, message: ResponseMessage, body: bytes) -> None:
        if self._is_begun:
            self._write_part(body)
        else:
            self._write_first_part(message, body)
        await self._channel.drain()

    def _write_first_part(self, message: ResponseMessage, body: bytes) -> None:
        self._is_begun = True
        message.content = ()
        if self._gateway.compression is not None:
            declared = message.content_length
            self._encoder = self._gateway.compression.begin(self.head, message, declared)
            self._uncoded_left = declared if self._encoder is not None else None
        http = self._channel.http
        data = http.respond(self.head, message)
        if http.framing is not None and body:
            data += self._framed(http.framing, body)
        self._channel.write(data)

    def _write_part(self, body: bytes) -> None:
        framing = self._channel.http.framing
        if framing is None or not body:
            return
        self._channel.write(self._framed(framing, body))
        if framing.overlong:
            log.error("The content of the answer to %s is longer than its Content-Length and was cut", self.head)

    def _framed(self, framing: Framing, body: bytes) -> bytes:
        """Return a part that is not empty as it goes out: compressed, if it is to be, and framed."""
        data = bytes(body)
        if self._encoder is not None:
            if self._uncoded_left is not None:
                self._uncoded_left -= len(data)
            data = self._encoder.compress(data) + self._encoder.flush()
        self._content_bytes += len(data)
        return framing.part_bytes(data)

    def _send_last_part(self, message: ResponseMessage, body: bytes) -> None:
        self._write_part(body)
        framing = self._channel.http.framing
        if framing is not None:
            missing = self._uncoded_left or framing.missing
            if missing:
                raise RuntimeError(f"the content is {missing} bytes shorter than its Content-Length")
            if self._encoder is not None:
                end = self._encoder.finish()
                self._content_bytes += len(end)
                self._channel.write(framing.part_bytes(end))
            self._channel.write(framing.end_bytes())
        if not self._is_complete:
            self._channel.leave_content()
        self._finish(message, self._content_bytes)

    def _answer_with_file(self, message: ResponseMessage, path: str) -> None:
        file = open(path, "rb")  # noqa: SIM115 (closed with the answer)
        message.content = FileWrapper(file)
        message.close = file.close
        if not self._is_complete:
            self._channel.leave_content()
        self._is_answered = True
        self._wake()
        self._channel.answer_with_file(message)

    def _finish(self, message: ResponseMessage, content_bytes: int) -> None:
        self._is_answered = True
        if self._input is not None:
            self._input.wake()
        self._channel.finish(message, content_bytes)

    def ended(self, error: BaseException | None) -> None:
        is_cut_short = not self._is_answered and not self._channel.is_lost
        is_cancelled = self._refusal is not None and isinstance(error, asyncio.CancelledError)
        is_told = isinstance(error, Disconnected) and (self._channel.is_lost or self._refusal is not None)
        if error is not None and not is_cancelled and not is_told:
            log_failure(self.head, error)
        elif is_cut_short and not self._refusal:
            log.error("The application returned before its answer to %s was complete", self.head)
        if is_cut_short:
            if self._is_begun:
                self._channel.abort()
            else:
                self._answer_instead()
        if self._gateway.hooks is not None and self._request is not None:
            self._gateway.hooks.after(self._request, self._message)

    def _answer_instead(self) -> None:
        refusal = self._refusal or ProtocolError(500, "The server met an error and could not answer the request.")
        message = plain_answer(refusal.status, refusal.detail)
        assert isinstance(message.content, bytes)
        self._message = message
        self._answer(message, message.content)


def _spooled_content(head: RequestHead) -> list[bytes]:
    assert head.spool is not None
    with head.spool as file:
        return [file.read()]


_STATUSES = {status: f"{status} {reason}" for status, reason in REASONS.items()}


def _message_begun_by(event: Event) -> ResponseMessage:
    """Return the answer that begins with an `http.response.start`; its content comes later. Raises BadResponse."""
    status = event["status"]
    return response_message_of_bytes(_STATUSES.get(status) or str(status), event.get("headers", ()), b"")
