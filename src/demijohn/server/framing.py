"""How an answer is framed, and whether the connection persists behind it: an answer in, bytes out (RFC 9112 §6, §9.3).

No I/O, as in `http1.py`, whose `Connection` is the other side of this one: what it reads says what may be answered.
"""

from __future__ import annotations

from collections import deque
from time import gmtime

from ..message import REASONS, BadResponse, ProtocolError, RequestHead, ResponseMessage

HTTP_10, HTTP_11 = (1, 0), (1, 1)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# RFC 9110 §15.3.5, §15.3.6, §15.4.5: answers with these have no content, whatever the application gave.
_FRAMED_BY_STATUS = frozenset({204, 205, 304})


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


class Answers:
    """The side of a connection that writes.

    events: what is to be answered, in order: complete requests, and last a ProtocolError if the peer made one;
        nothing is read after that.
    persistent: whether the connection may carry more requests than those read so far (RFC 9112 §9.3).
    framing: of the answer begun last, when its content comes in parts; None when it has no content to send.
    """

    __slots__ = ("_heads", "events", "framing", "persistent")

    def __init__(self, heads: AnswerHeads) -> None:
        self._heads = heads
        self.events: deque[RequestHead | ProtocolError] = deque()
        self.persistent = True
        self.framing: Framing | None = None

    def end(self) -> None:
        """Let what is in hand be the last; requests that have come after it are dropped."""
        raise NotImplementedError

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
            and head.version is HTTP_11
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
        elif with_content and head.version == HTTP_11:
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
                b"Connection: keep-alive\r\n" if persists and head.version == HTTP_10 else b"",
                b"\r\n",
                content or b"",
            )
        )

    def switching_bytes(self, lines: list[bytes]) -> bytes:
        """Return the answer that changes to another protocol (RFC 9110 §15.2.2); `lines` are field lines."""
        first = (b"HTTP/1.1 101 Switching Protocols", self._heads.server_line[:-2], self._heads.date_line[:-2])
        return b"\r\n".join((*first, *lines, b"", b""))


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
