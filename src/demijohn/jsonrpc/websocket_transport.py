"""How a client's requests come to a server over a WebSocket: one connection, and many calls on it at a time.

What belongs to which call is the same for threads and for an event loop (`Outstanding`: no I/O); `WebSocketConnection`
and `AsyncWebSocketConnection` own the socket, by the package websockets. See `conversation.py` for the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..message import NOT_BEGUN
from .encoding import encode
from .protocol import CANCEL, PROGRESS, VERSION
from .transport import ConnectTimeout, NotSent, Reply

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection as AsyncSocket
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection as Socket

T = TypeVar("T")

# What says how content is sent, where none is.
_OF_CONTENT = frozenset({"accept", "content-type", "user-agent"})
_GOING_AWAY = 1001  # RFC 6455 §7.4.1
# How long a call that is given up waits to say so.
_CANCELLING_S = 1.0
_NO_ROOM = "the server takes no more"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is, in steps of its own; `total` is None when the method did not say, `message` its last words."""

    done: float
    total: float | None = None
    message: str = ""


OnProgress = Callable[[Progress], object]


# -- without I/O --------------------------------------------------------------------------------


class _Outline(msgspec.Struct):
    """As much of a message as tells whose it is."""

    method: Any = None
    id: Any = None
    params: msgspec.Raw = msgspec.Raw(b"null")


_outlines_of = msgspec.json.Decoder(_Outline | list[_Outline]).decode
_reported = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(eq=False, slots=True)
class Awaited:
    """A message whose answer is awaited.

    ids: of its calls. put: takes each `Progress`, and last the `Reply` or the OSError that came instead.
    """

    ids: list[Any]
    is_batch: bool
    put: Callable[[Progress | Reply | OSError], object]

    def cancellations(self) -> Iterator[str]:
        """Return the messages that ask the server to end the calls."""
        for id in self.ids:
            yield encode({"jsonrpc": VERSION, "method": CANCEL, "params": {"id": id}}).decode()


class Outstanding:
    """The messages of a connection that were not answered yet."""

    def __init__(self) -> None:
        self._by_id: dict[Any, Awaited] = {}

    def add(self, content: bytes, put: Callable[[Progress | Reply | OSError], object]) -> Awaited:
        """Note that `content` is about to be sent."""
        outlines = _outlines_of(content)
        is_batch = isinstance(outlines, list)
        members = outlines if isinstance(outlines, list) else [outlines]
        awaited = Awaited([outline.id for outline in members if outline.id is not None], is_batch, put)
        for id in awaited.ids:
            self._by_id[id] = awaited
        return awaited

    def drop(self, awaited: Awaited) -> None:
        """Forget a message."""
        for id in awaited.ids:
            self._by_id.pop(id, None)

    def receive(self, message: str | bytes) -> None:
        """Give what the server says to whom it concerns; what concerns nobody (any more) is dropped."""
        content = message.encode() if isinstance(message, str) else message
        try:
            said = _outlines_of(content)
        except (ValueError, RecursionError):
            return
        if isinstance(said, _Outline) and said.method is not None:
            if said.method == PROGRESS:
                self._report(said)
            return
        outlines = said if isinstance(said, list) else [said]
        awaited = next(filter(None, (self._awaited(outline.id) for outline in outlines)), None)
        if awaited is None and isinstance(said, _Outline) and said.id is None:
            awaited = self._nameless()
        if awaited is not None:
            self.drop(awaited)
            awaited.put(Reply(200, {}, content))

    def _report(self, said: _Outline) -> None:
        try:
            told = _reported(said.params)
            progress = msgspec.convert(told, Progress)
        except (ValueError, RecursionError):
            return
        awaited = self._awaited(told.get("id"))
        if awaited is not None:
            awaited.put(progress)

    def _awaited(self, id: Any) -> Awaited | None:
        """Return the message that a call of this id is in; a server may say anything, also what is no key of a dict."""
        return self._by_id.get(id) if isinstance(id, Hashable) else None

    def _nameless(self) -> Awaited | None:
        """Return what an error without an id stands for: a batch that was refused as one, else the oldest call."""
        several = list(self._by_id.values())
        return next((awaited for awaited in several if awaited.is_batch), several[0] if several else None)

    def fail(self, code: int | None, reason: str) -> None:
        """Tell all that the connection has ended."""
        for awaited in {id(each): each for each in self._by_id.values()}.values():
            if code == _GOING_AWAY and reason == NOT_BEGUN:
                awaited.put(NotSent("the server stops, and has not begun the call"))
            else:
                awaited.put(ConnectionError(f"the connection was closed with {code} {reason}".rstrip()))
        self._by_id.clear()


def _options(url: str, headers: dict[str, str], tls: ssl.SSLContext | None, timeout_s: float) -> dict[str, Any]:
    """Return how to connect; no proxy is asked, and a result may be as long as it likes."""
    options: dict[str, Any] = {
        "additional_headers": {name: value for name, value in headers.items() if name.lower() not in _OF_CONTENT},
        "user_agent_header": headers.get("User-Agent"),
        "open_timeout": timeout_s,
        "max_size": None,
        "proxy": None,
    }
    if urlsplit(url).scheme == "wss":
        options["ssl"] = tls
    return options


def _socket_to(url: str, timeout_s: float) -> socket.socket:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    return socket.create_connection((parts.hostname or "", port), timeout_s)


def _refusal(error: Exception, url: str) -> Reply:
    """Return what the server answered to the handshake. Raises NotSent or ConnectTimeout when that is nothing."""
    from websockets.exceptions import InvalidStatus

    refused = error.__cause__ if isinstance(error, ValueError) else error  # which is said of a redirection
    if isinstance(refused, InvalidStatus):
        response = refused.response
        fields = {name.lower(): value for name, value in response.headers.raw_items()}
        return Reply(response.status_code, fields, bytes(response.body or b""))
    if isinstance(error, ValueError):
        raise error
    if isinstance(error, TimeoutError):
        raise ConnectTimeout(str(error)) from error
    raise NotSent(f"no WebSocket at {url}: {error}") from error


def check_installed(url: str) -> None:
    """Raise ImportError that says what to install, ValueError for a URL that names no host."""
    if not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is not a URL that can be called: it must start with ws:// or wss:// and a host")
    try:
        import websockets  # noqa: F401
    except ImportError:
        raise ImportError("To call over a WebSocket, install demijohn[websocket].") from None


# -- for threads --------------------------------------------------------------------------------


class Sent:
    """A message that has been sent, and what the server says to it."""

    def __init__(self, connection: _Connection, content: bytes) -> None:
        self._connection = connection
        self._said: queue.SimpleQueue[Progress | Reply | OSError] = queue.SimpleQueue()
        self._outcome: Reply | OSError | None = None
        self.awaited = connection.add(content, self._said.put)

    def wait(self, timeout_s: float | None, on_progress: OnProgress | None) -> Reply:
        """Return the answer.

        Raises TimeoutError when nothing is said for `timeout_s`, OSError when there will be no answer.
        """
        while self._outcome is None:
            try:
                said = self._said.get(timeout=timeout_s)
            except queue.Empty:
                raise TimeoutError("timed out") from None
            if isinstance(said, Progress):
                _tell(on_progress, said)
            else:
                self._outcome = said
        if isinstance(self._outcome, OSError):
            raise self._outcome
        return self._outcome

    def cancel(self) -> None:
        """Ask the server to end the call; what becomes of it is its answer."""
        self._connection.cancel(self.awaited)

    def forget(self) -> None:
        self._connection.drop(self.awaited)


class Running(Generic[T]):
    """A call that runs at the other end of a WebSocket; see `Client.start`."""

    def __init__(self, sent: Sent, read: Callable[[Reply | OSError], T]) -> None:
        self._sent = sent
        self._read = read

    def result(self, timeout_s: float | None = None, on_progress: OnProgress | None = None) -> T:
        """Wait for the result; `on_progress` is called with each `Progress` there was since the last time.

        timeout_s: after how long without a word the wait ends, in seconds, with CallTimeout. The call goes on.
        """
        try:
            return self._read(self._sent.wait(timeout_s, on_progress))
        except OSError as error:
            return self._read(error)

    def cancel(self) -> None:
        """Ask the server to end the call: then `result` raises RemoteError with the code -32800, if it was in time."""
        self._sent.cancel()


def _tell(on_progress: OnProgress | None, progress: Progress) -> None:
    if on_progress is not None:
        try:
            on_progress(progress)
        except OSError as error:  # which is not the connection's
            raise RuntimeError(f"on_progress failed: {error}") from error


class _Connection:
    """A WebSocket, and the thread that reads from it."""

    def __init__(self, connected: Socket) -> None:
        self._socket = connected
        # In characters, of which one is up to 4 bytes; so a piece and what `websockets` says of itself fit into the
        # room that there is when the socket is writable.
        self._piece = connected.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 8 // 4
        self._sending = threading.Lock()
        self._outstanding = Outstanding()
        self._lock = threading.Lock()
        self.is_open = True
        self._reader = threading.Thread(target=self._read, name="demijohn-websocket", daemon=True)
        self._reader.start()

    def add(self, content: bytes, put: Callable[[Progress | Reply | OSError], object]) -> Awaited:
        with self._lock:
            return self._outstanding.add(content, put)

    def drop(self, awaited: Awaited) -> None:
        with self._lock:
            self._outstanding.drop(awaited)

    def send(self, text: str, timeout_s: float) -> None:
        """Send a message when the socket has room for it, in pieces if it is long.

        While `websockets` waits for room it takes in nothing, and a server that waits until it is read from reads
        nothing: so it is not to wait.

        Raises NotSent when the connection has ended, ConnectTimeout when there is no room in time.
        """
        from websockets.exceptions import ConnectionClosed

        deadline = time.monotonic() + timeout_s
        if not self._sending.acquire(timeout=timeout_s):
            raise ConnectTimeout("timed out")
        try:
            self._wait_for_room(deadline)
            self._socket.send(text if len(text) <= self._piece else self._pieces(text, deadline))
        except ConnectionClosed as error:
            if time.monotonic() >= deadline:
                raise ConnectTimeout(_NO_ROOM) from error
            raise NotSent(f"the connection has ended: {error}") from error
        except KeyboardInterrupt:
            self._give_up()
            raise
        finally:
            self._sending.release()

    def _pieces(self, text: str, deadline: float) -> Iterator[str]:
        for start in range(0, len(text), self._piece):
            try:
                self._wait_for_room(deadline)
            except ConnectTimeout:
                self._give_up()
                raise
            yield text[start : start + self._piece]

    def _wait_for_room(self, deadline: float) -> None:
        """Wait until a third of the socket's buffer is free: that is when Linux calls it writable."""
        poll = select.poll()
        try:
            poll.register(self._socket.socket, select.POLLOUT)
        except ValueError:  # it is closed
            raise NotSent("the connection has ended") from None
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ConnectTimeout(_NO_ROOM)

    def _give_up(self) -> None:
        """End the connection at once: after a part of a message nothing else can be sent."""
        self.is_open = False
        with contextlib.suppress(OSError):  # it is closed
            self._socket.socket.shutdown(socket.SHUT_RDWR)

    def cancel(self, awaited: Awaited) -> None:
        with contextlib.suppress(NotSent):  # then there is nothing to be cancelled either
            for text in awaited.cancellations():
                self.send(text, _CANCELLING_S)

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                message = self._socket.recv()
                with self._lock:
                    self._outstanding.receive(message)
        except ConnectionClosed as error:
            with self._lock:
                self.is_open = False
                self._outstanding.fail(*_end_of(error))

    def close(self) -> None:
        self._socket.close()
        self._reader.join()


def _end_of(error: ConnectionClosed) -> tuple[int | None, str]:
    """Return code and reason of the server's close frame."""
    return (None, "") if error.rcvd is None else (error.rcvd.code, error.rcvd.reason)


class WebSocketConnection:
    """A connection to one server, made with the first call, and again when it has ended; any thread may send."""

    tells_progress = True

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        check_installed(url)
        self._url = url
        self._tls = tls
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    def send(
        self, content: bytes, headers: dict[str, str], timeout_s: float, on_progress: OnProgress | None = None
    ) -> Reply:
        """See `Transport.send`; what ends the wait for the answer cancels the call.

        timeout_s: from one word of the server to the next: a method that reports is not stuck.
        """
        sent = self.start(content, headers, timeout_s)
        if isinstance(sent, Reply):
            return sent
        if not sent.awaited.ids:
            return Reply(204, {}, b"")
        try:
            return sent.wait(timeout_s, on_progress)
        except ConnectionError:
            raise
        except BaseException:  # a timeout, of `on_progress`, or Ctrl-C
            sent.cancel()
            raise
        finally:
            sent.forget()

    def start(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Sent | Reply:
        """Send a request without waiting for its answer; return what the handshake was refused with, if it was."""
        deadline = time.monotonic() + timeout_s
        connection = self._connected(headers, timeout_s)
        if isinstance(connection, Reply):
            return connection
        sent = Sent(connection, content)
        try:
            connection.send(content.decode(), max(0.0, deadline - time.monotonic()))
        except BaseException:
            sent.forget()
            raise
        return sent

    def _connected(self, headers: dict[str, str], timeout_s: float) -> _Connection | Reply:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        deadline = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):  # another thread connects
            raise ConnectTimeout("timed out")
        try:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            left_s = max(0.001, deadline - time.monotonic())
            try:
                # With a socket of ours no redirection is followed: the header fields are for this server.
                options = _options(self._url, headers, self._tls, left_s) | {"sock": _socket_to(self._url, left_s)}
                # Not as a context manager of ours: the connection lives until `close`.
                connected = connect(self._url, **options).__enter__()
            except (OSError, WebSocketException, ValueError) as error:
                return _refusal(error, self._url)
            self._connection = _Connection(connected)
            return self._connection
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection; calls that are under way fail."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


# -- for an event loop --------------------------------------------------------------------------


class AsyncWebSocketConnection:
    """`WebSocketConnection` for one event loop."""

    tells_progress = True

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        check_installed(url)
        self._url = url
        self._tls = tls
        self._outstanding = Outstanding()
        self._socket: AsyncSocket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting = asyncio.Lock()

    async def send(
        self, content: bytes, headers: dict[str, str], timeout_s: float, on_progress: OnProgress | None = None
    ) -> Reply:
        """See `WebSocketConnection.send`."""
        async with asyncio.timeout(timeout_s) as timeout:
            try:
                socket = await self._connected(headers, timeout_s)
            except asyncio.CancelledError as error:
                if not timeout.expired():
                    raise
                raise ConnectTimeout("timed out") from error
            if isinstance(socket, Reply):
                return socket
            said: asyncio.Queue[Progress | Reply | OSError] = asyncio.Queue()
            awaited = self._outstanding.add(content, said.put_nowait)
            try:
                await self._send(socket, content.decode())
                while awaited.ids:
                    each = await said.get()
                    if isinstance(each, Reply):
                        return each
                    if isinstance(each, OSError):
                        raise each
                    timeout.reschedule(asyncio.get_running_loop().time() + timeout_s)
                    _tell(on_progress, each)
                return Reply(204, {}, b"")
            except ConnectionError:
                raise
            except BaseException:  # of `on_progress`, or cancelled, by a timeout too
                for text in awaited.cancellations():
                    self._in_background(self._send_if_open(socket, text))
                raise
            finally:
                self._outstanding.drop(awaited)

    @staticmethod
    async def _send(socket: AsyncSocket, text: str) -> None:
        """Raises NotSent when the connection had ended, ConnectionError when it ends while this waits for room."""
        from websockets.exceptions import ConnectionClosed
        from websockets.protocol import State

        was_open = socket.state is State.OPEN
        try:
            await socket.send(text)
        except ConnectionClosed as error:
            # What is waited for is room for what others send, too: the message itself may have arrived.
            kind = ConnectionError if was_open else NotSent
            raise kind(f"the connection has ended: {error}") from error

    async def _send_if_open(self, socket: AsyncSocket, text: str) -> None:
        with contextlib.suppress(ConnectionError):  # then there is nothing to be cancelled either
            await self._send(socket, text)

    async def _connected(self, headers: dict[str, str], timeout_s: float) -> AsyncSocket | Reply:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        async with self._connecting:
            if self._socket is None:
                connecting = connect(self._url, **_options(self._url, headers, self._tls, timeout_s))
                # The header fields are for this server.
                connecting.process_redirect = lambda refused: refused  # type: ignore[method-assign, assignment]
                try:
                    self._socket = await connecting
                except (OSError, WebSocketException) as error:
                    return _refusal(error, self._url)
                self._in_background(self._read(self._socket))
            return self._socket

    async def _read(self, socket: AsyncSocket) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self._outstanding.receive(await socket.recv())
        except ConnectionClosed as error:
            self._socket = None
            self._outstanding.fail(*_end_of(error))

    def _in_background(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close the connection; calls that are under way fail."""
        if self._socket is not None:
            await self._socket.close()
        await asyncio.gather(*self._tasks)
