"""Applications by their interfaces, without a framework of ours: plain ASGI, and Starlette."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"Hello, World!"})


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, World!")


async def sleep(request: Request) -> PlainTextResponse:
    await asyncio.sleep(request.path_params["milliseconds"] / 1000)
    return PlainTextResponse("slept")


starlette = Starlette(routes=[Route("/", hello), Route("/sleep/{milliseconds:int}", sleep)])
