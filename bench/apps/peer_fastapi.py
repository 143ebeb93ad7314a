"""The pages with FastAPI."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse
from work_data import BIG

app = FastAPI()


@app.get("/", response_class=HTMLResponse)
async def hello() -> str:
    return "Hello, World!"


@app.get("/json")
async def json_dict() -> dict[str, Any]:
    return {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}


@app.get("/user/{id}/{name}", response_class=PlainTextResponse)
async def user(id: int, name: str, q: str) -> str:
    return f"{name} is number {id} and asks for {q}"


@app.post("/echo")
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@app.get("/big")
async def big() -> list[dict[str, Any]]:
    return BIG


@app.get("/async", response_class=HTMLResponse)
async def async_hello() -> str:
    return "Hello, World!"


@app.get("/await/{milliseconds}", response_class=PlainTextResponse)
async def async_sleep(milliseconds: int) -> str:
    await asyncio.sleep(milliseconds / 1000)
    return "slept"
