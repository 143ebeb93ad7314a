"""Time how a request's head is read, without a socket: `python -m bench.http1`.

"again": its field lines are those of the request before on the connection, but for Content-Length; "anew": they
differ. Microseconds, the best of several batches.
"""

from __future__ import annotations

import io
import timeit
from collections.abc import Callable

from demijohn.message import Origin
from demijohn.server.framing import AnswerHeads
from demijohn.server.http1 import Connection
from demijohn.server.settings import Settings

CALLS = 20_000
BATCHES = 15


def head(fields: int, last: bytes) -> bytes:
    lines = b"".join(b"X-Field-%d: as long as what browsers send\r\n" % number for number in range(fields - 2))
    return b"GET /path?query=1 HTTP/1.1\r\nHost: localhost\r\n" + lines + b"X-Last: " + last + b"\r\n\r\n"


def with_content(length: int, last: bytes) -> bytes:
    fields = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Last: %b\r\n" % (
        length,
        last,
    )
    return b"POST /path?query=1 HTTP/1.1\r\n" + fields + b"\r\n" + b"x" * length


def time_us(messages: list[bytes]) -> float:
    connection = Connection(Settings(), Origin(), AnswerHeads(), io.BytesIO)
    receive: Callable[[bytes], None] = connection.receive_data

    def read() -> None:
        for message in messages:
            receive(message)
            connection.events.clear()

    read()
    return min(timeit.repeat(read, number=CALLS, repeat=BATCHES)) / CALLS / len(messages) * 1e6


def main() -> None:
    for fields in (2, 5, 15):
        again = time_us([head(fields, b"a")])
        anew = time_us([head(fields, b"a"), head(fields, b"b")])
        print(f"{fields:3} field lines: {again:5.2f} us again, {anew:5.2f} us anew")
    again = time_us([with_content(1000, b"a")])
    other = time_us([with_content(1000, b"a"), with_content(999, b"a")])
    anew = time_us([with_content(1000, b"a"), with_content(1000, b"b")])
    print(f"  4 and 1 KB of content: {again:5.2f} us again, {other:5.2f} of another length, {anew:5.2f} anew")


if __name__ == "__main__":
    main()
