"""Clients over a WebSocket, against servers that are not ours: that say odd things, or nothing, or do not read."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.jsonrpc.test_client import in_loop, in_thread
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection, serve

from demijohn.jsonrpc.client import AsyncClient, CallTimeout, Client, TransportError

PATIENCE_S = 30.0
Run = Callable[..., Any]


@pytest.fixture(params=[in_thread, in_loop], ids=["Client", "AsyncClient"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


@contextmanager
def speaking(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """Have `handler` speak with whoever connects; give the address."""
    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/api"
        server.shutdown()
        thread.join(PATIENCE_S)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    return f"ws://127.0.0.1:{listener.getsockname()[1]}/api"


def how_many_came(listener: socket.socket) -> int:
    """Return how many connections were made that nobody has accepted yet."""
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.fixture
def in_background() -> Iterator[Callable[..., Any]]:
    """Call a function in a thread, and return the future of what it returns."""
    with ThreadPoolExecutor(4) as threads:
        yield threads.submit


def one_call(client: Any) -> Any:
    return (yield client.m())


NESTED = "[" * 50_000 + "]" * 50_000
ODD = [
    '{"jsonrpc": "2.0", "id": [1], "result": "no"}',
    '{"jsonrpc": "2.0", "id": {"1": 1}, "result": "no"}',
    '[{"jsonrpc": "2.0", "id": [], "result": "no"}]',
    '{"jsonrpc": "2.0", "method": "rpc.progress", "params": {"id": [1], "done": 1}}',
    '{"jsonrpc": "2.0", "method": "rpc.progress", "params": {"id": 1, "done": 1, "message": "\\ud800"}}',
    '{"jsonrpc": "2.0", "method": "rpc.progress", "params": %s}' % NESTED,  # noqa: UP031
    '{"jsonrpc": "2.0", "id": 7, "result": %s}' % NESTED,  # noqa: UP031
    '{"jsonrpc": "2.0", "id": 7, "more": %s}' % NESTED,  # noqa: UP031
    NESTED,
    "no JSON",
    b"\xff",
]


@pytest.mark.parametrize("odd", ODD, ids=[str(odd[:65]) for odd in ODD])
def test_what_belongs_to_no_call_is_passed_over(run: Run, odd: str | bytes) -> None:
    def say_that_first(peer: ServerConnection) -> None:
        for message in peer:
            peer.send(odd)
            peer.send(json.dumps({"jsonrpc": "2.0", "id": json.loads(message)["id"], "result": "yes"}))

    with speaking(say_that_first) as url:
        assert run(url, one_call, timeout_s=PATIENCE_S) == "yes"


def test_who_gets_no_connection_in_time_has_sent_nothing_and_tries_again(run: Run, listener: socket.socket) -> None:
    with pytest.raises(CallTimeout):
        run(url_of(listener), one_call, timeout_s=0.2, retries=1, retry_pause_s=0.0)
    assert how_many_came(listener) == 2


def test_who_waits_for_the_connection_of_another_thread_waits_no_longer_than_its_time(
    listener: socket.socket, in_background: Any
) -> None:
    with Client(url_of(listener)) as client:
        first = in_background(lambda: client.call("m", timeout_s=PATIENCE_S))
        connection, _ = listener.accept()
        with pytest.raises(CallTimeout):
            client.call("m", timeout_s=0.1)
        assert first.running()
        connection.close()
        with pytest.raises(TransportError):
            first.result(PATIENCE_S)


def test_redirections_are_not_followed(run: Run, listener: socket.socket) -> None:
    def send_away(asking: socket.socket) -> None:
        asking.recv(65536)
        location = url_of(listener)
        asking.sendall(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        asking.close()

    with socket.create_server(("127.0.0.1", 0)) as first:
        thread = threading.Thread(target=lambda: send_away(first.accept()[0]))
        thread.start()
        with pytest.raises(TransportError) as refused:
            run(url_of(first), one_call, headers={"X-Key": "sesame"}, timeout_s=PATIENCE_S)
        thread.join(PATIENCE_S)
    assert refused.value.status == 302
    assert how_many_came(listener) == 0


class Reading:
    """The server's end of a WebSocket that reads when it is told to."""

    def __init__(self, listener: socket.socket) -> None:
        self.sock, _ = listener.accept()
        self._protocol = ServerProtocol(max_size=None)
        self._events: deque[Any] = deque()
        request = self._next()
        assert isinstance(request, Request)
        self._protocol.send_response(self._protocol.accept(request))
        self.sock.sendall(b"".join(self._protocol.data_to_send()))

    def _next(self) -> Any:
        while not self._events:
            self._protocol.receive_data(self.sock.recv(65536))
            self._events.extend(self._protocol.events_received())
        return self._events.popleft()

    def method(self) -> str:
        """Return the method that the next message calls."""
        frame = self._next()
        assert isinstance(frame, Frame)
        return str(json.loads(frame.data)["method"])


def test_a_call_that_may_have_arrived_is_not_sent_again_when_room_was_waited_for(
    listener: socket.socket, in_background: Any
) -> None:
    def read_two() -> list[str]:
        reading = Reading(listener)
        with closing(reading.sock):
            return [reading.method(), reading.method()]

    async def main() -> list[Any]:
        long = ["x" * 20_000_000]
        async with AsyncClient(url_of(listener), retries=1, retry_pause_s=0.0, timeout_s=PATIENCE_S) as client:
            calls = client.call("first", long), client.call("short"), client.call("last", long)
            return await asyncio.gather(*calls, return_exceptions=True)

    reading = in_background(read_two)
    outcomes = asyncio.run(main())
    assert reading.result(PATIENCE_S) == ["first", "short"]
    assert [type(outcome) for outcome in outcomes] == [TransportError] * 3
    assert how_many_came(listener) == 0


def test_a_server_that_does_not_read_is_given_up_in_time(run: Run, listener: socket.socket, in_background: Any) -> None:
    def call_at_length(client: Any) -> Any:
        return (yield client.m("x" * 50_000_000))

    reading = in_background(Reading, listener)
    with pytest.raises(CallTimeout):
        run(url_of(listener), call_at_length, timeout_s=1.0)
    reading.result(PATIENCE_S).sock.close()


def test_the_handshake_tells_of_no_single_call(run: Run) -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="pip install -r requirements-dev.lock")
    caller = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1)))
    shown: list[str | None] = []

    def tell(peer: ServerConnection) -> None:
        assert peer.request is not None
        shown.extend((peer.request.headers.get("X-Key"), peer.request.headers.get("traceparent")))
        for message in peer:
            peer.send(json.dumps({"jsonrpc": "2.0", "id": json.loads(message)["id"], "result": "yes"}))

    with speaking(tell) as url, trace.use_span(caller):
        assert run(url, one_call, tracing=True, headers={"X-Key": "sesame"}, timeout_s=PATIENCE_S) == "yes"
    assert shown == ["sesame", None]
