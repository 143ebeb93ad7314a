"""What the arbiter answers itself, whatever its workers do: health checks, metrics, and what `demijohn top` shows.

It is a small HTTP server of its own, in the arbiter's loop: no thread, no waiting. It listens on the addresses of
`--status-bind`, and on a Unix socket in Linux's abstract namespace, which is no file and whose peers are asked who
they are (unix(7), SO_PEERCRED).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

from ..message import Origin, ProtocolError, RequestHead, ResponseMessage
from .framing import AnswerHeads
from .http1 import Connection
from .metrics import Metrics
from .ownpages import Page, alive, counts, page
from .report import is_ready, report
from .request_rules import Limits
from .settings import Settings
from .slots import SlotTable
from .sockets import Listener, open_listener

_PRIVATE = "\0demijohn/"

_RECEIVE_BYTES = 65536
_MOST_PEERS = 64
# Without descriptors, newcomers stay in the backlog for so long.
_NO_DESCRIPTORS_PAUSE_S = 0.1
_PEER_S = 5.0  # what a peer has for its request and for reading the answer, each


class _Peer:
    """A connection. `unsent` is None before its one request is answered."""

    __slots__ = ("deadline", "http", "pages", "sock", "unsent")

    def __init__(self, sock: socket.socket, http: Connection, pages: dict[bytes, Page], deadline: float) -> None:
        self.sock = sock
        self.http = http
        self.pages = pages
        self.deadline = deadline
        self.unsent: memoryview | None = None


class ControlServer:
    """Serves pages on some sockets; `fileno` becomes readable when there is something for `serve` to do."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heads = AnswerHeads()
        self._heads.drain()  # each answer is the last of its connection
        self._listeners: dict[int, tuple[socket.socket, dict[bytes, Page]]] = {}
        self._opened: list[Listener] = []
        self._peers: dict[int, _Peer] = {}
        self._accept_again_at: float | None = None
        self._epoll = select.epoll()
        self.fileno: Callable[[], int] = self._epoll.fileno

    def listen(self, listener: Listener) -> None:
        """Take an address, for `show` to answer there."""
        self._opened.append(listener)

    def show(self, metrics: Metrics, slots: SlotTable, *, to_users: bool) -> None:
        """Begin to answer: with health checks and metrics, and `to_users` of this process with what it does."""
        pages = _pages(metrics, slots)
        for listener in self._opened:
            self._serve_on(listener.socket, pages)
        private = _open_private_socket() if to_users else None
        if private is not None:
            self._serve_on(private, {**pages, b"/status.json": lambda: _status(metrics, slots)})

    def _serve_on(self, sock: socket.socket, pages: dict[bytes, Page]) -> None:
        self._listeners[sock.fileno()] = (sock, pages)
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def leave(self) -> None:
        """Have nothing more to do with it, in a process that was forked: the one before goes on."""
        for peer in self._peers.values():
            peer.sock.close()
        for sock, _ in self._listeners.values():
            sock.close()
        self._epoll.close()

    def close(self) -> None:
        """Stop answering."""
        for listener in self._opened:
            listener.turn_newcomers_away()
        self.leave()

    def serve(self) -> None:
        """Do what can be done at once."""
        now = time.monotonic()
        if self._accept_again_at is not None and now >= self._accept_again_at:
            self._accept_again_at = None
            for fd in self._listeners:
                self._epoll.register(fd, select.EPOLLIN)
        for fd, events in self._epoll.poll(0):
            listener = self._listeners.get(fd)
            if listener is not None:
                self._accept(*listener, now)
                continue
            peer = self._peers[fd]
            if peer.unsent is None or not peer.unsent:
                self._receive(peer, now)
            if fd in self._peers and peer.unsent and events & ~select.EPOLLIN:  # it may just have been dropped
                self._send(peer)
        for peer in [peer for peer in self._peers.values() if peer.deadline <= now]:
            self._drop(peer)

    def _accept(self, listener: socket.socket, pages: dict[bytes, Page], now: float) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._pause_accepting(now)
            return  # or it is gone already
        if len(self._peers) >= _MOST_PEERS or not _may_ask(sock):
            sock.close()
            return
        sock.setblocking(False)
        http = Connection(self._limits, Origin(), self._heads, tempfile.TemporaryFile)
        self._peers[sock.fileno()] = _Peer(sock, http, pages, now + _PEER_S)
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _pause_accepting(self, now: float) -> None:
        """Leave newcomers where they are for a moment, instead of being told of them again and again."""
        if self._accept_again_at is None:
            self._accept_again_at = now + _NO_DESCRIPTORS_PAUSE_S
            for fd in self._listeners:
                self._epoll.unregister(fd)

    def _receive(self, peer: _Peer, now: float) -> None:
        try:
            data = peer.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(peer)
        elif peer.unsent is None:  # what comes after the request is read, so that the answer is not lost to a reset
            peer.http.receive_data(data)
            if peer.http.events:
                self._answer(peer, now)

    def _answer(self, peer: _Peer, now: float) -> None:
        self._heads.set_time(time.time())
        event = peer.http.events.popleft()
        peer.http.end()
        if isinstance(event, ProtocolError):
            data = peer.http.respond_to_error(event)
        else:
            data = peer.http.respond(event, _page_for(event, peer.pages))
        peer.deadline = now + _PEER_S
        peer.unsent = memoryview(data)
        self._send(peer)

    def _send(self, peer: _Peer) -> None:
        assert peer.unsent is not None
        try:
            peer.unsent = peer.unsent[peer.sock.send(peer.unsent) :]
            if not peer.unsent:
                peer.sock.shutdown(socket.SHUT_WR)
            self._epoll.modify(peer.sock.fileno(), select.EPOLLOUT if peer.unsent else select.EPOLLIN)
        except BlockingIOError:
            self._epoll.modify(peer.sock.fileno(), select.EPOLLOUT)
        except OSError:
            self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        del self._peers[peer.sock.fileno()]
        self._epoll.unregister(peer.sock.fileno())
        peer.sock.close()


def _page_for(head: RequestHead, pages: dict[bytes, Page]) -> ResponseMessage:
    answer = pages.get(head.target.partition(b"?")[0])
    if answer is None:
        return page("404 Not Found", b"There are " + b", ".join(pages) + b".\n")
    if head.method not in ("GET", "HEAD"):
        refused = page("405 Method Not Allowed", b"There are GET and HEAD.\n")
        refused.field_lines += b"Allow: GET, HEAD\r\n"
        return refused
    return answer()


def _status(metrics: Metrics, slots: SlotTable) -> ResponseMessage:
    return page("200 OK", json.dumps(report(metrics, slots)).encode(), b"application/json")


def _may_ask(sock: socket.socket) -> bool:
    """Whether a peer on a Unix socket is this server's own user, or root; others come by addresses meant for them."""
    if sock.family != socket.AF_UNIX:
        return True
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid in (0, os.geteuid())


def open_control(settings: Settings) -> ControlServer:
    """Return a server that listens on the addresses of `status_bind`. Raises SettingError."""
    control = ControlServer(settings)
    # So that the next server can listen there before this one is gone, when it takes over.
    shared = replace(settings, reuse_port=True)
    for address in settings.status_bind:
        control.listen(open_listener(address, shared))
    return control


def _pages(metrics: Metrics, slots: SlotTable) -> dict[bytes, Page]:
    def ready() -> ResponseMessage:
        if is_ready(slots):
            return page("200 OK", b"ready\n")
        why = b"the server stops" if slots.is_leaving else b"no worker serves yet"
        return page("503 Service Unavailable", b"not ready: %b\n" % why)

    return {b"/livez": alive, b"/readyz": ready, b"/metrics": counts(metrics, slots)}


def _open_private_socket() -> socket.socket | None:
    """Return a socket that `demijohn top` finds; None where the system has no abstract names.

    The process id is for people; two containers that share a network may have the same one, so there is more.
    """
    sock = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(OSError):
        sock.bind(f"{_PRIVATE}{os.getpid()}-{os.urandom(4).hex()}")
        sock.listen()
        sock.setblocking(False)
        return sock
    sock.close()
    return None
