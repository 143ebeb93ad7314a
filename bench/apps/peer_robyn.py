"""The pages with Robyn, a framework whose server is in Rust: its own interface, served by itself."""

from __future__ import annotations

import asyncio
import sys

from robyn import Request, Robyn, html, jsonify
from work_data import BIG

app = Robyn(__file__)


@app.get("/")
def hello() -> object:
    return html("Hello, World!")


@app.get("/json")
def json_dict() -> dict[str, object]:
    return {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}


@app.get("/user/:id/:name")
def user(request: Request) -> str:
    number, name = int(request.path_params["id"]), request.path_params["name"]
    return f"{name} is number {number} and asks for {request.query_params.get('q', '')}"


@app.post("/echo")
def echo(request: Request) -> str:
    return jsonify(request.json())


@app.get("/big")
def big() -> str:
    return jsonify(BIG)


@app.get("/async")
async def async_hello() -> object:
    return html("Hello, World!")


@app.get("/await/:milliseconds")
async def async_sleep(request: Request) -> str:
    await asyncio.sleep(int(request.path_params["milliseconds"]) / 1000)
    return "slept"


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]))
