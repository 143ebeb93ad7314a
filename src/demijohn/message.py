"""HTTP messages as the server and the framework hand them to each other.

Nothing here does I/O. `server/http1.py` makes a `RequestHead` out of bytes and bytes out of a
`ResponseMessage`; a gateway (`server/native.py`, `server/wsgi.py`) turns the one into the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Self

if TYPE_CHECKING:
    from socket import socket

Fields = list[tuple[bytes, bytes]]

# RFC 9110 §5.6.2. `bytes.translate` with these as the characters to delete leaves what is not allowed.
TOKEN_CHARS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# RFC 9110 §7.2, RFC 3986 §3.2: an IP literal or a registered name, and a port, of which there are 65536. No user
# information: RFC 9110 §4.2.4.
_PORT = rb"[0-9]{0,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%%[0-9A-Fa-f]{2})*)(?::(?:%b))?" % _PORT)


def is_authority(value: bytes) -> bool:
    """Whether a Host field, or what stands for it, is a host and perhaps a port (RFC 9110 §7.2, RFC 3986 §3.2)."""
    if _AUTHORITY.fullmatch(value) is None:
        return False
    if value.startswith(b"["):
        from socket import AF_INET6, inet_pton  # here, for its cost where nobody serves: 0.4 MB

        try:
            inet_pton(AF_INET6, value[1 : value.index(b"]")].decode())
        except OSError:
            return False
    return True


REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}


class ProtocolError(Exception):
    """The peer broke a rule of HTTP, or asked for more than a limit allows.

    `status` is the status code to answer with before the connection is closed; `detail` is one
    plain sentence for the client and for the log.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail


class BadResponse(ValueError):
    """The application gave a status or a field that must not reach the wire."""


@dataclass(slots=True)
class Origin:
    """Where the requests of one connection come from; one object shared by all of them.

    `client` and `server` are (address, port); for a Unix socket `client` is None and `server` is (path, None).
    `multithread` and `multiprocess` are PEP 3333's. `run_coroutine` runs a coroutine to its end on the server's
    event loop while the calling thread waits; None from a server that has no loop. `host` is what a trusted proxy
    was asked for, instead of the Host field. `script_name` is the path that the application is mounted at. `told`
    says what trusted proxies tell of one request; None when the peer is none. `tls` says of a connection with TLS
    what the environ has of it. `lend_socket` gives the connection of the request being answered to the application,
    as a socket of its own that blocks: what the application answers then is not sent. None from a server that
    cannot. `send_hints` sends early hints (RFC 8297) before the answer, or None. `environ_start` is the environ
    module's own: what it has made for the last request. It is never changed after that, and the rest is not either
    once there was a request.
    """

    scheme: str = "http"
    client: tuple[str, int] | None = None
    server: tuple[str, int | None] = ("127.0.0.1", 80)
    multithread: bool = True
    multiprocess: bool = False
    run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
    host: bytes | None = None
    script_name: bytes = b""
    told: Callable[[RequestHead], Origin] | None = None
    tls: Callable[[], dict[str, str]] | None = None
    lend_socket: Callable[[], socket] | None = None
    send_hints: Callable[[Iterable[tuple[str, str]]], None] | None = None
    environ_start: Any = field(default=None, init=False, compare=False, repr=False)


def origin_of(head: RequestHead) -> Origin:
    """Return where a request comes from, trusted proxies believed."""
    origin = head.origin
    return origin if origin.told is None else origin.told(head)


@dataclass(slots=True)
class Special:
    """What few requests have, so that the others are asked for all of it at once.

    upgrades: whether it asks for another protocol, such as WebSocket (RFC 9110 §7.8).
    script_name: the path that the application is mounted at, which the target begins with: PEP 3333's SCRIPT_NAME.
    """

    upgrades: bool = False
    script_name: bytes = b""


class RequestHead:
    """The start line and the field lines of one request, and its content once that has arrived.

    method: as sent, `"GET"`.
    target: the request target as sent, `b"/a%20b?c=d"` (RFC 9112 §3.2).
    version: `(1, 1)` or `(1, 0)`.
    fields: names in lower case, values without surrounding whitespace, in the order sent.
    content: the whole content, or None when it is in `spool`.
    spool: a file open for reading, at its start, that holds content too large for memory; else None.
    origin: the connection it came by.
    special: what few requests have; None for the others.
    route, arguments: what `Gateway.match` found; the gateway's own.
    environ: the WSGI environ, once `environ.environ_of` was asked for it.
    """

    __slots__ = (
        "arguments",
        "content",
        "environ",
        "fields",
        "method",
        "origin",
        "route",
        "special",
        "spool",
        "target",
        "version",
    )

    def __init__(
        self, method: str, target: bytes, version: tuple[int, int], fields: Fields, origin: Origin, content: bytes = b""
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        self.origin = origin
        self.special: Special | None = None
        self.content: bytes | None = content
        self.spool: BinaryIO | None = None
        self.route: Any = None
        self.arguments: dict[str, Any] | None = None
        self.environ: dict[str, Any] | None = None

    def field(self, name: bytes) -> bytes | None:
        """Return the value of the first field line called `name` (lower case), or None."""
        for known, value in self.fields:
            if known == name:
                return value
        return None

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target.decode('latin-1')}>"


class Rounds:
    """Tells the requests that the server found at one look from those of the looks before and after.

    current: an object of its own for each look; None where no server looks. What seldom changes, such as which methods
        a class has, need be asked but once for all requests of one look.
    """

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current: object | None = None


rounds = Rounds()


class ResponseMessage:
    """What a gateway answers: everything but the framing, which `server/framing.py` decides.

    status: `"200 OK"`, as in PEP 3333.
    field_lines: encoded, each ended by CRLF, checked; never Content-Length, Transfer-Encoding, Connection.
    content: the whole content, or an iterable of its parts.
    content_length: the length declared for an iterable, in bytes; None when unknown. For bytes: their length,
        or what an answer to HEAD or a 304 should declare.
    own_fields: which of `b"date"` and `b"server"` the application set itself, so the server leaves them out.
    close: called once when the content has been sent or given up; None when there is nothing to call.
    context: the context variables with which the parts are made and `close` is called, in whatever thread; None while
        they are those of the thread that called the application.
    """

    __slots__ = ("close", "content", "content_length", "context", "field_lines", "own_fields", "status")

    def __init__(
        self,
        status: str,
        field_lines: bytes,
        content: bytes | Iterable[bytes],
        content_length: int | None = None,
        own_fields: frozenset[bytes] = frozenset(),
        close: Callable[[], object] | None = None,
    ) -> None:
        self.status = status
        self.field_lines = field_lines
        self.content = content
        self.content_length = content_length
        self.own_fields = own_fields
        self.close = close
        self.context: Context | None = None


# Why a WebSocket is closed with 1001 by a server that stops: its client knows what it may send again.
NOT_BEGUN = "what is not answered was not begun"


class Offer:
    """What `environ["demijohn.websocket"]` holds of a request that asks for a WebSocket, where the server speaks it.

    conversation: a `typing.Conversation`, which the application leaves here when it answers 101 (Switching Protocols).
    """

    __slots__ = ("conversation",)

    def __init__(self) -> None:
        self.conversation: Any = None


class Switching(ResponseMessage):
    """The answer after which a connection is a WebSocket; `conversation` has what is said there."""

    __slots__ = ("conversation",)

    def __init__(self, message: ResponseMessage, conversation: Any) -> None:
        super().__init__(message.status, message.field_lines, (), close=message.close)
        self.conversation = conversation


Steps = Generator[Coroutine[Any, Any, Any] | None, Any, ResponseMessage]
"""How a request is answered that has to wait: yields each coroutine to wait for, is sent what it returned or thrown
what it raised, and returns the answer. It yields None before it does what may block."""


class Suspended:
    """What a gateway answers when the answer has to wait: a request that holds no thread.

    coroutine: what it waits for, to be run in `context` on the server's event loop; None when it waits for a thread
        that may block.
    context: the context variables of the request; all its steps see the same.
    answered: what the coroutine may call with the answer, as the last that it does before it returns it; None when that
        is not wanted.
    """

    __slots__ = ("_steps", "answered", "context", "coroutine")

    def __init__(self, steps: Steps | None = None) -> None:
        """Without `steps` there is to be a `coroutine`, which returns the answer, or the steps that are left to it."""
        self._steps = steps
        self.context = Context()
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.answered: Callable[[ResponseMessage], object] | None = None

    def advance(
        self, *, may_block: bool, value: Any = None, error: BaseException | None = None
    ) -> ResponseMessage | Self:
        """Go on to the answer, or to what has to be waited for next: then this object is returned.

        value, error: what became of the coroutine.
        may_block: whether the calling thread is one that what comes next may block.

        Raises what the application lets propagate.
        """
        run, steps = self.context.run, self._steps
        if steps is None:
            if error is not None:
                raise error
            if isinstance(value, ResponseMessage):
                value.context = self.context
                return value
            steps = self._steps = value
            value = None
        try:
            self.coroutine = run(steps.send, value) if error is None else run(steps.throw, error)
            while may_block and self.coroutine is None:
                self.coroutine = run(next, steps)
        except StopIteration as end:
            message: ResponseMessage = end.value
            message.context = self.context
            return message
        return self

    def close(self) -> None:
        """Let the request end without an answer. Raises what the application lets propagate."""
        if self.coroutine is not None:
            self.context.run(self.coroutine.close)
        if self._steps is not None:
            self.context.run(self._steps.close)


class Watched(Suspended):
    """An answer that has to wait, with something to be done with the message it comes to."""

    __slots__ = ("_inner", "_then")

    def __init__(self, inner: Suspended, then: Callable[[ResponseMessage], ResponseMessage]) -> None:
        self._inner = inner
        self._then = then
        self.context = inner.context
        self.coroutine = inner.coroutine

    def advance(
        self, *, may_block: bool, value: Any = None, error: BaseException | None = None
    ) -> ResponseMessage | Self:
        answer = self._inner.advance(may_block=may_block, value=value, error=error)
        if isinstance(answer, ResponseMessage):
            return self._then(answer)
        self.coroutine = self._inner.coroutine
        return self

    def close(self) -> None:
        self._inner.close()


# RFC 9110 §7.6.1 and PEP 3333: an application has no say in these.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NO_FIELDS: frozenset[bytes] = frozenset()


def response_message(
    status: str,
    headers: Iterable[tuple[str, str]],
    content: bytes | Iterable[bytes],
    close: Callable[[], object] | None = None,
) -> ResponseMessage:
    """Check and encode what an application answers, as PEP 3333 passes it to `start_response`.

    Content-Length becomes the message's `content_length`; hop-by-hop fields are left to the server.

    Raises BadResponse for a status or a field that would break the message (RFC 9110 §5.5: CR, LF and NUL in
    a value are how responses are split; §8.6: one length).
    """
    if status not in _statuses:
        _check_status(status)
    content_length: int | None = None
    own_fields: frozenset[bytes] = _NO_FIELDS
    block = b""
    for pair in headers:
        try:
            line = _lines.get(pair)
        except TypeError:
            line = None  # some write their pairs as lists
        if line is not None:
            block += line
            continue
        name, value = pair
        lower = name.lower()
        if lower == "content-length":
            if not (value.isascii() and value.isdecimal()):
                raise BadResponse(f"Content-Length {value!r} is not a number of bytes")
            if content_length not in (None, int(value)):
                raise BadResponse(f"there are two Content-Lengths, {content_length} and {value}")
            content_length = int(value)
        elif lower not in HOP_BY_HOP:
            if ":" in name:
                raise BadResponse(f"{name!r} is not a header name")
            line = encode_field_lines([f"{name}: {value}\r\n"])
            block += line
            if lower in ("date", "server"):
                own_fields = own_fields | {lower.encode()}
            elif lower != "set-cookie":  # what is one client's has no place in what is kept for all
                _keep(pair, line)
    return ResponseMessage(status, block, content, content_length, own_fields, close)


# Statuses that are known to be good, and field lines that were encoded before: most answers of an application repeat
# those of others. bench/wsgi.py: eight lines take 1.0 us where encoding them takes 5.2.
_statuses: set[str] = set()
_lines: dict[tuple[str, str] | tuple[bytes, bytes], bytes] = {}
_MOST_KEPT = 512
_LONGEST_KEPT_BYTES = 256


def _keep(pair: tuple[str, str] | tuple[bytes, bytes], line: bytes) -> None:
    """Keep an encoded field line, unless equality with `pair` would not say that it is the same one."""
    if len(line) > _LONGEST_KEPT_BYTES or type(pair) is not tuple:
        return
    if type(pair[0]) is type(pair[1]) is str or type(pair[0]) is type(pair[1]) is bytes:
        if len(_lines) >= _MOST_KEPT:
            _lines.clear()  # values that differ each time, such as of ETag
        _lines[pair] = line


def _check_status(status: str) -> None:
    """Raise BadResponse for a status line that RFC 9112 §4 does not know."""
    # The reason goes out as ISO 8859-1; a control in it could end the line.
    code = status[:3]
    if not (
        code.isascii() and code.isdecimal() and len(code) == 3 and status[3:4] in ("", " ") and status.isprintable()
    ):
        raise BadResponse(f"the status {status!r} is not three digits, a space and a reason")
    if not status.isascii() and any(char > "\xff" for char in status):
        raise BadResponse(f"the status {status!r} holds characters that ISO 8859-1 cannot say")
    if type(status) is str and len(_statuses) < _MOST_KEPT:
        _statuses.add(status)


# RFC 9110 §5.5, PEP 3333: all but the tab.
_CONTROLS = bytes({*range(32), 127} - {ord("\t")})
_HOLDS_CONTROLS = "a header holds CR, LF, NUL or another control character"

_HOP_BY_HOP_BYTES = frozenset(name.encode() for name in HOP_BY_HOP)


def response_message_of_bytes(
    status: str,
    headers: Iterable[tuple[bytes, bytes]],
    content: bytes | Iterable[bytes],
    close: Callable[[], object] | None = None,
) -> ResponseMessage:
    """Do what `response_message` does for header names and values that are bytes, as in ASGI. Raises BadResponse."""
    if status not in _statuses:
        _check_status(status)
    content_length: int | None = None
    own_fields: frozenset[bytes] = _NO_FIELDS
    block = b""
    for pair in headers:
        try:
            line = _lines.get(pair)
        except TypeError:
            line = None  # as above
        if line is not None:
            block += line
            continue
        name, value = pair
        lower = name.lower()
        if lower == b"content-length":
            if not value.isdigit():
                raise BadResponse(f"Content-Length {value!r} is not a number of bytes")
            if content_length not in (None, int(value)):
                raise BadResponse(f"there are two Content-Lengths, {content_length} and {int(value)}")
            content_length = int(value)
        elif lower not in _HOP_BY_HOP_BYTES:
            if not name or name.translate(None, TOKEN_CHARS):
                raise BadResponse(f"{name!r} is not a header name")
            line = b"%b: %b\r\n" % (name, value)
            if len(line.translate(None, _CONTROLS)) != len(line) - len(b"\r\n"):
                raise BadResponse(_HOLDS_CONTROLS)
            block += line
            if lower in (b"date", b"server"):
                own_fields = own_fields | {lower}
            elif lower != b"set-cookie":
                _keep(pair, line)
    return ResponseMessage(status, block, content, content_length, own_fields, close)


def encode_field_lines(lines: list[str]) -> bytes:
    """Encode `"Name: value\\r\\n"` lines, refusing all that could be read as another line.

    Raises BadResponse. RFC 9110 §5.1, §5.5; values are ISO 8859-1 as in PEP 3333.
    """
    text = "".join(lines)
    try:
        block = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadResponse(f"a header holds {text[error.start]!r}, which ISO 8859-1 cannot say") from None
    # No more than the CR and the LF of each line means that none is inside a name or a value.
    if len(block.translate(None, _CONTROLS)) != len(block) - len(b"\r\n") * len(lines):
        raise BadResponse(_HOLDS_CONTROLS)
    for line in lines:
        name = line.partition(":")[0]
        if not name or not name.isascii() or name.encode().translate(None, TOKEN_CHARS):
            raise BadResponse(f"{name!r} is not a header name")
    return block
