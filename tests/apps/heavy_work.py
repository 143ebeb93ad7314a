"""An application whose views have heavy functions and jobs done, for tests/server."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from demijohn import Flask, request, session
from demijohn.heavy import CallCancelled, heavy, progress, report
from demijohn.jsonrpc import JSONRPC
from demijohn.shared import Cache, RateLimit, StoredSessions

STATE = os.environ.get("STATE", "memory://")

app = Flask(__name__)
app.secret_key = "for tests"
app.session_interface = StoredSessions(STATE)
cache = Cache(STATE)
limit = RateLimit(STATE)


def wait_at_gate(path: str) -> None:
    """Wait until the test opens the gate at `path`."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.recv(1)


@heavy
def square(x: int) -> int:
    return x * x


@app.heavy(deadline_s=20)
def sum_of_squares(numbers: list[int]) -> int:
    return sum(square(number) for number in numbers)


@heavy
def pid() -> int:
    return os.getpid()


@heavy
def die(status: int) -> None:
    os._exit(status)


@heavy
def die_once(mark: str) -> str:
    if not os.path.exists(mark):
        with open(mark, "w"):
            os._exit(9)
    return "survived"


@heavy(deadline_s=0.5)
def stay(path: str) -> None:
    wait_at_gate(path)


@heavy
def wait(path: str) -> int:
    wait_at_gate(path)
    return os.getpid()


@heavy
def spin(seconds: float) -> int:
    turns = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        turns += 1
    return turns


@heavy
def fail(message: str) -> None:
    raise ValueError(message)


@heavy
def take(value: Any) -> str:
    return type(value).__name__


@app.get("/")
def hello() -> str:
    return "hello"


@app.get("/squares/<int:x>")
def squares(x: int) -> dict[str, Any]:
    return {"square": square(x), "sum": sum_of_squares(list(range(x))), "elsewhere": pid() != os.getpid()}


@app.get("/call/<name>")
def call(name: str) -> Any:
    """Call a heavy function with the arguments of the query, and tell how it failed if it did."""
    arguments = [int(value) if value.isdecimal() else value for value in request.args.getlist("arg")]
    return {"result": globals()[name](*arguments)}


@app.get("/failure")
def failure() -> dict[str, Any]:
    try:
        fail("not this one")
    except ValueError as error:
        return {"error": str(error), "notes": "".join(error.__notes__)}
    return {}


@app.get("/unpicklable")
def unpicklable() -> str:
    try:
        return take(lambda: None)
    except TypeError as error:
        return str(error)


# -- jobs ---------------------------------------------------------------------------------------


@app.job("/train/<name>")
def train(name: str, epochs: int = 30) -> dict[str, Any]:
    for epoch in progress(range(epochs)):
        report(epoch, message=f"epoch {epoch}")
    return {"name": name, "epochs": epochs}


@app.job("/watched")
def watched(path: str, cleaned: str = "") -> str:
    report(1, 2, "at the gate")
    wait_at_gate(path)
    try:
        while True:
            report(1)
    except CallCancelled:
        with open(cleaned, "w") as file:
            file.write("cleaned up")
        raise


@app.job("/gated")
def gated(path: str) -> str:
    report(1, 2, "at the gate")
    wait_at_gate(path)
    return "through"


app.job("/deadly")(die)


@app.job("/odd")
def odd() -> object:
    return object()


# -- shared state -------------------------------------------------------------------------------


@app.get("/count")
def count() -> dict[str, int]:
    session["count"] = session.get("count", 0) + 1
    return {"count": session["count"], "pid": os.getpid()}


@app.get("/clear")
def clear() -> str:
    session.clear()
    return "cleared"


@app.get("/limited")
@limit("3/day")
def limited() -> str:
    return "allowed"


# -- the same as JSON-RPC methods -------------------------------------------------------------------

jsonrpc = JSONRPC(app, "/api")


@jsonrpc.method("square", heavy=True)
def square_of(x: int) -> int:
    return x * x


@jsonrpc.method("where", heavy=True)
def where() -> int:
    return os.getpid()


@jsonrpc.method("train", job=True)
def train_method(epochs: int = 3) -> list[int]:
    return list(progress(range(epochs)))
