"""Time what content costs on its way in and out, step by step, without a peer: `python -m bench.bodies`.

Each line is the best of several batches, in microseconds of CPU time.
"""

from __future__ import annotations

import itertools
import socket
import tempfile
import time
from collections.abc import Callable

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request as WerkzeugRequest

from bench.scenarios import BOUNDARY, UPLOAD
from demijohn.environ import environ_of
from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.routing import Router
from demijohn.server.framing import AnswerHeads, Framing
from demijohn.server.gathering import Gatherer
from demijohn.server.http1 import Connection
from demijohn.server.sending import Answer, framed, next_part
from demijohn.server.settings import Settings
from demijohn.wrappers import Request

CALLS = 5
BATCHES = 8
CONTENT = UPLOAD.encode()
TYPE = b"multipart/form-data; boundary=" + BOUNDARY.encode()
FIELDS = [(b"host", b"localhost"), (b"content-type", TYPE), (b"content-length", b"%d" % len(CONTENT))]
PART = b"x" * 1023 + b"\n"
SETTINGS = Settings()
ROUTE = next(iter(Router(Map([Rule("/upload", endpoint="upload")])).fixed["POST"].values()))


def cpu_us(step: Callable[[], object]) -> float:
    step()
    best = float("inf")
    for _ in range(BATCHES):
        begun = time.process_time()
        for _ in range(CALLS):
            step()
        best = min(best, time.process_time() - begun)
    return best / CALLS * 1e6


def new_connection() -> Connection:
    heads = AnswerHeads()
    heads.set_time(0)
    return Connection(SETTINGS, Origin(), heads, tempfile.TemporaryFile)


def receive(framing: bytes, pieces: list[bytes]) -> None:
    """Take in a request up to its end."""
    http = new_connection()
    http.receive_data(b"POST / HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % framing)
    for piece in pieces:
        http.receive_data(piece)
    assert http.events
    http.end()


def pieces_of(content: bytes, size: int) -> list[bytes]:
    return [content[begin : begin + size] for begin in range(0, len(content), size)]


def chunks_of(content: bytes, size: int) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces_of(content, size)] + [b"0\r\n\r\n"]


def parse(request_class: type[WerkzeugRequest]) -> None:
    """Look at the form of a request whose content the server has put into a temporary file."""
    with tempfile.TemporaryFile() as spool:
        spool.write(CONTENT)
        spool.seek(0)
        head = RequestHead("POST", b"/upload", (1, 1), FIELDS, Origin())
        head.content, head.spool, head.route = None, spool, ROUTE
        request = Request.of_head(head) if request_class is Request else WerkzeugRequest(environ_of(head))
        assert request.files
        request.close()


def write_alone() -> None:
    with tempfile.TemporaryFile() as spool:
        spool.write(CONTENT)


class Reader:
    """What takes a stream, and forgets it."""

    def __init__(self) -> None:
        self.sock, self._peer = socket.socketpair()
        for end, option in ((self.sock, socket.SO_SNDBUF), (self._peer, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.unsent: bytes | memoryview | None = None
        self._room = bytearray(1 << 20)

    def send(self) -> None:
        assert self.unsent is not None
        assert self.sock.send(self.unsent) == len(self.unsent)
        self.unsent = None
        self._peer.recv_into(self._room)


def send_stream(reader: Reader, gatherer: Gatherer | None) -> None:
    head = RequestHead("GET", b"/stream", (1, 1), [], Origin())
    framing = Framing(chunked=True, content_length=None)
    answer = Answer(head, ResponseMessage("200 OK", b"", b""), ROUTE, 0.0)
    answer.parts = iter([PART] * 64)
    while answer.parts is not None:
        if gatherer is not None:
            gatherer.fill(reader, answer, framing)
        else:
            part = next_part(answer)
            reader.unsent = framed(answer, framing, [part] if part else [], is_last=part is None)
        reader.send()


def main() -> None:
    length = b"Content-Length: %d" % len(CONTENT)
    for size, framing in itertools.product((1 << 16, 1 << 18), (length, b"Transfer-Encoding: chunked")):
        pieces = pieces_of(CONTENT, size) if framing is length else chunks_of(CONTENT, size)
        print(f"{cpu_us(lambda f=framing, p=pieces: receive(f, p)):8.0f} us  in pieces of {size}, {framing.decode()}")
    alone_us = cpu_us(write_alone)
    print(f"{alone_us:8.0f} us  the temporary file alone; taken off below")
    print(f"{cpu_us(lambda: parse(Request)) - alone_us:8.0f} us  the form of it")
    print(f"{cpu_us(lambda: parse(WerkzeugRequest)) - alone_us:8.0f} us  the form of it, by Werkzeug")
    reader = Reader()
    gatherer = Gatherer(set(), lambda _: None)
    print(f"{cpu_us(lambda: send_stream(reader, gatherer)):8.0f} us  a stream of 64 x 1 KB, gathered")
    print(f"{cpu_us(lambda: send_stream(reader, None)):8.0f} us  a stream of 64 x 1 KB, part by part")


if __name__ == "__main__":
    main()
