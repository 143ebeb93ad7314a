"""A JSON-RPC service, for demijohn.jsonrpc and for Flask-JSONRPC."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import demijohn as web
    import demijohn.jsonrpc as rpc
else:
    web = import_module(os.environ["BENCH_FRAMEWORK"])
    rpc = import_module(os.environ["BENCH_JSONRPC"])

app = web.Flask(__name__)
jsonrpc = rpc.JSONRPC(app, "/api")


@jsonrpc.method("App.index")
def index() -> str:
    return "Welcome to JSON-RPC"


@jsonrpc.method("App.typed")
def typed(a: int, b: str, c: list[float], d: dict[str, int]) -> dict[str, object]:
    return {"a": a, "b": b, "c": c, "d": d}
