"""Time a WSGI application's way through the gateway, without a socket: `python -m bench.wsgi`.

From a request that was read to the bytes of its answer. "again": its field lines are those of the request before on the
connection, "anew": they differ. "list" answers with a list of one part, "iterable" with an object that has `close`, as
Django does, and eight field lines. Microseconds, the best of several batches.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from demijohn.environ import environ_of
from demijohn.message import Origin, RequestHead, response_message
from demijohn.server.framing import AnswerHeads
from demijohn.server.http1 import Connection
from demijohn.server.settings import Settings
from demijohn.server.wsgi import WSGIGateway

CALLS = 10_000
BATCHES = 15
CONTENT = b"Hello, World!"
FEW = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "13")]
MANY = [
    *FEW,
    *(("X-Frame-Options", "DENY"), ("Vary", "Cookie"), ("X-Content-Type-Options", "nosniff")),
    *(("Referrer-Policy", "same-origin"), ("Cross-Origin-Opener-Policy", "same-origin"), ("X-Of", "an application")),
]


class Parts:
    def __iter__(self) -> Iterator[bytes]:
        return iter((CONTENT,))

    def close(self) -> None:
        pass


def list_of_one(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", FEW)
    return [CONTENT]


def iterable(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", MANY)
    return Parts()


def fields(count: int) -> list[tuple[bytes, bytes]]:
    rest = [(b"x-field-%d" % number, b"as long as what browsers send") for number in range(count - 1)]
    return [(b"host", b"localhost"), *rest]


def time_us(step: Callable[[], object]) -> float:
    return min(timeit.repeat(step, timer=time.process_time, number=CALLS, repeat=BATCHES)) / CALLS * 1e6


def main() -> None:
    origin = Origin(client=("192.0.2.1", 1))
    for count in (2, 15):
        again, anew = fields(count), fields(count)
        heads = [RequestHead("GET", b"/path?query=1", (1, 1), lines, origin) for lines in (again, anew)]

        def environ(heads: list[RequestHead]) -> None:
            for head in heads:
                head.environ = None
                environ_of(head)

        again_us = time_us(partial(environ, heads[:1] * 2)) / 2
        anew_us = time_us(partial(environ, heads)) / 2
        print(f"environ, {count:2} field lines: {again_us:5.2f} us again, {anew_us:5.2f} us anew")
    print(f"answer of {len(MANY)} field lines: {time_us(lambda: response_message('200 OK', MANY, CONTENT)):5.2f} us")
    connection = Connection(Settings(), origin, AnswerHeads(), lambda: None)  # type: ignore[arg-type, return-value]
    for application in (list_of_one, iterable):
        gateway = WSGIGateway(application)

        def serve(gateway: WSGIGateway = gateway) -> None:
            head = RequestHead("GET", b"/", (1, 1), again, origin)
            gateway.match(head)
            connection.respond(head, gateway.handle(head))

        print(f"{application.__name__}: {time_us(serve):5.2f} us")


if __name__ == "__main__":
    main()
