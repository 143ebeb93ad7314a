"""The JSON-RPC service of rpc.py, for pjrpc on aiohttp, its parameters held to their hints by pydantic."""

from __future__ import annotations

import sys

from aiohttp import web
from pjrpc.server import MethodRegistry
from pjrpc.server.integration.aiohttp import Application
from pjrpc.server.validators import pydantic as validators

methods = MethodRegistry(validator_factory=validators.PydanticValidatorFactory())


@methods.add(name="App.index")
async def index() -> str:
    return "Welcome to JSON-RPC"


@methods.add(name="App.typed")
async def typed(a: int, b: str, c: list[float], d: dict[str, int]) -> dict[str, object]:
    return {"a": a, "b": b, "c": c, "d": d}


if __name__ == "__main__":
    service = Application("/api")
    service.add_methods(methods)
    web.run_app(service.http_app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
