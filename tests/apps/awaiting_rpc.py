"""JSON-RPC methods that are `async def`, beside one that is not."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

from awaiting import at_gate

from demijohn import Flask, abort, g, request
from demijohn.jsonrpc import JSONRPC, JSONRPCError
from demijohn.jsonrpc.protocol import Call

app = Flask(__name__)
jsonrpc = JSONRPC(app, "/api")


@app.route("/")
def hello() -> str:
    return "Hello, World!"


@app.route("/threads")
def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


@jsonrpc.method()
async def wait(path: str, n: int) -> int:
    g.n = n
    async with at_gate(path):
        return int(g.n)


@jsonrpc.method()
async def where() -> dict[str, str]:
    return {"thread": threading.current_thread().name, "path": request.path}


@jsonrpc.method()
def plain() -> dict[str, str]:
    return {"thread": threading.current_thread().name, "path": request.path}


@jsonrpc.method()
async def fail(how: str) -> int:
    if how == "error":
        raise JSONRPCError("told", code=7, status_code=409)
    if how == "abort":
        abort(403)
    if how == "result":
        return "no number"  # type: ignore[return-value]
    if how == "exit":
        sys.exit(3)
    if how == "cancelled":
        raise asyncio.CancelledError
    raise RuntimeError("the cellar is flooded")


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate any function, as one does that knows nothing of `async def`."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        g.thread = threading.current_thread().name
        return function(*arguments, **named)

    return call


def run_to_its_end(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a plain function of one that is `async def`."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return asyncio.run(function(*arguments, **named))

    return call


@jsonrpc.method()
@logged
async def decorated(n: int) -> int:
    await asyncio.sleep(0)
    assert "thread" in g
    return n


@jsonrpc.method()
@run_to_its_end
async def made_plain(n: int) -> int:
    await asyncio.sleep(0)
    return n


@jsonrpc.method()
async def created() -> tuple[str, int, dict[str, str]]:
    return "made", 201, {"X-Made": "yes"}


@jsonrpc.method(notification=False)
async def answered() -> str:
    return "yes"


def never(call: object) -> bool:
    return False


@jsonrpc.method(auth=never)
async def secret() -> str:
    return "treasure"


# -- batches ----------------------------------------------------------------------------------------

crowd = JSONRPC(app, "/crowd")
meeting = asyncio.Barrier(3)
called_as: ContextVar[object] = ContextVar("called_as")
done: list[int] = []
here: list[int] = []


@crowd.middleware
def know_the_caller(call: Call) -> Iterator[None]:
    token = called_as.set(call.id)
    yield
    called_as.reset(token)


@crowd.method()
async def meet() -> object:
    """Answer when three are here."""
    await meeting.wait()
    return called_as.get()


@crowd.method()
async def most() -> int:
    """Return how many calls were here at a time."""
    here.append(1)
    seen = len(here)
    for _ in range(20):
        await asyncio.sleep(0)
        seen = max(seen, len(here))
    here.pop()
    return seen


@crowd.method()
async def do(n: int) -> int:
    await asyncio.sleep(0)
    done.append(n)
    return n


@crowd.method()
def what_is_done() -> list[int]:
    return list(done)
