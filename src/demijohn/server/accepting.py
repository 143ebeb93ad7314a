"""Connections come: accepted, with what a proxy says first, and with TLS."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from time import monotonic
from typing import Any

from ..message import Origin, ProtocolError
from .answering import RECEIVE_BYTES
from .connections import IDLE, PREAMBLE, Client, Job
from .eventloop import EventLoop
from .hints import hint_bytes
from .http1 import Connection
from .leadership import Team
from .lending import LentSocket, lend
from .poller import READ, Poller
from .proxy import Entrance, PreambleReader
from .settings import Settings
from .timekeeping import Surroundings, Timekeeping

log = logging.getLogger("demijohn.server")

_ACCEPTS_AT_ONCE = 16
_NO_DESCRIPTORS_PAUSE_S = 0.1
# One that has --worker-connections looks again after this.
_FULL_PAUSE_S = 0.05
# What comes is left to workers with fewer connections for this long; then they are busy, and it is accepted.
_SHARE_PAUSE_S = 0.002
# At the limit of descriptors, connections idle for longer than this are closed first.
_SHED_IDLE_S = 1.0


class Accepting(Timekeeping):
    """Takes connections from listeners, as long as there is room for them."""

    def __init__(
        self,
        listeners: list[socket.socket],
        settings: Settings,
        poller: Poller,
        team: Team[Job],
        loop: EventLoop,
        around: Surroundings,
    ) -> None:
        """`loop` runs the coroutines of plain functions."""
        super().__init__(settings, poller, team, around)
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._loop = loop
        self._tls = around.tls
        self._entrance = Entrance(self._settings)
        self._script_name = os.fsencode(os.environ.get("SCRIPT_NAME", ""))  # as gunicorn has it
        self._most_clients = self._settings.worker_connections or sys.maxsize
        self._accepting = False
        self._accept_again_at: float | None = None
        self._descriptors_gone = False
        self._drain_begun = False
        self._next_tick = 0.0

    def disown(self) -> None:
        super().disown()
        for listener in self._listeners.values():
            listener.close()

    def _set_accepting(self, accepting: bool) -> None:
        with self._lock:
            if accepting == self._accepting:
                return
            self._accepting = accepting
            for fd in self._listeners:
                if accepting:
                    self._poller.register(fd, READ)
                else:
                    self._poller.unregister(fd)

    def _pause_accepting(self, seconds: float) -> None:
        self._set_accepting(False)
        self._accept_again_at = monotonic() + seconds

    def _accept(self, listener: socket.socket, most: int = _ACCEPTS_AT_ONCE, *, may_leave: bool = False) -> None:
        """Accept what waits, up to `most`; with `may_leave`, what others have more room for is left to them at first.

        bench/two_cores.py: half of the connections for each of two workers; without, up to four fifths for one.
        """
        for _ in range(most):
            if may_leave and self._slot is not None and self._slot.has_more_than_its_share(len(self._clients)):
                self._pause_accepting(_SHARE_PAUSE_S)
                return
            if len(self._clients) >= self._most_clients and not self._drain_begun:
                self._pause_accepting(_FULL_PAUSE_S)
                return
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                self._descriptors_gone = False
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._no_descriptors(error)
                    return
                continue  # ECONNABORTED and its like: of one connection that is gone already
            self._admit(listener, sock, address)

    def _no_descriptors(self, error: OSError) -> None:
        """Wait instead of trying again and again; connections nobody uses make room."""
        if not self._descriptors_gone:
            self._descriptors_gone = True
            log.error(
                "No connection can be accepted: %s. %d are open. Raise the limit of open files.",
                error.strerror,
                len(self._clients),
            )
        now = monotonic()
        for client in list(self._clients.values()):
            if client.state == IDLE and self._idle_s(client, now) > _SHED_IDLE_S:
                client.deadline = 0.0  # the next tick closes it, when it is still idle
        self._next_tick = 0.0
        self._pause_accepting(_NO_DESCRIPTORS_PAUSE_S)

    def _idle_s(self, client: Client, now: float) -> float:
        """Return how long there has been no request on an idle connection."""
        head_timeout_s = self._settings.head_timeout_s
        had_none = client.deadline == client.since + head_timeout_s
        return now - client.deadline + (head_timeout_s if had_none else self._keep_alive_s)

    def _admit(self, listener: socket.socket, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        name = listener.getsockname()
        if listener.family == socket.AF_UNIX:
            origin = Origin(server=(os.fsdecode(name), None))
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            origin = Origin(client=address[:2], server=name[:2])
        origin.multiprocess = self._settings.workers > 1
        origin.run_coroutine = self._loop.run
        origin.script_name = self._script_name
        preamble = self._entrance.preamble(origin)
        if self._tls is not None and preamble is None:
            try:
                sock = self._secure(sock, origin)
            except OSError:  # the peer is gone already
                sock.close()
                return
        now = monotonic()
        http = self._new_http(origin)
        client = Client(sock, origin, http, now, now + self._settings.head_timeout_s)
        if preamble is not None:
            client.state = PREAMBLE
            client.preamble = preamble
        origin.lend_socket = partial(self._lend_socket, client.fd, http)
        origin.send_hints = partial(self._send_hints, client.fd, http)
        # In this order: an event finds the connection in both.
        self._clients[client.fd] = client
        self._idle[client.fd] = client
        self._poller.register(client.fd, READ)

    def _new_http(self, origin: Origin) -> Connection:
        return Connection(self._settings, origin, self._heads, tempfile.TemporaryFile)

    def _secure(self, sock: socket.socket, origin: Origin) -> socket.socket:
        """Return the socket with TLS on it; the handshake comes with the first bytes."""
        assert self._tls is not None
        secured = self._tls.wrap(sock)
        origin.scheme = "https"
        origin.tls = secured.environ
        return secured

    def _read_preamble(self, client: Client) -> None:
        """Take what the PROXY protocol says off a connection, and not a byte more."""
        preamble = client.preamble
        assert preamble is not None
        try:
            seen = client.sock.recv(RECEIVE_BYTES, socket.MSG_PEEK)
            taken = preamble.receive_data(seen)
            if taken:
                client.sock.recv(taken)
            if not seen:
                self._close(client)
            elif not preamble.done:
                self._release(client)
            else:
                self._enter(client, preamble)
        except BlockingIOError:
            self._release(client)
        except OSError:
            self._close(client)
        except ProtocolError as error:
            self._refuse(client, error)

    def _enter(self, client: Client, preamble: PreambleReader) -> None:
        """Let a connection begin whose preamble is read."""
        client.preamble = None
        self._entrance.believe(client.origin, preamble.told)
        if self._tls is not None and preamble.unread:  # what begins like this header is no handshake
            self._refuse(client, ProtocolError(400, "The connection must begin with a TLS handshake."))
            return
        if self._tls is not None:
            self._disarm_owned(client)  # when the peer is gone, this closes the descriptor, which may be used anew
            client.sock = self._secure(client.sock, client.origin)
        client.state = IDLE
        if preamble.unread:
            client.http.receive_data(preamble.unread)
        self._release(client)

    def _lend_socket(self, fd: int, http: Connection) -> socket.socket:
        """Give an owned connection to the application that answers its request.

        Raises ConnectionAbortedError when the request was over its limit: it is answered, and the descriptor may be
        another connection's by now, which `http` tells.
        """
        with self._lock:
            client = self._clients.get(fd)
            if client is None or client.http is not http or client.origin.lend_socket is None:
                raise ConnectionAbortedError("The connection is not this request's any more.")
            client.sock, lent = lend(client.sock)  # type: ignore[assignment]  # what it lacks is not used before the end
            self._end_lent(client)
            return lent

    def _end_lent(self, client: Client) -> None:
        """Let an application that has taken a connection over come to its end while the worker drains."""
        if self._drain_begun and isinstance(client.sock, LentSocket):
            client.sock.end_reading()

    def _send_hints(self, fd: int, http: Connection, headers: Iterable[tuple[str, str]]) -> None:
        """Send early hints to who waits for an answer that has not begun. Raises BadResponse.

        It is no matter when they do not get there, or come too late.
        """
        data = hint_bytes(headers)
        with self._lock:  # as in `_stays_silent`: nothing comes after the answer of a request that was given up
            client = self._clients.get(fd)
            if (
                client is None
                or client.http is not http
                or client.answer is not None
                or client.fd in self._idle
                or client.origin.lend_socket is None
                or isinstance(client.sock, LentSocket)
            ):
                return
            with contextlib.suppress(OSError):
                if client.sock.send(data) < len(data):
                    client.sock.shutdown(socket.SHUT_RDWR)  # half of an answer cannot be taken back
