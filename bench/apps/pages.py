"""The small web application that every framework with Flask's API serves, from this one source."""

from __future__ import annotations

import os
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import demijohn as web
else:
    web = import_module(os.environ["BENCH_FRAMEWORK"])

app = web.Flask(__name__)


@app.route("/")
def hello() -> str:
    return "Hello, World!"


@app.route("/json")
def json() -> dict[str, Any]:
    return {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}


@app.route("/user/<int:id>/<name>")
def user(id: int, name: str) -> str:
    return f"{name} is number {id} and asks for {web.request.args['q']}"


@app.route("/sleep/<int:milliseconds>")
def sleep(milliseconds: int) -> str:
    time.sleep(milliseconds / 1000)
    return "slept"
