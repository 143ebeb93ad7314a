"""A plain WSGI application; the views of the server's tests."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    view = VIEWS[environ["PATH_INFO"]]
    content = view(unquote(environ["QUERY_STRING"])).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
    return [content]


def hello(query: str) -> str:
    return "Hello, World!"


def process_id(query: str) -> str:
    return str(os.getpid())


def wait_at_gate(path: str) -> str:
    """Wait until the test opens the gate whose socket is `path`."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.recv(1)
    return "let through"


def leave(status: str) -> str:
    """End the process from within a view."""
    os._exit(int(status))


def hold_interpreter(query: str) -> str:
    """Wait in C without releasing the interpreter, for as long as nobody interferes."""
    while True:
        ctypes.PyDLL(None).sleep(3600)


def large(query: str) -> str:
    """Answer with more than any socket buffer holds."""
    return "x" * 50_000_000


def directory(query: str) -> str:
    return os.getcwd()


def variable(name: str) -> str:
    return os.environ.get(name, "")


VIEWS: dict[str, Callable[[str], str]] = {
    "/": hello,
    "/pid": process_id,
    "/wait": wait_at_gate,
    "/leave": leave,
    "/hold": hold_interpreter,
    "/large": large,
    "/cwd": directory,
    "/variable": variable,
}
