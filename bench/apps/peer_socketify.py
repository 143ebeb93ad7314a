"""The pages with socketify, on uWebSockets: its own interface, served by itself."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from socketify import App
from work_data import BIG

app = App()


def hello(response: Any, request: Any) -> None:
    response.write_header("Content-Type", "text/html; charset=utf-8").end("Hello, World!")


def json_dict(response: Any, request: Any) -> None:
    response.end({"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]})


def user(response: Any, request: Any) -> None:
    number, name = int(request.get_parameter(0)), request.get_parameter(1)
    response.end(f"{name} is number {number} and asks for {request.get_query('q')}")


def big(response: Any, request: Any) -> None:
    response.end(BIG)


async def async_hello(response: Any, request: Any) -> None:
    response.write_header("Content-Type", "text/html; charset=utf-8").end("Hello, World!")


async def async_sleep(response: Any, request: Any) -> None:
    milliseconds = int(request.get_parameter(0))
    await asyncio.sleep(milliseconds / 1000)
    response.end("slept")


app.get("/", hello)
app.get("/json", json_dict)
app.get("/user/:id/:name", user)
app.get("/big", big)
app.get("/async", async_hello)
app.get("/await/:milliseconds", async_sleep)

if __name__ == "__main__":
    app.listen(int(sys.argv[1]))
    app.run()
