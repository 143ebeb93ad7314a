"""What a request must be: the rules of RFC 9110 and RFC 9112 that llhttp leaves to a server, and our limits.

Each function raises ProtocolError, with the status to answer with, for what breaks its rule. No I/O, as in `http1.py`,
which asks them in turn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from ..environ import split_target
from ..message import TOKEN_CHARS, Fields, ProtocolError, is_authority
from .fieldnames import Policy
from .framing import HTTP_10, HTTP_11


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


# llhttp knows these, and the methods of RTSP and ICE, which it lets through under their protocols' names.
# fmt: off
METHODS = {name.encode(): name for name in (
    "ACL", "BIND", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY",
    "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT",
    "QUERY", "REBIND", "REPORT", "SEARCH", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
)}
# fmt: on
VERSIONS = {"1.1": HTTP_11, "1.0": HTTP_10}

# Fields that say something about the message or the connection; the others are the application's.
OF_MESSAGE = frozenset({b"host", b"connection", b"content-length", b"content-type", b"transfer-encoding", b"expect"})

# RFC 9110 §6.5.1: what says where a message goes, how long it is or who sends it has no place behind it.
_NO_TRAILERS = frozenset({b"authorization", b"content-length", b"host", b"te", b"trailer", b"transfer-encoding"})

# RFC 9112 §6.3 rule 4: transfer codings after which nobody knows where the content ends.
_NOT_LAST = frozenset({b"", b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"})

# No file is larger, nor does any program count further.
_MOST_CONTENT_BYTES = (1 << 63) - 1

_OTHER_VERSION = re.compile(rb"(?:\r\n)*[^ \r\n]+ [^ \r\n]+ HTTP/(?!1\.[01])[0-9]\.[0-9]")
_LINE_OF_HTTP_09 = re.compile(rb"(?:\r\n)*[^ \r\n]+ [^ \r\n]+ ?\r?\n")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*")
_METHOD = re.compile(rb"(?:\r\n)*([^ \r\n]+) ")

UNKNOWN_METHOD = "This server does not know the method of the request."
UNKNOWN_VERSION = "This server speaks HTTP/1.1 and HTTP/1.0."
LONG_LINE = "The request line is too long."
_LARGE_FIELDS = "The fields of the request are too large."
LARGE_CONTENT = "The content of the request is too large."


def check_line(method: bytes, target: bytes, arrived: bytes) -> None:
    """Have a request line, with which `arrived` begins, as RFC 9112 §3 has it.

    llhttp takes several blanks for one, as that section allows, and RTSP for HTTP.
    """
    begin = arrived.lstrip(b"\r\n")
    if not begin.startswith(method + b" "):
        return  # it is the end of a line whose begin came behind another request
    if not begin.startswith(b"%b %b HTTP/" % (method, target)):
        raise ProtocolError(400, "A request line is a method, a target and an HTTP version, with a blank between.")
    # RFC 9112 §2.2: empty lines before a request are ignored, and a CR alone is invalid.
    if not _EMPTY_LINES.fullmatch(arrived, 0, len(arrived) - len(begin)):
        raise ProtocolError(400, "The request begins with a CR that ends no line.")


def check_target(method: str, target: bytes) -> None:
    """RFC 9112 §3.2: origin-form, absolute-form, and `*` for OPTIONS. CONNECT is for proxies.

    A query is held to less than RFC 3986 §2.1 asks for: people and programs write `?q=100%`, and no two readers differ
    in where that ends.
    """
    if target == b"*" and method == "OPTIONS":
        return
    if b"#" in target:
        raise ProtocolError(400, "The request target must not have a fragment.")
    if _BROKEN_ESCAPE.search(target.partition(b"?")[0]):
        raise ProtocolError(400, "The request target has a % that two hexadecimal digits do not follow.")
    if target[:1] == b"/":
        return
    if not target.lower().startswith((b"http://", b"https://")):
        raise ProtocolError(400, "The request target is neither a path nor an http URL.")
    authority = split_target(target)[0]
    if not authority or not is_authority(authority) or authority.startswith(b":"):
        raise ProtocolError(400, "The request target has no valid host.")


def check_mount(target: bytes, script_name: bytes) -> None:
    """Have a target that is at or below the path that the application is mounted at."""
    path = split_target(target)[1]
    if not path.startswith(script_name) or path[len(script_name) :][:1] not in (b"", b"/"):
        raise ProtocolError(404, "There is nothing at this path: the application is mounted at another one.")


def check_sizes(method: str, target: bytes, fields: Fields, limits: Limits) -> None:
    line_bytes = len(method) + len(target) + len("  HTTP/1.1")
    if line_bytes > limits.limit_request_line:
        raise ProtocolError(414, LONG_LINE)
    sizes = [len(name) + len(value) + len(": ") for name, value in fields]
    total = line_bytes + sum(sizes) + 2 * len(sizes) + 4  # with the line ends
    if total > limits.limit_request_head or max(sizes, default=0) > limits.limit_request_field_size:
        raise ProtocolError(431, _LARGE_FIELDS)


def check_unfinished_head(arrived: bytes | bytearray, limits: Limits, *, is_first: bool) -> None:
    """Hold what has arrived of a head against the limits: a line may never end.

    is_first: whether it is of a connection's first request, so that `arrived` begins where the message does.
    """
    line_begin = arrived.rfind(b"\n") + 1
    line_bytes = len(arrived) - line_begin - 1  # its line end may have begun
    if is_first and _LINE_OF_HTTP_09.match(arrived):
        raise ProtocolError(505, UNKNOWN_VERSION)  # such a request is one line; the rest would never come
    if not line_begin and line_bytes > limits.limit_request_line:
        raise ProtocolError(414, LONG_LINE)
    if len(arrived) > limits.limit_request_head or (line_begin and line_bytes > limits.limit_request_field_size):
        raise ProtocolError(431, _LARGE_FIELDS)


def check_trailer(name: bytes, value: bytes, count: int, limits: Limits) -> None:
    if count > limits.limit_request_fields or len(name) + len(value) > limits.limit_request_field_size:
        raise ProtocolError(431, "The trailers of the request are too large.")
    if name.lower() in _NO_TRAILERS:
        raise ProtocolError(400, "The request has a trailer that must not be one.")


@dataclass(slots=True)
class MessageFields:
    """What the fields say about message and connection.

    host: the Host field, known to be well-formed. content_length: in bytes; 0 when the content is chunked or there is
    none. ends: whether the connection ends with this request. expects: whether it waits for 100 (Continue).
    upgrades: whether the connection's options have an upgrade.
    """

    host: bytes
    content_length: int
    chunked: bool
    ends: bool
    expects: bool
    upgrades: bool


def fields_of_message(fields: Fields, version: tuple[int, int], known_host: bytes, limits: Limits) -> MessageFields:
    """Hold the fields that say something about message and connection against the rules; return what they say.

    fields: those of OF_MESSAGE. known_host: a Host that is known to be well-formed.
    """
    hosts = types = 0
    content_length = 0
    codings: bytes | None = None
    expects = closes = keeps_alive = upgrades = False
    for name, value in fields:
        if name == b"host":
            hosts += 1
            if value != known_host:
                if not is_authority(value):
                    raise ProtocolError(400, "The Host field is malformed.")
                known_host = value
        elif name == b"connection":
            for option in value.lower().split(b","):
                option = option.strip(b" \t")
                if option == b"close":
                    closes = True
                elif option == b"keep-alive":
                    keeps_alive = True
                elif option == b"upgrade":
                    upgrades = True
        elif name == b"content-length":
            content_length = int(value)  # llhttp has seen to it that it is one line of digits
        elif name == b"transfer-encoding":
            codings = value if codings is None else codings + b"," + value
        elif name == b"content-type":
            types += 1
        elif version is HTTP_11:
            expects = True
            if any(each.strip(b" \t") != b"100-continue" for each in value.lower().split(b",")):
                raise ProtocolError(417, "This server knows no expectation but 100-continue.")
    # RFC 9112 §3.2.
    if hosts != 1 and (hosts or version is HTTP_11):
        raise ProtocolError(400, "The request must have one Host field.")
    if types > 1:
        # RFC 9110 §8.3: the readers of such a message differ in which of them they believe.
        raise ProtocolError(400, "The request must not have two Content-Type fields.")
    if codings is None:
        most = limits.limit_request_body
        if content_length > (_MOST_CONTENT_BYTES if most is None else most):
            raise ProtocolError(413, LARGE_CONTENT)
    else:
        _check_codings(version, codings.lower())
        content_length = 0
    ends = closes or (version is HTTP_10 and not keeps_alive)
    return MessageFields(known_host, content_length, codings is not None, ends, expects, upgrades)


def _check_codings(version: tuple[int, int], codings: bytes) -> None:
    """RFC 9112 §6.1, §6.3: what is not understood cannot be delimited, and is how requests are smuggled."""
    if version is HTTP_10:
        raise ProtocolError(400, "HTTP/1.0 has no transfer codings.")
    if codings == b"chunked":
        return
    if codings.rpartition(b",")[2].strip(b" \t") in _NOT_LAST:
        raise ProtocolError(400, "The last transfer coding of a request must be chunked.")
    raise ProtocolError(501, "This server knows no transfer coding but a single chunked.")


def error_of(malformed: Exception, begin: bytes | None) -> ProtocolError:
    """Return what a request is answered with that llhttp calls `malformed`.

    begin: what has arrived of it, from where it begins; None when that is not known.
    """
    if begin is not None:
        if _OTHER_VERSION.match(begin):
            return ProtocolError(505, UNKNOWN_VERSION)
        method = _METHOD.match(begin)
        if method and method[1] not in METHODS and not method[1].translate(None, TOKEN_CHARS):
            return ProtocolError(501, UNKNOWN_METHOD)
    return ProtocolError(400, f"The request is malformed: {malformed}.")
