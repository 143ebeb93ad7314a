"""HTTP/1.1 as bytes: what goes in, what comes out."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import splits_of

from demijohn.message import BadResponse, Origin, ProtocolError, RequestHead, ResponseMessage
from demijohn.server.framing import AnswerHeads, Framing, imf_fixdate
from demijohn.server.http1 import Connection
from demijohn.server.settings import Settings

HOST = b"Host: example.org\r\n"


def connection(*, spool: Any = io.BytesIO, heads: AnswerHeads | None = None, **limits: Any) -> Connection:
    if heads is None:
        heads = AnswerHeads("test")
        heads.set_time(0)
    return Connection(Settings(**limits), Origin(), heads, spool)


def received(pieces: Iterable[bytes] | bytes, **limits: Any) -> Connection:
    http = connection(**limits)
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        http.receive_data(piece)
    return http


def outcome(http: Connection) -> list[tuple[Any, ...] | int]:
    """What there is to be answered: requests as tuples, a refusal as its status."""
    return [
        event.status
        if isinstance(event, ProtocolError)
        else (
            event.method,
            event.target,
            event.version,
            event.content if event.content is not None else event.spool.read(),
        )
        for event in http.events
    ]


def get(target: bytes = b"/", fields: bytes = HOST, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %b %b\r\n%b\r\n" % (target, version, fields)


def post(fields: bytes, content: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + content


def chunked(*lines: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", b"\r\n".join(lines) + b"\r\n")


def only(http: Connection) -> RequestHead:
    (head,) = http.events
    assert isinstance(head, RequestHead)
    return head


# -- requests that are fine ----------------------------------------------------------------------------------

FINE = {
    "a request": (get(), [("GET", b"/", (1, 1), b"")]),
    "HTTP/1.0 without Host": (get(fields=b"", version=b"HTTP/1.0"), [("GET", b"/", (1, 0), b"")]),
    "line ends before the request": (b"\r\n\r\n" + get(), [("GET", b"/", (1, 1), b"")]),
    "a query": (get(b"/a%20b?c=d"), [("GET", b"/a%20b?c=d", (1, 1), b"")]),
    "an empty Host": (get(fields=b"Host:\r\n"), [("GET", b"/", (1, 1), b"")]),
    "the last port": (get(fields=b"Host: a:65535\r\n"), [("GET", b"/", (1, 1), b"")]),
    "a query with a % of its own": (get(b"/a?q=100%"), [("GET", b"/a?q=100%", (1, 1), b"")]),
    "an IPv6 Host with an IPv4 end": (get(fields=b"Host: [::ffff:1.2.3.4]\r\n"), [("GET", b"/", (1, 1), b"")]),
    "an IPv6 Host": (get(fields=b"Host: [::1]:8000\r\n"), [("GET", b"/", (1, 1), b"")]),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [("OPTIONS", b"*", (1, 1), b"")]),
    "absolute-form": (get(b"http://example.org/a"), [("GET", b"http://example.org/a", (1, 1), b"")]),
    "absolute-form without a path": (get(b"http://example.org?b"), [("GET", b"http://example.org?b", (1, 1), b"")]),
    "content": (post(b"Content-Length: 5\r\n", b"hello"), [("POST", b"/", (1, 1), b"hello")]),
    "no content": (post(b"Content-Length: 0\r\n", b""), [("POST", b"/", (1, 1), b"")]),
    "chunks": (chunked(b"5", b"hello", b"1;a=b", b"!", b"0", b""), [("POST", b"/", (1, 1), b"hello!")]),
    "trailers": (chunked(b"1", b"x", b"0", b"A: b", b"Expires: c", b""), [("POST", b"/", (1, 1), b"x")]),
    "Chunked in capitals": (
        post(b"Transfer-Encoding: Chunked\r\n", b"1\r\nx\r\n0\r\n\r\n"),
        [("POST", b"/", (1, 1), b"x")],
    ),
    "pipelined": (
        get(b"/1") + post(b"Content-Length: 1\r\n", b"x") + get(b"/2"),
        [("GET", b"/1", (1, 1), b""), ("POST", b"/", (1, 1), b"x"), ("GET", b"/2", (1, 1), b"")],
    ),
    "nothing after Connection: close": (
        get(fields=HOST + b"Connection: close\r\n") + get(),
        [("GET", b"/", (1, 1), b"")],
    ),
    "several Connection lines count together": (
        get(fields=HOST + b"Connection: keep-alive\r\nConnection: x, Close\r\n") + get(),
        [("GET", b"/", (1, 1), b"")],
    ),
    "nothing after HTTP/1.0": (get(version=b"HTTP/1.0") + get(), [("GET", b"/", (1, 0), b"")]),
    "HTTP/1.0 with keep-alive": (
        get(b"/1", b"Connection: keep-alive\r\n", b"HTTP/1.0") + get(b"/2"),
        [("GET", b"/1", (1, 0), b""), ("GET", b"/2", (1, 1), b"")],
    ),
    "content before Connection: close takes effect": (
        post(b"Connection: close\r\nContent-Length: 5\r\n", b"hello"),
        [("POST", b"/", (1, 1), b"hello")],
    ),
    "an upgrade that is not taken": (
        get(b"/1", HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + get(b"/2"),
        [("GET", b"/1", (1, 1), b""), ("GET", b"/2", (1, 1), b"")],
    ),
    "an upgrade with content": (
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"hello") + get(b"/2"),
        [("POST", b"/", (1, 1), b"hello"), ("GET", b"/2", (1, 1), b"")],
    ),
    "an upgrade with chunks": (
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n", b"2\r\nhi\r\n0\r\n\r\n")
        + get(b"/2"),
        [("POST", b"/", (1, 1), b"hi"), ("GET", b"/2", (1, 1), b"")],
    ),
    "an upgrade and close": (
        post(b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 2\r\n", b"hi") + get(b"/2"),
        [("POST", b"/", (1, 1), b"hi")],
    ),
}


@pytest.mark.parametrize(("data", "expected"), FINE.values(), ids=FINE.keys())
def test_requests_are_read_however_they_arrive(data: bytes, expected: list[Any]) -> None:
    assert outcome(received(data)) == expected
    assert outcome(received(data[i : i + 1] for i in range(len(data)))) == expected


def test_field_names_are_lower_case_and_values_have_no_blanks_around() -> None:
    head = only(received(get(fields=HOST + b"X-Name: \t a  b\t \r\nEMPTY:\r\n")))
    assert head.fields == [(b"host", b"example.org"), (b"x-name", b"a  b"), (b"empty", b"")]


def test_trailers_do_not_become_fields() -> None:
    head = only(received(chunked(b"1", b"x", b"0", b"X-Admin: yes", b"")))
    assert head.field(b"x-admin") is None


# -- requests that are not -----------------------------------------------------------------------------------

MALFORMED = {
    "no Host": (get(fields=b""), 400),
    "two Hosts": (get(fields=HOST * 2), 400),
    "two Hosts in HTTP/1.0": (get(fields=HOST * 2, version=b"HTTP/1.0"), 400),
    "a path in Host": (get(fields=b"Host: a/b\r\n"), 400),
    "a query in Host": (get(fields=b"Host: a?b\r\n"), 400),
    "a fragment in Host": (get(fields=b"Host: a#b\r\n"), 400),
    "a user in Host": (get(fields=b"Host: a@b\r\n"), 400),
    "a backslash in Host": (get(fields=b"Host: a\\b\r\n"), 400),
    "a list in Host": (get(fields=b"Host: a b\r\n"), 400),
    "an IPv6 Host with too many groups": (get(fields=b"Host: [1:2:3:4:5:6:7:8:9]\r\n"), 400),
    "an IPv6 Host of colons": (get(fields=b"Host: [:::]\r\n"), 400),
    "an IPv6 Host of dots": (get(fields=b"Host: [...]:80\r\n"), 400),
    "an IPv6 target that is none": (get(b"http://[1::2::3]/"), 400),
    "a port that there is not": (get(fields=b"Host: a:65536\r\n"), 400),
    "a port that is no number": (get(fields=b"Host: a:b\r\n"), 400),
    "a fragment in the target": (get(b"/a#b"), 400),
    "asterisk-form with GET": (get(b"*"), 400),
    "another scheme": (get(b"ftp://a/"), 400),
    "an absolute-form without a host": (get(b"http:///a"), 400),
    "a user in the target": (get(b"http://a:b@c/"), 400),
    "a raw byte in the target": (get(b"/\xc3\xa4"), 400),
    "a control byte in the target": (get(b"/\x01"), 400),
    "an escape without digits": (get(b"/%zz"), 400),
    "an escape cut short": (get(b"/a%2"), 400),
    "an escape cut short by the query": (get(b"/a%2?b"), 400),
    "an escape of another kind": (get(b"/%u0041"), 400),
    "an escape without digits in absolute-form": (get(b"http://a/%"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/2.0": (get(version=b"HTTP/2.0"), 505),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), 505),
    "HTTP/3.0": (get(version=b"HTTP/3.0"), 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "http in small letters": (get(version=b"http/1.1"), 400),
    "a version of one digit": (get(version=b"HTTP/1"), 400),
    "RTSP": (b"DESCRIBE / RTSP/1.0\r\n\r\n", 501),
    "ICE": (b"SOURCE / ICE/1.0\r\n\r\n", 501),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    "an unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "a method in small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "a method that is no token": (b"G\xc3T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "TLS to the wrong port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "bare LF": (get().replace(b"\r\n", b"\n"), 400),
    "bare LF after a field": (get(fields=b"Host: a\n"), 400),
    "bare CR in a value": (get(fields=HOST + b"A: b\rc\r\n"), 400),
    "NUL in a value": (get(fields=HOST + b"A: b\0c\r\n"), 400),
    "a blank before the colon": (get(fields=HOST + b"A : b\r\n"), 400),
    "a folded line": (get(fields=HOST + b"A: b\r\n c\r\n"), 400),
    "a blank before the first field": (get(fields=b" " + HOST), 400),
    "a field without a name": (get(fields=HOST + b": b\r\n"), 400),
    "a field without a colon": (get(fields=HOST + b"A\r\n"), 400),
    "both framings": (post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "both framings, the other way": (post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), 400),
    "two lengths": (post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), 400),
    "a list of lengths": (post(b"Content-Length: 5, 5\r\n", b"hello"), 400),
    "a sign before the length": (post(b"Content-Length: +5\r\n", b"hello"), 400),
    "a negative length": (post(b"Content-Length: -5\r\n", b"hello"), 400),
    "an underscore in the length": (post(b"Content-Length: 1_0\r\n", b"hellohello"), 400),
    "a length in hexadecimal": (post(b"Content-Length: 0x5\r\n", b"hello"), 400),
    "an empty length": (post(b"Content-Length:\r\n", b""), 400),
    "a length that no file has": (post(b"Content-Length: 9223372036854775808\r\n", b""), 413),
    "TRACE with content": (b"TRACE / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi", 400),
    "TRACE with chunks": (b"TRACE / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a length beyond 64 bits": (post(b"Content-Length: 99999999999999999999\r\n", b""), 400),
    "a coding in HTTP/1.0": (get(fields=HOST + b"Transfer-Encoding: chunked\r\n", version=b"HTTP/1.0"), 400),
    "an unknown coding": (post(b"Transfer-Encoding: x\r\n", b""), 501),
    "gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
    "chunked, gzip": (post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), 400),
    "chunked twice": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "identity": (post(b"Transfer-Encoding: identity\r\n", b""), 400),
    "gzip, not followed by chunked": (post(b"Transfer-Encoding: gzip\r\n", b""), 400),
    "gzip, then chunked on another line": (
        post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        501,
    ),
    "chunked after a vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    "a chunk size with a sign": (chunked(b"+1", b"x", b"0", b""), 400),
    "a chunk size with 0x": (chunked(b"0x1", b"x", b"0", b""), 400),
    "a chunk size with a blank": (chunked(b"1 ", b"x", b"0", b""), 400),
    "a chunk size beyond 64 bits": (chunked(b"1" * 17, b"x"), 400),
    "no chunk size": (chunked(b"", b"x", b"0", b""), 400),
    "data after a chunk": (chunked(b"1", b"xyz0", b""), 400),
    "LF in a chunk extension": (chunked(b"1;a\nb", b"x", b"0", b""), 400),
    "LF after a chunk size": (post(b"Transfer-Encoding: chunked\r\n", b"1\nx\n0\n\n"), 400),
    "a malformed trailer": (chunked(b"1", b"x", b"0", b"A : b", b""), 400),
    "a Host among the trailers": (chunked(b"1", b"x", b"0", b"Host: a", b""), 400),
    "a length among the trailers": (chunked(b"1", b"x", b"0", b"Content-Length: 1", b""), 400),
    "credentials among the trailers": (chunked(b"1", b"x", b"0", b"Authorization: Basic eDp5", b""), 400),
    "two types": (post(b"Content-Type: a/b\r\nContent-Type: c/d\r\n", b""), 400),
    "two expectations": (post(b"Expect: 100-continue, a-pony\r\nContent-Length: 1\r\n", b"x"), 417),
    "another expectation": (post(b"Expect: a-pony\r\nContent-Length: 1\r\n", b"x"), 417),
}


@pytest.mark.parametrize(("data", "status"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_are_refused_however_they_arrive(data: bytes, status: int) -> None:
    assert outcome(received(data + get())) == [status]
    (piecemeal,) = outcome(received(data[i : i + 1] for i in range(len(data))))
    assert piecemeal in (status, 400)  # what is wrong may show before it is known to be another method or version


@pytest.mark.parametrize("before", [b"\r", b"\r\r\n", b"\r\n\r"])
def test_a_cr_that_ends_no_line_before_a_request_is_refused_however_it_arrives(before: bytes) -> None:
    data = before + get()
    assert outcome(received(data)) == [400]
    assert outcome(received(data[i : i + 1] for i in range(len(data)))) == [400]


def test_a_line_in_the_middle_of_a_head_is_not_taken_for_a_request_of_http_0_9() -> None:
    http = received(get() + b"GET / HTTP/1.1\r\nHost")
    http.events.clear()
    http.receive_data(b": example.org\r\nConnection: close")
    http.receive_data(b"\r\n\r\n")
    assert outcome(http) == [("GET", b"/", (1, 1), b"")]


def test_a_request_of_http_0_9_is_answered_though_nothing_comes_after_its_line() -> None:
    assert outcome(received(b"GET /\r\n")) == [505]


@pytest.mark.parametrize(("data", "status"), MALFORMED.values(), ids=MALFORMED.keys())
def test_good_requests_before_a_malformed_one_are_answered_and_nothing_after_it(data: bytes, status: int) -> None:
    http = received(get(b"/good") + data + get(b"/after"))
    first, refusal = outcome(http)
    assert first == ("GET", b"/good", (1, 1), b"")
    assert refusal in (status, 400)
    http.receive_data(get(b"/later"))
    assert len(http.events) == 2


@pytest.mark.parametrize(
    "line", [b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET /   HTTP/1.1", b"OPTIONS / RTSP/1.0", b"\r\nGET  / HTTP/1.1"]
)
def test_a_request_line_has_three_parts_and_two_blanks(line: bytes) -> None:
    data = line + b"\r\n" + HOST + b"\r\n"
    assert outcome(received(data)) == [400]
    assert outcome(received(data[i : i + 1] for i in range(len(data)))) == [400]


# -- limits --------------------------------------------------------------------------------------------------

SMALL = {
    "limit_request_line": 100,
    "limit_request_fields": 5,
    "limit_request_field_size": 60,
    "limit_request_head": 200,
    "limit_request_body": 50,
}
LIMITS = {
    "the longest request line": (get(b"/" + b"a" * (100 - len("GET / HTTP/1.1"))), None),
    "a longer one": (get(b"/" + b"a" * (101 - len("GET / HTTP/1.1"))), 414),
    "a request line without end": (b"GET /" + b"a" * 200, 414),
    "a method without end": (b"A" * 200, 400),
    "the most fields": (get(fields=HOST + b"A: b\r\n" * 4), None),
    "more": (get(fields=HOST + b"A: b\r\n" * 5), 431),
    "the longest field": (get(fields=HOST + b"A: " + b"b" * 57 + b"\r\n"), None),
    "a longer field": (get(fields=HOST + b"A: " + b"b" * 58 + b"\r\n"), 431),
    "a field without end": (b"GET / HTTP/1.1\r\nA: " + b"b" * 100, 431),
    "a field name without end": (b"GET / HTTP/1.1\r\n" + b"b" * 100, 431),
    # 16 for the request line, 19 for Host, 2 * 55, 2 at the end: the last field has 53 bytes.
    "the largest head": (get(fields=HOST + (b"A: " + b"b" * 50 + b"\r\n") * 2 + b"A: " + b"c" * 48 + b"\r\n"), None),
    "a larger head": (get(fields=HOST + (b"A: " + b"b" * 50 + b"\r\n") * 2 + b"A: " + b"c" * 49 + b"\r\n"), 431),
    "the largest content": (post(b"Content-Length: 50\r\n", b"x" * 50), None),
    "larger content": (post(b"Content-Length: 51\r\n", b""), 413),
    "larger content, asking first": (post(b"Expect: 100-continue\r\nContent-Length: 51\r\n", b""), 413),
    "larger content in chunks": (chunked(b"20", b"x" * 32, b"20", b"x" * 32, b"0", b""), 413),
    "too many trailers": (chunked(b"0", *[b"A: b"] * 6, b""), 431),
    "a long trailer": (chunked(b"0", b"A: " + b"b" * 60, b""), 431),
}


@pytest.mark.parametrize(("data", "status"), LIMITS.values(), ids=LIMITS.keys())
def test_limits_hold_however_bytes_arrive(data: bytes, status: int | None) -> None:
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        (result,) = outcome(received(pieces, **SMALL))
        assert (result if isinstance(result, int) else None) == status


def test_chunk_extensions_have_a_limit_while_they_arrive() -> None:
    http = received(chunked(b"1", b"x"))
    for _ in range(1000):
        http.receive_data(b"1;" + b"a" * 500 + b"\r\nx\r\n")
    assert outcome(http) == [400]


def test_a_chunk_extension_without_end_is_refused() -> None:
    http = received(chunked(b"1", b"x") + b"1;")
    for _ in range(100):
        http.receive_data(b"a" * 1000)
    assert outcome(http) == [400]


def test_small_chunks_are_no_offence() -> None:
    http = received(chunked(b"1", b"x"))
    for _ in range(20000):
        http.receive_data(b"1\r\nx\r\n")
    http.receive_data(b"0\r\n\r\n")
    assert only(http).content == b"x" * 20001


# -- content -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 30])
@pytest.mark.parametrize("step", [1, 7, 100])
def test_content_over_the_buffer_is_spooled(size: int, step: int) -> None:
    content = bytes(range(size))
    data = post(b"Content-Length: %d\r\n" % size, content) + get()
    http = received((data[i : i + step] for i in range(0, len(data), step)), body_buffer_bytes=10)
    head, second = http.events
    assert isinstance(head, RequestHead)
    assert isinstance(second, RequestHead)
    if size <= 10:
        assert (head.content, head.spool) == (content, None)
    else:
        assert head.content is None
        assert head.spool is not None
        assert head.spool.read() == content
    assert (second.content, second.spool) == (b"", None)


LARGE = 200_000


@pytest.mark.parametrize("buffer", [1000, 1_000_000])
@pytest.mark.parametrize("step", [7_000, 65_536, 70_000, 300_000])
def test_large_content_is_taken_without_a_look_at_it(buffer: int, step: int) -> None:
    """What looks like requests in it is content, and what comes behind it is a request."""
    first, second = get(b"/in") * (LARGE // len(get(b"/in"))), b"\r\n\r\n" * (LARGE // 4)
    data = b"".join(post(b"Content-Length: %d\r\n" % len(content), content) for content in (first, second)) + get()
    http = connection(body_buffer_bytes=buffer)
    for begin in range(0, len(data), step):
        piece = bytearray(data[begin : begin + step])
        if http.content_left:
            http.receive_content(memoryview(piece))
            piece[:] = bytes(len(piece))  # the room is used again
        else:
            http.receive_data(bytes(piece))

    assert [event[-1] for event in outcome(http)] == [first, second, b""]  # type: ignore[index]
    assert not http.in_message
    assert not http.content_left


def test_large_content_that_is_cut_short_is_none() -> None:
    http = received([post(b"Content-Length: %d\r\n" % LARGE, b"x"), b"y" * 1000])
    assert http.content_left == LARGE - 1001
    assert http.in_message
    http.receive_eof()
    assert outcome(http) == [400]


def test_after_a_request_that_ends_the_connection_what_is_behind_large_content_is_not_read() -> None:
    head = post(b"Connection: close\r\nContent-Length: %d\r\n" % LARGE, b"")
    http = received([head, b"x" * LARGE + get()])
    assert [event[-1] for event in outcome(http)] == [b"x" * LARGE]  # type: ignore[index]
    assert not http.persistent


def test_a_request_behind_large_content_is_held_to_the_rules() -> None:
    head = post(b"Content-Length: %d\r\n" % LARGE, b"")
    http = received([head, b"x" * LARGE + b"GET /none HTTP/1.1\r\n\r\n"])
    assert outcome(http)[1:] == [400]


def test_large_content_behind_a_turned_down_upgrade_is_taken() -> None:
    fields = b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n" % LARGE
    http = received([post(fields, b"x"), b"x" * (LARGE - 1) + get()])
    assert [event[-1] for event in outcome(http)] == [b"x" * LARGE, b""]  # type: ignore[index]


def test_a_disk_that_is_full_while_large_content_comes_is_the_servers_fault() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 100_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    http = connection(spool=Full, body_buffer_bytes=1)
    http.receive_data(post(b"Content-Length: %d\r\n" % LARGE, b"x"))
    http.receive_data(b"x" * 90_000)
    assert http.content_left
    http.receive_data(b"x" * 90_000)
    assert outcome(http) == [503]
    assert not http.content_left


def test_a_full_disk_is_the_servers_fault_not_the_clients() -> None:
    def full() -> Any:
        raise OSError(28, "No space left on device")

    http = connection(spool=full, body_buffer_bytes=1)
    http.receive_data(post(b"Content-Length: 5\r\n", b"hello"))
    (error,) = http.events
    assert isinstance(error, ProtocolError)
    assert error.status == 503
    assert isinstance(error.__cause__, OSError)
    http.events.clear()
    assert b"\r\nRetry-After: 5\r\n" in http.respond_to_error(error)


def test_the_spool_of_an_unfinished_request_is_closed_when_it_is_dropped() -> None:
    spools: list[io.BytesIO] = []

    def spool() -> io.BytesIO:
        spools.append(io.BytesIO())
        return spools[-1]

    http = connection(spool=spool, body_buffer_bytes=1)
    http.receive_data(post(b"Content-Length: 5\r\n", b"hell"))
    http.receive_eof()
    assert [spool.closed for spool in spools] == [True]


@pytest.mark.parametrize("data", [b"GET", get()[:-2], post(b"Content-Length: 5\r\n", b"hell"), chunked(b"5", b"hello")])
def test_a_request_cut_short_is_none(data: bytes) -> None:
    http = received(data)
    assert http.in_message
    assert outcome(http) == []
    http.receive_eof()
    assert outcome(http) == [400]


def test_an_end_between_requests_is_no_error() -> None:
    http = received(get())
    http.receive_eof()
    assert len(outcome(http)) == 1
    assert not http.persistent


def test_a_begun_request_after_a_complete_one_is_noticed() -> None:
    assert received(get() + b"GET /x").in_message
    assert not received(get()).in_message


# -- Expect --------------------------------------------------------------------------------------------------

EXPECT = b"Expect: 100-continue\r\n"


@pytest.mark.parametrize("fields", [EXPECT, b"Expect: 100-Continue, 100-continue\r\n"])
def test_a_request_that_expects_100_continue_is_shown_before_its_content(fields: bytes) -> None:
    http = received(post(fields + b"Content-Length: 5\r\n", b""))
    assert http.expecting is not None
    assert http.expecting.method == "POST"
    http.receive_data(b"hello")
    assert http.expecting is None
    assert only(http).content == b"hello"


@pytest.mark.parametrize(
    "data",
    [
        post(EXPECT + b"Content-Length: 5\r\n", b"h"),
        post(EXPECT, b""),
        post(EXPECT + b"Content-Length: 0\r\n", b""),
        b"POST / HTTP/1.0\r\nContent-Length: 5\r\n" + EXPECT + b"\r\n",
    ],
    ids=["content is coming already", "no content", "empty content", "HTTP/1.0"],
)
def test_nobody_waits_for_100_continue(data: bytes) -> None:
    assert received(data).expecting is None


def test_a_request_can_be_answered_without_the_content_it_offers() -> None:
    http = received(post(EXPECT + b"Content-Length: 5\r\n", b""))
    http.refuse_content()
    assert only(http).content == b""
    http.receive_data(b"hello" + get())
    assert len(http.events) == 1
    head = only(http)
    http.events.clear()
    assert b"\r\nConnection: close\r\n" in http.respond(head, ResponseMessage("404 Not Found", b"", b""))


def test_content_that_looks_like_the_last_request_is_content() -> None:
    """Its field lines are those of the request before, which are not read a second time."""
    http = connection()
    inner = get(b"/inner")
    got = []
    for piece in (get(), post(b"Content-Length: %d\r\n" % len(inner), b""), inner, get(b"/last")):
        http.receive_data(piece)
        got += outcome(http)
        http.events.clear()

    assert [(method, target, content) for method, target, _, content in got] == [
        ("GET", b"/", b""),
        ("POST", b"/", inner),
        ("GET", b"/last", b""),
    ]


def test_a_line_end_between_requests_is_no_request() -> None:
    http = received([get(), b"\r\n", get()])

    assert len(http.events) == 2
    assert not http.in_message


def test_fields_are_limited_though_their_head_began_behind_another_request() -> None:
    http = received([get() + b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000, b"\r\n\r\n"])

    assert outcome(http)[1:] == [431]


def test_trailers_are_counted_for_each_request() -> None:
    http = connection()
    for _ in range(300):
        http.receive_data(chunked(b"0", b"X: trailer", b""))

    assert not any(isinstance(event, ProtocolError) for event in http.events)
    assert len(http.events) == 300


# -- for every input -----------------------------------------------------------------------------------------

valid_messages = st.sampled_from([data for data, _ in FINE.values()])
any_messages = st.sampled_from([data for data, _ in [*FINE.values(), *MALFORMED.values()]])


# Requests with the same field lines, and content that is itself a request with them.
alike = [
    get(b"/x"),
    post(b"", b""),
    *(post(b"Content-Length: %d\r\n" % len(inner), inner) for inner in (get(b"/in"), b"x" + get(b"/in"))),
    *(chunked(b"%x" % len(inner), inner, b"0", b"") for inner in (get(b"/in"), b"ab")),
    post(b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n", b"abc"),
    get(fields=HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\n"),
    b"\r\n" + get(),
    b"GET /none HTTP/1.1\r\n\r\n",
]


@st.composite
def cut_where_it_matters(draw: st.DrawFn) -> list[bytes]:
    """Messages cut between them, behind heads, and before what looks like a request."""
    messages = draw(st.lists(st.sampled_from(alike), max_size=5))
    data = b"".join(messages)
    marks = {match.start() for match in re.finditer(b"GET|POST", data)}
    marks |= {match.end() for match in re.finditer(b"\r\n\r\n", data)}
    marks |= {draw(st.integers(0, len(data))) for _ in range(2)}
    cuts = sorted({mark for mark in marks if draw(st.booleans())} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(cuts)]


def taken_at_once(pieces: Iterable[bytes]) -> list[Any]:
    """The outcome when each request is taken as soon as it is there, as the server does."""
    http = connection()
    taken = []
    for piece in pieces:
        http.receive_data(piece)
        taken += outcome(http)
        http.events.clear()
    return [event if not isinstance(event, int) else "refused" for event in taken]


@settings(max_examples=500)
@given(cut_where_it_matters())
def test_where_a_request_begins_does_not_depend_on_how_bytes_arrive(pieces: list[bytes]) -> None:
    assert taken_at_once(pieces) == taken_at_once([bytes([byte]) for byte in b"".join(pieces)])


@given(
    st.lists(valid_messages, max_size=4).map(b"".join).flatmap(lambda data: st.tuples(st.just(data), splits_of(data)))
)
def test_requests_do_not_depend_on_how_bytes_arrive(case: tuple[bytes, list[bytes]]) -> None:
    data, pieces = case
    assert outcome(received(pieces)) == outcome(received(data))


@given(st.lists(any_messages, max_size=4).map(b"".join).flatmap(splits_of))
def test_what_is_served_before_a_malformed_request_does_not_depend_on_how_bytes_arrive(pieces: list[bytes]) -> None:
    def served(http: Connection) -> list[Any]:
        # Which 4xx or 5xx a later request gets may depend on it: llhttp does not say where that request began.
        return [event if not isinstance(event, int) else "refused" for event in outcome(http)]

    assert served(received(pieces)) == served(received(b"".join(pieces)))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            any_messages,
            st.sampled_from(
                [
                    b"\r\n",
                    b"GET / HTTP/1.1\r\n",
                    HOST,
                    b"Content-Length: ",
                    b"Transfer-Encoding: chunked\r\n",
                    b"1\r\n",
                    b"0\r\n\r\n",
                ]
            ),
        ),
        max_size=10,
    )
)
def test_no_input_raises(pieces: list[bytes]) -> None:
    http = received(pieces)
    http.receive_eof()
    errors = [event for event in http.events if isinstance(event, ProtocolError)]
    assert len(errors) <= 1
    for error in errors:
        assert 400 <= error.status < 600
        assert error is http.events[-1]
        assert http.respond_to_error(error).startswith(b"HTTP/1.1 %d " % error.status)


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda method, target, version, fields: b"%b %b %b\r\n%b\r\n" % (method, target, version, fields),
                st.sampled_from([b"GET", b"POST", b"HEAD", b"get", b"CONNECT", b"\r\nGET"]),
                st.sampled_from(
                    [b"/", b"/a?b=c", b"/%41", b"/ x", b"*", b"/#a", b"http://a/", b"/\xe4", b"/a HTTP/1.1"]
                ),
                st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1 ", b"HTTP/2.0"]),
                st.sampled_from(
                    [
                        HOST,
                        HOST + b"X: a HTTP/1.1\r\n",
                        b"Host: a\r\nHost: b\r\n",
                        b"Connection: keep-alive\r\nX: HTTP/1.1\r\n",
                        HOST + b"Content-Length: 2\r\n",
                        HOST + b"Connection: close\r\n",
                        HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\n",
                        b"",
                    ]
                ),
            ),
            st.sampled_from([b"GE", b"\r\n", b"\r\n\r\n", b"ab", b"GET / HTTP/1.1\r\n", get()]),
            st.builds(
                lambda line, fields, content, behind: (
                    b"%b\r\n%b%b\r\n\r\n%b%b"
                    % (line, HOST, fields.replace(b"?", b"%d" % len(content)), content, behind)
                ),
                st.sampled_from([b"POST / HTTP/1.1", b"PUT /a?b HTTP/1.1", b"POST / HTTP/1.0", b"post / HTTP/1.1"]),
                st.sampled_from(
                    [
                        b"Content-Length: ?",
                        b"content-length: \t? \r\nX: a",
                        b"Content-Length: 0?",
                        b"X: a\r\n content-length: ?",
                        b"Content-Length: ?\r\nContent-Length: ?",
                        b"Content-Length: ?\r\nExpect: 100-continue",
                        b"Content-Length: ?\r\nConnection: close",
                        b"Content-Length: ?0",
                        b"Content-Length: +?",
                        b"Transfer-Encoding: chunked",
                    ]
                ),
                st.sampled_from([b"", b"a", b"1234567890", b"\r\n\r\n", b"1\r\na\r\n0\r\n\r\n", get(), b"x" * 99]),
                st.sampled_from([b"", b"", b"", b"\r\n", b"P", get()]),
            ),
        ),
        max_size=6,
    )
)
def test_fields_sent_again_are_read_as_if_for_the_first_time(messages: list[bytes]) -> None:
    def read(http: Connection) -> list[Any]:
        return [
            (event.method, event.target, event.version, event.fields, event.content)
            if isinstance(event, RequestHead)
            else "refused"
            for event in http.events
        ]

    byte_by_byte = [bytes([byte]) for byte in b"".join(messages)]
    assert read(received(messages)) == read(received(byte_by_byte))


def test_fields_sent_again_with_content_are_known_again() -> None:
    contents = [b"a", b"b", b"cc", b"dd", b"", b"e"]
    http = received([post(b"Content-Length: %d\r\n" % len(content), content) for content in contents])
    assert [event.content for event in http.events if isinstance(event, RequestHead)] == contents
    fields = [event.fields for event in http.events if isinstance(event, RequestHead)]
    assert fields == [[(b"host", b"example.org"), (b"content-length", b"%d" % len(content))] for content in contents]
    # The same lines are the same object: they were not read anew.
    assert fields[0] is fields[1]
    assert fields[2] is fields[3]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"POST /", b"PUT /", b"POST /b"]), st.sampled_from([b"a", b"b", b"cc", b"\r\n"])),
        max_size=9,
    )
)
def test_a_head_and_a_length_sent_again_go_with_what_comes_then(messages: list[tuple[bytes, bytes]]) -> None:
    sent = [
        line + post(b"Content-Length: %d\r\n" % len(content), content)[len(b"POST /") :] for line, content in messages
    ]
    assert outcome(received(sent)) == [
        (*line.decode().split()[:1], line.split()[1], (1, 1), content) for line, content in messages
    ]


LIMITS_OF_WHAT_COMES_AGAIN = {
    "content": (post(b"Content-Length: 11\r\n", b"b" * 11), {"limit_request_body": 10}, 413),
    "request line": (b"POST /" + b"a" * 60 + post(b"Content-Length: 1\r\n", b"b")[6:], {"limit_request_line": 64}, 414),
}


@pytest.mark.parametrize(
    ("again", "limits", "status"), LIMITS_OF_WHAT_COMES_AGAIN.values(), ids=LIMITS_OF_WHAT_COMES_AGAIN
)
def test_what_comes_again_is_held_to_the_limits(again: bytes, limits: dict[str, int], status: int) -> None:
    http = received([post(b"Content-Length: 1\r\n", b"a"), again], **limits)
    assert outcome(http) == [("POST", b"/", (1, 1), b"a"), status]


def test_content_that_comes_again_goes_to_a_file_when_it_is_too_large_for_memory() -> None:
    larger = post(b"Content-Length: 9\r\n", b"b" * 9)
    http = received([post(b"Content-Length: 1\r\n", b"a"), larger], body_buffer_bytes=8)
    assert [event.spool is None for event in http.events if isinstance(event, RequestHead)] == [True, False]


def test_what_came_behind_an_upgrade_is_not_taken_for_the_fields_of_a_later_request() -> None:
    upgrade = get(b"/1", HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n")
    http = received(upgrade + get(b"/2"))
    http.events.clear()
    http.receive_data(b"GET /no-host HTTP/1.1\r\n\r\n" + get(b"/2"))
    assert outcome(http) == [400]


# -- answers -------------------------------------------------------------------------------------------------

OK = "200 OK"
TYPE = b"Content-Type: text/plain\r\n"
TOP = b"HTTP/1.1 200 OK\r\nServer: test\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" + TYPE


def answered(request: bytes, message: ResponseMessage, **given: Any) -> tuple[bytes, Connection]:
    http = connection(**given)
    http.receive_data(request)
    head = http.events.popleft()
    assert isinstance(head, RequestHead)
    first = http.respond(head, message)
    return first, http


def test_an_answer_is_the_same_the_second_time() -> None:
    http = received(get() + get())
    answers = [http.respond(http.events.popleft(), ResponseMessage(OK, TYPE, b"hello")) for _ in range(2)]  # type: ignore[arg-type]
    assert answers == [TOP + b"Content-Length: 5\r\n\r\nhello"] * 2
    assert http.persistent


HEAD = b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSE = get(fields=HOST + b"Connection: close\r\n")
OLD = get(version=b"HTTP/1.0")
OLD_KEPT = get(fields=b"Connection: keep-alive\r\n", version=b"HTTP/1.0")

ANSWERS = {
    "content": (get(), (OK, b"hello", None), b"Content-Length: 5\r\n\r\nhello", True),
    "no content": (get(), (OK, b"", None), b"Content-Length: 0\r\n\r\n", True),
    "HEAD": (HEAD, (OK, b"hello", None), b"Content-Length: 5\r\n\r\n", True),
    "HEAD with a declared length": (HEAD, (OK, b"", 99), b"Content-Length: 99\r\n\r\n", True),
    "close": (CLOSE, (OK, b"hello", None), b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", False),
    "HTTP/1.0": (OLD, (OK, b"hello", None), b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", False),
    "HTTP/1.0 kept": (OLD_KEPT, (OK, b"a", None), b"Content-Length: 1\r\nConnection: keep-alive\r\n\r\na", True),
    "204": (get(), ("204 No Content", b"hello", None), b"\r\n", True),
    "204 with a length": (get(), ("204 No Content", b"", 0), b"\r\n", True),
    "205": (get(), ("205 Reset Content", b"hello", None), b"Content-Length: 0\r\n\r\n", True),
    "304": (get(), ("304 Not Modified", b"", None), b"\r\n", True),
    "304 with a length": (get(), ("304 Not Modified", b"", 99), b"Content-Length: 99\r\n\r\n", True),
    "shorter than declared": (get(), (OK, b"hell", 5), b"Content-Length: 5\r\nConnection: close\r\n\r\nhell", False),
    "longer than declared": (get(), (OK, b"hello!", 5), b"Content-Length: 5\r\n\r\nhello", True),
    "an unknown reason": (get(), ("299", b"", None), b"Content-Length: 0\r\n\r\n", True),
}


@pytest.mark.parametrize(("request_bytes", "message", "expected", "persists"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answers_are_framed(request_bytes: bytes, message: Any, expected: bytes, persists: bool) -> None:
    status, content, length = message
    for _ in range(2):
        data, http = answered(request_bytes, ResponseMessage(status, TYPE, content, length))
        assert data == TOP.replace(b"200 OK", status.encode() + (b" " if len(status) == 3 else b"")) + expected
        assert http.persistent is persists


PARTS = {
    "unknown length": (get(), None, b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", True),
    "known length": (get(), 5, b"Content-Length: 5\r\n\r\n", b"abcde", True),
    "longer than declared": (get(), 4, b"Content-Length: 4\r\n\r\n", b"abcd", True),
    "HTTP/1.0": (OLD_KEPT, None, b"Connection: close\r\n\r\n", b"abcde", False),
    "HTTP/1.0, known length": (OLD_KEPT, 5, b"Content-Length: 5\r\nConnection: keep-alive\r\n\r\n", b"abcde", True),
}


@pytest.mark.parametrize(("request_bytes", "length", "head", "content", "persists"), PARTS.values(), ids=PARTS.keys())
def test_content_in_parts_is_framed(
    request_bytes: bytes, length: int | None, head: bytes, content: bytes, persists: bool
) -> None:
    data, http = answered(request_bytes, ResponseMessage(OK, TYPE, iter(()), length))
    assert data == TOP + head
    assert isinstance(http.framing, Framing)
    sent = b"".join(map(http.framing.part_bytes, [b"abc", b"", b"de"])) + http.framing.end_bytes()
    assert sent == content
    assert http.framing.overlong is (length == 4)
    assert http.persistent is persists


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_content_take_no_parts(status: str) -> None:
    data, http = answered(get(), ResponseMessage(status, TYPE, iter([b"abc"])))
    assert http.framing is None
    assert data.endswith(TYPE + b"\r\n")


def test_head_takes_no_parts() -> None:
    data, http = answered(HEAD, ResponseMessage(OK, TYPE, iter([b"abc"])))
    assert http.framing is None
    assert data == TOP + b"\r\n"


def test_content_that_is_missing_is_known() -> None:
    _, http = answered(get(), ResponseMessage(OK, TYPE, iter(()), 5))
    assert http.framing is not None
    http.framing.part_bytes(b"abc")
    assert http.framing.missing == 2


def test_fields_of_the_application_replace_the_servers() -> None:
    own = ResponseMessage(OK, b"Server: mine\r\nDate: now\r\n", b"", own_fields=frozenset({b"server", b"date"}))
    data, _ = answered(get(), own)
    assert data == b"HTTP/1.1 200 OK\r\nServer: mine\r\nDate: now\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("status", ["100 Continue", "101 Switching Protocols", "103 Early Hints"])
def test_an_interim_status_is_no_answer(status: str) -> None:
    with pytest.raises(BadResponse):
        answered(get(), ResponseMessage(status, b"", b""))


def test_the_date_goes_on() -> None:
    heads = AnswerHeads("test")
    heads.set_time(0)
    http = connection(heads=heads)
    dates = []
    for now_s in (0.0, 0.9, 1.0):
        heads.set_time(now_s)
        http.receive_data(get())
        data = http.respond(http.events.popleft(), ResponseMessage(OK, b"", b""))  # type: ignore[arg-type]
        dates.append(data.partition(b"Date: ")[2][:25])
    assert dates == [b"Thu, 01 Jan 1970 00:00:00"] * 2 + [b"Thu, 01 Jan 1970 00:00:01"]


def test_while_draining_the_last_of_pipelined_answers_ends_the_connection() -> None:
    heads = AnswerHeads("test")
    http = connection(heads=heads)
    message = ResponseMessage(OK, b"", b"")
    http.receive_data(get())
    assert b"Connection" not in http.respond(http.events.popleft(), message)  # type: ignore[arg-type]
    heads.drain()
    http.receive_data(get() + get())
    assert b"Connection" not in http.respond(http.events.popleft(), message)  # type: ignore[arg-type]
    assert b"\r\nConnection: close\r\n" in http.respond(http.events.popleft(), message)  # type: ignore[arg-type]
    assert not http.persistent


def test_only_the_last_of_pipelined_answers_says_close() -> None:
    http = received(get() + CLOSE)
    message = ResponseMessage(OK, b"", b"")
    assert b"Connection" not in http.respond(http.events.popleft(), message)  # type: ignore[arg-type]
    assert b"\r\nConnection: close\r\n" in http.respond(http.events.popleft(), message)  # type: ignore[arg-type]


def test_an_answer_that_is_too_short_drops_the_requests_behind_it() -> None:
    _, http = answered(get() + get(), ResponseMessage(OK, b"", b"abc", 5))
    assert not http.persistent
    assert not http.events


def test_a_refusal_is_one_plain_sentence() -> None:
    http = received(get(fields=b""))
    (error,) = http.events
    assert isinstance(error, ProtocolError)
    head, _, content = http.respond_to_error(error).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert head.endswith(b"\r\nConnection: close")
    assert content == b"The request must have one Host field.\n"


@given(st.integers(0, 253402300799))  # the end of the year 9999
def test_the_date_of_an_answer_is_written_as_http_wants_it(second: int) -> None:
    assert imf_fixdate(second) == formatdate(second, usegmt=True)
