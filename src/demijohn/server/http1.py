"""HTTP/1.1, the server's side of one connection: bytes in, requests out; answers in, bytes out.

Sans-I/O: no socket, clock, thread or logger. The parser is llhttp (httptools); what it leaves open is decided beside
this, each thing in one place: what a request must be in `request_rules.py`, how an answer is framed and whether the
connection persists in `framing.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast

import httptools

from ..message import Fields, Origin, ProtocolError, RequestHead, Special
from .fieldnames import settle
from .framing import HTTP_11, AnswerHeads, Answers, plain_answer
from .repetition import END_OF_HEAD, PLAIN_LINE, HeadBeforeContent
from .request_rules import (
    LARGE_CONTENT,
    LONG_LINE,
    METHODS,
    OF_MESSAGE,
    UNKNOWN_METHOD,
    UNKNOWN_VERSION,
    VERSIONS,
    Limits,
    check_line,
    check_mount,
    check_sizes,
    check_target,
    check_trailer,
    check_unfinished_head,
    error_of,
    fields_of_message,
)

_NEVER = b"\0no request ends so"

# What a chunk may cost besides its data: its size in hexadecimal, two line ends, and some room.
_CHUNK_OVERHEAD_BYTES = 16

# So much content of a known length, still to come, is not parsed; the parser has to begin anew behind it.
# bench/bodies.py: 5 MB into a temporary file in 1.9 ms, through llhttp in 2.5.
_UNPARSED_BYTES = 1 << 16

# How much of what is no request the log shows.
_REFUSED_LINE_BYTES = 512


class _Unread(Exception):
    """Ends the parser's work behind the last request of a connection."""


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


class Connection(Answers):
    """One connection. `Answers` is the side that writes.

    expecting: a request whose head is here and whose sender waits for 100 (Continue) before it sends content.
    in_message: whether a request has begun to arrive and is not complete.
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
        "expecting",
        "in_message",
        "incoming",
        "takes_websockets",
        "upgraded",
    )

    def __init__(
        self, limits: Limits, origin: Origin, heads: AnswerHeads, spool_factory: Callable[[], BinaryIO]
    ) -> None:
        """`spool_factory` opens the temporary file for content over `body_buffer_bytes`."""
        super().__init__(heads)
        self.expecting: RequestHead | None = None
        self.in_message = False
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
                    head = RequestHead(METHODS[line[1]], line[2], HTTP_11, self._repeated_fields, self._origin)
                    self.events.append(head)
                    return
            elif self._repeated_with_content is not None:
                read = self._repeated_with_content.maybe_read(data)
                if read is not None:
                    method, target, content = read
                    fields = self._repeated_with_content.fields
                    head = RequestHead(METHODS[method], target, HTTP_11, fields, self._origin, content)
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
                self._refuse_for(error)
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
        except ProtocolError as error:
            self.refuse(error)
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

    def _refuse_for(self, error: httptools.HttpParserError) -> None:
        """Do what `refuse` does for what has stopped the parser, a rule of ours or one of its own."""
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and isinstance(cause, ProtocolError):
            self.refuse(cause)
        else:
            # The message begins where the bytes do, unless it began behind another one.
            begin = None if self.events or self._head is not None else bytes(self._raw) + self._arriving
            self.refuse(error_of(error, begin))

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
        return self._head or RequestHead("", self._refused_line or self._target, HTTP_11, [], self._origin)

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
        self._raw += data
        try:
            check_unfinished_head(self._raw, limits, is_first=self._parser.get_http_version() in ("0.0", "0.9"))
        except ProtocolError as error:
            self.refuse(error)

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
            and head.version is HTTP_11
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
            raise ProtocolError(414, LONG_LINE)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            self._on_trailer(name, value)
            return
        name = name.lower()
        line = (name, value.rstrip(b" \t"))
        self._fields.append(line)
        if name in OF_MESSAGE:
            self._of_message.append(line)
        elif b"_" in name:
            self._has_underscores = True

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        # RFC 9110 §6.5.1: trailers may be dropped; merging them into the fields would let them override.
        self._trailers += 1
        check_trailer(name, value, self._trailers, self._limits)

    def on_headers_complete(self) -> None:
        if not self.persistent:
            raise _Unread  # RFC 9112 §9.6: nothing is read after a request that ends the connection
        limits = self._limits
        parser = self._parser
        target = self._target
        version = VERSIONS.get(parser.get_http_version())
        if version is None:
            raise ProtocolError(505, UNKNOWN_VERSION)
        method = METHODS.get(parser.get_method())
        if method is None:
            raise ProtocolError(501, UNKNOWN_METHOD)
        if len(self._fields) > limits.limit_request_fields:
            raise ProtocolError(431, "The request has too many fields.")
        # What is here of this head came with the last piece, unless the head has begun before.
        if self.in_message or len(self._arriving) > self._smallest_limit:
            check_sizes(method, target, self._fields, limits)
        if target[:1] != b"/" or b"#" in target or b"%" in target:
            check_target(method, target)
        if not (self.events or self._behind):
            self._check_line(method, target)

        script_name = self._origin.script_name
        if self._has_underscores:
            self._has_underscores = False
            self._fields, told = settle(self._fields, limits, is_trusted=self._origin.told is not None)
            script_name = told or script_name
        self._head = head = RequestHead(method, target, version, self._fields, self._origin)
        self._read_fields_of_message(head)
        if self._upgrading or script_name:
            head.special = Special(self._upgrading, script_name)
        if script_name:
            self._plain_content_bytes = None
            check_mount(target, script_name)

    def _check_line(self, method: str, target: bytes) -> None:
        if self._raw or not self._arriving.startswith(b"%b %b HTTP/" % (method.encode(), target)):
            check_line(method.encode(), target, bytes(self._raw) + self._arriving)

    def _read_fields_of_message(self, head: RequestHead) -> None:
        said = fields_of_message(self._of_message, head.version, self._host, self._limits)
        self._host = said.host
        self._ends = said.ends
        self._upgrading = said.upgrades and self._parser.should_upgrade()
        is_plain = not (said.ends or said.chunked or said.expects or self._upgrading)
        self._plain_content_bytes = said.content_length if is_plain else None
        self._length = said.content_length
        if said.chunked or said.content_length:
            if head.method == "TRACE":
                raise ProtocolError(400, "A TRACE request must not have content.")  # RFC 9110 §9.3.8
            self._chunks = self._trailers = 0
            self._fed = -len(self._arriving)
            if said.expects:
                self.expecting = head

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, data: bytes | memoryview) -> None:
        self.expecting = None
        limits = self._limits
        self._body_bytes += len(data)
        if limits.limit_request_body is not None and self._body_bytes > limits.limit_request_body:
            raise ProtocolError(413, LARGE_CONTENT)
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
            raise ProtocolError(503, "The server cannot store the content of the request now.") from error

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

    def respond_to_error(self, error: ProtocolError, head: RequestHead | None = None) -> bytes:
        """Return the answer to a request that was refused. It is the connection's last.

        head: of a request that was complete; None for the one that is arriving.
        """
        head = head or self._head or RequestHead("GET", b"/", HTTP_11, [], self._origin)
        self.end()
        return self.respond(head, plain_answer(error.status, error.detail))
