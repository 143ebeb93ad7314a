"""Calling JSON-RPC methods: `Client("http://.../api").Math.add(a=1, b=2)`, and the same for an event loop.

What is sent and what an answer means is the same for both (`calls.py`: no I/O); the clients add the transport.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .calls import OMITTED as OMITTED
from .calls import CallError as CallError
from .calls import Calls, Params, Request, converted, one_way
from .calls import CallTimeout as CallTimeout
from .calls import RemoteError as RemoteError
from .calls import TransportError as TransportError
from .calls import given as given
from .converting import Hint
from .encoding import encode
from .transport import AsyncConnections, Connections, NotSent, Reply

if TYPE_CHECKING:
    import ssl

    from .telemetry import ClientTracing
    from .websocket_transport import OnProgress, Running

R = TypeVar("R")
T = TypeVar("T")

_LONGEST_PAUSE_S = 30.0
# The server says that it has not run the call: too many requests, or no capacity.
_NOT_RUN = (429, 503)
# A gateway says that it does not know.
_LOST = (502, 504)


class Method(Generic[R]):
    """A method to be called, `client.Math.add`: its parts are attributes, and calling it calls the method."""

    def __init__(self, call: Callable[[str, Params | None], R], name: str) -> None:
        self._call = call
        self._name = name

    def __getattr__(self, name: str) -> Method[R]:
        if name.startswith("__"):
            raise AttributeError(name)
        return Method(self._call, f"{self._name}.{name}")

    def __call__(self, *arguments: Any, **named: Any) -> R:
        return self._call(self._name, one_way(arguments, named))

    def __repr__(self) -> str:
        return f"<Method {self._name}>"


class Named(Generic[R]):
    """What has methods as attributes, and by `[name]` those whose names are attributes of its own."""

    def _call_by_name(self, method: str, params: Params | None) -> R:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Method[R]:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self._call_by_name, name)

    def __getitem__(self, name: str) -> Method[R]:
        return Method(self._call_by_name, name)


# -- batches ------------------------------------------------------------------------------------


class Pending(Generic[T]):
    """The result of a call in a batch, once that has been sent."""

    def __init__(self, calls: Calls, returns: Hint) -> None:
        self._calls = calls
        self._returns = returns
        self._answer: tuple[Any, int, int] | None = None

    def answer(self, response: Any, id: int, status: int) -> None:
        self._answer = response, id, status

    def result(self) -> T:
        """Return the result, or raise the error that was answered.

        Raises RuntimeError while the batch has not been sent.
        """
        if self._answer is None:
            raise RuntimeError("The batch has not been sent: leave its `with` block, then ask for results.")
        value: T = converted(self._calls.result(*self._answer), self._returns)
        return value


class Batch(Named[Pending[Any]]):
    """Calls that are sent together: `batch.Math.add(1, 2)` returns what will have the result."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._requests: list[Request] = []
        self._pending: dict[int, Pending[Any]] = {}

    def call(self, method: str, params: Params | None = None, returns: Hint = Any) -> Pending[Any]:
        """Add a call; see `Client.call`."""
        request = self._calls.request(method, params)
        self._requests.append(request)
        return self._pending.setdefault(request["id"], Pending(self._calls, returns))

    _call_by_name = call

    def notify(self, method: str, params: Params | None = None) -> None:
        """Add a call without an answer."""
        self._requests.append(self._calls.notification(method, params))

    def _take(self, reply: Reply) -> None:
        """Give each call its answer."""
        if not self._pending:
            return self._calls.accepted(reply)
        content = self._calls.content_of(reply)
        for id, response in self._calls.responses(content, list(self._pending), reply.status).items():
            self._pending[id].answer(response, id, reply.status)


class SyncBatch(Batch):
    """A batch that is sent at the end of its `with` block."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._calls)
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is None and self._requests:
            with self._client._tracing.span():
                self._take(self._client._post(self._requests))


class AsyncBatch(Batch):
    """A batch that is sent at the end of its `async with` block."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client._calls)
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is None and self._requests:
            with self._client._tracing.span():
                self._take(await self._client._post(self._requests))


# -- retries ------------------------------------------------------------------------------------


class Retries:
    """Whether and when a request is sent again.

    count: how often at most.
    lost: whether also when it may have been run: the connection broke, or a gateway gave up.
    """

    def __init__(self, count: int, lost: bool, pause_s: float) -> None:
        self.count = count
        self.lost = lost
        self.pause_s = pause_s

    def pause(self, attempt: int, failure: OSError | Reply) -> float | None:
        """Return after how many seconds to send again what failed the time `attempt`, from 0 on; None not to."""
        if attempt >= self.count or not self._may_repeat(failure):
            return None
        asked = _retry_after(failure) if isinstance(failure, Reply) else None
        # Spread over a span, as all clients of a server that comes back would come at once.
        pause = self.pause_s * 2**attempt * random.uniform(0.5, 1.5) if asked is None else asked
        return min(pause, _LONGEST_PAUSE_S)

    def _may_repeat(self, failure: OSError | Reply) -> bool:
        if isinstance(failure, Reply):
            return failure.status in _NOT_RUN or (self.lost and failure.status in _LOST)
        return isinstance(failure, NotSent) or self.lost


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds that `Retry-After` asks to wait (RFC 9110 section 10.2.3)."""
    value = reply.fields.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


# -- clients ------------------------------------------------------------------------------------


class NoTracing:
    """What stands for `telemetry.ClientTracing` where nobody asked for it."""

    def span(self, method: str | None = None) -> AbstractContextManager[None]:
        return nullcontext()

    def headers(self) -> dict[str, str]:
        return {}


class BaseClient(Named[R]):
    """What both clients take.

    url: where the methods are, http or https; or ws or wss, for one connection on which many calls are under way at a
        time, can report how far they are and can be cancelled.
    headers: sent with each request, such as Authorization.
    timeout_s: how long a call may take, connecting included; on a WebSocket, from one report of its progress to the
        next.
    retries: how often a request is sent again that cannot have been run: there was no connection, or the server
        answered 429 or 503. Pauses double from `retry_pause_s` on, unless the server says how long to wait.
    retry_lost: whether also what may have been run is sent again: only for methods that may be run twice.
    errors: classes derived from RemoteError, by the code of the errors that they stand for.
    tls: how https is spoken and whose certificates are believed; by default those that this machine believes.
    tracing: whether each call has a span of OpenTelemetry, of which the server is told.
    transport: brings requests to the server in another way.
    """

    _connections: Callable[[str, ssl.SSLContext | None], Any]

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        retries: int = 0,
        retry_lost: bool = False,
        retry_pause_s: float = 0.1,
        errors: Mapping[int, type[RemoteError]] | None = None,
        tls: ssl.SSLContext | None = None,
        tracing: bool = False,
        transport: Any = None,
    ) -> None:
        self._calls = Calls(url, headers, errors)
        self._tracing: NoTracing | ClientTracing = NoTracing()
        if tracing:
            from .telemetry import ClientTracing  # imports OpenTelemetry

            self._tracing = ClientTracing()
        self._timeout_s = timeout_s
        self._retries = Retries(retries, retry_lost, retry_pause_s)
        self._transport = transport or self._transport_to(url, tls)
        self._tells_progress = getattr(self._transport, "tells_progress", False)

    @classmethod
    def _transport_to(cls, url: str, tls: ssl.SSLContext | None) -> Any:
        if url.startswith(("ws://", "wss://")):
            return cls._websocket(url, tls)
        return cls._connections(url, tls)

    @staticmethod
    def _websocket(url: str, tls: ssl.SSLContext | None) -> Any:
        raise NotImplementedError

    def _options(self, on_progress: OnProgress | None) -> dict[str, Any]:
        """Return what a transport is told that can tell of progress."""
        return {"on_progress": on_progress} if on_progress is not None and self._tells_progress else {}

    def _headers(self) -> dict[str, str]:
        # On a connection that has many calls the header fields are those of its handshake, and of no single one.
        told = {} if self._tells_progress else self._tracing.headers()
        return self._calls.headers | told if told else self._calls.headers


class Client(BaseClient[Any]):
    """The methods at a URL: `client.Math.add(a=1, b=2)` calls `Math.add`. Any thread may call.

    .. versionadded:: 0.1
    """

    _connections = Connections

    @staticmethod
    def _websocket(url: str, tls: ssl.SSLContext | None) -> Any:
        from .websocket_transport import WebSocketConnection  # for its cost

        return WebSocketConnection(url, tls)

    def call(
        self,
        method: str,
        params: Params | None = None,
        *,
        timeout_s: float | None = None,
        returns: Hint = Any,
        on_progress: OnProgress | None = None,
    ) -> Any:
        """Return the result of a call; `returns` is the type to make of it.

        on_progress: called with each `Progress` that the method reports over a WebSocket, in this thread. What it
            raises ends the call, there too; so do a timeout and Ctrl-C.

        Raises RemoteError for an error that the server answered, TransportError when there is no answer.
        """
        with self._tracing.span(method):
            request = self._calls.request(method, params)
            reply = self._post(request, timeout_s, on_progress)
            return converted(self._calls.result(self._calls.content_of(reply), request["id"], reply.status), returns)

    def notify(self, method: str, params: Params | None = None) -> None:
        """Call a method without an answer: the server tells neither result nor error of the method."""
        with self._tracing.span(method):
            self._calls.accepted(self._post(self._calls.notification(method, params)))

    def start(self, method: str, params: Params | None = None, *, returns: Hint = Any) -> Running[Any]:
        """Begin a call over a WebSocket and return what will have its result, and can cancel it.

        Raises TypeError when the URL is none of a WebSocket; see `call`.
        """
        if not self._tells_progress:
            raise TypeError(
                f"A call can be started over a WebSocket alone: {self._calls.url} is none (ws:// or wss://)"
            )
        from .websocket_transport import Running  # for its cost

        request = self._calls.request(method, params)

        def read(outcome: Reply | OSError) -> Any:
            reply = self._calls.answered(outcome)
            return converted(self._calls.result(self._calls.content_of(reply), request["id"], reply.status), returns)

        try:
            sent = self._transport.start(encode(request), self._headers(), self._timeout_s)
        except OSError as error:
            sent = error
        return read(sent) if isinstance(sent, Reply | OSError) else Running(sent, read)

    def batch(self) -> SyncBatch:
        """Return a batch, for a `with` block whose end sends it."""
        return SyncBatch(self)

    def close(self) -> None:
        """Close connections; the end of a `with` block does."""
        self._transport.close()

    def _call_by_name(self, method: str, params: Params | None) -> Any:
        return self.call(method, params)

    def _post(
        self,
        content: Request | list[Request],
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Reply:
        encoded, attempt, options = encode(content), 0, self._options(on_progress)
        while (
            pause := self._retries.pause(attempt, outcome := self._attempt(encoded, timeout_s, options))
        ) is not None:
            time.sleep(pause)
            attempt += 1
        return self._calls.answered(outcome)

    def _attempt(self, encoded: bytes, timeout_s: float | None, options: dict[str, Any]) -> Reply | OSError:
        try:
            reply: Reply = self._transport.send(encoded, self._headers(), timeout_s or self._timeout_s, **options)
        except OSError as error:
            return error
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(BaseClient[Awaitable[Any]]):
    """`Client` for an event loop: `await client.Math.add(a=1, b=2)`.

    .. versionadded:: 0.1
    """

    _connections = AsyncConnections

    @staticmethod
    def _websocket(url: str, tls: ssl.SSLContext | None) -> Any:
        from .websocket_transport import AsyncWebSocketConnection  # for its cost

        return AsyncWebSocketConnection(url, tls)

    async def call(
        self,
        method: str,
        params: Params | None = None,
        *,
        timeout_s: float | None = None,
        returns: Hint = Any,
        on_progress: OnProgress | None = None,
    ) -> Any:
        """Return the result of a call; see `Client.call`. Over a WebSocket, cancelling the task ends the call."""
        with self._tracing.span(method):
            request = self._calls.request(method, params)
            reply = await self._post(request, timeout_s, on_progress)
            return converted(self._calls.result(self._calls.content_of(reply), request["id"], reply.status), returns)

    async def notify(self, method: str, params: Params | None = None) -> None:
        """Call a method without an answer; see `Client.notify`."""
        with self._tracing.span(method):
            self._calls.accepted(await self._post(self._calls.notification(method, params)))

    def batch(self) -> AsyncBatch:
        """Return a batch, for an `async with` block whose end sends it."""
        return AsyncBatch(self)

    async def close(self) -> None:
        """Close connections; the end of an `async with` block does."""
        await self._transport.close()

    def _call_by_name(self, method: str, params: Params | None) -> Awaitable[Any]:
        return self.call(method, params)

    async def _post(
        self,
        content: Request | list[Request],
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Reply:
        encoded, attempt, options = encode(content), 0, self._options(on_progress)
        while True:
            outcome = await self._attempt(encoded, timeout_s, options)
            pause = self._retries.pause(attempt, outcome)
            if pause is None:
                break
            await asyncio.sleep(pause)
            attempt += 1
        return self._calls.answered(outcome)

    async def _attempt(self, encoded: bytes, timeout_s: float | None, options: dict[str, Any]) -> Reply | OSError:
        try:
            reply: Reply = await self._transport.send(encoded, self._headers(), timeout_s or self._timeout_s, **options)
        except OSError as error:
            return error
        return reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
