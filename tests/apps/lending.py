"""An application that takes connections over, as Flask-Sock does: through `werkzeug.socket`."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from typing import Any

from demijohn import Flask, request

app = Flask(__name__)
torn_down: list[str] = []


@app.teardown_request
def note(error: BaseException | None) -> None:
    torn_down.append(request.path)


@app.get("/")
def hello() -> str:
    return "Hello, World!"


@app.get("/torn-down")
def listed() -> list[str]:
    return torn_down


def accept() -> Any:
    """Do what RFC 6455 §4.2.2 asks for, and return the socket."""
    sock = request.environ["werkzeug.socket"]
    key = request.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    proof = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n"
    sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n".encode())
    return sock


@app.route("/echo", websocket=True)
def echo() -> str:
    """Send back in capitals what comes, until it is a full stop."""
    with accept() as sock:
        while (data := sock.recv(1000)) not in (b"", b"."):
            sock.sendall(data.upper())
    return "must not be sent"


@app.route("/both", websocket=True)
def both() -> str:
    """Send without a pause while a thread reads four megabytes, then how much that was."""
    counts: list[int] = []

    def read() -> None:
        while sum(counts) < 4_000_000 and (data := sock.recv(5000)):
            counts.append(len(data))

    with accept() as sock:
        reader = threading.Thread(target=read)
        reader.start()
        while reader.is_alive():
            sock.sendall(b"x" * 5000)
        sock.sendall(b".%d" % sum(counts))
    return "must not be sent"


@app.route("/patience", websocket=True)
def patience() -> str:
    """Tell what comes of reading while nothing comes: with and without blocking, and into a file's buffer."""
    with accept() as sock:
        sock.settimeout(0.05)
        told = [_outcome(sock)]
        sock.setblocking(False)
        told.append(_outcome(sock))
        sock.setblocking(True)
        sock.sendall(" ".join(told).encode() + b"\n")
        with sock.makefile("rb") as file:
            sock.sendall(file.readline().upper())
    return "must not be sent"


def _outcome(sock: Any) -> str:
    try:
        return repr(sock.recv(100))
    except OSError as error:
        return type(error).__name__


@app.route("/fail", websocket=True)
def fail() -> str:
    accept()
    raise RuntimeError("in the middle of it")


@app.route("/turned-down", websocket=True)
def turned_down() -> tuple[str, int]:
    assert "werkzeug.socket" in request.environ
    return "not today", 403


@app.get("/offered")
def offered() -> dict[str, bool]:
    return {"offered": "werkzeug.socket" in request.environ}


@app.get("/sleep")
def sleep() -> str:
    time.sleep(1.0)
    return "late"


@app.route("/late", websocket=True)
def late() -> str:
    time.sleep(1.0)
    accept()
    return "must not be sent"


def leaving(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """End as Engine.IO does, which knows what Werkzeug's server makes of it."""
    environ["werkzeug.socket"].sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    raise ConnectionError
