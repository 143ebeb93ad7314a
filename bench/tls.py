"""Time what TLS costs a request and its answer, and large content: `python -m bench.tls CERTIFICATE KEY`.

A peer asks and reads; what is counted is the CPU time of the server's end, a socket and nothing else. Microseconds,
the least of several batches.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable

from demijohn.server.settings import Settings
from demijohn.server.tls import TLS

EXCHANGES = 3_000
BATCHES = 15
UPLOADS = 40
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"
ANSWER = b"x" * 180
CONTENT = b"x" * 5_000_000
ROOM = memoryview(bytearray(1 << 18))


def ask(sock: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(sock) as peer:
        for _ in range(EXCHANGES * BATCHES):
            peer.send(REQUEST)
            peer.recv(4096)
        for _ in range(2 * UPLOADS):
            peer.sendall(CONTENT)
            peer.recv(4096)


def serve(sock: socket.socket) -> float:
    """Return the CPU time of one exchange, in microseconds."""
    least_s = float("inf")
    for _ in range(BATCHES):
        begun = time.thread_time()
        for _ in range(EXCHANGES):
            sock.recv(65536)
            sock.send(ANSWER)
        least_s = min(least_s, time.thread_time() - begun)
    return least_s / EXCHANGES * 1e6


def receive(sock: socket.socket, read: Callable[[], int]) -> float:
    """Return the CPU time of large content, in microseconds."""
    ready = select.poll()
    ready.register(sock.fileno(), select.POLLIN)
    least_s = float("inf")
    for _ in range(UPLOADS):
        begun, left = time.thread_time(), len(CONTENT)
        while left:
            ready.poll()
            with contextlib.suppress(BlockingIOError):
                left -= read()
        sock.send(ANSWER)
        least_s = min(least_s, time.thread_time() - begun)
    return least_s * 1e6


def main(certificate: str, private_key: str) -> None:
    ours, theirs = socket.socketpair()
    peer = threading.Thread(target=ask, args=(theirs,))
    peer.start()
    secured = TLS(Settings(certificate=certificate, private_key=private_key)).wrap(ours)
    secured.setblocking(True)
    print(f"{serve(secured):7.2f} us  request and answer")
    secured.setblocking(False)
    print(f"{receive(secured, lambda: len(secured.recv(65536))):7.0f} us  5 MB, a record at a time")
    print(f"{receive(secured, lambda: secured.recv_into(ROOM)):7.0f} us  5 MB, what is there at a time")
    peer.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
