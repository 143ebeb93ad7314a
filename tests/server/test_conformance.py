"""What a checker of HTTP asks, as tables: grammar by grammar, what is taken and what is refused, and with what."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from demijohn.message import Origin, ProtocolError
from demijohn.server.framing import AnswerHeads
from demijohn.server.http1 import Connection
from demijohn.server.settings import Settings

TAKEN = 0
HOST = b"Host: example.org\r\n"
LAST = b"0\r\n\r\n"
DATA = b"5\r\nhello\r\n"


def result(pieces: Iterable[bytes]) -> int:
    """The status that the first request is refused with, or TAKEN."""
    http = Connection(Settings(), Origin(), AnswerHeads("test"), io.BytesIO)
    for piece in pieces:
        http.receive_data(piece)
    http.receive_eof()
    event = http.events[0]
    return event.status if isinstance(event, ProtocolError) else TAKEN


def request(line: bytes = b"GET / HTTP/1.1", fields: bytes = HOST, content: bytes = b"") -> bytes:
    return line + b"\r\n" + fields + b"\r\n" + content


def table(**groups: list[tuple[list[bytes], int]]) -> list[tuple[str, bytes, int]]:
    return [(kind, value, status) for kind, rows in groups.items() for values, status in rows for value in values]


# fmt: off
CASES = table(
    line=[
        ([b"GET\t/ HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET / HTTP/1.1\t", b"GET  / HTTP/1.1"], 400),
        ([b"GET\x0b/ HTTP/1.1", b"GET\x0c/ HTTP/1.1", b"GET\r/ HTTP/1.1", b"GET /\rHTTP/1.1", b"GET / HTTP/1.1\r"],
          400),
        ([b"GET / HTTP 1.1", b"GET / HTTP/ 1.1", b"GET / HTTP/1,1", b"GET / HTTP/1.", b"GET / HTTP/.1"], 400),
        ([b"GET / HTTP/1.1x", b"GET / HTTPS/1.1", b"GET / Http/1.1", b"GET / HTTP/-1.1", b"GET / HTTP/+1.1"], 400),
        ([b"GET / HTTP/01.1", b"GET / HTTP/1.10", b"GET / HTTP/1", b"GET / HTTP/2", b" / HTTP/1.1"], 400),
        ([b"GE(T / HTTP/1.1", b"GE:T / HTTP/1.1", b"G\0T / HTTP/1.1", b"G\xc3\x89T / HTTP/1.1", b"GET HTTP/1.1"], 400),
        ([b"GET / HTTP/0.9", b"GET / HTTP/9.9", b"GET / HTTP/2.1"], 505),
        ([b"Get / HTTP/1.1", b"GETX / HTTP/1.1", b"TRACK / HTTP/1.1", b"!#$%&'*+-.^_`|~ / HTTP/1.1"], 501),
    ],
    target=[
        ([b"/", b"/a/b;c=d?e=f", b"//host/a", b"/?", b"/a?b?c", b"/a%2Fb%00", b"/?a[]=%zz", b"/%C3%A4",
          b"/:80"], TAKEN),
        ([b"http://a", b"http://a?b", b"HTTP://A:80/b", b"http://[::1]:8000/", b"https://a/", b"http://a:/"], TAKEN),
        ([b"foo", b"?a", b"a:80", b"*", b"**", b"http:/a", b"http:a", b"http://", b"http:///a", b"ftp://a/",
          b"://a/"], 400),
        ([b"http://a@b/", b"http://a:b@c/", b"http://a:99999/", b"http://a:b/", b"http://[::1/", b"http://[zz]/"], 400),
        ([b"http://a:1:2/", b"http://:80/", b"http://a b/", b"http://a\\b/", b"http://a%zz/", b"http://a/#b"], 400),
        ([b"/a b", b"/a\tb", b"/a\0", b"/a\x7f", b"/a\x0b", b"/a\x1b", b"/\xc3\xa4", b"/\x80", b"/a#b", b"/#"], 400),
        ([b"/%", b"/%a", b"/%zz", b"/a%%20", b"/%u0041", b"/%-1", b"/% 0", b"/%2?%20"], 400),
    ],
    host=[
        ([b"", b"a", b"A.b", b"a:", b"a:0", b"a:80", b"[::1]", b"[::1]:80", b"[::ffff:1.2.3.4]", b"127.0.0.1", b"a_b",
          b"a%41", b"\ta \t", b"xn--bcher-kva.example"], TAKEN),
        ([b"a b", b"a/b", b"a?b", b"a#b", b"a@b", b"u:p@a", b"http://a", b"a\\b", b"<a>", b'"a"', b"a|b", b"a^b"], 400),
        ([b"a:-1", b"a:+1", b"a:b", b"a:65536", b"a:1:2", b"a:8 0", b"::1", b"[::1", b"::1]", b"[]", b"[zz]", b"[:::]",
          b"[1:2:3:4:5:6:7:8:9]", b"[...]", b"[::1]a", b"[::1%25eth0]", b"a%zz", b"a%4", b"\xc3\xa4", b"a\xa0", b"a\0b",
          b"a\rb", b"a\x01b", b"a\r\n b"], 400),
    ],
    field=[
        ([b"A:", b"A:b", b"A: b", b"A:\t b \t", b"A: b:c", b"A: b\tc", b"A: \xff", b"!#$%&'*+-.^_`|~1: b",
          b"0: 1"], TAKEN),
        ([b"A : b", b"A\t: b", b" A: b", b"\tA: b", b"A", b":", b": b", b"A b: c", b"A\0: b", b"\xc3\xa4: b",
          b"A\x7f: b"], 400),
        ([b"A" + bytes([char]) + b": b" for char in b'"(),/;<=>?@[\\]{}'], 400),
        ([b"A: b" + bytes([char]) + b"c" for char in (*range(9), *range(10, 32), 127)], 400),
        ([b"A: b\r\n c", b"A: b\r\n\tc", b"A:\r\n b", b"A: b\r\n ", b"A: b\nB: c", b"A: b\rB: c", b"A: b\r"], 400),
    ],
    length=[
        ([b"5", b"05", b"5 ", b"\t5\t", b"0" * 50 + b"5"], TAKEN),
        ([b"", b"+5", b"-5", b"-0", b"0x5", b"5.0", b"5e0", b"1_0", b"5,5", b"5, 5", b"5;5", b"5 5", b'"5"', b"five",
          b"5\0",
          b"5\x0b", b"\xb5", b"\xd9\xa5", b"\xa05", b"18446744073709551616", b"18446744073709551621", b"9" * 100], 400),
        ([b"9223372036854775808", b"18446744073709551615"], 413),
    ],
    coding=[
        ([b"chunked", b"ChUnKeD", b"\t chunked", b"chunked "], TAKEN),
        # A tab behind it could be dropped; llhttp refuses it, which nobody can misread.
        ([b"", b"chunked\t", b"chunked\0", b"\x0bchunked", b"chunked, gzip", b"chunked, identity", b"chunked, chunked",
          b"identity", b"gzip", b"chunked,", b"chunked\x0b"], 400),
        ([b"cow", b"chunkedx", b"xchunked", b'"chunked"', b"gzip, chunked", b"trailers"], 501),
    ],
    chunks=[
        ([DATA + LAST, b"0005\r\nhello\r\n" + LAST, DATA + b"000\r\n\r\n",
          b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + LAST,
          b"5;a\r\nhello\r\n" + LAST, b"5;a=b;c=d\r\nhello\r\n" + LAST, b'5;a="b;c \\""\r\nhello\r\n' + LAST,
          DATA + b"0;a=b\r\n\r\n", DATA + b"0\r\nA: b\r\nC:\r\n\r\n"], TAKEN),
        ([b"+5\r\nhello\r\n" + LAST, b"-5\r\nhello\r\n" + LAST, b"0x5\r\nhello\r\n" + LAST, b" 5\r\nhello\r\n" + LAST,
          b"5 \r\nhello\r\n" + LAST, b"5\t\r\nhello\r\n" + LAST, b"5_0\r\nhello\r\n" + LAST, b"5.\r\nhello\r\n" + LAST,
          b"g\r\nhello\r\n" + LAST, b"\r\nhello\r\n" + LAST, b"10000000000000005\r\nhello\r\n" + LAST], 400),
        ([b"5\nhello\r\n" + LAST, b"5\rhello\r\n" + LAST, b"5\r\nhello\n" + LAST, b"5\r\nhello\r" + LAST,
          b"5\r\nhello" + LAST,
          b"4\r\nhello\r\n" + LAST, b"6\r\nhello\r\n" + LAST, b"5\r\nhelloXX" + LAST, DATA + b"0\n\n",
          DATA + b"0\r\n\n"], 400),
        ([b"5;a\nb\r\nhello\r\n" + LAST, b"5;a\rb\r\nhello\r\n" + LAST, b"5;a\0\r\nhello\r\n" + LAST,
          b"5;a=\x01\r\nhello\r\n" + LAST, b'5;a="b\r\nhello\r\n' + LAST, b"5;(\r\nhello\r\n" + LAST,
          b'5;a="\r\n"\r\nhello\r\n' + LAST], 400),
        ([DATA + b"0\r\n" + line + b"\r\n\r\n" for line in (b"A b", b"A : b", b" A: b", b"A: b\r\n c", b"A: \0",
          b"A: a\rb",
          b": a", b"Host: a", b"Content-Length: 1", b"Transfer-Encoding: chunked", b"GET / HTTP/1.1")], 400),
        ([b"", b"5\r\nhel", b"5\r\nhello", DATA, DATA + b"0", DATA + b"0\r\n", DATA + b"0\r\nA: b\r\n"],
          400),  # cut short
    ],
)
# fmt: on

FORMS = {
    "line": lambda value: request(value),
    "target": lambda value: request(b"GET " + value + b" HTTP/1.1"),
    "host": lambda value: request(fields=b"Host: " + value + b"\r\n"),
    "field": lambda value: request(fields=HOST + value + b"\r\n"),
    "length": lambda value: request(b"POST / HTTP/1.1", HOST + b"Content-Length: " + value + b"\r\n", b"hello"),
    "coding": lambda value: request(b"POST / HTTP/1.1", HOST + b"Transfer-Encoding: " + value + b"\r\n", LAST),
    "chunks": lambda value: request(b"POST / HTTP/1.1", HOST + b"Transfer-Encoding: chunked\r\n", value),
}


@pytest.mark.parametrize(("kind", "value", "status"), CASES)
def test_each_form_is_taken_or_refused(kind: str, value: bytes, status: int) -> None:
    data = FORMS[kind](value)
    assert result([data]) == status
    piecemeal = result(data[i : i + 1] for i in range(len(data)))
    assert piecemeal == status or {piecemeal, status} <= {400, 413, 501, 505}
