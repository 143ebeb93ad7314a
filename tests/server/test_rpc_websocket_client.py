"""Clients of JSON-RPC over a WebSocket, and the command, against `demijohn serve`."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import clean_environment
from tests.server.certificates import Authority

from demijohn.jsonrpc import AsyncClient, Client, Progress, RemoteError, TransportError
from demijohn.jsonrpc.client import CallTimeout

PATIENCE_S = 30.0


@pytest.fixture
def application() -> str:
    return "app"


@pytest.fixture
def server(serve: Callable[..., Any], application: str) -> Any:
    server = serve(f"conversing:{application}", "--threads", "4", "--graceful-timeout", "20", "--workers", "1")
    server.wait_until_ready()
    return server


@pytest.fixture
def url(server: Any) -> str:
    return "ws://{}:{}/api".format(*server.address)


@pytest.fixture
def client(url: str) -> Any:
    with Client(url) as client:
        yield client


class Told(RemoteError):
    """The error 7 of the application."""


def test_methods_are_called_as_over_http(url: str) -> None:
    with Client(url, headers={"X-Key": "sesame"}, errors={7: Told}) as client:
        assert client.add(a=1, b=2) == client.add(1, 2) == 3
        assert client.secret() == "treasure"
        assert client.call("about", returns=dict[str, object])["method"] == "POST"
        with pytest.raises(Told, match="told"):
            client.fail("error")
        with pytest.raises(RemoteError) as wrong:
            client.add(1, "x")
        assert wrong.value.code == -32602
        client.notify("add", [1, 2])
        with client.batch() as batch:
            sums = [batch.add(number, number) for number in range(10)]
            batch.notify("add", [1, 1])
            bad = batch.fail("error")
        assert [each.result() for each in sums] == [2 * number for number in range(10)]
        with pytest.raises(Told):
            bad.result()
        with client.batch() as silent:
            silent.notify("add", [1, 1])
        large = client.batch()
        refused = [large.add(1, 1) for _ in range(1001)]
        with pytest.raises(RemoteError, match="A batch of 1001 calls"):
            large.__exit__(None, None, None)
        assert len(refused) == 1001


def test_calls_of_many_threads_share_one_connection(client: Client, gate: Any) -> None:
    with ThreadPoolExecutor(10) as threads:
        waiting = [threads.submit(client.awaits, str(gate.path)) for _ in range(5)]
        for _ in waiting:
            gate.wait_for_view()
        assert len({each.result() for each in [threads.submit(client.port) for _ in range(5)]}) == 1
        gate.open()
        assert {each.result() for each in waiting} == {"awaited"}


def test_long_calls_and_long_results_cross_each_other(client: Client) -> None:
    text = random.randbytes(2_000_000).hex()  # which no compression makes short
    with ThreadPoolExecutor(4) as threads:
        echoed = threads.map(lambda _: client.call("repeat", [text, 1], timeout_s=PATIENCE_S) == text, range(12))
        assert all(echoed)


def test_progress_is_told_in_the_thread_of_the_caller(client: Client) -> None:
    told: list[tuple[Progress, str]] = []
    result = client.call(
        "heavy_work", [20], on_progress=lambda progress: told.append((progress, threading.current_thread().name))
    )
    assert result == 20
    assert told[0] == (Progress(0, 20), "MainThread")
    assert told[-1] == (Progress(20, 20), "MainThread")


def test_a_job_is_followed_to_its_end(client: Client) -> None:
    told: list[Progress] = []
    job = client.work(n=3)
    ended = client.call("rpc.follow", {"id": job["id"]}, on_progress=told.append)
    assert (ended["state"], ended["result"], told[-1]) == ("done", 3, Progress(3, 3, "done"))
    assert client.rpc.follow(id=job["id"]) == ended


class Enough(Exception):
    """What a caller raises that has seen enough."""


@pytest.mark.parametrize("failure", [Enough, BrokenPipeError, KeyboardInterrupt])
def test_what_is_raised_on_progress_ends_the_call(
    client: Client, server: Any, gate: Any, failure: type[BaseException]
) -> None:
    def enough(progress: Progress) -> None:
        raise failure

    with pytest.raises((failure, RuntimeError)):
        client.call("reports", [str(gate.path)], on_progress=enough)
    gate.wait_for_view()
    gate.open()
    server.wait_for("it has cleaned up")
    assert client.add(1, 1) == 2


def test_a_call_that_times_out_is_ended_on_the_server_too(client: Client, server: Any, gate: Any) -> None:
    with pytest.raises(CallTimeout):
        client.call("logs_its_end", [str(gate.path)], timeout_s=0.5)
    server.wait_for("it has ended")
    assert client.add(1, 1) == 2


def test_a_call_that_was_started_is_cancelled_or_waited_for(client: Client, server: Any, gate: Any) -> None:
    running = client.start("reports", [str(gate.path)])
    gate.wait_for_view()
    with pytest.raises(CallTimeout):
        running.result(timeout_s=0.1)
    running.cancel()
    gate.open()
    with pytest.raises(RemoteError) as cancelled:
        running.result(PATIENCE_S)
    assert cancelled.value.code == -32800

    told: list[Progress] = []
    counting = client.start("counts", {"n": 3}, returns=float)
    assert [counting.result(PATIENCE_S, told.append), counting.result()] == [3.0, 3.0]
    assert told[0] == Progress(0, 3, "counting")
    failing = client.start("fail", ["error"])
    with pytest.raises(RemoteError, match="told"):
        failing.result(PATIENCE_S)
    client.close()


def test_only_over_a_websocket_a_call_can_be_started(url: str) -> None:
    with Client(url.replace("ws://", "http://")) as client, pytest.raises(TypeError, match="ws://"):
        client.start("add", [1, 1])


@pytest.mark.parametrize("application", ["guarded"])
def test_a_refused_handshake_says_with_what(url: str) -> None:
    with Client(url) as client:
        with pytest.raises(TransportError) as refused:
            client.add(1, 1)
        assert refused.value.status == 401
        with pytest.raises(TransportError) as again:
            client.start("add", [1, 1])
        assert again.value.status == 401
    with Client("ws://127.0.0.1:1/api") as client, pytest.raises(TransportError, match="no WebSocket at"):
        client.add(1, 1)
    with pytest.raises(ValueError, match="host"):
        Client("ws:///api")


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets", None)
    for kind in (Client, AsyncClient):
        with pytest.raises(ImportError, match=r"install demijohn\[websocket\]"):
            kind("ws://127.0.0.1:1/api")


def test_a_call_that_a_leaving_worker_has_not_begun_is_sent_again(url: str, server: Any, gate: Any) -> None:
    with Client(url, retries=20) as client, ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(client.awaits, str(gate.path))
        gate.wait_for_view()
        server.send_signal(signal.SIGHUP)
        server.wait_for_worker()
        adding = threads.submit(client.add, 1, 1)
        gate.open()
        assert [waiting.result(), adding.result()] == ["awaited", 2]
        assert client.add(1, 1) == 2


def test_a_connection_that_breaks_fails_the_calls_on_it(url: str, server: Any, gate: Any) -> None:
    with Client(url) as client, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.wait, str(gate.path))
        gate.wait_for_view()
        server.send_signal(signal.SIGQUIT)
        with pytest.raises(TransportError):
            waiting.result()
        gate.open()


# -- for an event loop --------------------------------------------------------------------------


def test_the_client_of_an_event_loop_does_the_same(url: str, server: Any, gate: Any) -> None:
    path = str(gate.path)

    async def main() -> None:
        async with AsyncClient(url, errors={7: Told}) as client:
            sums = await asyncio.gather(*(client.add(number, number) for number in range(50)))
            assert sums == [2 * number for number in range(50)]
            assert len(set(await asyncio.gather(*(client.port() for _ in range(5))))) == 1
            with pytest.raises(Told):
                await client.fail("error")
            await client.notify("add", [1, 1])
            async with client.batch() as batch:
                total = batch.add(1, 2)
            assert total.result() == 3
            told: list[Progress] = []
            assert await client.call("counts", {"n": 3}, on_progress=told.append) == 3
            assert told[-1] == Progress(3, 3, "counting")

            task = asyncio.create_task(client.call("logs_its_end", [path]))
            await asyncio.to_thread(gate.wait_for_view)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(server.wait_for, "it has ended")
            with pytest.raises(CallTimeout):
                await client.call("logs_its_end", [path], timeout_s=0.5)
            await asyncio.to_thread(gate.wait_for_view)
            await asyncio.to_thread(server.wait_for, "it has ended")

            def enough(progress: Progress) -> None:
                raise Enough

            with pytest.raises(Enough):
                await client.call("reports", [path], on_progress=enough)
            await asyncio.to_thread(gate.wait_for_view)
            gate.open()
            await asyncio.to_thread(server.wait_for, "it has cleaned up")
            assert await client.add(1, 1) == 2
            server.send_signal(signal.SIGHUP)
            await asyncio.to_thread(server.wait_for_worker)
        async with AsyncClient(url, retries=10) as client:
            assert await client.add(1, 1) == 2

    asyncio.run(main())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_certificates_are_verified(serve: Callable[..., Any], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    certificate, key = authority.certificate("localhost")
    server = serve("conversing:app", "--certfile", str(certificate), "--keyfile", str(key), "--workers", "1")
    server.wait_until_ready()
    url = f"wss://localhost:{server.address[1]}/api"
    with Client(url, tls=ssl.create_default_context(cafile=str(authority.file))) as client:
        assert client.add(1, 1) == 2
    with Client(url) as stranger, pytest.raises(TransportError, match="certificate"):
        stranger.add(1, 1)

    async def main() -> None:
        async with AsyncClient(url, tls=ssl.create_default_context(cafile=str(authority.file))) as client:
            assert await client.add(1, 1) == 2

    asyncio.run(main())


# -- the command ----------------------------------------------------------------------------------


def command(*arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "demijohn", "call", *arguments],
        env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip


def test_the_command_shows_progress_and_prints_the_result(url: str) -> None:
    done = command(url, "counts", "n=5")
    assert (done.returncode, json.loads(done.stdout)) == (0, 5)
    lines = done.stderr.splitlines()
    assert lines[0] == "0/5 counting"
    assert lines[-1] == "5/5 counting"
    failed = command(url, "fail", "how=error")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "told" in failed.stderr
    assert command(url, "--notify", "add", "1", "1").returncode == 0
    assert command("ws://127.0.0.1:1/api", "add").returncode == 2


def test_ctrl_c_ends_the_call(url: str, server: Any, gate: Any) -> None:
    call = subprocess.Popen(
        [sys.executable, "-m", "demijohn", "call", url, "logs_its_end", f"path={gate.path}"],
        env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    gate.wait_for_view()
    call.send_signal(signal.SIGINT)
    call.communicate(timeout=PATIENCE_S)
    server.wait_for("it has ended")
    assert call.returncode == 1
