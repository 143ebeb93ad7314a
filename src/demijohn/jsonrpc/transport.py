"""How a client's requests come to a server: HTTP/1.1 with connections that stay open, for threads or an event loop.

What is sent and how an answer is read is the same for both (`Origin`, `Reading`: no I/O); `Connections` and
`AsyncConnections` own the sockets. Neither follows redirects nor asks the environment for a proxy.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import httptools

_CHUNK_BYTES = 65536
_FORBIDDEN = ("\r", "\n", "\0")


class NotSent(ConnectionError):
    """There was no connection to send on: the server has seen nothing of the request."""


class ConnectTimeout(NotSent, TimeoutError):
    """There was no connection in time."""


@dataclass(slots=True)
class Reply:
    """What a server answered. The names of the header fields are in lower case."""

    status: int
    fields: dict[str, str]
    content: bytes


class Transport(Protocol):
    """What brings a request to a server: give a client your own to send in another way."""

    def send(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
        """Return the answer to a POST of `content`.

        Raises TimeoutError when it takes longer than `timeout_s`, NotSent when the server cannot have seen the request,
        another OSError for any other failure.
        """

    def close(self) -> None:
        """Let go of what is open."""


class AsyncTransport(Protocol):
    """`Transport` for an event loop."""

    async def send(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Reply: ...

    async def close(self) -> None: ...


# -- without I/O --------------------------------------------------------------------------------


class Origin:
    """The server and the target that a URL names.

    Raises ValueError for what is no http or https URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{url!r} is not a URL that can be called: it must start with http:// or https:// and a host"
            )
        self.is_secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.is_secure else 80)
        shown = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        authority = f"{shown}:{parts.port}" if parts.port else shown
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._start = f"POST {_checked(target)} HTTP/1.1\r\nHost: {authority}\r\n"

    def request(self, content: bytes, headers: dict[str, str]) -> bytes:
        """Return the bytes of a request; raise ValueError for a header field that would end too early."""
        lines = [f"{_checked(name)}: {_checked(value)}\r\n" for name, value in headers.items()]
        head = f"{self._start}{''.join(lines)}Content-Length: {len(content)}\r\n\r\n"
        return head.encode("latin-1") + content


def _checked(text: str) -> str:
    if any(character in text for character in _FORBIDDEN):
        raise ValueError(f"{text!r} has a line break in it and cannot be sent in a header")
    return text


@dataclass
class Reading:
    """An answer while it arrives. `status` is 0 until its end."""

    fields: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    status: int = 0
    stays_open: bool = False

    def __post_init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)

    def receive(self, data: bytes) -> bool:
        """Take the bytes that have arrived, none at the end of the connection; return whether the answer is whole.

        Raises ConnectionError for what is no answer, or ends too early.
        """
        if not data:
            if not self._parser.get_status_code() or {"content-length", "transfer-encoding"} & self.fields.keys():
                raise ConnectionError("the server closed the connection before its answer was whole")
            # RFC 9112 section 6.3: without a length, the content ends with the connection.
            self.status = self._parser.get_status_code()
            return True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ConnectionError(f"the server's answer is no HTTP: {error}") from None
        return bool(self.status)

    def reply(self) -> Reply:
        return Reply(self.status, self.fields, b"".join(self.parts))

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # RFC 9110 section 15.2: the final one follows
            self.fields.clear()
            return
        self.status = self._parser.get_status_code()
        self.stays_open = self._parser.should_keep_alive()


# -- for threads --------------------------------------------------------------------------------


class Connections:
    """Connections to one server, one for each call that is under way; any thread may send."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self.origin = Origin(url)
        self._tls = (tls or ssl.create_default_context()) if self.origin.is_secure else None
        self._idle: deque[socket.socket] = deque()

    def send(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
        """See `Transport.send`."""
        deadline = time.monotonic() + timeout_s
        request = self.origin.request(content, headers)
        connection = self._maybe_idle() or self._connect(timeout_s)
        try:
            reading = self._exchange(connection, request, deadline)
        except BaseException:
            connection.close()
            raise
        if reading.stays_open:
            self._idle.append(connection)
        else:
            connection.close()
        return reading.reply()

    def _maybe_idle(self) -> socket.socket | None:
        """Return a connection that is open still."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has taken it
                return None
            # What can be read now is the end that the server has put to it. Not `select`, which takes no descriptor
            # above 1023: a server that calls another has those.
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if not poll.poll(0):
                return connection
            connection.close()
        return None

    def _connect(self, timeout_s: float) -> socket.socket:
        try:
            connection = socket.create_connection((self.origin.host, self.origin.port), timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls.wrap_socket(connection, server_hostname=self.origin.host) if self._tls else connection
        except TimeoutError as error:
            raise ConnectTimeout(*error.args) from error
        except OSError as error:
            raise NotSent(f"no connection to {self.origin.host}:{self.origin.port}: {error}") from error

    @staticmethod
    def _exchange(connection: socket.socket, request: bytes, deadline: float) -> Reading:
        reading = Reading()
        connection.settimeout(_left(deadline))
        connection.sendall(request)
        while True:
            connection.settimeout(_left(deadline))
            if reading.receive(connection.recv(_CHUNK_BYTES)):
                return reading

    def close(self) -> None:
        """Close the connections that no call uses."""
        while self._idle:
            self._idle.pop().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


# -- for an event loop --------------------------------------------------------------------------

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncConnections:
    """Connections to one server, one for each call that is under way; all from one event loop."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self.origin = Origin(url)
        self._tls = (tls or ssl.create_default_context()) if self.origin.is_secure else None
        self._idle: list[_Streams] = []

    async def send(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
        """See `Transport.send`."""
        request = self.origin.request(content, headers)
        async with asyncio.timeout(timeout_s) as timeout:
            reader, writer = self._maybe_idle() or await self._connect(timeout)
            try:
                reading = await self._exchange(reader, writer, request)
            except BaseException:
                writer.close()
                raise
        if reading.stays_open:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return reading.reply()

    def _maybe_idle(self) -> _Streams | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _connect(self, timeout: asyncio.Timeout) -> _Streams:
        try:
            return await asyncio.open_connection(self.origin.host, self.origin.port, ssl=self._tls)
        except asyncio.CancelledError as error:
            if not timeout.expired():
                raise
            raise ConnectTimeout from error
        except OSError as error:
            raise NotSent(f"no connection to {self.origin.host}:{self.origin.port}: {error}") from error

    @staticmethod
    async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Reading:
        reading = Reading()
        writer.write(request)
        await writer.drain()
        while not reading.receive(await reader.read(_CHUNK_BYTES)):
            pass
        return reading

    async def close(self) -> None:
        """Close the connections that no call uses."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            await writer.wait_closed()
