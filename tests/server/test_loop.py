"""The engine over real sockets: who waits for whom, and who does not."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import logging
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demijohn.environ import FileWrapper
from demijohn.message import RequestHead, ResponseMessage
from demijohn.server.activity import Activity
from demijohn.server.loop import Engine
from demijohn.server.native import NativeGateway
from demijohn.server.ownpages import OwnPages, alive
from demijohn.server.poller import EpollPoller, PollPoller
from demijohn.server.settings import Settings
from demijohn.server.timekeeping import Surroundings

PATIENCE_S = 30.0
BIG = bytes(range(256)) * 40_000  # more than any socket buffer holds


class Route:
    def __init__(self, view: Callable[[RequestHead], ResponseMessage]) -> None:
        self.view = view
        self.wall_s = 0.0
        self.limit_s: float | None = None


class Application:
    """Views by path; `/` and a few more are there already."""

    def __init__(self) -> None:
        self.routes: dict[bytes, Route] = {}
        self.missing = Route(lambda head: answer(b"missing", "404 Not Found"))
        self.add("/", lambda head: answer(b"hello"))
        self.add("/echo", echo)
        self.add("/big", lambda head: answer(BIG))

    def add(self, path: str, view: Callable[[RequestHead], ResponseMessage]) -> Route:
        route = self.routes[path.encode()] = Route(view)
        return route

    def native_match(self, head: RequestHead) -> Route:
        head.route = self.routes.get(head.target.partition(b"?")[0], self.missing)
        return head.route

    def native_refuses(self, head: RequestHead) -> bool:
        return self.native_match(head) is self.missing

    def native_handle(self, head: RequestHead) -> ResponseMessage:
        message: ResponseMessage = head.route.view(head)
        return message


def answer(content: bytes | Iterable[bytes], status: str = "200 OK", **more: Any) -> ResponseMessage:
    return ResponseMessage(status, b"", content, **more)


def echo(head: RequestHead) -> ResponseMessage:
    return answer(head.content if head.spool is None else head.spool.read())


class Turnstile:
    """A view that waits inside until the test lets it go."""

    def __init__(self, content: bytes = b"waited") -> None:
        self._content = content
        self._entered = threading.Semaphore(0)
        self._may_leave = threading.Semaphore(0)

    def __call__(self, head: RequestHead) -> ResponseMessage:
        self.pass_through()
        return answer(self._content)

    def pass_through(self) -> None:
        self._entered.release()
        assert self._may_leave.acquire(timeout=PATIENCE_S)

    def wait_for(self, views: int = 1) -> None:
        for _ in range(views):
            assert self._entered.acquire(timeout=PATIENCE_S), "no view came"

    def release(self, views: int = 1) -> None:
        self._may_leave.release(views)


class Client:
    """One connection."""

    def __init__(self, address: Any, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.sock = socket.socket(family)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(address)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, target: str = "/", method: str = "GET", fields: str = "", content: bytes = b"") -> None:
        if content:
            fields += f"Content-Length: {len(content)}\r\n"
        self.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode() + content)

    def answer(self, method: str = "GET") -> tuple[int, bytes]:
        return self.response(method)[::2]  # type: ignore[return-value]

    def response(self, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
        response = http.client.HTTPResponse(self.sock, method=method)
        # Unbuffered, so that pipelined answers stay where they are.
        response.fp.close()
        response.fp = io.BufferedReader(_OneByte(self.sock), 1)
        response.begin()
        return response.status, response.headers, response.read()

    def get(self, target: str = "/") -> tuple[int, bytes]:
        self.request(target)
        return self.answer()

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        parts = []
        while part := self.sock.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        self.sock.close()


class _OneByte(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sock.recv_into(buffer)


class Serving:
    """An engine in a thread, and its clients."""

    def __init__(self, application: Any, listener: socket.socket, poller: Any, more: dict[str, Any]) -> None:
        self.listener = listener
        self.reports: list[tuple[bytes, str, int]] = []
        self.slot = Slot()
        pages = more.pop("pages", {})
        self.engine = Engine(
            [listener],
            OwnPages(NativeGateway(application), pages) if pages else NativeGateway(application),
            Settings(**{"graceful_timeout_s": PATIENCE_S, **more}),
            Surroundings(self._note, self.slot),
            poller,
        )
        self.thread = threading.Thread(target=self.engine.run)
        self.thread.start()
        self._clients: list[Client] = []

    def _note(self, head: RequestHead, message: ResponseMessage, size: int, wall_s: float, is_complete: bool) -> None:
        self.reports.append((head.target, message.status, size))

    def connect(self) -> Client:
        self._clients.append(Client(self.listener.getsockname(), self.listener.family))
        return self._clients[-1]

    def get(self, target: str = "/") -> tuple[int, bytes]:
        return self.connect().get(target)

    def wait(self) -> None:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the engine does not come to its end"

    def end(self) -> None:
        for client in self._clients:
            client.close()
        self.engine.drain()
        self.wait()
        self.listener.close()


class Slot:
    requests = 0
    beats = 0
    timeouts = 0
    asked = 0
    others_have_fewer = False

    def beat(self, activity: Activity) -> None:
        self.beats += 1
        self.activity = activity

    def has_more_than_its_share(self, connections: int) -> bool:
        self.asked += 1
        return self.others_have_fewer

    def timed_out(self) -> None:
        self.timeouts += 1

    def shed(self, requests: int) -> None: ...


@pytest.fixture(params=[EpollPoller, PollPoller])
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Serving]]:
    serving: list[Serving] = []

    def start(application: Any, listener: socket.socket | None = None, **settings: Any) -> Serving:
        listener = listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
        serving.append(Serving(application, listener, request.param(), settings))
        return serving[-1]

    interval = sys.getswitchinterval()
    yield start
    for one in serving:
        one.end()
    sys.setswitchinterval(interval)


@pytest.fixture
def application() -> Application:
    return Application()


# -- requests and answers ------------------------------------------------------------------------------------


def test_a_connection_carries_many_requests(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    assert [client.get("/") for _ in range(5)] == [(200, b"hello")] * 5
    assert client.get("/nothing") == (404, b"missing")


def test_pipelined_requests_are_answered_in_order(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile)
    client = serve(application).connect()
    client.request("/wait")
    client.request("/")
    client.request("/echo", "POST", content=b"echo")
    client.request("/nothing")
    turnstile.wait_for()
    turnstile.release()
    assert [client.answer() for _ in range(4)] == [
        (200, b"waited"),
        (200, b"hello"),
        (200, b"echo"),
        (404, b"missing"),
    ]


def test_requests_that_come_while_another_is_answered_are_not_lost(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile)
    serving = serve(application)
    client = serving.connect()
    for _ in range(20):
        client.request("/wait")
        turnstile.wait_for()
        # The connection belongs to the thread inside; what comes now is for later.
        client.request("/")
        assert serving.get() == (200, b"hello")
        turnstile.release()
        assert client.answer() == (200, b"waited")
        assert client.answer() == (200, b"hello")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_content_comes_back(serve: Any, application: Application, size: int) -> None:
    client = serve(application).connect()
    content = os.urandom(size)
    threading.Thread(target=client.request, args=("/echo", "POST", "", content)).start()
    assert client.answer() == (200, content)


def test_head_has_the_length_and_no_content(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    client.request("/big", "HEAD")
    status, headers, content = client.response("HEAD")
    assert (status, headers["Content-Length"], content) == (200, str(len(BIG)), b"")
    assert client.get() == (200, b"hello")


def test_a_unix_socket_serves(serve: Any, application: Application, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    assert serve(application, listener).get() == (200, b"hello")


def test_a_malformed_request_is_answered_and_nothing_after_it(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /echo HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.answer() == (200, b"hello")
    assert client.answer() == (400, b"The request must have one Host field.\n")
    assert client.rest() == b""


def test_a_refused_upload_gets_to_read_its_answer(serve: Any, application: Application) -> None:
    client = serve(application, limit_request_body=1000).connect()
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n")
    # It goes on sending, as clients do. Had the connection been closed at once, this would reset it.
    client.send(b"x" * 1_000_000)
    status, headers, _ = client.response()
    assert (status, headers["Connection"]) == (413, "close")
    assert client.rest() == b""


def test_a_request_that_is_cut_short_is_not_served(serve: Any, application: Application) -> None:
    served = []
    application.add("/record", lambda head: served.append(head) or answer(b""))  # type: ignore[func-returns-value]
    client = serve(application).connect()
    client.send(b"POST /record HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer()[0] == 400
    assert client.rest() == b""
    assert served == []


def test_a_peer_that_sends_no_more_still_gets_its_answers(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    client.request("/")
    client.request("/")
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.answer(), client.answer()] == [(200, b"hello")] * 2
    assert client.rest() == b""


def test_the_connection_ends_when_the_peer_asked_for_it(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    client.request("/", fields="Connection: close\r\n")
    assert client.answer() == (200, b"hello")
    assert client.rest() == b""


def test_100_continue_is_sent_before_content_is_awaited(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.sock.recv(len(interim), socket.MSG_WAITALL) == interim
    client.send(b"hello")
    assert client.answer() == (200, b"hello")


def test_a_route_that_refuses_answers_without_waiting_for_content(serve: Any, application: Application) -> None:
    client = serve(application).connect()
    client.send(b"POST /nothing HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    status, headers, content = client.response()
    assert (status, headers["Connection"], content) == (404, "close", b"missing")
    assert client.rest() == b""


def test_each_request_is_reported_and_counted(serve: Any, application: Application) -> None:
    serving = serve(application)
    client = serving.connect()
    client.get("/")
    client.get("/nothing")
    client.request("/big", "HEAD")
    client.response("HEAD")
    client.get("/big")
    client.close()
    serving.engine.drain()
    serving.wait()
    assert serving.reports == [
        (b"/", "200 OK", 5),
        (b"/nothing", "404 Not Found", 7),
        (b"/big", "200 OK", 0),
        (b"/big", "200 OK", len(BIG)),
    ]
    assert serving.slot.requests == 4
    assert serving.slot.beats > 0


def test_connections_are_left_to_workers_with_fewer_and_taken_when_those_do_not(
    serve: Any, application: Application
) -> None:
    serving = serve(application, workers=2)
    serving.slot.others_have_fewer = True
    assert serving.connect().get("/") == (200, b"hello")
    assert serving.slot.asked > 0


# -- who waits for whom --------------------------------------------------------------------------------------


def test_a_quick_view_does_not_wait_for_slow_ones(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile)
    serving = serve(application, threads=4)
    waiting = [serving.connect() for _ in range(4)]
    for client in waiting:
        client.request("/wait")
    # All four threads are inside, each by surprise: nobody knew that the view is slow.
    turnstile.wait_for(4)
    assert [serving.get() for _ in range(10)] == [(200, b"hello")] * 10
    turnstile.release(4)
    assert [client.answer() for client in waiting] == [(200, b"waited")] * 4


@pytest.mark.parametrize("wall_s", [0.0, 1.0], ids=["a surprise", "known to be slow"])
@pytest.mark.parametrize("threads", [1, 4])
def test_answers_that_are_sent_together_wait_for_no_slow_view(
    serve: Any, application: Application, threads: int, wall_s: float
) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile).wall_s = wall_s
    serving = serve(application, threads=threads)
    quick, slow = serving.connect(), serving.connect()

    def first(head: RequestHead) -> ResponseMessage:
        quick.request("/")  # so both come with the leader's next look
        slow.request("/wait")
        return answer(b"first")

    application.add("/first", first)
    assert serving.get("/first") == (200, b"first")
    turnstile.wait_for()
    assert quick.answer() == (200, b"hello")
    turnstile.release()
    assert slow.answer() == (200, b"waited")


def test_answers_that_are_sent_together_do_not_depend_on_each_other(serve: Any, application: Application) -> None:
    serving = serve(application)
    reading, late, gone, pipelining, leaving = clients = [serving.connect() for _ in range(5)]

    def first(head: RequestHead) -> ResponseMessage:
        for client, target in zip(clients, ("/", "/big", "/", "/big", "/leave"), strict=True):
            client.request(target)
        pipelining.request("/")
        return answer(b"first")

    def leave(head: RequestHead) -> ResponseMessage:
        # Its answer is made and not sent.
        gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        return answer(b"left")

    application.add("/first", first)
    application.add("/leave", leave)
    assert serving.get("/first") == (200, b"first")
    assert leaving.answer() == (200, b"left")
    assert reading.answer() == (200, b"hello")
    assert pipelining.answer() == (200, BIG)
    assert pipelining.answer() == (200, b"hello")
    assert late.answer() == (200, BIG)  # more than its socket takes at once
    assert [client.get() for client in (reading, late, pipelining, leaving)] == [(200, b"hello")] * 4
    assert len(serving.reports) == 11


def test_a_connection_whose_answer_waits_for_others_while_draining_begins_is_not_waited_for(
    serve: Any, application: Application
) -> None:
    serving = serve(application, keep_alive_s=10 * PATIENCE_S, graceful_timeout_s=10 * PATIENCE_S)
    quick, draining = serving.connect(), serving.connect()

    def first(head: RequestHead) -> ResponseMessage:
        quick.request("/")
        draining.request("/drain")
        serving.engine._wake_up()  # so that the leader looks whether to drain, behind the two
        return answer(b"first")

    def drain(head: RequestHead) -> ResponseMessage:
        serving.engine.drain()
        return answer(b"draining")

    application.add("/first", first)
    application.add("/drain", drain)
    beginning = serving.connect()
    assert beginning.get("/first") == (200, b"first")
    assert draining.answer() == (200, b"draining")
    assert quick.answer() == (200, b"hello")
    serving.wait()


def test_a_request_for_a_slow_view_waits_for_a_thread_without_stopping_quick_ones(
    serve: Any, application: Application
) -> None:
    turnstile = Turnstile()
    route = application.add("/wait", turnstile)
    serving = serve(application, threads=2)
    route.wall_s = 1.0  # known to be slow
    waiting = [serving.connect() for _ in range(10)]
    for client in waiting:
        client.request("/wait")
    turnstile.wait_for(2)
    assert [serving.get() for _ in range(10)] == [(200, b"hello")] * 10
    turnstile.release(10)
    assert [client.answer() for client in waiting] == [(200, b"waited")] * 10


def test_when_every_thread_is_inside_a_view_by_surprise_the_first_to_come_out_goes_on(
    serve: Any, application: Application
) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=1)
    waiting = [serving.connect() for _ in range(2)]
    for number, client in enumerate(waiting):
        application.add(f"/wait{number}", turnstile)  # each a surprise of its own
        client.request(f"/wait{number}")
    turnstile.wait_for(2)
    client = serving.connect()
    client.request("/")
    turnstile.release(1)
    assert client.answer() == (200, b"hello")
    turnstile.release(1)
    assert [client.answer() for client in waiting] == [(200, b"waited")] * 2


@pytest.mark.parametrize("views", [17, 40])
def test_when_views_hold_every_thread_by_surprise_the_server_goes_on_with_all_that_is_no_view(
    serve: Any, application: Application, views: int
) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=16, keep_alive_s=1.0, pages={b"/livez": alive})
    slow_reader = serving.connect()
    slow_reader.request("/big")
    idle = serving.connect()
    assert idle.get() == (200, b"hello")
    application.routes[b"/"].wall_s = 0.0001  # known to be quick, whatever kept the machine from it
    waiting = [serving.connect() for _ in range(views)]
    for number, client in enumerate(waiting):
        application.add(f"/wait{number}", turnstile)  # each a surprise of its own
        client.request(f"/wait{number}")
    turnstile.wait_for(17)  # one for each thread, the one that polls included
    assert [serving.get("/livez") for _ in range(10)] == [(200, b"ok\n")] * 10
    assert serving.get("/") == (200, b"hello")
    assert slow_reader.answer() == (200, BIG)
    assert idle.rest() == b""  # closed after its time
    turnstile.release(views)
    assert [client.answer() for client in waiting] == [(200, b"waited")] * views
    assert serving.get("/new") == (404, b"missing")


def test_a_view_that_was_quick_may_hold_reserves_but_never_all_of_them(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=1, pages={b"/livez": alive})
    targets = [f"/quick{number}" for number in range(20)]
    for target in targets:
        application.add(target, turnstile).wall_s = 0.0001  # known to be quick
    waiting = [serving.connect() for _ in targets]
    for client, target in zip(waiting, targets, strict=True):
        client.request(target)
    turnstile.wait_for(5)  # two threads and three of four reserves
    assert [serving.get("/livez") for _ in range(10)] == [(200, b"ok\n")] * 10
    turnstile.release(len(targets))
    assert [client.answer() for client in waiting] == [(200, b"waited")] * len(targets)


def test_a_request_over_its_limit_is_answered_504_while_views_hold_every_thread(
    serve: Any, application: Application
) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=2, request_timeout_s=PATIENCE_S)
    held = [serving.connect() for _ in range(2)]
    for number, client in enumerate(held):
        application.add(f"/wait{number}", turnstile)
        client.request(f"/wait{number}")
    turnstile.wait_for(2)
    application.add("/late", turnstile).limit_s = 0.05
    late = serving.connect()
    late.request("/late")
    turnstile.wait_for()
    assert late.answer()[0] == 504
    assert late.rest() == b""  # somebody saw to the end of the connection
    assert serving.get("/") == (200, b"hello")  # in the thread that takes the place of the lost one
    turnstile.release(3)
    assert [client.answer() for client in held] == [(200, b"waited")] * 2


def test_a_head_request_that_is_given_up_is_answered_without_content(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=2, queue_timeout_s=0.05, request_timeout_s=PATIENCE_S)
    application.add("/late", turnstile).limit_s = 0.05
    late = serving.connect()
    late.request("/late", "HEAD")
    turnstile.wait_for()
    answers = [late.rest()]
    held = [serving.connect() for _ in range(2)]
    for number, client in enumerate(held):
        application.add(f"/wait{number}", turnstile).wall_s = 0.02  # known to be slow
        client.request(f"/wait{number}")
    turnstile.wait_for(2)
    shed = serving.connect()
    application.add("/shed", turnstile).wall_s = 0.02
    shed.request("/shed", "HEAD")
    answers.append(shed.rest())
    for answer, status in zip(answers, (b"504", b"503"), strict=True):
        assert answer.startswith(b"HTTP/1.1 %b " % status)
        assert answer.endswith(b"\r\n\r\n")
    turnstile.release(3)
    assert [client.answer() for client in held] == [(200, b"waited")] * 2


def test_half_sent_requests_hold_no_thread(serve: Any, application: Application) -> None:
    serving = serve(application, threads=1)
    half = [serving.connect() for _ in range(50)]
    for client in half[:25]:
        client.send(b"GET / HTTP/1.1\r\nHo")
    for client in half[25:]:
        client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
    assert serving.get() == (200, b"hello")
    for client in half[:25]:
        client.send(b"st: test\r\n\r\n")
    for client in half[25:]:
        client.send(b"again")
    assert [client.answer() for client in half] == [(200, b"hello")] * 25 + [(200, b"helloagain")] * 25


def test_peers_that_do_not_read_hold_no_thread(serve: Any, application: Application) -> None:
    serving = serve(application, threads=1)
    slow = [serving.connect() for _ in range(5)]
    for client in slow:
        client.request("/big")
    assert [serving.get() for _ in range(5)] == [(200, b"hello")] * 5
    assert all(client.answer() == (200, BIG) for client in slow)
    assert all(client.get() == (200, b"hello") for client in slow)


def test_a_stream_waits_for_its_reader_without_a_thread(serve: Any, application: Application) -> None:
    made = []

    def parts() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"%08d" % number * 8192

    application.add("/stream", lambda head: answer(parts()))
    serving = serve(application, threads=1)
    client = serving.connect()
    client.request("/stream")
    assert client.sock.recv(15) == b"HTTP/1.1 200 OK"
    assert [serving.get() for _ in range(5)] == [(200, b"hello")] * 5
    assert len(made) < 500  # what the reader has not taken is not made
    client.sock.recv(2)
    received = client.sock.makefile("rb")
    assert received.readline() == b"Server: demijohn\r\n"
    while received.readline() != b"\r\n":
        pass
    for number in range(1000):
        assert received.readline() == b"10000\r\n"
        assert received.read(65536 + 2) == b"%08d" % number * 8192 + b"\r\n"
    assert received.read(5) == b"0\r\n\r\n"
    received.close()
    assert client.get() == (200, b"hello")


def test_a_stream_that_waits_between_its_parts_sends_each_at_once(serve: Any, application: Application) -> None:
    turnstile = Turnstile()

    def parts() -> Iterator[bytes]:
        for part in (b"a", b"b", b"c"):
            yield part
            turnstile.pass_through()

    application.add("/stream", lambda head: answer(parts(), content_length=3))
    serving = serve(application, threads=1)
    client = serving.connect()
    client.request("/stream")
    turnstile.wait_for()
    assert serving.get() == (200, b"hello")
    received = client.sock.makefile("rb")
    while received.readline() != b"\r\n":
        pass
    assert received.read(1) == b"a"
    turnstile.release(1)
    assert received.read(1) == b"b"
    turnstile.release(2)
    assert received.read(1) == b"c"
    received.close()


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("declared", [None, 8])
def test_parts_that_come_at_once_wait_for_none_that_does_not(
    serve: Any, application: Application, slow: bool, declared: int | None
) -> None:
    turnstile = Turnstile()

    def parts() -> Iterator[bytes]:
        for part in (b"a", b"b", b"c", b"-", b"d", b"e", b"f", b"-"):
            if part == b"-":
                turnstile.pass_through()
            yield part

    route = application.add("/stream", lambda head: answer(parts(), content_length=declared))
    serving = serve(application, threads=2)
    client = serving.connect()
    received = client.sock.makefile("rb")
    for _ in range(3):
        route.wall_s = 1.0 if slow else 0.0  # whether another thread polls meanwhile
        client.request("/stream")
        for three in (b"abc", b"-def"):
            turnstile.wait_for()
            assert content_of(received, len(three), declared is None) == three  # while the next part is awaited
            turnstile.release()
        assert content_of(received, 1, declared is None) == b"-"
        if declared is None:
            assert received.read(5) == b"0\r\n\r\n"
    received.close()
    assert client.get() == (200, b"hello")


def content_of(received: Any, size: int, chunked: bool) -> bytes:
    """Read so much content, behind a head if there is one."""
    content = b""
    while len(content) < size:
        if not chunked:
            piece = received.read(1)
            if piece == b"H":  # "TTP/1.1 200 OK"
                while received.readline() != b"\r\n":
                    pass
                piece = received.read(1)
            content += piece
            continue
        line = received.readline()
        if line.startswith(b"HTTP/"):
            while received.readline() != b"\r\n":
                pass
            line = received.readline()
        content += received.read(int(line, 16))
        assert received.readline() == b"\r\n"
    return content


def test_streams_come_as_they_were_made(serve: Any, application: Application) -> None:
    """Whatever their parts are, however long each takes, and however slowly they are read."""
    random_ = random.Random(1)
    serving = serve(application, threads=3)
    pause = threading.Event()  # never set: a part that takes longer than it may to be gathered, or than the watch waits

    def parts(made: list[bytes], pauses: list[float]) -> Iterator[bytes]:
        for part, pause_s in zip(made, pauses, strict=True):
            if pause_s:
                pause.wait(pause_s)
            yield part

    def exchange(number: int) -> None:
        made = [os.urandom(random_.choice((0, 1, 10, 1000, 70_000))) for _ in range(random_.randrange(60))]
        pauses = [random_.choice((0.0,) * 15 + (0.0003, 0.006)) for _ in made]
        declared = random_.choice((None, sum(map(len, made))))
        application.add(f"/{number}", lambda head: answer(parts(made, pauses), content_length=declared))
        client = serving.connect()
        outcomes.extend(client.get(f"/{number}") == (200, b"".join(made)) for _ in range(3))

    outcomes: list[bool] = []
    threads = [threading.Thread(target=exchange, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert outcomes == [True] * 36


def test_a_peer_that_leaves_a_stream_that_waits_harms_nobody(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    closed = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b"a"
        yield b"b"
        turnstile.pass_through()
        yield from [b"c" * 70_000] * 200

    application.add("/stream", lambda head: answer(parts(), close=closed.set))
    serving = serve(application, threads=1)
    client = serving.connect()
    client.request("/stream")
    turnstile.wait_for()
    client.close()
    turnstile.release()
    assert closed.wait(PATIENCE_S)
    assert serving.get() == (200, b"hello")


# -- answers that fail ---------------------------------------------------------------------------------------


def failing_parts() -> Iterator[bytes]:
    yield b"first"
    yield b"second"
    yield b"third"
    raise ValueError("in the middle")


def test_a_stream_that_fails_does_not_look_complete(
    serve: Any, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    application.add("/fails", lambda head: answer(failing_parts()))
    client = serve(application).connect()
    client.request("/fails")
    assert client.rest().partition(b"\r\n\r\n")[2] == b"5\r\nfirst\r\nb\r\nsecondthird\r\n"
    assert "The answer to GET /fails was cut off: the application failed" in caplog.text
    assert "in the middle" in caplog.text


def test_a_stream_that_fails_resets_a_connection_whose_end_would_mean_success(
    serve: Any, application: Application
) -> None:
    application.add("/fails", lambda head: answer(failing_parts()))
    client = serve(application).connect()
    client.send(b"GET /fails HTTP/1.0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        client.rest()


def test_a_stream_that_fails_at_once_is_a_500(serve: Any, application: Application) -> None:
    def parts() -> Iterator[bytes]:
        raise ValueError
        yield b""

    application.add("/fails", lambda head: answer(parts()))
    client = serve(application).connect()
    assert client.get("/fails")[0] == 500
    assert client.get() == (200, b"hello")


def test_a_stream_shorter_than_declared_ends_the_connection(serve: Any, application: Application) -> None:
    application.add("/short", lambda head: answer(iter([b"ab"]), content_length=3))
    client = serve(application).connect()
    client.request("/short")
    assert client.rest().endswith(b"Content-Length: 3\r\n\r\nab")


def test_a_stream_longer_than_declared_is_cut(serve: Any, application: Application) -> None:
    application.add("/long", lambda head: answer(iter([b"ab", b"cd", b"ef"]), content_length=3))
    client = serve(application).connect()
    assert client.get("/long") == (200, b"abc")
    assert client.get() == (200, b"hello")


def test_an_answer_that_is_none_is_a_500(serve: Any, application: Application) -> None:
    application.add("/switch", lambda head: answer(b"", "101 Switching Protocols"))
    client = serve(application).connect()
    assert client.get("/switch")[0] == 500
    assert client.get() == (200, b"hello")


def test_content_that_is_no_bytes_is_a_500(serve: Any, application: Application) -> None:
    application.add("/text", lambda head: answer(iter(["text"])))  # type: ignore[list-item]
    assert serve(application).get("/text")[0] == 500


class Closing:
    def __init__(self) -> None:
        self.calls = threading.Semaphore(0)

    def __call__(self) -> None:
        self.calls.release()

    def wait(self) -> None:
        assert self.calls.acquire(timeout=PATIENCE_S)
        assert not self.calls.acquire(blocking=False)


@pytest.mark.parametrize("content", [b"abc", BIG, [b"a", b"b"]], ids=["bytes", "big", "parts"])
def test_close_is_called_once_the_content_is_sent(serve: Any, application: Application, content: Any) -> None:
    closing = Closing()
    application.add("/close", lambda head: answer(content, close=closing))
    status, received = serve(application).get("/close")
    assert (status, received) == (200, content if isinstance(content, bytes) else b"".join(content))
    closing.wait()


def test_a_close_that_takes_long_changes_nothing_about_an_answer_that_is_out(
    serve: Any, application: Application
) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=2)
    application.add("/close", lambda head: answer([b"a"], close=turnstile.pass_through)).limit_s = 0.05
    client = serving.connect()
    assert client.get("/close") == (200, b"a")
    turnstile.wait_for()
    stuck = Turnstile()
    application.add("/stuck", stuck).limit_s = 0.05
    assert serving.get("/stuck")[0] == 504  # so the other is over its limit, too
    assert serving.slot.timeouts == 1
    turnstile.release()
    assert client.get("/") == (200, b"hello")
    stuck.release()


def test_a_close_that_takes_long_after_a_peer_was_given_up_delays_nobody(
    serve: Any, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=1, answer_timeout_s=0.2)
    application.add("/close", lambda head: answer(BIG, close=turnstile.pass_through))
    client = serving.connect()
    client.request("/close")
    turnstile.wait_for()
    assert serving.get("/") == (200, b"hello")
    assert "close()" not in caplog.text  # it has not lost patience
    turnstile.release()


@pytest.mark.parametrize("content", [BIG, [b"x" * 65536] * 1000], ids=["bytes", "parts"])
def test_close_is_called_when_the_peer_goes_away(serve: Any, application: Application, content: Any) -> None:
    closing = Closing()
    application.add("/close", lambda head: answer(content, close=closing))
    serving = serve(application)
    client = serving.connect()
    client.request("/close")
    assert client.sock.recv(1) == b"H"
    client.close()
    closing.wait()
    assert serving.get() == (200, b"hello")


def test_close_may_fail(serve: Any, application: Application, caplog: pytest.LogCaptureFixture) -> None:
    def close() -> None:
        raise ValueError("in close")

    application.add("/close", lambda head: answer(b"abc", close=close))
    client = serve(application).connect()
    assert client.get("/close") == (200, b"abc")
    assert client.get() == (200, b"hello")
    assert "in close" in caplog.text


def test_a_peer_that_leaves_while_its_view_runs_harms_nobody(serve: Any, application: Application) -> None:
    turnstile = Turnstile(BIG)
    application.add("/wait", turnstile)
    serving = serve(application, threads=2)
    for _ in range(5):
        client = serving.connect()
        client.request("/wait")
        turnstile.wait_for()
        client.close()
        assert serving.get() == (200, b"hello")
        turnstile.release()
    assert serving.get("/big") == (200, BIG)


# -- files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(BIG)
    return path


def wrapped(file: Any, **more: Any) -> ResponseMessage:
    wrapper = FileWrapper(file)
    return answer(wrapper, close=wrapper.close, **more)


def test_a_file_is_sent(serve: Any, application: Application, file: Path) -> None:
    opened = []

    def view(head: RequestHead) -> ResponseMessage:
        opened.append(file.open("rb"))
        return wrapped(opened[-1])

    application.add("/file", view)
    serving = serve(application)
    client = serving.connect()
    client.request("/file")
    status, headers, content = client.response()
    assert (status, headers["Content-Length"]) == (200, str(len(BIG)))
    assert content == BIG
    assert client.get() == (200, b"hello")
    client.request("/file", "HEAD")
    assert client.response("HEAD")[1]["Content-Length"] == str(len(BIG))
    assert client.get() == (200, b"hello")
    assert [file.closed for file in opened] == [True, True]


def test_a_file_is_sent_from_where_it_stands_and_as_far_as_declared(
    serve: Any, application: Application, file: Path
) -> None:
    def view(head: RequestHead) -> ResponseMessage:
        opened = file.open("rb")
        opened.seek(1000)
        return wrapped(opened, content_length=5000)

    application.add("/file", view)
    assert serve(application).get("/file") == (200, BIG[1000:6000])


def test_a_file_shorter_than_declared_ends_the_connection(serve: Any, application: Application, file: Path) -> None:
    application.add("/file", lambda head: wrapped(file.open("rb"), content_length=len(BIG) + 1))
    client = serve(application).connect()
    client.request("/file")
    assert client.rest().endswith(b"\r\n\r\n" + BIG)


def test_what_has_a_descriptor_and_reads_otherwise_is_read(
    serve: Any, application: Application, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(BIG))
    application.add("/gzip", lambda head: wrapped(gzip.GzipFile(packed)))
    application.add("/memory", lambda head: wrapped(io.BytesIO(BIG)))
    client = serve(application).connect()
    assert client.get("/gzip") == (200, BIG)
    assert client.get("/memory") == (200, BIG)


def test_readers_of_files_that_do_not_read_hold_no_thread(serve: Any, application: Application, file: Path) -> None:
    application.add("/file", lambda head: wrapped(file.open("rb")))
    serving = serve(application, threads=1)
    slow = [serving.connect() for _ in range(5)]
    for client in slow:
        client.request("/file")
    assert [serving.get() for _ in range(5)] == [(200, b"hello")] * 5
    assert all(client.answer() == (200, BIG) for client in slow)


# -- clocks --------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_after_its_time(serve: Any, application: Application) -> None:
    client = serve(application, keep_alive_s=0.2).connect()
    assert client.get() == (200, b"hello")
    assert client.rest() == b""


def test_without_keep_alive_each_answer_is_the_last(serve: Any, application: Application) -> None:
    client = serve(application, keep_alive_s=0.0).connect()
    client.request()
    status, headers, _ = client.response()
    assert (status, headers["Connection"]) == (200, "close")
    assert client.rest() == b""


@pytest.mark.parametrize("begun", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_request_that_does_not_arrive_in_its_time_is_answered_408(
    serve: Any, application: Application, begun: bytes
) -> None:
    client = serve(application, head_timeout_s=0.2, body_timeout_s=0.2).connect()
    client.send(begun)
    assert client.answer()[0] == 408
    assert client.rest() == b""


def test_a_connection_without_a_request_is_closed_after_its_time(serve: Any, application: Application) -> None:
    assert serve(application, head_timeout_s=0.2).connect().rest() == b""


def test_a_peer_that_does_not_read_is_given_up(serve: Any, application: Application) -> None:
    closing = Closing()
    application.add("/never", lambda head: answer(BIG, close=closing))
    client = serve(application, answer_timeout_s=0.2).connect()
    client.request("/never")
    closing.wait()
    received = 0
    with contextlib.suppress(ConnectionResetError):
        received = len(client.rest())
    assert received < len(BIG)


def test_a_peer_that_reads_less_than_the_rate_is_given_up(serve: Any, application: Application) -> None:
    serving = serve(application, answer_timeout_s=0.5, min_body_rate=10**9)
    client = serving.connect()
    client.request("/big")
    pause = threading.Event()  # never set
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while part := client.sock.recv(30_000):
            received += len(part)
            pause.wait(0.02)
    assert received < len(BIG)


# -- the end -------------------------------------------------------------------------------------------------


def test_draining_finishes_what_is_in_flight_and_what_waits_to_be_accepted(
    serve: Any, application: Application
) -> None:
    turnstile = Turnstile()
    serving = serve(application, threads=2)
    idle = serving.connect()
    assert idle.get() == (200, b"hello")
    inside = [serving.connect() for _ in range(3)]
    for number, client in enumerate(inside):
        application.add(f"/wait{number}", turnstile)  # each a surprise of its own
        client.request(f"/wait{number}")
    turnstile.wait_for(3)  # the leader too: from here on nobody accepts
    backlog = serving.connect()
    backlog.request()
    serving.engine.drain()
    turnstile.release(3)
    for client in [*inside, backlog]:
        status, headers, _ = client.response()
        assert (status, headers["Connection"]) == (200, "close")
        assert client.rest() == b""
        client.close()
    assert idle.rest() == b""
    idle.close()
    serving.wait()


class _Door(socket.socket):
    """A listener that lets something happen between a drain's beginning and what it accepts."""

    before_accepting: Callable[[], None] | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        happen, self.before_accepting = self.before_accepting, None
        if happen is not None:
            happen()
        return super().accept()


def test_what_waits_to_be_accepted_is_answered_though_the_last_connection_there_was_has_just_ended(
    serve: Any, application: Application
) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile).wall_s = 0.02  # known to be slow: the leader leaves it to another thread
    door = _Door()
    door.bind(("127.0.0.1", 0))
    door.listen()
    serving = serve(application, listener=door)
    last, late = serving.connect(), []
    last.request("/wait")
    turnstile.wait_for()
    pause = threading.Event()  # never set

    def end_the_last_connection() -> None:
        late.append(serving.connect())
        late[0].request()
        last.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        last.close()  # by a reset, so that nobody has to wait for its end
        turnstile.release()
        while not (serving.engine._team._resting or serving.engine._finished):
            pause.wait(0.001)

    door.before_accepting = end_the_last_connection
    serving.engine.drain()
    serving.wait()
    assert late[0].answer() == (200, b"hello")


def test_a_kept_alive_connection_gets_one_more_answer_while_draining(serve: Any, application: Application) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile)
    serving = serve(application)
    client, other = serving.connect(), serving.connect()
    assert client.get() == (200, b"hello")
    other.request("/wait")
    turnstile.wait_for()
    serving.engine.drain()
    client.request()
    status, headers, _ = client.response()
    assert (status, headers["Connection"]) == (200, "close")
    turnstile.release()
    assert other.answer() == (200, b"waited")


def test_a_request_that_is_there_when_an_idle_connection_is_to_end_is_answered(
    serve: Any, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = serve(application)
    client = serving.connect()
    assert client.get() == (200, b"hello")
    poller = serving.engine._poller
    poll = poller.poll
    unseen = set(serving.engine._clients)
    is_late = threading.Event()
    pause = threading.Event()  # never set

    def poll_late(timeout_s: float) -> list[tuple[int, int]]:
        is_late.set()
        seen = [(fd, events) for fd, events in poll(timeout_s) if fd not in unseen]
        if not seen:
            pause.wait(0.01)
        return seen

    monkeypatch.setattr(poller, "poll", poll_late)
    serving.connect()  # ends the poll before
    assert is_late.wait(PATIENCE_S)
    client.request()
    serving.engine.drain()
    status, headers, content = client.response()
    assert (status, headers["Connection"], content) == (200, "close", b"hello")


def test_a_view_that_does_not_end_is_given_up_after_the_graceful_timeout(
    serve: Any, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    turnstile = Turnstile()
    application.add("/wait", turnstile)
    serving = serve(application, graceful_timeout_s=0.3)
    client = serving.connect()
    client.request("/wait")
    turnstile.wait_for()
    serving.engine.drain()
    serving.wait()
    assert "GET /wait has been running for" in caplog.text
    turnstile.release()


AT_THE_LIMIT = """
import resource, signal, socket, sys
from demijohn.message import ResponseMessage
from demijohn.server.loop import Engine
from demijohn.server.settings import Settings
import logging
logging.basicConfig(stream=sys.stdout, format="%(message)s")

class Route:
    wall_s = 0.0

class Gateway:
    def match(self, head):
        return Route()
    def refuses(self, head):
        return False
    def handle(self, head):
        return ResponseMessage("200 OK", b"", b"hello")

listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
engine = Engine([listener], Gateway(), Settings())
signal.signal(signal.SIGTERM, lambda *_: engine.drain())
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
print(listener.getsockname()[1], flush=True)
engine.run()
"""


def test_at_the_limit_of_descriptors_the_server_says_so_and_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", AT_THE_LIMIT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            clients = [Client(("127.0.0.1", port)) for _ in range(80)]
            clients[0].request()
            assert clients[0].answer() == (200, b"hello")
            assert process.stdout.readline().startswith("No connection can be accepted: Too many open files.")
            for client in clients[:60]:
                client.close()
            clients[-1].request()
            assert clients[-1].answer() == (200, b"hello")

            # Nobody closes: who has asked for nothing for a while makes room.
            clients += [Client(("127.0.0.1", port)) for _ in range(80)]
            clients[-1].request()
            assert clients[-1].answer() == (200, b"hello")
            for client in clients:
                client.close()
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


# -- all at once ---------------------------------------------------------------------------------------------


def test_whatever_peers_do_at_the_same_time_each_gets_its_own_answers(
    serve: Any, application: Application, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    pause = threading.Event()  # never set
    application.add("/slow", lambda head: pause.wait(0.003) or echo(head))  # type: ignore[func-returns-value]
    application.add("/stream", lambda head: answer(bytes([byte]) for byte in head.content or b""))
    application.add("/file", lambda head: wrapped(file.open("rb")))
    serving = serve(application, threads=6)
    failures: list[BaseException] = []

    def behave(seed: int) -> None:
        dice = random.Random(seed)
        try:
            client = serving.connect()
            for _ in range(40):
                content = dice.randbytes(dice.randrange(1, 300))
                targets = [dice.choice(["/", "/echo", "/slow", "/stream", "/file", "/big"]) for _ in range(3)]
                for target in targets[: dice.randrange(1, 4)]:
                    client.request(target, "POST", content=content)
                if dice.random() < 0.15:
                    client.close()  # without reading
                    client = serving.connect()
                    continue
                del targets[1:]
                for target in targets:
                    expected = {"/": b"hello", "/file": BIG, "/big": BIG}.get(target, content)
                    assert client.answer() == (200, expected)
                client.close()
                client = serving.connect()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=behave, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    assert not failures
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert serving.get() == (200, b"hello")
