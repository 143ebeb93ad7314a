"""Several ranges of one content in one answer: `multipart/byteranges` (RFC 9110 §14.6, §15.3.7.2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Protocol

Span = tuple[int, int]
"""Where a range begins, and where it has ended: the first byte that is not its own."""


class Seekable(Protocol):
    """A file in blocks, as WSGI's file wrapper."""

    def seek(self, offset: int, /) -> object: ...
    def __next__(self) -> bytes: ...


def coalesced(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in their order, those that overlap or touch as one: no byte is sent twice.

    RFC 9110 §14.2 warns of many that overlap, which would make a large answer of a small request.
    """
    kept: list[Span] = []
    for begin, end in spans:
        touching = [each for each in kept if each[0] <= end and begin <= each[1]]
        at = kept.index(touching[0]) if touching else len(kept)
        kept = [each for each in kept if each not in touching]
        together = [(begin, end), *touching]
        kept.insert(at, (min(each[0] for each in together), max(each[1] for each in together)))
    return kept


class ByteRanges:
    """The content of an answer with several ranges of `source`, in their order.

    content_type: of the answer. content_length: in bytes.
    """

    def __init__(self, source: Seekable | bytes, spans: list[Span], length: int, content_type: str | None) -> None:
        """`length` is the source's, in bytes; `content_type` its media type, if it has one."""
        boundary = secrets.token_hex(16)
        self._source = source
        before = f"\r\n--{boundary}\r\n" + (f"Content-Type: {content_type}\r\n" if content_type else "")
        heads = [f"{before}Content-Range: bytes {begin}-{end - 1}/{length}\r\n\r\n" for begin, end in spans]
        self._parts = [(head.encode(), *span) for head, span in zip(heads, spans, strict=True)]
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self.content_length = sum(len(head) + end - begin for head, begin, end in self._parts) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        for head, begin, end in self._parts:
            yield head
            yield from self._blocks(begin, end)
        yield self._end

    def _blocks(self, begin: int, end: int) -> Iterator[bytes]:
        if isinstance(self._source, bytes):
            yield self._source[begin:end]
            return
        self._source.seek(begin)
        while begin < end:
            block = next(self._source)[: end - begin]
            begin += len(block)
            yield block

    def close(self) -> None:
        if hasattr(self._source, "close"):
            self._source.close()
