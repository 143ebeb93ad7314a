"""Applications of Starlette and of FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import BackgroundTasks, Depends, FastAPI, UploadFile, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

events: list[str] = []
finished = asyncio.Event()


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
    events.append("up")
    yield {"pool": "open"}
    print("the pool is closed", flush=True)


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"Hello, {request.query_params.get('name', 'World')}!")


async def state(request: Request) -> Response:
    return JSONResponse({"pool": request.state.pool, "events": events})


async def length(request: Request) -> Response:
    return PlainTextResponse(str(sum([len(part) async for part in request.stream()])))


async def count(request: Request) -> Response:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(numbers())


async def source(request: Request) -> Response:
    return FileResponse(__file__)


async def chat(socket: Any) -> None:
    await socket.accept(subprotocol="chat")
    async for text in socket.iter_text():
        await socket.send_json({"said": text})


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["X-Stamp"] = "seen"
        return response


routes = [
    Route("/", hello),
    Route("/state", state),
    Route("/length", length, methods=["POST"]),
    Route("/count", count),
    Route("/source", source),
    WebSocketRoute("/chat", chat),
]
starlette = Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Stamp)])

fastapi = FastAPI(lifespan=lifespan)


def pool(request: Request) -> str:
    return str(request.state.pool)


@fastapi.get("/items/{number}")
async def item(number: int, detail: bool = False, opened: str = Depends(pool)) -> dict[str, Any]:
    return {"number": number, "detail": detail, "pool": opened}


@fastapi.get("/blocking")
def blocking() -> dict[str, str]:
    return {"from": "a thread"}


@fastapi.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    return {"name": file.filename, "size": len(await file.read())}


@fastapi.post("/later")
async def later(tasks: BackgroundTasks) -> dict[str, str]:
    async def work() -> None:
        finished.set()

    tasks.add_task(work)
    return {"will": "be done"}


@fastapi.get("/finished")
async def wait_until_finished() -> bool:
    return await finished.wait()


@fastapi.websocket("/add/{number}")
async def add(socket: WebSocket, number: int) -> None:
    await socket.accept()
    while True:
        await socket.send_json(number + await socket.receive_json())
