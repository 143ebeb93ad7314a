"""JSON-RPC methods that are `async def`, beside one that is not."""

from __future__ import annotations

import threading

from awaiting import at_gate

from demijohn import Flask, abort, g, request
from demijohn.jsonrpc import JSONRPC, JSONRPCError

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
    raise RuntimeError("the cellar is flooded")


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
