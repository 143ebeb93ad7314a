"""An application whose views wait until the test lets them go on, and have limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

from demijohn import Flask, request, stream_with_context
from demijohn.helpers import time_limit

app = Flask(__name__)


def wait_at_gate(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.recv(1)


@app.route("/")
def hello() -> str:
    return "Hello, World!"


@app.route("/wait")
@app.route("/reports/wait")
def wait() -> str:
    wait_at_gate(request.args["path"])
    return "let through"


@app.route("/short")
@time_limit(0.3)
def short() -> str:
    wait_at_gate(request.args["path"])
    return "let through"


@app.route("/unlimited")
@time_limit(0)
def unlimited() -> str:
    wait_at_gate(request.args["path"])
    return "let through"


@app.route("/await")
async def await_gate() -> str:
    reader, writer = await asyncio.open_unix_connection(request.args["path"])
    try:
        await reader.read()
    finally:
        writer.close()
        print("left", flush=True)
    return "let through"


@app.route("/stream")
@stream_with_context
def stream() -> Iterator[str]:
    yield "first\n"
    wait_at_gate(request.args["path"])
    yield "second\n"


@app.route("/stream-large")
@stream_with_context
def stream_large() -> Iterator[str]:
    """Stop where a peer that does not read has to read first."""
    yield "x" * 20_000_000
    wait_at_gate(request.args["path"])
    yield "second\n"


@app.route("/stream-late")
@stream_with_context
def stream_late() -> Iterator[str]:
    wait_at_gate(request.args["path"])
    yield "late\n"


@app.teardown_request
def note(error: BaseException | None) -> None:
    if request.path.startswith("/wait"):
        print("torn down", flush=True)
