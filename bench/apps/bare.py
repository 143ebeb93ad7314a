"""A loop that does nothing but what it is asked for here: `python bare.py PORT APPLICATION`.

It reads whole requests and trusts them, has no limits, no time limits, no threads, no log and no errors, and knows its
five pages. So it is no server: it is what is left in Python, beside the application, when all that makes one is left
out, and no server in Python can cost less.
"""

from __future__ import annotations

import importlib
import io
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

import orjson

JSON = {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}


def answer(content: bytes, fields: bytes = b"Content-Type: text/html; charset=utf-8\r\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(content), content)


def page(data: bytes) -> bytes:
    target = data[: data.index(b"\r")].split(b" ", 2)[1]
    if target == b"/":
        return answer(b"Hello, World!")
    if target == b"/json":
        return answer(orjson.dumps(JSON), b"Content-Type: application/json\r\n")
    if target == b"/echo":
        content = orjson.dumps(orjson.loads(data[data.index(b"\r\n\r\n") + 4 :]))
        return answer(content, b"Content-Type: application/json\r\n")
    _, _, number, name = target.partition(b"?q=")[0].split(b"/")
    asked = target.partition(b"?q=")[2].decode()
    return answer(f"{name.decode()} is number {int(number)} and asks for {asked}".encode())


def gateway(application: Any, port: int) -> Callable[[bytes], bytes]:
    """Return what calls a WSGI application, with an environ that is the same for all but for its target."""
    constant = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": f"127.0.0.1:{port}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

    def handle(data: bytes) -> bytes:
        started: list[Any] = []
        target = data[: data.index(b"\r")].split(b" ", 2)[1].decode("latin-1")
        environ = {**constant, "PATH_INFO": target, "wsgi.input": io.BytesIO()}
        parts = application(environ, lambda *given: started.extend(given))
        content = b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
        fields = "".join([f"{name}: {value}\r\n" for name, value in started[1] if name != "Content-Length"])
        return answer(content, fields.encode("latin-1"))

    return handle


def serve(listener: socket.socket, handle: Callable[[bytes], bytes]) -> None:
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _ in epoll.poll():
            connection = connections.get(fd)
            if connection is None:
                connection = listener.accept()[0]
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                epoll.register(connection.fileno(), select.EPOLLIN)
                continue
            try:
                data = connection.recv(65536)
            except ConnectionResetError:
                data = b""
            if data:
                connection.send(handle(data))
            else:
                del connections[fd]
                connection.close()


def main() -> None:
    port, application = int(sys.argv[1]), sys.argv[2]
    handle: Callable[[bytes], bytes] = page
    if application.startswith("callables:"):
        module, _, name = application.partition(":")
        handle = gateway(getattr(importlib.import_module(module), name), port)
    serve(socket.create_server(("127.0.0.1", port), backlog=1024), handle)


if __name__ == "__main__":
    main()
