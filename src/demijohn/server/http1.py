"""HTTP/1.1, the server's side of one connection: bytes in, requests out; answers in, bytes out.

Sans-I/O: no socket, clock, thread or logger. The parser is llhttp (httptools); what it leaves open is decided
here, each thing in one place: what a request must be in `on_headers_complete`, how an answer is framed and
whether the connection persists in `_respond_fully`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from time import gmtime
from typing import BinaryIO, Protocol, cast

import httptools

from ..environ import split_target
from ..message import (
    AUTHORITY,
    REASONS,
    TOKEN_CHARS,
    BadResponse,
    Fields,
    Origin,
    ProtocolError,
    RequestHead,
    ResponseMessage,
    Special,
)
from .fieldnames import Policy, settle
from .repetition import END_OF_HEAD, PLAIN_LINE, HeadBeforeContent


class Limits(Policy, Protocol):
    """How large a request may be; `Settings` has all of it. In bytes, but for the number of field lines."""

    @property
    def limit_request_line(self) -> int: ...
    @property
    def limit_request_fields(self) -> int: ...
    @property
    def limit_request_field_size(self) -> int: ...
    @property
    def limit_request_head(self) -> int: ...
    @property
    def limit_request_body(self) -> int | None: ...
    @property
    def body_buffer_bytes(self) -> int: ...


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# llhttp knows these, and the methods of RTSP and ICE, which it lets through under their protocols' names.
# fmt: off
_METHODS = {name.encode(): name for name in (
    "ACL", "BIND", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY",
    "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT",
    "QUERY", "REBIND", "REPORT", "SEARCH", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
)}
# fmt: on
_HTTP_10, _HTTP_11 = (1, 0), (1, 1)
_VERSIONS = {"1.1": _HTTP_11, "1.0": _HTTP_10}

_NEVER = b"\0no request ends so"

_OTHER_VERSION = re.compile(rb"(?:\r\n)*[^ \r\n]+ [^ \r\n]+ HTTP/(?!1\.[01])[0-9]\.[0-9]")
_LINE_OF_HTTP_09 = re.compile(rb"(?:\r\n)*[^ \r\n]+ [^ \r\n]+ ?\r?\n")
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
_METHOD = re.compile(rb"(?:\r\n)*([^ \r\n]+) ")

# Fields that say something about the message or the connection; the others are the application's.
_OF_MESSAGE = frozenset({b"host", b"connection", b"content-length", b"content-type", b"transfer-encoding", b"expect"})

# RFC 9110 §6.5.1: what says where a message goes, how long it is or who sends it has no place behind it.
_NO_TRAILERS = frozenset({b"authorization", b"content-length", b"host", b"te", b"trailer", b"transfer-encoding"})

# RFC 9112 §6.3 rule 4: transfer codings after which nobody knows where the content ends.
_NOT_LAST = frozenset({b"", b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"})

# What a chunk may cost besides its data: its size in hexadecimal, two line ends, and some room.
_CHUNK_OVERHEAD_BYTES = 16

# So much content of a known length, still to come, is not parsed; the parser has to begin anew behind it.
# bench/bodies.py: 5 MB into a temporary file in 1.9 ms, through llhttp in 2.5.
_UNPARSED_BYTES = 1 << 16

# How much of what is no request the log shows.
_REFUSED_LINE_BYTES = 512

_UNKNOWN_METHOD = "This server does not know the method of the request."
_UNKNOWN_VERSION = "This server speaks HTTP/1.1 and HTTP/1.0."
_LONG_LINE = "The request line is too long."
_LARGE_FIELDS = "The fields of the request are too large."
_LARGE_CONTENT = "The content of the request is too large."


class AnswerHeads(dict[str, bytes]):
    """For each status: the status line, Server and Date as they are in this second.

    One for all connections of a worker. Only statuses that say nothing about framing are kept, and none while
    draining, so that a lookup that succeeds means a plain answer.
    """

    def __init__(self, server: str = "demijohn") -> None:
        super().__init__()
        self.server_line = f"Server: {server}\r\n".encode("latin-1")
        self.date_line = b""
        self._draining = False
        self._second = -1

    @property
    def draining(self) -> bool:
        """Whether each connection ends with the next answer that leaves nothing to answer."""
        return self._draining

    def drain(self) -> None:
        self._draining = True
        self.clear()

    def set_time(self, now_s: float) -> None:
        """Take note of the time, in seconds since the epoch."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self.date_line = f"Date: {imf_fixdate(second)}\r\n".encode()
            self.clear()

    def learn(self, status: str, code: int) -> None:
        if not self._draining and code not in _FRAMED_BY_STATUS:
            self[status] = _status_line(status) + self.server_line + self.date_line


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def imf_fixdate(second: int) -> str:
    """Return a time, in seconds since the epoch, as HTTP writes it (RFC 9110 §5.6.7), whatever the locale."""
    at = gmtime(second)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year:04} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"


def _status_line(status: str) -> bytes:
    # RFC 9112 §4: the space stays when there is no reason phrase.
    return f"HTTP/1.1 {status if len(status) > 3 else status + ' '}\r\n".encode("latin-1")


# RFC 9110 §15.3.5, §15.3.6, §15.4.5: answers with these have no content, whatever the application gave.
_FRAMED_BY_STATUS = frozenset({204, 205, 304})


class Framing:
    """How the content of one answer goes out when it comes in parts (RFC 9112 §6).

    missing: bytes still to come of a declared length; None when none was declared.
    overlong: whether the application gave more than it declared; what is too much is cut.
    """

    __slots__ = ("_chunked", "missing", "overlong")

    def __init__(self, chunked: bool, content_length: int | None) -> None:
        self._chunked = chunked
        self.missing = content_length
        self.overlong = False

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the connection's end says that the content is complete."""
        return self.missing is None and not self._chunked

    def part_bytes(self, part: bytes) -> bytes:
        if self.missing is not None:
            self.overlong = len(part) > self.missing
            part = part[: self.missing]
            self.missing -= len(part)
        elif self._chunked and part:
            return b"%x\r\n%b\r\n" % (len(part), part)
        return part

    def end_bytes(self) -> bytes:
        return b"0\r\n\r\n" if self._chunked else b""


class _Refused(Exception):
    """Ends the parser's work; why stands in `Connection.events`, when it is worth an answer."""


class _SecondReading:
    """The callbacks of a parser whose first head is known already (see `Connection._read_without_upgrade`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._skips = True
        self.on_body = connection.on_body
        self.on_chunk_header = connection.on_chunk_header
        self.on_message_complete = connection.on_message_complete

    def on_url(self, url: bytes) -> None:
        if not self._skips:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._skips:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._skips:
            self._connection.on_headers_complete()
        self._skips = False


_OF_THE_CLOSED = httptools.HttpRequestParser(object())


class Connection:
    """One connection.

    events: what is to be answered, in order: complete requests, and last a ProtocolError if the peer made one;
        nothing is read after that.
    expecting: a request whose head is here and whose sender waits for 100 (Continue) before it sends content.
    persistent: whether the connection may carry more requests than those read so far (RFC 9112 §9.3).
    in_message: whether a request has begun to arrive and is not complete.
    framing: of the answer begun last, when its content comes in parts; None when it has no content to send.
    incoming: the content that has arrived of a request that was given away before it was complete (`begin_incoming`);
        None when there is no such request. Once all of it is there, the request is an event as ever.
    content_left: how many of the next bytes are content and nothing else, which are not parsed; 0 unless they are many.
    takes_websockets: whether the opening handshake of a WebSocket is an event; what came behind it is in `upgraded`,
        and what comes later is no HTTP.
    """

    __slots__ = (
        "_arriving",
        "_behind",
        "_between",
        "_body",
        "_body_bytes",
        "_chunks",
        "_ends",
        "_fed",
        "_feed",
        "_fields",
        "_has_underscores",
        "_head",
        "_heads",
        "_host",
        "_length",
        "_limits",
        "_most_content_bytes",
        "_of_message",
        "_origin",
        "_parser",
        "_plain_content_bytes",
        "_raw",
        "_refused_line",
        "_repeated",
        "_repeated_fields",
        "_repeated_with_content",
        "_smallest_limit",
        "_spool",
        "_spool_factory",
        "_target",
        "_trailers",
        "_upgrading",
        "content_left",
        "events",
        "expecting",
        "framing",
        "in_message",
        "incoming",
        "persistent",
        "takes_websockets",
        "upgraded",
    )

    def __init__(
        self, limits: Limits, origin: Origin, heads: AnswerHeads, spool_factory: Callable[[], BinaryIO]
    ) -> None:
        """`spool_factory` opens the temporary file for content over `body_buffer_bytes`."""
        self.events: deque[RequestHead | ProtocolError] = deque()
        self.expecting: RequestHead | None = None
        self.persistent = True
        self.in_message = False
        self.framing: Framing | None = None
        self.incoming: list[bytes] | None = None
        self.content_left = 0
        self.takes_websockets = False
        self.upgraded: bytes | None = None
        self._limits = limits
        self._smallest_limit = min(
            limits.limit_request_line, limits.limit_request_field_size, limits.limit_request_head
        )
        self._most_content_bytes = limits.body_buffer_bytes
        if limits.limit_request_body is not None:
            self._most_content_bytes = min(self._most_content_bytes, limits.limit_request_body)
        self._origin = origin
        self._heads = heads
        self._spool_factory = spool_factory
        self._raw = bytearray()  # an unfinished head
        self._refused_line = b""
        self._arriving = b""
        self._target = b""
        self._fields: Fields = []
        self._of_message: Fields = []
        self._host = b""  # known to be well-formed
        self._head: RequestHead | None = None
        self._body: bytes | bytearray = b""
        self._spool: BinaryIO | None = None
        self._body_bytes = self._length = self._fed = self._chunks = self._trailers = 0
        self._ends = self._upgrading = self._between = self._behind = self._has_underscores = False
        self._plain_content_bytes: int | None = None  # None for a request that is not to be known again
        self._repeated = _NEVER
        self._repeated_fields: Fields = []
        self._repeated_with_content: HeadBeforeContent | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._feed = self._parser.feed_data

    # -- bytes in ----------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take in what has arrived; `events` and `expecting` say what came of it. Raises nothing."""
        if not self.persistent:
            return
        if self._between:
            if data.endswith(self._repeated):
                line = PLAIN_LINE.fullmatch(data, 0, len(data) - len(self._repeated))
                if line is not None and len(data) <= self._smallest_limit:
                    head = RequestHead(_METHODS[line[1]], line[2], _HTTP_11, self._repeated_fields, self._origin)
                    self.events.append(head)
                    return
            elif self._repeated_with_content is not None:
                read = self._repeated_with_content.maybe_read(data)
                if read is not None:
                    line, content = read
                    fields = self._repeated_with_content.fields
                    head = RequestHead(_METHODS[line[1]], line[2], _HTTP_11, fields, self._origin, content)
                    self.events.append(head)
                    return
        if self.content_left:
            self.receive_content(memoryview(data))
            return
        self._between = False  # until the parser is known to be at the start of a message again
        self._arriving = data
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self.takes_websockets and self._asks_for_websocket():
                self._switch(rest)
            else:
                self._read_without_upgrade(rest)
        except httptools.HttpParserError as error:
            # After a request that ends the connection the rest is not read (RFC 9112 §9.6); after a refusal neither.
            if self.persistent:
                self.refuse(self._protocol_error(error))
        else:
            if self.events:
                begun_before = self.in_message
                self.in_message = self._behind = self._target != b""
                self._between = not self.in_message and data.endswith(END_OF_HEAD)
                # Alone: behind another, such as one that asked for an upgrade, `data` is not only its head.
                if len(self.events) == 1 and not (begun_before or self.in_message):
                    if self._plain_content_bytes:
                        self._remember_head(data, self._plain_content_bytes)
                    elif self._between and self._plain_content_bytes == 0:
                        self._remember_fields(data)
            else:
                self.in_message = True
                self._count(data)
                if self._head is not None and self._length - self._body_bytes > _UNPARSED_BYTES:
                    self.content_left = self._length - self._body_bytes

    def receive_content(self, data: memoryview) -> None:
        """Do what `receive_data` does, where `content_left` is not 0. What `data` shows may change afterwards."""
        left = self.content_left
        content = data[:left]
        try:
            self.on_body(content)
        except _Refused:
            return
        self.content_left = left - len(content)
        if not self.content_left:
            self.in_message = self._behind = False
            self._parser = httptools.HttpRequestParser(self)
            self._feed = self._parser.feed_data
            self.on_message_complete()
            if len(data) > left:
                self.receive_data(bytes(data[left:]))

    def _remember_fields(self, data: bytes) -> None:
        """Note how a request was read whose fields may come again, byte for byte, on this connection.

        It holds for requests that arrive alone and whole, have no content, and say nothing about the connection.
        bench/http1.py: with 2 field lines 0.9 us where llhttp takes 3.3, with 15 field lines 0.9 where it takes 6.5.
        """
        line, _, rest = data.partition(b"\r\n")
        if line.endswith(b" HTTP/1.1") and rest.find(END_OF_HEAD) == len(rest) - len(END_OF_HEAD):
            self._repeated = b" HTTP/1.1\r\n" + rest
            self._repeated_fields = cast(RequestHead, self.events[-1]).fields

    def _remember_head(self, data: bytes, content_bytes: int) -> None:
        """Do what `_remember_fields` does for a request with content.

        bench/http1.py: with 1 KB of content and 4 field lines 1.8 us where llhttp takes 7.9.
        """
        head_bytes = len(data) - content_bytes
        # Then nothing has come behind the content, so the next bytes begin a message.
        self._between = data.find(END_OF_HEAD) + len(END_OF_HEAD) == head_bytes
        if self._between:
            fields = cast(RequestHead, self.events[-1]).fields
            most = (self._smallest_limit, self._most_content_bytes)
            self._repeated_with_content = HeadBeforeContent.maybe_of(data[:head_bytes], fields, most)

    def receive_eof(self) -> None:
        """Note that the peer sends nothing more: a request cut short is none (RFC 9112 §8)."""
        if self.persistent and self.in_message:
            self.refuse(ProtocolError(400, "The connection ended before the request was complete."))
        self.persistent = False

    def refuse(self, error: ProtocolError) -> None:
        """Read nothing more; `error` is the last event. What was half received is dropped."""
        if not self.events:
            self._keep_refused_line()
        self.persistent = False
        self.in_message = False
        self.expecting = None
        self.content_left = 0
        self.events.append(error)
        self.discard()

    def _keep_refused_line(self) -> None:
        """Keep the line that the message being refused begins with: there is none before it in the bytes here."""
        begin, last = bytes(self._raw), self._arriving
        if not begin.endswith(last):
            begin += last
        self._refused_line = begin.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")[:_REFUSED_LINE_BYTES]

    def refused_head(self) -> RequestHead:
        """Return what is known of the request that was refused, for the log.

        When its head could not be read it has no method, and its target is the line that it began with.
        """
        return self._head or RequestHead("", self._refused_line or self._target, _HTTP_11, [], self._origin)

    def refuse_content(self) -> None:
        """Do without the content of the request in `expecting`; it is complete and the last one."""
        head = self.expecting
        assert head is not None
        self.persistent = False
        self.in_message = False
        self.expecting = None
        self.events.append(head)

    def begin_incoming(self) -> RequestHead | None:
        """Return the request whose content is arriving, which goes to `incoming` from now on; None without one."""
        if self._head is None or self.incoming is not None:
            return None
        self.incoming = [bytes(self._body)] if self._body else []
        self._body = b""
        if self._spool is not None:
            self._spool.seek(0)
            self.incoming.append(self._spool.read())
            self.discard()
        return self._head

    def leave_content(self) -> None:
        """Do without the rest of `incoming`; its request is the last one."""
        self.persistent = False
        self.in_message = False
        self.expecting = None
        self.incoming = None

    def discard(self) -> None:
        """Drop the content of an unfinished request."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def end(self) -> None:
        """Let what is in hand be the last; requests that have come after it are dropped."""
        self.persistent = False
        self.discard()
        for event in self.events:
            if isinstance(event, RequestHead) and event.spool is not None:
                event.spool.close()
        self.events.clear()

    def close(self) -> None:
        """Do what `end` does, for good: nothing may be received any more.

        The parser and this hold each other. Apart, they go now; together, they would wait for the garbage collector,
        and with thousands of short connections megabytes would wait for it.
        """
        self.end()
        self._parser = _OF_THE_CLOSED
        self._feed = _OF_THE_CLOSED.feed_data

    @property
    def received_content_bytes(self) -> int | None:
        """How much content of the unfinished request has arrived; None when its head has not."""
        return None if self._head is None else self._body_bytes

    def _count(self, data: bytes) -> None:
        """Hold what has arrived of an unfinished request against the limits: a line may never end."""
        limits = self._limits
        if self._head is not None:
            # Chunk extensions and trailers; content itself is counted in on_body.
            self._fed += len(data)
            if self._fed - self._body_bytes > limits.limit_request_head + _CHUNK_OVERHEAD_BYTES * self._chunks:
                self.refuse(ProtocolError(400, "The chunk extensions or trailers of the request are too large."))
            return
        raw = self._raw
        raw += data
        line_begin = raw.rfind(b"\n") + 1
        line_bytes = len(raw) - line_begin - 1  # its line end may have begun
        # Before the first request line with a version, what is here begins where the message does.
        if self._parser.get_http_version() in ("0.0", "0.9") and _LINE_OF_HTTP_09.match(raw):
            self.refuse(ProtocolError(505, _UNKNOWN_VERSION))  # such a request is one line; the rest would never come
        elif not line_begin and line_bytes > limits.limit_request_line:
            self.refuse(ProtocolError(414, _LONG_LINE))
        elif len(raw) > limits.limit_request_head or (line_begin and line_bytes > limits.limit_request_field_size):
            self.refuse(ProtocolError(431, _LARGE_FIELDS))

    def _protocol_error(self, error: httptools.HttpParserError) -> ProtocolError:
        if not self.events and self._head is None:
            # The message begins where the bytes do, so its first line can be looked at.
            begin = bytes(self._raw) + self._arriving
            if _OTHER_VERSION.match(begin):
                return ProtocolError(505, _UNKNOWN_VERSION)
            method = _METHOD.match(begin)
            if method and method[1] not in _METHODS and not method[1].translate(None, TOKEN_CHARS):
                return ProtocolError(501, _UNKNOWN_METHOD)
        return ProtocolError(400, f"The request is malformed: {error}.")

    def _reject(self, status: int, detail: str) -> _Refused:
        self.refuse(ProtocolError(status, detail))
        return _Refused()

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Read the content of a request that asks for another protocol; RFC 9110 §7.8 lets us ignore that.

        llhttp takes what follows such a head for the other protocol. A new parser is given a head with the same
        framing and no Upgrade; what it then reads belongs to the head that is here already.
        """
        framing = [line for line in self._of_message if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join([b"POST / HTTP/1.1\r\n", *(b"%b: %b\r\n" % line for line in framing), b"\r\n"])
        self._upgrading = False
        self._parser = httptools.HttpRequestParser(_SecondReading(self))
        self._feed = self._parser.feed_data
        self.receive_data(head + rest)

    def _asks_for_websocket(self) -> bool:
        """Whether the request that asks for another protocol asks for this one alone (RFC 6455 §4.2.1)."""
        head = self._head
        return (
            head is not None
            and head.version is _HTTP_11
            and [value.lower() for name, value in head.fields if name == b"upgrade"] == [b"websocket"]
            and not any(name in (b"content-length", b"transfer-encoding") for name, _ in self._of_message)
        )

    def _switch(self, rest: bytes) -> None:
        """Give away the opening handshake of a WebSocket. When it is refused, the answer is the last one."""
        assert self._head is not None
        self.events.append(self._head)
        self.upgraded = rest
        self.persistent = False
        self.in_message = False
        self._head = None

    # -- called by the parser ------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._target = self._target + url if self._target else url
        if len(self._target) > self._limits.limit_request_line:
            raise self._reject(414, _LONG_LINE)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            self._on_trailer(name, value)
            return
        name = name.lower()
        line = (name, value.rstrip(b" \t"))
        self._fields.append(line)
        if name in _OF_MESSAGE:
            self._of_message.append(line)
        elif b"_" in name:
            self._has_underscores = True

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        # RFC 9110 §6.5.1: trailers may be dropped; merging them into the fields would let them override.
        limits = self._limits
        self._trailers += 1
        if self._trailers > limits.limit_request_fields or len(name) + len(value) > limits.limit_request_field_size:
            raise self._reject(431, "The trailers of the request are too large.")
        if name.lower() in _NO_TRAILERS:
            raise self._reject(400, "The request has a trailer that must not be one.")

    def on_headers_complete(self) -> None:
        if not self.persistent:
            raise _Refused  # RFC 9112 §9.6: nothing is read after a request that ends the connection
        limits = self._limits
        parser = self._parser
        target = self._target
        version = _VERSIONS.get(parser.get_http_version())
        if version is None:
            raise self._reject(505, _UNKNOWN_VERSION)
        method = _METHODS.get(parser.get_method())
        if method is None:
            raise self._reject(501, _UNKNOWN_METHOD)
        if len(self._fields) > limits.limit_request_fields:
            raise self._reject(431, "The request has too many fields.")
        # What is here of this head came with the last piece, unless the head has begun before.
        if self.in_message or len(self._arriving) > self._smallest_limit:
            self._check_sizes(len(method), len(target))
        if target[:1] != b"/" or b"#" in target:
            self._check_target(method, target)
        if not (self.events or self._behind):
            self._check_line(method.encode(), target)

        script_name = self._origin.script_name
        if self._has_underscores:
            script_name = self._settle_names() or script_name
        self._head = head = RequestHead(method, target, version, self._fields, self._origin)
        self._read_fields_of_message(head)
        if self._upgrading or script_name:
            self._make_special(head, script_name)

    def _settle_names(self) -> bytes:
        self._has_underscores = False
        try:
            self._fields, script_name = settle(self._fields, self._limits, is_trusted=self._origin.told is not None)
        except ProtocolError as error:
            raise self._reject(error.status, error.detail) from None
        return script_name

    def _make_special(self, head: RequestHead, script_name: bytes) -> None:
        head.special = Special(self._upgrading, script_name)
        if script_name:
            self._plain_content_bytes = None
            path = split_target(head.target)[1]
            if not path.startswith(script_name) or path[len(script_name) :][:1] not in (b"", b"/"):
                raise self._reject(404, "There is nothing at this path: the application is mounted at another one.")

    def _check_line(self, method: bytes, target: bytes) -> None:
        """Have a request line, with which a piece begins, as RFC 9112 §3 has it.

        llhttp takes several blanks for one, as that section allows, and RTSP for HTTP.
        """
        line = b"%b %b HTTP/" % (method, target)
        if not self._raw and self._arriving.startswith(line):
            return
        arrived = bytes(self._raw) + self._arriving
        begin = arrived.lstrip(b"\r\n")
        if not begin.startswith(method + b" "):
            return  # it is the end of a line whose begin came behind another request
        if not begin.startswith(line):
            raise self._reject(400, "A request line is a method, a target and an HTTP version, with a blank between.")
        # RFC 9112 §2.2: empty lines before a request are ignored, and a CR alone is invalid.
        if not _EMPTY_LINES.fullmatch(arrived, 0, len(arrived) - len(begin)):
            raise self._reject(400, "The request begins with a CR that ends no line.")

    def _read_fields_of_message(self, head: RequestHead) -> None:
        """Hold the fields that say something about message and connection against the rules, and do what they say."""
        limits = self._limits
        version = head.version
        hosts = types = 0
        content_length = 0
        codings: bytes | None = None
        expects = closes = keeps_alive = upgrade = False
        for name, value in self._of_message:
            if name == b"host":
                hosts += 1
                if value != self._host:
                    if not AUTHORITY.fullmatch(value):
                        raise self._reject(400, "The Host field is malformed.")
                    self._host = value
            elif name == b"connection":
                for option in value.lower().split(b","):
                    option = option.strip(b" \t")
                    if option == b"close":
                        closes = True
                    elif option == b"keep-alive":
                        keeps_alive = True
                    elif option == b"upgrade":
                        upgrade = True
            elif name == b"content-length":
                content_length = int(value)  # llhttp has seen to it that it is one line of digits
            elif name == b"transfer-encoding":
                codings = value if codings is None else codings + b"," + value
            elif name == b"content-type":
                types += 1
            elif version is _HTTP_11:
                expects = True
                if any(each.strip(b" \t") != b"100-continue" for each in value.lower().split(b",")):
                    raise self._reject(417, "This server knows no expectation but 100-continue.")
        # RFC 9112 §3.2.
        if hosts != 1 and (hosts or version is _HTTP_11):
            raise self._reject(400, "The request must have one Host field.")
        if types > 1:
            # RFC 9110 §8.3: the readers of such a message differ in which of them they believe.
            raise self._reject(400, "The request must not have two Content-Type fields.")
        if limits.limit_request_body is not None and content_length > limits.limit_request_body:
            raise self._reject(413, _LARGE_CONTENT)

        chunked = codings is not None
        if codings is not None:
            self._check_codings(version, codings.lower())
        self._ends = closes or (version is _HTTP_10 and not keeps_alive)
        self._upgrading = upgrade and self._parser.should_upgrade()
        is_plain = not (self._ends or chunked or expects or self._upgrading)
        self._plain_content_bytes = content_length if is_plain else None
        self._length = 0 if chunked else content_length
        if chunked or content_length:
            self._chunks = self._trailers = 0
            self._fed = -len(self._arriving)
            if expects:
                self.expecting = head

    def _check_codings(self, version: tuple[int, int], codings: bytes) -> None:
        """RFC 9112 §6.1, §6.3: what is not understood cannot be delimited, and is how requests are smuggled."""
        if version is _HTTP_10:
            raise self._reject(400, "HTTP/1.0 has no transfer codings.")
        if codings == b"chunked":
            return
        if codings.rpartition(b",")[2].strip(b" \t") in _NOT_LAST:
            raise self._reject(400, "The last transfer coding of a request must be chunked.")
        raise self._reject(501, "This server knows no transfer coding but a single chunked.")

    def _check_sizes(self, method_bytes: int, target_bytes: int) -> None:
        limits = self._limits
        line_bytes = method_bytes + target_bytes + len("  HTTP/1.1")
        if line_bytes > limits.limit_request_line:
            raise self._reject(414, _LONG_LINE)
        sizes = [len(name) + len(value) + len(": ") for name, value in self._fields]
        total = line_bytes + sum(sizes) + 2 * len(sizes) + 4  # with the line ends
        if total > limits.limit_request_head or max(sizes, default=0) > limits.limit_request_field_size:
            raise self._reject(431, _LARGE_FIELDS)

    def _check_target(self, method: str, target: bytes) -> None:
        """RFC 9112 §3.2: origin-form, absolute-form, and `*` for OPTIONS. CONNECT is for proxies."""
        if target == b"*" and method == "OPTIONS":
            return
        if b"#" in target:
            raise self._reject(400, "The request target must not have a fragment.")
        if target[:1] == b"/":
            return
        if not target.lower().startswith((b"http://", b"https://")):
            raise self._reject(400, "The request target is neither a path nor an http URL.")
        authority = split_target(target)[0]
        if not authority or not AUTHORITY.fullmatch(authority) or authority.startswith(b":"):
            raise self._reject(400, "The request target has no valid host.")

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, data: bytes | memoryview) -> None:
        self.expecting = None
        limits = self._limits
        self._body_bytes += len(data)
        if limits.limit_request_body is not None and self._body_bytes > limits.limit_request_body:
            raise self._reject(413, _LARGE_CONTENT)
        if self.incoming is not None:
            self.incoming.append(bytes(data))
            return
        if self._body_bytes > limits.body_buffer_bytes:
            self._write_to_spool(data)
        elif not self._body:
            self._body = bytes(data)
        elif type(self._body) is bytearray:
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    def _write_to_spool(self, data: bytes | memoryview) -> None:
        try:
            if self._spool is None:
                self._spool = self._spool_factory()
                self._spool.write(self._body)
                self._body = b""
            self._spool.write(data)
        except OSError as error:
            refusal = ProtocolError(503, "The server cannot store the content of the request now.")
            refusal.__cause__ = error
            self.refuse(refusal)
            raise _Refused from error

    def on_message_complete(self) -> None:
        if self._upgrading:
            return  # llhttp only stops here; the content is read by _read_without_upgrade
        head = self._head
        assert head is not None
        if self.incoming is not None:
            self.incoming = None
            self._body_bytes = 0
        elif self._body_bytes:
            self._take_content(head)
        self._head = None
        self._target = b""
        self._fields = []
        self._of_message = []
        if self._raw:
            self._raw.clear()
        if self._ends:
            self.persistent = False
        self.events.append(head)

    def _take_content(self, head: RequestHead) -> None:
        if self._spool is None:
            head.content = bytes(self._body)
            self._body = b""
        else:
            self._spool.seek(0)
            head.spool = self._spool
            head.content = None
            self._spool = None
        self._body_bytes = 0

    # -- answers out -----------------------------------------------------------------------------------

    def respond(self, head: RequestHead, message: ResponseMessage) -> bytes:
        """Return the whole answer; for content that comes in parts, its head, and `framing` does the rest.

        When `persistent` is false afterwards and there are no more `events`, the answer is the connection's last.
        Raises BadResponse for a status that cannot be an answer.
        """
        content = message.content
        first_lines = self._heads.get(message.status)
        if (
            first_lines is not None
            and type(content) is bytes
            and self.persistent
            and head.version is _HTTP_11
            and head.method != "HEAD"
            and not message.own_fields
            and (message.content_length is None or message.content_length == len(content))
        ):
            return b"%b%bContent-Length: %d\r\n\r\n%b" % (first_lines, message.field_lines, len(content), content)
        return self._respond_fully(head, message)

    def _respond_fully(self, head: RequestHead, message: ResponseMessage) -> bytes:
        code = int(message.status[:3])
        if code < 200:
            raise BadResponse(f"{message.status!r} is an interim status and no answer")
        content = message.content if isinstance(message.content, bytes) else None
        length = message.content_length
        if length is None and content is not None and code != 304:
            length = len(content)
        if code == 205:
            length = 0
        with_content = head.method != "HEAD" and code not in _FRAMED_BY_STATUS

        chunked = False
        framing_line = b""
        if length is not None:
            framing_line = b"Content-Length: %d\r\n" % length if code != 204 else b""
        elif with_content and head.version == _HTTP_11:
            chunked = True
            framing_line = b"Transfer-Encoding: chunked\r\n"
        elif with_content:
            self.end()  # RFC 9112 §6.3 rule 8: HTTP/1.0 knows the end of such content by the connection's
        self.framing = Framing(chunked, length) if with_content and content is None else None
        if not with_content:
            content = b""
        elif content is not None and length is not None:
            if len(content) < length:
                self.end()  # whatever came next would be taken for the content that is missing
            content = content[:length]

        if self._heads.draining and not self.events:
            self.persistent = False
        persists = self.persistent or bool(self.events)
        self._heads.learn(message.status, code)
        return b"".join(
            (
                _status_line(message.status),
                b"" if b"server" in message.own_fields else self._heads.server_line,
                b"" if b"date" in message.own_fields else self._heads.date_line,
                message.field_lines,
                framing_line,
                b"Connection: close\r\n" if not persists else b"",
                b"Connection: keep-alive\r\n" if persists and head.version == _HTTP_10 else b"",
                b"\r\n",
                content or b"",
            )
        )

    def switching_bytes(self, lines: list[bytes]) -> bytes:
        """Return the answer that changes to another protocol (RFC 9110 §15.2.2); `lines` are field lines."""
        first = (b"HTTP/1.1 101 Switching Protocols", self._heads.server_line[:-2], self._heads.date_line[:-2])
        return b"\r\n".join((*first, *lines, b"", b""))

    def respond_to_error(self, error: ProtocolError) -> bytes:
        """Return the answer to a request that was refused. It is the connection's last."""
        head = self._head or RequestHead("GET", b"/", _HTTP_11, [], self._origin)
        self.end()
        return self.respond(head, plain_answer(error.status, error.detail))


def plain_answer(status: int, sentence: str) -> ResponseMessage:
    """Return an answer of the server's own: a status and one sentence."""
    content = (sentence + "\n").encode()
    # RFC 9110 §10.2.3: what is short for a moment may be there again soon.
    retry = b"Retry-After: 5\r\n" if status == 503 else b""
    return ResponseMessage(
        f"{status} {REASONS.get(status, '')}".rstrip(),
        b"Content-Type: text/plain; charset=utf-8\r\n" + retry,
        content,
        len(content),
    )
