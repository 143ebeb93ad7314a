"""The JSON-RPC service of rpc.py, for fastapi-jsonrpc on uvicorn."""

from __future__ import annotations

import fastapi_jsonrpc
from fastapi import Body

app = fastapi_jsonrpc.API()
api = fastapi_jsonrpc.Entrypoint("/api")


@api.method(name="App.index")
def index() -> str:
    return "Welcome to JSON-RPC"


A, B, C, D = Body(...), Body(...), Body(...), Body(...)


@api.method(name="App.typed")
def typed(a: int = A, b: str = B, c: list[float] = C, d: dict[str, int] = D) -> dict[str, object]:
    return {"a": a, "b": b, "c": c, "d": d}


app.bind_entrypoint(api)
