"""Compression of answers on their way out, for `--compress` (RFC 9110 §8.4).

A gateway around the application's: a server without it pays nothing.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ..codings import IDENTITY, choose
from ..environ import FileWrapper
from ..message import RequestHead, ResponseMessage, Suspended, Watched
from ..typing import Gateway, Route

log = logging.getLogger("demijohn.server")

# Less fits into one packet anyway.
MIN_BYTES = 1024
# Content up to this is compressed at once; more, in blocks as the client takes them: whoever calls the gateway may be
# the thread of the event loop.
_AT_ONCE_BYTES = 65536

# Levels that cost little: an answer is compressed once and sent once.
_GZIP_LEVEL, _BROTLI_QUALITY, _ZSTD_LEVEL = 5, 4, 3

_COMPRESSIBLE = re.compile(
    rb"text/(?!event-stream)[^;]*|[^;]+\+(?:json|xml|text)|"
    rb"application/(?:json|json-seq|jsonl|x-ndjson|ndjson|javascript|x-javascript|ecmascript|xml|xml-dtd|wasm|yaml|toml|"
    rb"sql|graphql|rtf|x-sh|x-httpd-php|vnd\.ms-fontobject)|font/(?:ttf|otf|collection)|image/(?:bmp|x-icon|"
    rb"vnd\.microsoft\.icon)"
)
# What is compressed already, a part, or vouched for byte by byte (RFC 9110 §8.4, §14.4, RFC 9530).
_UNTOUCHABLE = frozenset(
    {b"content-encoding", b"content-range", b"content-digest", b"repr-digest", b"digest", b"content-md5"}
)
# Without content, with a part of it, or (304) about content that was sent before.
_UNTOUCHED_STATUSES = frozenset({"204", "205", "206", "304"})


class Encoder(Protocol):
    """What compresses one answer."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes:
        """Return what is needed to read all that came so far."""

    def finish(self) -> bytes:
        """Return the end of the content."""


class _Gzip:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self.compress = self._deflate.compress

    def flush(self) -> bytes:
        return self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._deflate.flush(zlib.Z_FINISH)


def _encoders() -> dict[str, Callable[[], Encoder]]:
    """Return what makes an encoder for each coding that can be made here, the quickest first."""
    makers = {"zstd": _zstd_encoder(), "br": _brotli_encoder(), "gzip": _Gzip}
    return {coding: make for coding, make in makers.items() if make is not None}


def _zstd_encoder() -> Callable[[], Encoder] | None:
    """Use the standard library's, of Python 3.14, or the package zstandard. Their windows stay below RFC 9659's."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        pass
    else:

        class Zstd:
            def __init__(self) -> None:
                self._compressor: Any = zstd.ZstdCompressor(_ZSTD_LEVEL)
                self.compress: Callable[[bytes], bytes] = self._compressor.compress

            def flush(self) -> bytes:
                return bytes(self._compressor.flush(self._compressor.FLUSH_BLOCK))

            def finish(self) -> bytes:
                return bytes(self._compressor.flush(self._compressor.FLUSH_FRAME))

        return Zstd
    try:
        import zstandard
    except ImportError:
        return None

    class ZstdOfPackage:
        def __init__(self) -> None:
            self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
            self.compress = self._compressor.compress

        def flush(self) -> bytes:
            return self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

        def finish(self) -> bytes:
            return self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)

    return ZstdOfPackage


def _brotli_encoder() -> Callable[[], Encoder] | None:
    try:
        import brotli  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None

    class Brotli:
        def __init__(self) -> None:
            compressor = brotli.Compressor(quality=_BROTLI_QUALITY)
            self.compress: Callable[[bytes], bytes] = compressor.process
            self.flush: Callable[[], bytes] = compressor.flush
            self.finish: Callable[[], bytes] = compressor.finish

    return Brotli


class Compression:
    """What is compressed, and how."""

    def __init__(self) -> None:
        self._encoders = _encoders()
        self.codings = tuple(self._encoders)

    def begin(self, head: RequestHead, message: ResponseMessage, size: int | None) -> Encoder | None:
        """Make the fields of an answer say that it is compressed, and return what is to do it; None when it is not.

        size: of the content, in bytes; None when that is not known.
        """
        code = message.status[:3]
        if code == "304":
            _agree_on_tag(head, message)
            return None
        if (
            (size is not None and size < MIN_BYTES)
            or code in _UNTOUCHED_STATUSES
            or (head.special is not None and head.special.upgrades)
        ):
            return None
        fields = _fields_of(message.field_lines)
        media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if (
            _COMPRESSIBLE.fullmatch(media_type) is None
            or not _UNTOUCHABLE.isdisjoint(fields)
            or b"no-transform" in fields.get(b"cache-control", b"").lower()
        ):
            return None
        _add_vary(message, fields.get(b"vary", b""))
        coding = choose(_accepted(head), self.codings)
        if coding == IDENTITY:
            return None
        lines = [_coded_line(line) for line in message.field_lines.splitlines(keepends=True)]
        message.field_lines = b"%bContent-Encoding: %b\r\n" % (b"".join(lines), coding.encode())
        message.content_length = None
        return self._encoders[coding]()

    def compress(self, head: RequestHead, message: ResponseMessage, *, at_once: bool = False) -> ResponseMessage:
        """Return the answer, compressed if it is to be; with `at_once`, content that is bytes remains bytes."""
        content, declared = message.content, message.content_length
        size = declared
        if type(content) is bytes:
            if head.method != "HEAD":
                size = len(content)
                if declared is not None and declared != size:
                    return message  # not what it says it is: what that means is decided where it is framed
            elif size is None:
                size = len(content) or None
        encoder = self.begin(head, message, size)
        if encoder is None:
            return message
        if head.method == "HEAD":
            message.content = ()  # how long it would be is not known (RFC 9110 §9.3.2)
        elif not isinstance(content, bytes):
            message.content = _in_parts(head, content, encoder, declared)
        elif at_once or len(content) <= _AT_ONCE_BYTES:
            message.content = encoder.compress(content) + encoder.finish()
        else:
            message.content = _in_blocks(content, encoder)
        return message


def _in_blocks(content: bytes, encoder: Encoder) -> Iterator[bytes]:
    for start in range(0, len(content), _AT_ONCE_BYTES):
        yield encoder.compress(content[start : start + _AT_ONCE_BYTES])
    yield encoder.finish()


def _in_parts(head: RequestHead, parts: Iterable[bytes], encoder: Encoder, declared: int | None) -> Iterator[bytes]:
    """Yield the content so that the client can read each part when it was made. A file is no such stream.

    Raises ValueError when there is less than was declared, and then the peer must not take it for complete.
    """
    waits = not isinstance(parts, FileWrapper)
    left = declared
    for part in parts:
        if not isinstance(part, bytes):
            raise TypeError(f"the content came as {type(part).__name__}, not as bytes")
        if left is not None:
            if len(part) > left:
                log.error("The content of %s is longer than its Content-Length and was cut", head)
                part = part[:left]
            left -= len(part)
        if part:
            yield encoder.compress(part) + (encoder.flush() if waits else b"")
        elif left == 0:
            break
    if left:
        raise ValueError(f"the content is {left} bytes shorter than its Content-Length")
    yield encoder.finish()


class CompressingGateway:
    """A gateway around another, whose answers it compresses."""

    def __init__(self, gateway: Gateway, compression: Compression) -> None:
        self._gateway = gateway
        self._match = gateway.match
        self._handle = gateway.handle
        self._compress = compression.compress

    def match(self, head: RequestHead) -> Route:
        return self._match(head)

    def refuses(self, head: RequestHead) -> bool:
        return self._gateway.refuses(head)

    def handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        answer = self._handle(head)
        if isinstance(answer, Suspended):
            return Watched(answer, lambda message: self._compress(head, message))
        return self._compress(head, answer)


# -- fields -----------------------------------------------------------------------------------------


def _fields_of(block: bytes) -> dict[bytes, bytes]:
    """Return the fields of an answer by lower-case name; those with several lines as one list."""
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        fields[name] = b"%b,%b" % (fields[name], value) if name in fields else value.strip()
    return fields


def _accepted(head: RequestHead) -> str | None:
    values = [value for name, value in head.fields if name == b"accept-encoding"]
    return b",".join(values).decode("latin-1") if values else None


def _add_vary(message: ResponseMessage, vary: bytes) -> None:
    """Say that the answer depends on Accept-Encoding (RFC 9110 §12.5.5)."""
    named = {name.strip() for name in vary.lower().split(b",")}
    if named.isdisjoint((b"*", b"accept-encoding")):
        message.field_lines += b"Vary: Accept-Encoding\r\n"


def _coded_line(line: bytes) -> bytes:
    """Return a field line as it is for a compressed answer."""
    name, _, value = line.partition(b":")
    name, value = name.lower(), value.strip()
    if name == b"etag" and not value.startswith(b"W/"):
        # RFC 9110 §8.8.1: a strong one stands for the same bytes. The coded ones are others, and may be so each time.
        return b"ETag: W/%b\r\n" % value
    if name == b"accept-ranges":
        return b""  # the parts that there are, are of the content as it was
    return line


def _agree_on_tag(head: RequestHead, message: ResponseMessage) -> None:
    """Let a 304 name the representation that the client has by the tag it was sent with.

    RFC 9111 §4.3.4: a strong tag would not freshen what is stored with the weak one of a compressed answer.
    """
    fields = _fields_of(message.field_lines)
    etag = fields.get(b"etag", b"")
    weak = b"W/" + etag
    if etag.startswith(b'"') and any(weak in value for name, value in head.fields if name == b"if-none-match"):
        message.field_lines = b"".join(map(_coded_line, message.field_lines.splitlines(keepends=True)))
        _add_vary(message, fields.get(b"vary", b""))
