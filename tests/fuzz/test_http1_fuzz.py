"""Requests that are nearly right, read by `http1.py` and by a plain reader of RFC 9112's grammar.

What the server serves, the plain reader must find as well, with the same ends: two readings of the same bytes are how
requests are smuggled. Set DEMIJOHN_FUZZ_EXAMPLES for a longer search.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.strategies import splits_of

from demijohn.message import Origin, ProtocolError, RequestHead, ResponseMessage
from demijohn.server.framing import AnswerHeads
from demijohn.server.http1 import Connection
from demijohn.server.settings import Settings

fuzzed = settings(
    max_examples=int(os.environ.get("DEMIJOHN_FUZZ_EXAMPLES", "400")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# -- a plain reader ------------------------------------------------------------------------------------------

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/1\.([01])" % TOKEN)
FIELD_LINE = re.compile(rb"(%b):[ \t]*((?:[\t\x20-\x7e\x80-\xff]*[!-~\x80-\xff])?)[ \t]*" % TOKEN)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(;[\t\x20-\x7e\x80-\xff]*)?")


class Refused(Exception):
    """The bytes are no HTTP."""


class Unfinished(Exception):
    """The bytes end too early."""


@dataclass
class Reader:
    """Takes lines, each ended by CRLF and by nothing else, and content off some bytes."""

    data: bytes
    position: int = 0

    def line(self) -> bytes:
        end = self.data.find(b"\r\n", self.position)
        if end < 0:
            raise Unfinished
        line = self.data[self.position : end]
        self.position = end + 2
        return line

    def content(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise Unfinished
        content = self.data[self.position : end]
        self.position = end
        return content

    def fields(self) -> Iterator[tuple[bytes, bytes]]:
        while line := self.line():
            found = FIELD_LINE.fullmatch(line)
            if found is None:
                raise Refused
            yield found[1].lower(), found[2]

    def chunks(self) -> Iterator[bytes]:
        while True:
            found = CHUNK_LINE.fullmatch(self.line())
            if found is None:
                raise Refused
            size = int(found[1], 16)
            if not size:
                break
            yield self.content(size)
            if self.content(2) != b"\r\n":
                raise Refused
        list(self.fields())


def plainly_read(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return method, target and content of the requests at the begin of some bytes (RFC 9112 §2 to §7)."""
    reader = Reader(data)
    requests = []
    try:
        persists = True
        while persists:
            line = b""
            while not line:
                line = reader.line()
            found = REQUEST_LINE.fullmatch(line)
            if found is None:
                raise Refused
            fields = list(reader.fields())
            lengths = [value for name, value in fields if name == b"content-length"]
            codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
            hosts = [value for name, value in fields if name == b"host"]
            is_old = found[3] == b"0"
            if len(hosts) > 1 or (not hosts and not is_old):
                raise Refused
            if codings:
                if codings != [b"chunked"] or lengths or is_old:
                    raise Refused
                content = b"".join(reader.chunks())
            elif lengths:
                if len(lengths) > 1 or not re.fullmatch(rb"[0-9]+", lengths[0]):
                    raise Refused
                content = reader.content(int(lengths[0]))
            else:
                content = b""
            requests.append((found[1], found[2], content))
            options = [part.strip(b" \t").lower() for n, v in fields if n == b"connection" for part in v.split(b",")]
            persists = b"close" not in options and (not is_old or b"keep-alive" in options)
    except (Refused, Unfinished):
        pass
    return requests


# -- requests that are nearly right --------------------------------------------------------------------------


def mostly(good: list[bytes], bad: list[bytes], share: int = 40) -> st.SearchStrategy[bytes]:
    """One of `good`, and one time in about `share` one of `bad`."""
    return st.integers(0, share).flatmap(lambda n: st.sampled_from(bad if n == share else good))


line_ends = mostly([b"\r\n"], [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t", b"\0\r\n"])
blanks = mostly([b" "], [b"  ", b"\t", b"", b"\x0b", b"\xa0", b"\r"])
methods = mostly([b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"], [b"get", b"GE\0T", b"GET:", b"PRI"])
targets = mostly(
    [b"/", b"/a?b", b"/%2e%2e/", b"//", b"http://a/"],
    [b"*", b"http://a@b/", b"a:80", b"/\x80", b"/#", b"/\0", b"", b"/ b"],
)
versions = mostly([b"HTTP/1.1"], [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.10", b"HTTP/1,1", b"http/1.1", b""])
numbers = mostly(
    [b"0", b"1", b"5", b"05"],
    [
        b"+5",
        b"-5",
        b"5 ",
        b" 5",
        b"5,5",
        b"0x5",
        b"5_0",
        b"\t5",
        b"5;",
        b"5.0",
        b"",
        b"\xb25",
        b"18446744073709551621",
        b"5\x00",
        b"5\x0b",
    ],
    4,
)
codings = mostly(
    [b"chunked", b"Chunked", b"chunked ", b"\tchunked"],
    [
        b"\x0bchunked",
        b"chunked,",
        b",chunked",
        b"chunked, chunked",
        b"xchunked",
        b"chunked\x00",
        b"chun\xc3\xa7ed",
        b"",
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"chunked;q=1",
        b'"chunked"',
    ],
    4,
)
names = mostly(
    [b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"X-Name", b"Content_Length"],
    [
        b"Content-Length ",
        b" Content-Length",
        b"Content-Length\t",
        b"Transfer-Encoding ",
        b"Transfer-Encoding\x00",
        b"Host",
        b"",
        b"\x80",
        b"X:",
    ],
    10,
)
values = (
    numbers | codings | st.sampled_from([b"close", b"keep-alive", b"upgrade", b"h2c", b"a", b"a\rb", b"100-continue"])
)
colons = mostly([b": "], [b":", b" : ", b":\t", b"", b"::"])
hosts = mostly([b"Host: a\r\n"], [b"", b"Host: a\r\nHost: b\r\n", b"Host: a/b\r\n", b"Host : a\r\n"])
chunk_sizes = mostly(
    [b"5", b"0005", b"5;a=b"],
    [
        b"+5",
        b"-5",
        b"0x5",
        b"5 ",
        b" 5",
        b"5;a\n",
        b"5;a\rb",
        b'5;a="\r\n"',
        b"5\t",
        b"",
        b"g",
        b"5_",
        b"5; a",
        b"fffffffffffffffff",
        b"5;" + b"a" * 50,
        b"5 ;a",
    ],
    20,
)


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    return draw(names) + draw(colons) + draw(values) + draw(line_ends)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return draw(st.sampled_from([b"", b"hello", b"GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n", b"0\r\n\r\n"]))
    sizes = draw(st.lists(chunk_sizes, max_size=2))
    chunks = b"".join(size + draw(line_ends) + b"hello" + draw(line_ends) for size in sizes)
    last = draw(st.sampled_from([b"0", b"00", b"0;a", b"0 ", b"-0"]))
    trailers = b"".join(draw(st.lists(field_lines(), max_size=1)))
    return chunks + last + draw(line_ends) + trailers + draw(line_ends)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = draw(methods) + draw(blanks) + draw(targets) + draw(blanks) + draw(versions) + draw(line_ends)
    return line + draw(hosts) + b"".join(draw(st.lists(field_lines(), max_size=3))) + draw(line_ends) + draw(contents())


pipelines = st.lists(requests(), min_size=1, max_size=3).map(b"".join)


def served(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes, bytes]], ProtocolError | None]:
    """Return the requests that the server would serve, and why it would refuse what comes then."""
    http = Connection(Settings(), Origin(), AnswerHeads(), io.BytesIO)
    for piece in pieces:
        http.receive_data(piece)
    http.receive_eof()
    heads = [event for event in http.events if isinstance(event, RequestHead)]
    errors = [event for event in http.events if isinstance(event, ProtocolError)]
    assert len(errors) <= 1
    assert not errors or http.events[-1] is errors[0]
    return [(head.method.encode(), head.target, head.content or b"") for head in heads], errors[0] if errors else None


@fuzzed
@given(pipelines)
def test_what_is_served_is_what_a_plain_reader_finds(data: bytes) -> None:
    found, _ = served([data])
    event(f"{len(found)} served")
    assert found == plainly_read(data)[: len(found)]


@fuzzed
@given(pipelines.flatmap(splits_of))
def test_what_is_served_does_not_depend_on_how_bytes_arrive(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    found, _ = served(pieces)
    assert found == plainly_read(data)[: len(found)]
    assert found == served([bytes([byte]) for byte in data])[0]


@fuzzed
@given(pipelines.flatmap(splits_of))
def test_whatever_comes_is_answered_or_refused(pieces: list[bytes]) -> None:
    http = Connection(Settings(), Origin(), AnswerHeads(), io.BytesIO)
    for piece in pieces:
        http.receive_data(piece)
        while http.events:
            event = http.events.popleft()
            if isinstance(event, RequestHead):
                answer = http.respond(event, ResponseMessage("200 OK", b"", b"hello"))
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            else:
                answer = http.respond_to_error(event)
                assert answer.startswith(b"HTTP/1.1 %d " % event.status)
                assert b"\r\nConnection: close\r\n" in answer
                assert not http.persistent


# -- answers -------------------------------------------------------------------------------------------------

STATUS_LINE = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9] [\t\x20-\x7e\x80-\xff]*")


@fuzzed
@given(
    st.sampled_from([b"GET", b"HEAD", b"POST"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
    st.sampled_from(["200 OK", "204 No Content", "205 Reset Content", "304 Not Modified", "404", "500 Ärger"]),
    st.binary(max_size=20),
    st.none() | st.integers(0, 30),
)
def test_an_answer_ends_where_its_head_says(
    method: bytes, version: bytes, status: str, content: bytes, length: int | None
) -> None:
    http = Connection(Settings(), Origin(), AnswerHeads(), io.BytesIO)
    http.receive_data(method + b" / " + version + b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    head = http.events.popleft()
    assert isinstance(head, RequestHead)
    data = http.respond(head, ResponseMessage(status, b"X-Own: yes\r\n", content, length))
    reader = Reader(data)
    assert STATUS_LINE.fullmatch(reader.line())
    fields = dict(reader.fields())
    rest = data[reader.position :]
    if method == b"HEAD" or status[:3] in ("204", "304"):
        assert rest == b""
        assert status[:3] != "204" or b"content-length" not in fields
    elif http.persistent:
        assert len(rest) == int(fields[b"content-length"])
    else:
        assert fields[b"connection"] == b"close"
