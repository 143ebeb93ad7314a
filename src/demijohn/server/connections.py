"""The connections of a worker: who owns which, and what is listened for.

Who may touch what, without a lock around each request:

* A connection is in `_idle` (by descriptor) while no thread works on it. `dict.pop` is one step under the
  interpreter's lock, so of several threads that want a connection exactly one gets it: it owns the connection until
  it puts it back (`_release`) or closes it. Everything in a `Client` belongs to its owner, but for `disarmed` and
  `events`.
* An event for an owned connection would come again and again (level-triggered): the leader takes the descriptor out
  of the poller (`disarmed`), the owner puts it back. Both sides write first and look afterwards (`_disarm`,
  `_release`), so whoever comes second sees the other and the descriptor is never left out.
* `_lock` holds together what happens to a descriptor: changing it in the poller and closing it, so that nothing
  is done to the next connection that gets the same number. It is not taken for a request on a connection that
  persists.
* A request that waits for a coroutine (`waiting.py`) keeps its connection owned, by no thread; see `native_engine.py`.
"""

from __future__ import annotations

import os
import socket
import threading
from functools import partial
from typing import Any

from ..message import Origin, RequestHead
from ..typing import Route
from .forking import NoPoller
from .http1 import Connection
from .lending import LentSocket
from .poller import READ, Poller
from .proxy import PreambleReader
from .sending import Answer
from .waiting import Waiting

# What a connection waits for.
IDLE = 0  # a request
HEAD = 1  # the rest of a head
CONTENT = 2  # the rest of its content
SENDING = 3  # the peer to read its answer
LINGERING = 4  # the peer to close
PREAMBLE = 5  # what a proxy says first
EXCHANGING = 6  # what an application and the peer have for each other, see `asgi_engine.py` and `conversing.py`


class Client:
    """A connection and what is half done on it.

    deadline: when it is given up, by `monotonic()`.
    since: when it came into the state it is in.
    events: what it is registered for in the poller, unless it is `disarmed`.
    unsent: bytes the socket did not take yet.
    answer: the answer they belong to.
    lingers: whether the peer may be sending, so that closing at once could cost it the answer.
    preamble: what a proxy says first, until that is read.
    channel: what an application sees of it while it is in the state EXCHANGING.
    """

    __slots__ = (
        "answer",
        "channel",
        "deadline",
        "disarmed",
        "events",
        "fd",
        "http",
        "lingers",
        "origin",
        "preamble",
        "since",
        "sock",
        "state",
        "unsent",
    )

    def __init__(self, sock: socket.socket, origin: Origin, http: Connection, now: float, deadline: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.origin = origin
        self.http = http
        self.state = IDLE
        self.since = now
        self.deadline = deadline
        self.disarmed = False
        self.events = READ
        self.unsent: bytes | memoryview | None = None
        self.answer: Answer | None = None
        self.channel: Any = None
        self.lingers = False
        self.preamble: PreambleReader | None = None


Todo = RequestHead | Answer | Waiting
"""A request to be answered or to go on with, or an answer to be sent on."""

Job = tuple[Client, Todo, Route] | partial[None]
"""What a thread does that has no lead: something for a connection, or anything else."""


class Connections:
    """What is open in a worker."""

    def __init__(self, poller: Poller) -> None:
        self._clients: dict[int, Client] = {}
        self._idle: dict[int, Client] = {}
        self._lock = threading.Lock()
        self._poller = poller
        self._is_copy = False  # of the worker, see `forking.py`

    def _release(self, client: Client) -> None:
        """Give up an owned connection, to wait for what its state says."""
        self._idle[client.fd] = client
        if client.disarmed:
            self._arm_again(client)

    def _arm_again(self, client: Client) -> None:
        """Listen again for a connection that was released."""
        with self._lock:
            # It may have been taken, and even closed, by another thread in the meantime.
            if client.disarmed and self._clients.get(client.fd) is client:
                client.disarmed = False
                self._poller.register(client.fd, client.events)

    def _disarm(self, fd: int) -> None:
        """Stop listening for a connection that is owned by a thread, until it is released."""
        with self._lock:
            client = self._clients.get(fd)
            if client is None or client.disarmed or fd in self._idle:
                return
            client.disarmed = True
            self._poller.unregister(fd)
            if fd in self._idle:  # released before it could see that it is disarmed
                client.disarmed = False
                self._poller.register(fd, client.events)

    def _disarm_owned(self, client: Client) -> None:
        """Stop listening for a connection that the caller owns, until it is released."""
        with self._lock:
            if not client.disarmed:
                client.disarmed = True
                self._poller.unregister(client.fd)

    def _wait_for(self, client: Client, state: int, events: int, deadline: float) -> None:
        """Release an owned connection in another state."""
        if client.events != events:
            with self._lock:
                client.events = events
                if not client.disarmed:
                    self._poller.modify(client.fd, events)
        client.state = state
        client.deadline = deadline
        self._release(client)

    def disown(self) -> None:
        """Let go of all connections, in a copy of this process, but for those that the application has taken over."""
        self._is_copy = True
        self._lock = threading.Lock()  # another thread, which is not here, may have held it
        self._poller.close()
        self._poller = NoPoller()
        for client in self._clients.values():
            if not isinstance(client.sock, LentSocket):
                os.close(client.sock.detach())  # not by its `close`, which may have something to say to the peer
        self._clients.clear()
        self._idle.clear()

    def _part_with(self, client: Client) -> bool:
        """Close the socket of an owned connection; False when it is closed already."""
        with self._lock:
            if self._clients.get(client.fd) is not client:
                return False
            del self._clients[client.fd]
            if not client.disarmed:
                self._poller.unregister(client.fd)
            client.sock.close()
            return True


def peer_of(client: Client) -> str:
    return client.origin.client[0] if client.origin.client else "a peer on a Unix socket"
