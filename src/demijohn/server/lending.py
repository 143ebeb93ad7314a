"""Connections that an application takes over: a WebSocket through `environ["werkzeug.socket"]`.

That is how Flask-Sock, Flask-SocketIO and simple-websocket get at a connection, on Werkzeug's own server and here.
"""

from __future__ import annotations

import contextlib
import socket


class LentSocket:
    """What the server keeps of a socket that an application has: nothing can be sent on it any more, only its end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes | memoryview) -> int:
        """Raises ConnectionAbortedError, as if the peer had gone: no answer must follow what the application sent."""
        raise ConnectionAbortedError("the application has taken the connection over")

    def end_reading(self) -> None:
        """Let the application find the end, behind what has come already; what it sends still goes out."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RD)  # past TLS, whose state stays

    def close(self) -> None:
        # The peer sees the end even while a thread of the application still reads from its own.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._sock.close()


def lend(sock: socket.socket) -> tuple[LentSocket, socket.socket]:
    """Return what stays with the server, and the application's: it blocks, and is the application's to close."""
    lent: socket.socket
    try:
        lent = sock.dup()
    except NotImplementedError:  # one with TLS
        from .lending_tls import lend_tls  # here, because the ssl module and OpenSSL take 3 MB

        lent = lend_tls(sock)
    else:
        lent.setblocking(True)
    return LentSocket(sock), lent
