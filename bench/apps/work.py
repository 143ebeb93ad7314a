"""Views that do more than say hello, for every framework with Flask's API, from this one source."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from work_data import BIG

if TYPE_CHECKING:
    import demijohn as web
else:
    web = import_module(os.environ["BENCH_FRAMEWORK"])

# The files are made by the benchmark.
app = web.Flask(__name__, static_folder=os.environ["BENCH_STATIC"], static_url_path="/static")
app.secret_key = "for the benchmark"

ROWS = [{"id": number, "name": f"<name {number}>", "price": number / 4} for number in range(20)]
PART = b"x" * 1023 + b"\n"


@app.post("/echo")
def echo() -> Any:
    return web.jsonify(web.request.get_json())


@app.get("/big")
def big() -> Any:
    return BIG


@app.get("/session")
def count() -> str:
    web.session["count"] = web.session.get("count", 0) + 1
    return f"count {web.session['count']}"


@app.get("/template")
def rows() -> str:
    return web.render_template("rows.html", title="Rows", rows=ROWS)


@app.post("/upload")
def upload() -> str:
    file = web.request.files["file"]
    file.seek(0, os.SEEK_END)
    return f"{file.filename}: {file.tell()} bytes"


@app.get("/stream")
def stream() -> Any:
    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield PART

    return web.Response(parts(), mimetype="text/plain")


@app.get("/async")
async def async_hello() -> str:
    return "Hello, World!"


@app.get("/await/<int:milliseconds>")
async def async_sleep(milliseconds: int) -> str:
    await asyncio.sleep(milliseconds / 1000)
    return "slept"


# -- hooks: three of each -------------------------------------------------------------------------------

hooked = web.Flask("hooked")


@hooked.get("/")
def hello() -> str:
    return "Hello, World!"


for _ in range(3):
    hooked.before_request(lambda: None)
    hooked.after_request(lambda response: response)
    hooked.teardown_request(lambda error: None)
