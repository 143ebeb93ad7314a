"""The clients, for threads and for an event loop: against a real server, and one that answers by a table of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.jsonrpc.conftest import serving
from tests.server.certificates import Authority

from demijohn.jsonrpc.client import (
    AsyncClient,
    CallTimeout,
    Client,
    RemoteError,
    TransportError,
)
from demijohn.jsonrpc.transport import Origin, Reading, Reply


@dataclass
class Item:
    name: str
    price: float
    tags: list[str]


# -- both kinds alike -------------------------------------------------------------------------------


def in_thread(url: str, steps: Callable[[Any], Any], **options: Any) -> Any:
    """Run `steps`, a generator that yields what the client returns, with a Client."""
    with Client(url, **options) as client:
        return run_steps(steps(client))


def in_loop(url: str, steps: Callable[[Any], Any], **options: Any) -> Any:
    async def main() -> Any:
        async with AsyncClient(url, **options) as client:
            running = steps(client)
            try:
                step = next(running)
                while True:
                    step = running.send(await step)
            except StopIteration as end:
                return end.value

    return asyncio.run(main())


def run_steps(running: Any) -> Any:
    # With a Client a step is the value itself: it is handed back, and what was raised has been raised.
    try:
        value = next(running)
        while True:
            value = running.send(value)
    except StopIteration as end:
        return end.value


Run = Callable[..., Any]


@pytest.fixture(params=[in_thread, in_loop], ids=["Client", "AsyncClient"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


def test_a_method_is_called_by_its_name_as_an_attribute(run: Run, shop_url: str) -> None:
    def steps(client: Any) -> Any:
        return (
            (yield client.App.index()),
            (yield client.Math.add(a=1, b=2)),
            (yield client.Math.add(5)),
            (yield client["Math.add"](2, 3)),
            (yield client.call("Math.add", {"a": 10**30})),
            (yield client.collect(1, 2.5)),
        )

    assert run(shop_url, steps) == ("Welcome to JSON-RPC", 3, 7, 5, 10**30 + 2, [[1.0, 2.5], {}])


def test_parameters_may_be_objects_and_a_result_becomes_the_type_that_is_asked_for(run: Run, shop_url: str) -> None:
    item = Item("a", 1.5, [])

    def steps(client: Any) -> Any:
        return (
            (yield client.call("Shop.restock", [item], returns=Item)),
            (yield client.Shop.restock(item=item)),
            (yield client.call("Shop.find", ["x", None, {"a": 1}], returns=list[Any])),
        )

    assert run(shop_url, steps)[:2] == (item, {"name": "a", "price": 1.5, "tags": []})


def test_a_result_of_another_type_is_no_answer(run: Run, shop_url: str) -> None:
    def steps(client: Any) -> Any:
        return (yield client.call("App.index", returns=int))

    with pytest.raises(TransportError, match=r"the result is no <class 'int'>: Expected `int`, got `str`"):
        run(shop_url, steps)


def test_an_error_is_raised_with_its_code_message_and_data(run: Run, shop_url: str) -> None:
    class Divided(RemoteError):
        pass

    def steps(client: Any) -> Any:
        return (yield client.Math.divide(1, 0))

    with pytest.raises(RemoteError) as caught:
        run(shop_url, steps)
    assert (caught.value.code, caught.value.message, caught.value.data) == (
        1001,
        "Division by zero",
        {"message": "b must not be 0"},
    )
    assert str(caught.value) == "Division by zero (1001): b must not be 0"
    with pytest.raises(Divided):
        run(shop_url, steps, errors={1001: Divided})


@pytest.mark.parametrize(
    ("method", "params", "code"), [("nope", None, -32601), ("Math.add", ["x"], -32602), ("broken", None, -32000)]
)
def test_errors_of_the_specification_have_their_codes(
    run: Run, shop_url: str, method: str, params: Any, code: int
) -> None:
    def steps(client: Any) -> Any:
        return (yield client.call(method, params))

    with pytest.raises(RemoteError) as caught:
        run(shop_url, steps)
    assert caught.value.code == code


def test_a_notification_has_no_answer_not_even_an_error(run: Run, shop_url: str) -> None:
    def steps(client: Any) -> Any:
        return [(yield client.notify("App.index")), (yield client.notify("broken", {"a": 1}))]

    assert run(shop_url, steps) == [None, None]


def test_parameters_are_by_position_or_by_name(shop_url: str) -> None:
    with Client(shop_url) as client, pytest.raises(TypeError, match="not both"):
        client.Math.add(1, b=2)


def test_a_batch_is_sent_at_the_end_of_its_block_and_each_call_has_its_own_result(shop_url: str) -> None:
    with Client(shop_url) as client:
        with client.batch() as batch:
            added = batch.Math.add(1, 2)
            failed = batch.Math.divide(1, 0)
            restocked = batch.call("Shop.restock", [Item("a", 1, [])], returns=Item)
            batch.notify("App.index")
            with pytest.raises(RuntimeError, match="has not been sent"):
                added.result()
        assert added.result() == 3
        assert restocked.result() == Item("a", 1, [])
        with pytest.raises(RemoteError, match="Division by zero"):
            failed.result()
        with client.batch() as batch:
            batch.notify("App.index")
        with client.batch():
            pass  # nothing is sent: an empty array is no batch


def test_a_batch_of_an_event_loop(shop_url: str) -> None:
    async def main() -> list[Any]:
        async with AsyncClient(shop_url) as client:
            async with client.batch() as batch:
                pending = [batch.Math.add(n, n) for n in range(5)]
            together = await asyncio.gather(*(client.Math.add(n, 1) for n in range(20)))
            return [[each.result() for each in pending], together]

    assert asyncio.run(main()) == [[0, 2, 4, 6, 8], list(range(1, 21))]


def test_a_batch_that_raises_inside_is_not_sent() -> None:
    with Client("http://127.0.0.1:1/") as client:
        batch = client.batch()
        batch.anything()
        with pytest.raises(ZeroDivisionError), batch:
            1 / 0  # noqa: B018


def test_any_thread_may_call(shop_url: str) -> None:
    with Client(shop_url) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: client.Math.add(n, 1), range(100))) == list(range(1, 101))


# -- against a table of bytes -----------------------------------------------------------------------


class Scripted:
    """A server that sends what it is told to, an answer for each request; None closes the connection instead."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/api?key=1"
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as file:
                while self.read_request(file) and self.answers:
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                    if b"Connection: close" in answer:
                        break

    def read_request(self, file: Any) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return False
            head += line
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
        self.requests.append(head + file.read(length))
        return True


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    # Wakes accept(), as closing alone would not.
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    server.thread.join(30)


def answer(content: Any, status: str = "200 OK", *lines: str) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *lines])
    return f"{head}\r\n\r\n".encode("latin-1") + text


RESULT = {"jsonrpc": "2.0", "id": 1, "result": "yes"}
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'10\r\n{"jsonrpc":"2.0"\r\n17\r\n,"id":1,"result":"yes"}\r\n0\r\n\r\n'
)
UNTIL_CLOSED = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"jsonrpc":"2.0","id":1,"result":"yes"}'
AFTER_ANOTHER = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(RESULT)


def one_call(client: Any) -> Any:
    return (yield client.m())


@pytest.mark.parametrize(
    "raw", [answer(RESULT), CHUNKED, UNTIL_CLOSED, AFTER_ANOTHER], ids=["length", "chunked", "until closed", "103"]
)
def test_an_answer_is_read_however_it_is_framed(run: Run, scripted: Scripted, raw: bytes) -> None:
    scripted.answers = [raw]
    assert run(scripted.url, one_call) == "yes"


@pytest.mark.parametrize("raw", [answer(RESULT), CHUNKED, AFTER_ANOTHER], ids=["length", "chunked", "103"])
def test_reading_does_not_depend_on_how_bytes_arrive(raw: bytes) -> None:
    reading = Reading()
    ends = [reading.receive(raw[at : at + 1]) for at in range(len(raw))]
    assert ends.index(True) == len(raw) - 1
    assert json.loads(reading.reply().content) == RESULT


def test_a_request_says_where_it_goes_and_what_it_is(run: Run, scripted: Scripted) -> None:
    scripted.answers = [answer(RESULT)]
    run(scripted.url, one_call, headers={"Authorization": "Bearer x"})
    head, _, content = scripted.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /api?key=1 HTTP/1.1"
    assert f"Host: {scripted.url[7:].partition('/')[0]}" in lines
    assert {"Content-Type: application/json", "Accept: application/json", "Authorization: Bearer x"} <= set(lines)
    assert json.loads(content) == {"jsonrpc": "2.0", "id": 1, "method": "m"}


def test_a_connection_is_used_again_until_the_server_closes_it(run: Run, scripted: Scripted) -> None:
    def steps(client: Any) -> Any:
        for _ in range(3):
            yield client.call("m")

    scripted.answers = [
        answer(RESULT),
        answer(RESULT | {"id": 2}, "200 OK", "Connection: close"),
        answer(RESULT | {"id": 3}),
    ]
    run(scripted.url, steps)
    assert scripted.connections == 2


def added(client: Any) -> Any:
    return (yield client.Math.add(1, 2))


def one_notification(client: Any) -> Any:
    yield client.notify("m")


NOT_ANSWERS = [
    (answer(b"<h1>Bad Gateway</h1>", "502 Bad Gateway"), "answered 502 with '<h1>Bad Gateway</h1>'"),
    (answer(b"", "401 Unauthorized"), "answered 401$"),
    (answer({"detail": "no"}, "401 Unauthorized"), "answered 401 with something else than a JSON-RPC response"),
    (answer([RESULT]), "answered 200 with something else than a JSON-RPC response"),
    (answer(RESULT | {"id": 2}), "answered another call than 1"),
    (answer({"jsonrpc": "2.0", "id": 1}), "answered another call than 1"),
    (answer({"jsonrpc": "2.0", "id": 1, "error": "no"}), "with an error that is none of JSON-RPC"),
    (answer(b"[" * 100_000), r"answered 200 with '\[\["),
    (b"nonsense\r\n\r\n", "did not answer: the server's answer is no HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{}", "before its answer was whole"),
    (None, "before its answer was whole"),
]


@pytest.mark.parametrize(("raw", "message"), NOT_ANSWERS, ids=[message for _, message in NOT_ANSWERS])
def test_what_is_no_answer_is_said_with_the_address(run: Run, scripted: Scripted, raw: bytes, message: str) -> None:
    scripted.answers = [raw]
    with pytest.raises(TransportError, match=message) as caught:
        run(scripted.url, one_call)
    assert str(caught.value).startswith(scripted.url)
    assert isinstance(caught.value, ConnectionError)


def test_ids_that_no_client_has_sent_are_passed_over(scripted: Scripted) -> None:
    scripted.answers = [answer([{"id": [1], "result": "no"}, {"id": {}, "result": "no"}, RESULT])]
    with Client(scripted.url) as client:
        with client.batch() as batch:
            answered = batch.m()
        assert answered.result() == "yes"


def test_a_refused_notification_is_said(run: Run, scripted: Scripted) -> None:
    scripted.answers = [answer(b"", "401 Unauthorized")]
    with pytest.raises(TransportError) as caught:
        run(scripted.url, one_notification)
    assert caught.value.status == 401


def test_no_answer_in_time_is_a_timeout(run: Run, scripted: Scripted) -> None:
    scripted.answers = [b"HTTP/1.1 200 OK\r\n"]
    with pytest.raises(CallTimeout, match="did not answer in time") as caught:
        run(scripted.url, one_call, timeout_s=0.05)
    assert isinstance(caught.value, TimeoutError)


def test_an_error_for_a_whole_batch_is_raised_where_it_is_sent(scripted: Scripted) -> None:
    scripted.answers = [
        answer({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Too many"}}),
        answer([RESULT | {"id": 3}]),
    ]
    with Client(scripted.url) as client:
        too_many = client.batch()
        too_many.m()
        too_many.notify("m")
        with pytest.raises(RemoteError, match="Too many"), too_many:
            pass
        with client.batch() as batch:
            lost, answered = batch.m(), batch.m()
        assert answered.result() == "yes"
        with pytest.raises(TransportError, match="something else than a JSON-RPC response"):
            lost.result()


# -- retries ----------------------------------------------------------------------------------------

RETRIED = {"retries": 2, "retry_pause_s": 0.0}


@pytest.mark.parametrize(
    "refusal",
    [
        answer(b"", "503 Service Unavailable"),
        answer(b"", "503 Service Unavailable", "Retry-After: \xb2"),
        answer(b"", "429 Too Many Requests", "Retry-After: 0"),
        answer(b"", "429 Too Many Requests", f"Retry-After: Mon, 01 Jan 2024 00:00:00 +{'9' * 30}"),
    ],
)
def test_a_call_that_was_not_run_is_sent_again(run: Run, scripted: Scripted, refusal: bytes) -> None:
    scripted.answers = [refusal, refusal, answer(RESULT)]
    assert run(scripted.url, one_call, **RETRIED) == "yes"
    assert len(scripted.requests) == 3
    assert len(set(scripted.requests)) == 1


def test_retries_come_to_an_end(run: Run, scripted: Scripted) -> None:
    scripted.answers = [answer(b"", "503 Service Unavailable")] * 4
    with pytest.raises(TransportError, match="answered 503"):
        run(scripted.url, one_call, **RETRIED)
    assert len(scripted.requests) == 3


@pytest.mark.parametrize("failure", [None, answer(b"", "502 Bad Gateway")])
def test_a_call_that_may_have_been_run_is_sent_again_only_when_that_is_asked_for(
    run: Run, scripted: Scripted, failure: bytes | None
) -> None:
    scripted.answers = [failure, answer(RESULT)]
    with pytest.raises(TransportError):
        run(scripted.url, one_call, **RETRIED)
    assert len(scripted.requests) == 1
    scripted.answers = [failure, answer(RESULT)]
    assert run(scripted.url, one_call, retry_lost=True, **RETRIED) == "yes"


def test_without_a_server_there_is_no_answer(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(TransportError, match=r"did not answer: no connection to 127\.0\.0\.1:"):
        run(url, one_call, **RETRIED)


# -- addresses and transports -----------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "api", "ftp://x/", "http://", "unix:/x"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(ValueError, match="is not a URL that can be called"):
            client(url)


@pytest.mark.parametrize(
    ("url", "first_lines"),
    [
        ("http://example.org", "POST / HTTP/1.1\r\nHost: example.org\r\n"),
        ("http://[::1]:81/a", "POST /a HTTP/1.1\r\nHost: [::1]:81\r\n"),
        ("http://bücher.example/", "POST / HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n"),
    ],
)
def test_a_request_names_its_host(url: str, first_lines: str) -> None:
    assert Origin(url).request(b"", {}).decode().startswith(first_lines)


def test_a_header_with_a_line_break_is_refused() -> None:
    with (
        Client("http://127.0.0.1:1/", headers={"X": "a\r\nY: b"}) as client,
        pytest.raises(ValueError, match="line break"),
    ):
        client.m()


def test_a_transport_of_ones_own_brings_the_request() -> None:
    class Echo:
        def send(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
            return Reply(200, {}, json.dumps(RESULT | {"result": [json.loads(content)["method"], timeout_s]}).encode())

        def close(self) -> None: ...

    with Client("http://x/", transport=Echo(), timeout_s=3) as client:
        assert client.Any.name() == ["Any.name", 3]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command to make certificates")
def test_a_server_is_believed_by_its_certificate_alone(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.certificate("localhost")
    options = ["--certfile", str(certificate), "--keyfile", str(key)]
    with serving("shop:app", Path(__file__).parent, *options) as address:
        url = f"https://localhost:{address.rpartition(':')[2]}/api"
        known = ssl.create_default_context(cafile=authority.file)
        assert run(url, added, tls=known) == 3
        with pytest.raises(TransportError, match="certificate verify failed"):
            run(url, one_call)
        with pytest.raises(TransportError, match="certificate"):
            run(url.replace("localhost", "127.0.0.1"), one_call, tls=known)


def test_tls_is_verified_by_default() -> None:
    tls = Client("https://example.org/")._transport._tls
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


def test_a_client_in_a_process_with_many_descriptors_keeps_its_connection(shop_url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while stack.enter_context(open(os.devnull)).fileno() < 1024:
            pass
        with Client(shop_url) as client:
            for _ in range(2):
                client.call("rpc.describe")
