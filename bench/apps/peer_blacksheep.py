"""The pages with BlackSheep, an ASGI framework in Cython."""

from __future__ import annotations

import asyncio

from blacksheep import Application, FromJSON, FromQuery, Response, html, json, text
from work_data import BIG

app = Application()
get, post = app.router.get, app.router.post


@get("/")
async def hello() -> Response:
    return html("Hello, World!")


@get("/json")
async def json_dict() -> Response:
    return json({"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]})


@get("/user/{int:id}/{name}")
async def user(id: int, name: str, q: FromQuery[str]) -> Response:
    return text(f"{name} is number {id} and asks for {q.value}")


@post("/echo")
async def echo(data: FromJSON[dict]) -> Response:
    return json(data.value)


@get("/big")
async def big() -> Response:
    return json(BIG)


@get("/async")
async def async_hello() -> Response:
    return html("Hello, World!")


@get("/await/{int:milliseconds}")
async def async_sleep(milliseconds: int) -> Response:
    await asyncio.sleep(milliseconds / 1000)
    return text("slept")
