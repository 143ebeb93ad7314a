"""`python -m bench.jsonrpc_calls`: CPU microseconds of one JSON-RPC call inside the process, without a server.

The kinds of request take turns and the best round of each counts, so that a busy machine does not look like a slow one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC, JSONRPCView
from demijohn.message import Origin, RequestHead

ROUNDS = 60
REQUESTS_PER_ROUND = 200
BATCH = 100

FIELDS = [(b"host", b"localhost"), (b"user-agent", b"bench"), (b"content-type", b"application/json")]
INDEX = b'{"jsonrpc":"2.0","method":"App.index","params":{},"id":"1"}'
TYPED = b'{"jsonrpc":"2.0","method":"App.typed","params":{"a":1,"b":"x","c":[1.5,2.5],"d":{"k":1}},"id":1}'


class UsualView(JSONRPCView):
    """A subclass, so reached as class-based views are: an instance for each request, `post` found by its name."""


def application() -> Flask:
    app = Flask("bench")

    @app.route("/")
    def hello() -> str:
        return "Hello, World!"

    def index() -> str:
        return "Welcome to JSON-RPC"

    def typed(a: int, b: str, c: list[float], d: dict[str, int]) -> dict[str, object]:
        return {"a": a, "b": b, "c": c, "d": d}

    for jsonrpc in (JSONRPC(app, "/api"), JSONRPC(app, "/usual", jsonrpc_site_api=UsualView)):
        jsonrpc.register(index, "App.index")
        jsonrpc.register(typed, "App.typed")
    return app


def requester(app: Flask, method: str, target: bytes, content: bytes) -> Callable[[], None]:
    origin = Origin()

    def request() -> None:
        head = RequestHead(method, target, (1, 1), FIELDS, origin, content)
        assert app.native_match(head) is not None
        assert app.native_handle(head).status == "200 OK"

    return request


def main() -> None:
    app = application()
    kinds = {
        "plain view": (requester(app, "GET", b"/", b""), 1),
        "App.index": (requester(app, "POST", b"/api", INDEX), 1),
        "App.index by a subclassed view": (requester(app, "POST", b"/usual", INDEX), 1),
        "App.typed": (requester(app, "POST", b"/api", TYPED), 1),
        f"App.index, of a batch of {BATCH}": (requester(app, "POST", b"/api", _batch(INDEX)), BATCH),
        f"App.typed, of a batch of {BATCH}": (requester(app, "POST", b"/api", _batch(TYPED)), BATCH),
    }
    best = dict.fromkeys(kinds, float("inf"))
    for _ in range(ROUNDS):
        for name, (request, calls) in kinds.items():
            best[name] = min(best[name], _cpu_us(request, REQUESTS_PER_ROUND // calls) / calls)
    for name, cpu_us in best.items():
        print(f"{name:34} {cpu_us:6.2f} us")


def _batch(call: bytes) -> bytes:
    return b"[" + b",".join([call] * BATCH) + b"]"


def _cpu_us(request: Callable[[], None], times: int) -> float:
    start_ns = time.process_time_ns()
    for _ in range(times):
        request()
    return (time.process_time_ns() - start_ns) / times / 1000


if __name__ == "__main__":
    main()
