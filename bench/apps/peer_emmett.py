"""The pages with Emmett55, whose protocol is granian's own."""

from __future__ import annotations

import asyncio
from typing import Any

from emmett55 import App, request
from emmett55.tools import service
from work_data import BIG

app = App(__name__)


@app.route("/")
async def hello() -> str:
    return "Hello, World!"


@app.route("/json")
@service.json
async def json_dict() -> dict[str, Any]:
    return {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}


@app.route("/user/<int:id>/<str:name>")
async def user(id: int, name: str) -> str:
    return f"{name} is number {id} and asks for {request.query_params.q}"


@app.route("/echo", methods="post")
@service.json
async def echo() -> Any:
    return await request.body_params


@app.route("/big")
@service.json
async def big() -> Any:
    return BIG


@app.route("/async")
async def async_hello() -> str:
    return "Hello, World!"


@app.route("/await/<int:milliseconds>")
async def async_sleep(milliseconds: int) -> str:
    await asyncio.sleep(milliseconds / 1000)
    return "slept"
